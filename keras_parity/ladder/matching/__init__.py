"""Matches the layers and weights of two models.

Diagnosis, rungs and the report may import it.
"""
