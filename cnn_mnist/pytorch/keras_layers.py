"""PyTorch layers that compute in training what Keras's layers compute."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnn_mnist.architecture.layer_spec import Shape
from cnn_mnist.pytorch.whole_batch import normalize, place
from cnn_mnist.random_streams import dropout_mask


class MaskedDropout(nn.Dropout):
    """Dropout with the masks of the Keras twin: a function of (seed, layer, training step).

    Args:
        rate: Probability of dropping an element, in [0, 1).
        seed: The run's seed.
        number: Number of the dropout layer, from 1.
        flattened: (height, width, channels) of the image if the input is a flattened image.
    """

    count: Tensor

    def __init__(self, rate: float, seed: int, number: int, flattened: Shape | None = None) -> None:
        super().__init__(rate)
        self.seed, self.number, self.flattened = seed, number, flattened
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))  # training steps, saved for a resume

    def forward(self, images: Tensor) -> Tensor:
        """Maps [batch, channels, height, width] or [batch, features] to the same shape."""
        if not self.training or self.p == 0:
            return images
        size, *rest = images.shape
        shape = self.flattened or ((*rest[1:], rest[0]) if len(rest) == 3 else tuple(rest))
        rank, processes = place()
        batch = size * processes, *shape  # rows past the end of an uneven batch belong to no process
        mask = dropout_mask(batch, self.p, self.seed, self.number, int(self.count))
        kept = torch.from_numpy(mask[rank::processes])
        self.count += 1
        if len(shape) == 3:
            kept = kept.permute(0, 3, 1, 2).reshape(images.shape)
        return images * kept.to(images.device) / (1 - self.p)


def with_biased_variance(norm: nn.BatchNorm2d | nn.BatchNorm1d) -> nn.Module:
    """Changes a batch norm in place to average the biased variance; PyTorch multiplies it by n / (n - 1)."""
    norm.__class__ = BatchNorm2d if isinstance(norm, nn.BatchNorm2d) else BatchNorm1d
    return norm


class _BiasedVariance(nn.modules.batchnorm._BatchNorm):
    running_mean: Tensor
    running_var: Tensor
    momentum: float

    def forward(self, images: Tensor) -> Tensor:
        """Maps [batch, channels, height, width] or [batch, features] to the same shape."""
        if not self.training:
            return super().forward(images)
        if place()[1] > 1:
            return normalize(self, images, correction=0)  # type: ignore[arg-type]
        with torch.no_grad():
            others = [axis for axis in range(images.ndim) if axis != 1]
            variance, mean = torch.var_mean(images, others, correction=0)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance, self.momentum)
        return F.batch_norm(images, None, None, self.weight, self.bias, True, 0.0, self.eps)


class BatchNorm2d(_BiasedVariance, nn.BatchNorm2d):
    """Batch norm of images with Keras's moving variance."""


class BatchNorm1d(_BiasedVariance, nn.BatchNorm1d):
    """Batch norm of features with Keras's moving variance."""


class GELU(nn.GELU):
    """GELU with constants rounded to float32 like TensorFlow's, which changes float64 results by 5e-9."""

    def forward(self, images: Tensor) -> Tensor:
        """Maps any shape to the same shape."""
        with rounded_constants():
            return super().forward(images)


@contextmanager
def rounded_constants() -> Iterator[None]:
    """Makes PyTorch's float64 activations round their constants to float32, like TensorFlow's, within the block."""
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
