"""``python -m keras_parity ladder`` and ``check``: judges any two models as functions, then explains the differences.

Extra: imports both frameworks, in the order that does not crash; only ``__main__`` and ``__init__`` may import it.
``judge`` gives the verdict and imports none of the other rooms here; ``capture`` and ``matching`` pair up layers and
weights; ``diagnosis`` explains a difference and tries fixes; ``rungs`` proves this project's own networks the same.
"""

import keras_parity.both_frameworks  # noqa: F401
