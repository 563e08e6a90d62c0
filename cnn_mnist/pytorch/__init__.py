"""The network, its data and its training in PyTorch Lightning, and its commands: fit, validate, test, predict.

Core: imports every other room of ``cnn_mnist`` and no extra; ``keras_parity.ladder``, ``convert`` and ``predict`` may
import it.
"""

from cnn_mnist.frameworks import choose_wait_policy, keep_tensorflow_out, raise_malloc_thresholds

# Before any file of this room imports PyTorch or TensorBoard, whether a command or the Python API asks for it.
choose_wait_policy()
raise_malloc_thresholds()
keep_tensorflow_out()
