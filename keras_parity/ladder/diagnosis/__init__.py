"""Explains why two models differ, and where, and finds fixes; the verdict tries every fix.

``check`` and the report may import it.
"""
