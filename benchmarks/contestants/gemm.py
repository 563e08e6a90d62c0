"""The floor: the multiply-adds of a step, and of evaluating an image, over the float32 rate of a large matrix product.

A process: ``python -m benchmarks.contestants.gemm``.
"""

import json
import time
from statistics import median

import torch

from benchmarks.contestants import BATCH_SIZE
from cnn_mnist.architecture.examples import EXAMPLES

SIZE = 2048


def main() -> None:
    """Times 30 products, after 5 that are not timed."""
    a, b = torch.rand(SIZE, SIZE), torch.rand(SIZE, SIZE)
    times = []
    for _ in range(35):
        start = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - start)
    rate = 2 * SIZE**3 / median(times[5:])
    forward = 2 * sum(layer.multiply_adds for layer in EXAMPLES["three_conv"].placed)  # a step takes three of them
    step = 3 * BATCH_SIZE * forward
    print(json.dumps({"milliseconds": 1e3 * step / rate, "microseconds": 1e6 * forward / rate, "gflops": rate / 1e9}))


if __name__ == "__main__":
    main()
