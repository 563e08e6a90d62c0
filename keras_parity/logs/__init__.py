"""Reads runs from event files and CSV files of any code, and writes event files without a framework.

Core: imports no framework, no parser, and no extra; ``compare`` and ``study`` may import it.
"""
