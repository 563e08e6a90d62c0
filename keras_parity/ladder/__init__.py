"""``python -m keras_parity ladder`` and ``check``: any two models, judged as functions, then explained.

Extra: imports both frameworks, in the order that works; only ``__main__`` and ``__init__`` may import it. ``judge``
gives the verdict and imports none of the other rooms here; ``capture`` and ``matching`` find out which layer is which;
``diagnosis`` explains a difference; ``rungs`` proves this project's own networks the same.
"""

import keras_parity.both_frameworks  # noqa: F401
