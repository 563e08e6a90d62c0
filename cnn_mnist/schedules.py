"""The learning rate of each update, as a part of the peak: one pure function for both trainers."""

import math

from cnn_mnist.errors import UserError
from cnn_mnist.settings import ModelSettings


def rate_factor(settings: ModelSettings, step: int, steps: float) -> float:
    """The part of ``learning_rate`` that one update takes.

    Sources: cosine: Loshchilov and Hutter 2017, eq. 5, without restarts, Keras's ``CosineDecay``; step: PyTorch's
    ``StepLR``, Keras's ``ExponentialDecay(staircase=True)``; one_cycle: Smith and Topin 2018, as PyTorch's
    ``OneCycleLR(cycle_momentum=False, pct_start=warmup)``.

    Args:
        settings: The schedule's.
        step: The update, counted from 0; one after the last is allowed.
        steps: Updates in the whole training; infinity only where the schedule does not span the training.

    Returns:
        A number in [0, 1].
    """
    if settings.schedule == "one_cycle":
        peak = settings.warmup * steps - 1  # no whole number, as in OneCycleLR; 25 and 10,000 are its defaults
        if step < peak:
            return _anneal(1 / 25, 1.0, step / peak, settings.anneal_strategy)
        return _anneal(1.0, 1 / 25 / 10_000, (step - peak) / (steps - 1 - peak), settings.anneal_strategy)
    rising = warmup_steps(settings, steps)
    if step < rising:
        return step / rising
    if settings.schedule == "cosine":
        return _anneal(1.0, 0.0, (step - rising) / (steps - rising), "cos")
    return settings.decay_rate ** (step // settings.decay_steps) if settings.schedule == "step" else 1.0


def warmup_steps(settings: ModelSettings, steps: float) -> int:
    """Updates in which the rate rises from 0; at least one update is left."""
    return int(min(settings.warmup * steps, steps - 1)) if settings.warmup else 0


def spans_training(schedule: str | None, warmup: float | None) -> bool:
    """Whether the rate of an update depends on how many there are in the whole training."""
    return bool(warmup) or schedule in ("cosine", "one_cycle")


def check_length(settings: ModelSettings, steps: float) -> None:
    """Raises ``UserError`` where the schedule spans a training of which nobody knows how many updates it has."""
    if spans_training(settings.schedule, settings.warmup) and not 0 < steps < math.inf:
        raise UserError(
            f"--trainer.max_epochs: expected a training with an end under schedule={settings.schedule} with "
            f"warmup={settings.warmup}, got one without; give a number of epochs"
        )


def check_resumed_rate(settings: ModelSettings, before: float, now: float) -> None:
    """Raises ``UserError`` where a resumed training's rate would jump, since its schedule is laid over other updates.

    Args:
        settings: The schedule's.
        before: Learning rate of the next update, as the checkpoint has it.
        now: The same, as this training has it.
    """
    if not math.isclose(before, now, rel_tol=1e-9):
        raise UserError(
            f"--ckpt_path: expected schedule={settings.schedule} to go on at a learning rate of {before:.3g}, got "
            f"{now:.3g} from another number of updates; give the --trainer.max_epochs and batches that it began with"
        )


def _anneal(start: float, end: float, part: float, strategy: str) -> float:
    """From ``start`` to ``end``, of which ``part`` is done, in half a cosine or a straight line."""
    left = 0.5 * (1 + math.cos(math.pi * min(1.0, part))) if strategy == "cos" else 1 - min(1.0, part)
    return end + (start - end) * left
