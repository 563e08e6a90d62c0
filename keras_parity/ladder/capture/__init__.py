"""What each layer of a model takes and gives in one run.

Matching, diagnosis and rungs may import it.
"""
