"""Network, data and training in PyTorch Lightning, and the commands fit, validate, test and predict.

Core: imports every other room of ``cnn_mnist`` and no extra; ``keras_parity.ladder``, ``convert`` and ``predict`` may
import it.
"""

from cnn_mnist.frameworks import choose_wait_policy, keep_tensorflow_out, raise_malloc_thresholds

# These must run before PyTorch and TensorBoard are imported, in commands and in the Python API.
choose_wait_policy()
raise_malloc_thresholds()
keep_tensorflow_out()
