"""Event files in, runs out, whoever wrote them; and event files written without a framework.

Imports no framework; ``compare`` and ``study`` may import it.
"""
