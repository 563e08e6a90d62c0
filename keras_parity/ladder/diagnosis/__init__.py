"""Why two models differ, where, and which line mends it; every line is tried by the verdict.

``check`` and the report may import it.
"""
