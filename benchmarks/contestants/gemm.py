"""The floor: a step's multiply-adds over the float32 rate of a large matrix product.

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
    flops = 3 * 2 * sum(layer.multiply_adds for layer in EXAMPLES["three_conv"].traced) * BATCH_SIZE
    print(json.dumps({"milliseconds": 1e3 * flops / rate, "gflops": rate / 1e9}))


if __name__ == "__main__":
    main()
