"""Decides the verdict: runs two models in their own frameworks and compares their outputs.

Matches no layers. Imports only PyTorch and Keras, on any Keras backend.

Every room of the ladder may import it.
"""
