"""The learning rate's schedule on a PyTorch optimizer."""

from functools import partial

from lightning.pytorch import Trainer
from torch.optim.lr_scheduler import LambdaLR

from cnn_mnist.schedules import check_length, check_resumed_rate, rate_factor
from cnn_mnist.settings import ModelSettings


def not_laid(step: int) -> float:
    """Stands for the schedule's factor in ``configure_optimizers``, where the updates are not counted yet.

    To count them there, Lightning would have to set up the data, and a run that is resumed in the middle of an epoch
    would not find its place in it again.
    """
    return 1.0


def lay_schedule(trainer: Trainer, settings: ModelSettings) -> None:
    """Lays the schedule over the updates of the training, in the place of ``not_laid``, in ``on_train_start``.

    Args:
        trainer: With its data set up and what it resumes restored.
        settings: The schedule's.

    Raises:
        UserError: The training has no end, or the learning rate of a resumed one would jump.
    """
    for config in trainer.lr_scheduler_configs:
        old = config.scheduler
        if isinstance(old, LambdaLR) and not_laid in old.lr_lambdas:
            steps = trainer.estimated_stepping_batches
            check_length(settings, steps)
            config.scheduler = new = LambdaLR(
                old.optimizer, partial(rate_factor, settings, steps=steps), old.last_epoch - 1
            )
            new._step_count = old._step_count  # a part of the checkpoint's state, which no argument sets
            if new.last_epoch:
                check_resumed_rate(settings, float(old.get_last_lr()[0]), float(new.get_last_lr()[0]))
