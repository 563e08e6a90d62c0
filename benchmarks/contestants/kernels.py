"""The convolutions and matrix products in a step of ``fit``, by oneDNN's own account.

A process: ``python -m benchmarks.contestants.kernels DATA_DIR``; their time in the second of two epochs of 300 steps.
What is left of the step is pooling, activations, the optimizer, and Python.
"""

import json
import os
import subprocess
import sys
import tempfile

from benchmarks.contestants import STEPS

KINDS = {"convolution", "inner_product", "matmul"}


def main(data_dir: str) -> None:
    """Trains two epochs in a process whose oneDNN tells what it runs."""
    with tempfile.TemporaryDirectory() as folder:
        flags = (f"--data.data_dir={data_dir}", f"--trainer.logger.save_dir={folder}", "--trainer.max_epochs=2")
        limits = (f"--trainer.limit_train_batches={STEPS}", "--trainer.limit_test_batches=0")
        told = subprocess.run(
            [sys.executable, "-m", "cnn_mnist", "fit", *flags, *limits],
            env=os.environ | {"ONEDNN_VERBOSE": "profile_exec"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
    print(json.dumps({"milliseconds": milliseconds(told) / STEPS}))


def milliseconds(told: str) -> float:
    """Of the kernels of the second half of a run, in which each half runs the same ones.

    Args:
        told: What oneDNN printed: ``onednn_verbose,v1,primitive,exec,cpu,convolution,...,0.123``.
    """
    lines = [line.split(",") for line in told.splitlines() if line.startswith("onednn_verbose")]
    spent = [float(fields[-1]) for fields in lines if "exec" in fields and KINDS & set(fields[:7])]
    return sum(spent[len(spent) // 2 :])


if __name__ == "__main__":
    main(*sys.argv[1:])
