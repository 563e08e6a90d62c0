"""How the learning rate moves over a training.

Ground floor: the standard library only; everyone may import it.
"""

import math


def cosine_factor(step: int, steps: int, warmup: float) -> float:
    """The part of the peak learning rate that one update takes: linear warm-up from 0, then half a cosine to 0.

    Source: Loshchilov and Hutter 2017, eq. 5, without restarts; Keras's ``CosineDecay`` computes the same.

    Args:
        step: The update, counted from 0.
        steps: Updates in the whole training.
        warmup: Part of them in which the rate rises, in [0, 1).

    Returns:
        A number in [0, 1].
    """
    rising = warmup_steps(steps, warmup)
    if step < rising:
        return step / rising
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / (steps - rising))))


def warmup_steps(steps: int, warmup: float) -> int:
    """Updates in which the rate rises; at least one update is left for the fall."""
    return min(int(warmup * steps), steps - 1)
