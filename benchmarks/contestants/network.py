"""The published network and loop's settings, written as a user writes them in PyTorch."""

import torch
from torch import nn


def plain_network(softmax: bool = False) -> nn.Sequential:
    """``three_conv`` from images [batch, 1, 28, 28] to logits [batch, 10], or to probabilities as published."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(64, 64, 3), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(576, 64), nn.ReLU(), nn.Linear(64, 10)),
        *([nn.Softmax(dim=1)] if softmax else []),
    )


def plain_optimizer(network: nn.Module) -> torch.optim.Optimizer:
    """The published RMSprop."""
    return torch.optim.RMSprop(network.parameters(), lr=1e-3, alpha=0.9, eps=1e-7)
