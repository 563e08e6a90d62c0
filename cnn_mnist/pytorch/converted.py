"""Goes on from a checkpoint that came from Keras."""

import math
from typing import Any

from lightning.pytorch import Trainer

from cnn_mnist.errors import UserError


def count_updates(trainer: Trainer) -> None:
    """Counts the updates, and the epochs that they come to, of an optimizer whose checkpoint knew no epochs.

    Called in ``on_train_start``, where the batches of an epoch are known; the twin counts likewise.

    Raises:
        UserError: The updates end within an epoch, or the training has no epoch left.
    """
    updates, batches = trainer.optimizers[0].param_groups[0].get("step", 0), trainer.num_training_batches
    if trainer.global_step or not updates or math.isinf(batches):  # of loaders without a length, epochs are not known
        return
    steps = math.ceil(batches / trainer.accumulate_grad_batches)
    epochs, rest = divmod(updates, steps)
    if rest:
        raise UserError(
            f"--ckpt_path: expected the end of an epoch of {steps} updates, got {trainer.ckpt_path} at update {rest} "
            "of one; give the batch size and the validation split that it was trained with"
        )
    if trainer.max_epochs is not None and 0 <= trainer.max_epochs <= epochs:
        raise UserError(
            f"--ckpt_path: {trainer.ckpt_path} has {epochs} epochs already; give a --trainer.max_epochs over that"
        )
    loop: Any = trainer.fit_loop
    loop.epoch_progress.current.processed = epochs
    loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step.total.completed = updates
    loop.epoch_loop._batches_that_stepped = updates
