"""Layers that do in training what Keras's do."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnn_mnist.architecture.layer_spec import Shape
from cnn_mnist.random_streams import dropout_mask


class MaskedDropout(nn.Dropout):
    """Dropout whose masks are those of the Keras twin: a function of (seed, layer, training step).

    Args:
        rate: Part that is dropped.
        seed: The run's seed.
        number: Which dropout of the network this is, from 1.
        flattened: The (height, width, channels) whose flattening the input is, if it is one.
    """

    count: Tensor

    def __init__(self, rate: float, seed: int, number: int, flattened: Shape | None = None) -> None:
        super().__init__(rate)
        self.seed, self.number, self.flattened = seed, number, flattened
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))  # of training steps, for a resume

    def forward(self, images: Tensor) -> Tensor:
        """Any [batch, channels, height, width] or [batch, features]."""
        if not self.training or self.p == 0:
            return images
        size, *rest = images.shape
        shape = self.flattened or ((*rest[1:], rest[0]) if len(rest) == 3 else tuple(rest))
        kept = torch.from_numpy(dropout_mask((size, *shape), self.p, self.seed, self.number, int(self.count)))
        self.count += 1
        if len(shape) == 3:
            kept = kept.permute(0, 3, 1, 2).reshape(images.shape)
        return images * kept.to(images.device) / (1 - self.p)


def with_biased_variance(norm: nn.BatchNorm2d | nn.BatchNorm1d) -> nn.Module:
    """Has it put the variance of the batch itself into its moving variance, in place; PyTorch takes n / (n - 1)."""
    norm.__class__ = BatchNorm2d if isinstance(norm, nn.BatchNorm2d) else BatchNorm1d
    return norm


class _BiasedVariance(nn.modules.batchnorm._BatchNorm):
    running_mean: Tensor
    running_var: Tensor
    momentum: float

    def forward(self, images: Tensor) -> Tensor:
        """Any [batch, channels, height, width] or [batch, features]."""
        if not self.training:
            return super().forward(images)
        with torch.no_grad():
            others = [axis for axis in range(images.ndim) if axis != 1]
            variance, mean = torch.var_mean(images, others, correction=0)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance, self.momentum)
        return F.batch_norm(images, None, None, self.weight, self.bias, True, 0.0, self.eps)


class BatchNorm2d(_BiasedVariance, nn.BatchNorm2d):
    """Of images."""


class BatchNorm1d(_BiasedVariance, nn.BatchNorm1d):
    """Of features."""


class GELU(nn.GELU):
    """Gelu whose constants are rounded through float32, as TensorFlow's are: in float64 that shows, by 5e-9."""

    def forward(self, images: Tensor) -> Tensor:
        """Any shape."""
        with rounded_constants():
            return super().forward(images)


@contextmanager
def rounded_constants() -> Iterator[None]:
    """Has PyTorch's functions of float64 round their constants through float32 meanwhile, as TensorFlow's do."""
    exact = F.gelu, F.leaky_relu

    def gelu(images: Tensor, approximate: str = "none") -> Tensor:
        if images.dtype != torch.float64:
            return exact[0](images, approximate=approximate)
        if approximate == "none":
            return 0.5 * images * torch.erfc(-images * float(np.float32(math.sqrt(0.5))))
        cubic = images + float(np.float32(0.044715)) * images**3
        return 0.5 * images * (1 + torch.tanh(math.sqrt(2 / math.pi) * cubic))

    def leaky_relu(images: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
        return exact[1](images, float(np.float32(negative_slope)))

    F.gelu, F.leaky_relu = gelu, leaky_relu  # type: ignore[assignment]
    try:
        yield
    finally:
        F.gelu, F.leaky_relu = exact
