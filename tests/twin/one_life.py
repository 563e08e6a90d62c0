"""``python -m tests.twin.one_life STEP FLAG...`` trains the twin in a process that ends at once after a step.

Step 0 lets it live.
"""

import os
import sys

DEAD = 9
"""The exit code of a process that ended at its step."""

if __name__ == "__main__":
    from keras_parity.frameworks import importing_keras
    from keras_parity.twin import cli

    step, *flags = sys.argv[1:]
    with importing_keras():
        from keras_parity.twin.keeper import Keeper

    own = Keeper.on_train_batch_end

    def end(self, *args, **more):
        own(self, *args, **more)
        if self.epochs.step >= int(step) > 0:
            os._exit(DEAD)

    Keeper.on_train_batch_end = end
    cli.main(flags, {})
