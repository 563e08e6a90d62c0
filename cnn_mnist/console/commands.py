"""The commands of ``python -m cnn_mnist``; imports nothing, so that the list appears at once."""

COMMANDS = {
    "fit": "train the network, and evaluate it on the test set",
    "validate": "evaluate a trained network on the validation split",
    "test": "evaluate a trained network on the test set",
    "predict": "predict the test set, or your own digits",
    "summary": "print the layers with their parameters",
}
"""Purpose of each command."""
