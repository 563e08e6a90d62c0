"""The verdict: two models run as their own frameworks run them, and compared by what they give.

No layer is matched here, and nothing is imported but PyTorch and Keras, whichever engine Keras has.

Every room of the ladder may import it.
"""
