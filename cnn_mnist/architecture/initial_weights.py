"""Initial weights of a network from a seed, in the neutral layout, which is Keras's.

Weights are a dict of arrays by name, for example ``"conv1/kernel"``, in the order of the layers, kernel before bias.
Kernels are (height, width, in, out) or (in, out). The first dense layer after a flatten has its inputs in the order
height, width, channels.
"""

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cnn_mnist.architecture.layer_spec import STATISTICS, Shape
from cnn_mnist.architecture.network import Network
from cnn_mnist.random_streams import Purpose, uniform

Weights = dict[str, NDArray[np.float32]]
Rule = Literal["keras", "pytorch"]


def initial_weights(network: Network, rule: Rule, seed: int) -> Weights:
    """Draws initial weights.

    Args:
        network: The network.
        rule: ``"keras"`` for Glorot uniform kernels, U(-l, l) with l = sqrt(6 / (fan_in + fan_out)) (Glorot
            and Bengio 2010, eq. 16), and zero biases; ``"pytorch"`` for U(-l, l) with l = 1 / sqrt(fan_in),
            kernel and bias, equal to ``kaiming_uniform_(a=sqrt(5))`` in ``torch.nn.Linear``.
        seed: The run's seed.

    Returns:
        float32 arrays in the neutral layout.
    """
    weights: Weights = {}
    for placed in network.placed:
        limit = None
        for name, shape in placed.weight_shapes.items():
            if "kernel" in name:
                limit = _limit(rule, shape, name == placed.layer.depthwise)
            elif name == "bias" and rule == "keras":
                limit = 0.0
            if limit is not None:
                draws = uniform(math.prod(shape), seed, Purpose.WEIGHTS, len(weights))
                values = ((2 * draws - 1) * limit).reshape(shape)
            else:  # a normalization starts as the identity
                values = np.full(shape, float(name in ("gamma", STATISTICS[1])))
            weights[f"{placed.name}/{name}"] = values.astype(np.float32)
    return weights


def _limit(rule: str, kernel: Shape, depthwise: bool) -> float:
    field, (fan_in, fan_out) = math.prod(kernel[:-2]), kernel[-2:]
    if rule == "pytorch":  # a depthwise kernel has one input channel
        return 1 / math.sqrt(field * (1 if depthwise else fan_in))
    return math.sqrt(6 / (field * (fan_in + fan_out)))
