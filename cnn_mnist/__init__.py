"""One CNN on MNIST: what both frameworks share, and its PyTorch Lightning side."""
