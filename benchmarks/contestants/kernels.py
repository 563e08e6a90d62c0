"""The time of a step's convolutions, as oneDNN reports it; without PyTorch's dense layers, which use MKL in float32.

A process: ``python -m benchmarks.contestants.kernels ARGUMENTS`` runs ``python ARGUMENTS``, two epochs of 300 steps.
"""

import json
import os
import subprocess
import sys

from benchmarks.contestants import STEPS


def main(arguments: list[str]) -> None:
    """Runs the command with oneDNN's profiling enabled; prints the milliseconds per step in the second epoch."""
    environment = os.environ | {"ONEDNN_VERBOSE": "profile_exec"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.returncode)  # the command has said why
    print(json.dumps({"milliseconds": milliseconds(done.stdout) / STEPS}))


def milliseconds(told: str) -> float:
    """Sums the time of the convolutions in the second half of a run; both halves run the same convolutions.

    Args:
        told: What oneDNN printed: ``onednn_verbose,v1,primitive,exec,cpu,convolution,...,0.123``, in milliseconds.
    """
    spent = [float(line.rpartition(",")[2]) for line in told.splitlines() if ",exec,cpu,convolution," in line]
    return sum(spent[len(spent) // 2 :])


if __name__ == "__main__":
    main(sys.argv[1:])
