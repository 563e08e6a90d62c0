"""Keeps TensorFlow out of a process that only reads or writes TensorBoard's files.

Ground floor: the standard library only; imported before TensorBoard by the Lightning side and by ``compare``.
"""

import sys
from types import ModuleType


def keep_tensorflow_out() -> None:
    """Has TensorBoard use its own stub even where TensorFlow is installed; call it before importing TensorBoard.

    TensorBoard takes the stub when a module ``tensorboard.compat.notf`` can be imported, which its wheel does
    not hold. TensorFlow would cost seconds at start-up, and imported beside PyTorch it can crash the process.
    """
    name = "tensorboard.compat.notf"
    sys.modules.setdefault(name, ModuleType(name))
