"""Learning-rate schedules: a pure function of the update, used by both trainers."""

import math

from cnn_mnist.errors import expect
from cnn_mnist.settings import ModelSettings


def rate_factor(settings: ModelSettings, step: int, steps: float) -> float:
    """Computes the factor of ``learning_rate`` for an update.

    Sources: cosine: Loshchilov and Hutter 2017, eq. 5, without restarts, Keras's ``CosineDecay``; step: PyTorch's
    ``StepLR``, Keras's ``ExponentialDecay(staircase=True)``; one_cycle: Smith and Topin 2018, as PyTorch's
    ``OneCycleLR(cycle_momentum=False, pct_start=warmup)``.

    Args:
        settings: The model's settings.
        step: Number of the update, from 0; one past the last is allowed.
        steps: Updates in the whole training; may be infinite if the schedule does not depend on it.

    Returns:
        A number in [0, 1].
    """
    if settings.schedule == "one_cycle":
        peak = settings.warmup * steps - 1  # fractional, as in OneCycleLR; 25 and 10,000 are its defaults
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
    """Returns the number of warm-up updates; at least one update follows them."""
    return int(min(settings.warmup * steps, steps - 1)) if settings.warmup else 0


def spans_training(schedule: str | None, warmup: float | None) -> bool:
    """Returns whether the learning rate depends on the total number of updates."""
    return bool(warmup) or schedule in ("cosine", "one_cycle")


def check_length(settings: ModelSettings, steps: float) -> None:
    """Raises ``UserError`` if the schedule depends on the total number of updates and that is unknown."""
    known = 0 < steps < math.inf or not spans_training(settings.schedule, settings.warmup)
    schedule = f"schedule={settings.schedule} with warmup={settings.warmup}"
    end = f"a training with an end, since {schedule} spans it"
    expect("--trainer.max_epochs", known, end, "none; set a number of epochs")


def check_resumed_rate(settings: ModelSettings, before: float, now: float) -> None:
    """Checks that the learning rate of a resumed training does not jump.

    Args:
        settings: The model's settings.
        before: Learning rate of the next update according to the checkpoint.
        now: Learning rate of the next update in this training.

    Raises:
        UserError: They differ, because the total number of updates differs.
    """
    rate = f"schedule={settings.schedule} to continue at a learning rate of {before:.3g}"
    came = f"{now:.3g} for another number of updates; use the run's --trainer.max_epochs and batches"
    expect("--ckpt_path", math.isclose(before, now, rel_tol=1e-9), rate, came)


def _anneal(start: float, end: float, part: float, strategy: str) -> float:
    """Interpolates from ``start`` to ``end`` at the fraction ``part``, along half a cosine or linearly."""
    left = 0.5 * (1 + math.cos(math.pi * min(1.0, part))) if strategy == "cos" else 1 - min(1.0, part)
    return end + (start - end) * left
