"""Event files in, runs out, whoever wrote them; and event files written without a framework.

Core: imports no framework, no parser, and no extra; ``compare`` and ``study`` may import it.
"""
