"""The floor: an epoch's multiply-adds over the float32 rate of a large matrix product.

A process: ``python -m benchmarks.contestants.gemm``.
"""

import json
import time
from statistics import median

import torch

from cnn_mnist.architecture.layers import Conv, Dense
from cnn_mnist.architecture.trace import layers_of, trace

SIZE = 2048
IMAGES = 60_000


def multiply_adds(architecture: str) -> int:
    """Multiply-adds of one image's forward pass; a training step takes three times as many."""
    total = 0
    for traced in trace(layers_of(architecture)):
        if isinstance(traced.layer, Conv | Dense):
            height, width = (*traced.output_shape[:-1], 1, 1)[:2]
            kernel = traced.weight_shapes["kernel"]
            total += height * width * torch.Size(kernel).numel()
    return total


def main() -> None:
    """Times 30 products, after 5 that are not timed."""
    a, b = torch.rand(SIZE, SIZE), torch.rand(SIZE, SIZE)
    times = []
    for _ in range(35):
        start = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - start)
    rate = 2 * SIZE**3 / median(times[5:])
    print(json.dumps({"seconds": 3 * 2 * multiply_adds("three_conv") * IMAGES / rate, "gflops": rate / 1e9}))


if __name__ == "__main__":
    main()
