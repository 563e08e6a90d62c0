"""The convolutions in a step, by oneDNN's own account; PyTorch's dense layers are MKL's in float32, and not among them.

A process: ``python -m benchmarks.contestants.kernels ARGUMENTS`` runs ``python ARGUMENTS``, two epochs of 300 steps.
"""

import json
import os
import subprocess
import sys

from benchmarks.contestants import STEPS


def main(arguments: list[str]) -> None:
    """Runs the command with a oneDNN that tells what it runs; prints its milliseconds a step, in the second epoch."""
    environment = os.environ | {"ONEDNN_VERBOSE": "profile_exec"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.returncode)  # the command has said why
    print(json.dumps({"milliseconds": milliseconds(done.stdout) / STEPS}))


def milliseconds(told: str) -> float:
    """Of the convolutions in the second half of a run, in which each half runs the same ones.

    Args:
        told: What oneDNN printed: ``onednn_verbose,v1,primitive,exec,cpu,convolution,...,0.123``, in milliseconds.
    """
    spent = [float(line.rpartition(",")[2]) for line in told.splitlines() if ",exec,cpu,convolution," in line]
    return sum(spent[len(spent) // 2 :])


if __name__ == "__main__":
    main(sys.argv[1:])
