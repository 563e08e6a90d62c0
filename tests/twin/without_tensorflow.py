"""``python -m tests.twin.without_tensorflow COMMAND...`` runs commands as where TensorFlow is not installed.

A command is one argument, such as ``"keras_parity --backend=jax"``. All run in this process.
"""

import runpy
import shlex
import sys
from importlib.machinery import PathFinder


class WithoutTensorFlow(PathFinder):
    """Finds every package but TensorFlow."""

    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        hidden = fullname.partition(".")[0] == "tensorflow"
        return None if hidden else super().find_spec(fullname, path, target)


if __name__ == "__main__":
    sys.meta_path[sys.meta_path.index(PathFinder)] = WithoutTensorFlow
    for command in sys.argv[1:]:
        sys.argv = shlex.split(command)
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
