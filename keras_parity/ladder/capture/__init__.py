"""Records the inputs and outputs of every layer in one run of a model.

Matching, diagnosis and rungs may import it.
"""
