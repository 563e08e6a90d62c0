"""The initial weights of an architecture from a seed, in one neutral layout: Keras's.

A set of weights is a dict from ``"conv1/kernel"`` to an array, in the order of the layers, kernel before bias.
Kernels are (height, width, in, out) or (in, out), and the first dense layer after a flatten counts its
inputs in the order height, width, channels.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cnn_mnist.architecture.layers import Layer, Shape
from cnn_mnist.architecture.trace import trace
from cnn_mnist.random_streams import Purpose, uniform

Weights = dict[str, NDArray[np.float32]]
Rule = Literal["keras", "pytorch"]


def initial_weights(layers: Sequence[Layer], rule: Rule, seed: int) -> Weights:
    """Draws the weights that a training starts from.

    Args:
        layers: The architecture.
        rule: ``"keras"`` for Glorot uniform kernels, U(-l, l) with l = sqrt(6 / (fan_in + fan_out)) (Glorot
            and Bengio 2010, eq. 16), and zero biases; ``"pytorch"`` for U(-l, l) with l = 1 / sqrt(fan_in),
            kernel and bias: what ``kaiming_uniform_(a=sqrt(5))`` comes to in ``torch.nn.Linear``.
        seed: The run's seed.

    Returns:
        float32 arrays in the neutral layout.
    """
    weights: Weights = {}
    for traced in trace(layers):
        for name, shape in traced.weight_shapes.items():
            limit = _limit(rule, name, traced.weight_shapes["kernel"])
            draws = uniform(math.prod(shape), seed, Purpose.WEIGHTS, len(weights))
            values = ((2 * draws - 1) * limit).reshape(shape)
            weights[f"{traced.name}/{name}"] = values.astype(np.float32)
    return weights


def _limit(rule: str, name: str, kernel: Shape) -> float:
    field = math.prod(kernel[:-2])
    fan_in, fan_out = field * kernel[-2], field * kernel[-1]
    if rule == "pytorch":
        return 1 / math.sqrt(fan_in)
    return math.sqrt(6 / (fan_in + fan_out)) if name == "kernel" else 0.0
