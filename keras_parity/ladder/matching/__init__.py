"""Which layer and which weight of one model is which of the other.

Diagnosis, rungs and the report may import it.
"""
