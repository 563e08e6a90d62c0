"""``python -m benchmarks.studies``: measures how often verdicts are wrong, in 10,000 simulated studies of each kind.

Each study has the primary row and nine others, with spreads of half, once, twice and four times the margin; the table
shows the worst of the four. In brackets: the naive rule, Student's 95% interval in every row, for any number of looks.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cnn_mnist.console.tables import markdown_table
from keras_parity.compare.intervals import ALPHA, Reach, always_valid, student
from keras_parity.compare.verdict import FEWEST

STUDIES, OTHERS, PAIRS = 10_000, 9, 50
SPREADS = (0.5, 1.0, 2.0, 4.0)
TRUTHS = {"no difference": 0.0, "half the margin": 0.5, "at the margin": 1.0, "twice the margin": 2.0}

Array = NDArray[np.float64]


def _gaussian(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return random.standard_normal(shape)


def _skewed(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Exponential figures in each framework: their differences have fat tails on both sides."""
    return (random.exponential(size=shape) - random.exponential(size=shape)) / np.sqrt(2)


def _lopsided(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Exponential differences, which two trainings of one kind cannot have."""
    return random.exponential(size=shape) - 1


KINDS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Array]] = {
    "Gaussian": _gaussian,
    "skewed": _skewed,
    "skewed differences": _lopsided,
}


def words(mean: Array, half_width: Array, margin: float) -> tuple[NDArray[np.bool_], ...]:
    """Where ``verdict.judge`` gives *same*, either *different*, and *different* without *perhaps slightly*."""
    same = np.abs(mean) + half_width <= margin
    unequal = np.abs(mean) > half_width
    return same, unequal & ~same, unequal & ~same & (np.abs(mean) - half_width >= margin)


def looks(noise: Array, reach: Reach, alphas: Array) -> tuple[Array, Array]:
    """Mean and half width of each row after each number of pairs, starting at ``FEWEST``.

    Args:
        noise: [studies, rows, pairs].
        reach: Kind of interval.
        alphas: Error rate of each row's interval, [rows].

    Returns:
        Both [studies, rows, looks].
    """
    n = np.arange(1, noise.shape[-1] + 1)
    mean = noise.cumsum(-1) / n
    variance = (np.square(noise).cumsum(-1) - n * mean**2)[..., FEWEST - 1 :] / (n - 1)[FEWEST - 1 :]
    factors = {alpha: [reach(k - 1, alpha) for k in n[FEWEST - 1 :]] for alpha in set(alphas)}
    reaches = np.array([factors[alpha] for alpha in alphas])
    return mean[..., FEWEST - 1 :], reaches * np.sqrt(np.maximum(variance, 1e-30) / n[FEWEST - 1 :])


def wrong(mean: Array, half_width: Array, truth: float, margin: float, pairs: int | None) -> Array:
    """Measures how often a verdict is wrong: *same* and *different* in the primary row, either in any other row.

    Args:
        mean: [studies, rows, looks]; the first row is the primary one.
        half_width: [studies, rows, looks].
        truth: The true difference, in margins.
        margin: The margin, in units of the noise.
        pairs: Number of pairs at the only look; None to look after every pair until the primary row is decided.

    Returns:
        The three fractions of studies.
    """
    same, unequal, different = words(mean + truth * margin, half_width, margin)
    seen: NDArray[np.bool_] = np.zeros((len(mean), mean.shape[-1]), bool)
    if pairs is None:
        decided = (same | unequal)[:, 0]
        seen |= np.cumsum(decided, -1) <= decided  # the looks up to the first that decides
    else:
        seen[:, pairs - FEWEST] = True
    false_same = same & (truth >= 1)
    false_different = (unequal if truth == 0 else different) & (truth <= 1)
    rows = [np.any(bad & seen[:, None], axis=-1) for bad in (false_same, false_different)]
    return np.array(
        [rows[0][:, 0].mean(), rows[1][:, 0].mean(), np.any(rows[0][:, 1:] | rows[1][:, 1:], axis=-1).mean()]
    )


def main() -> None:
    """Prints the table."""
    body = [["figures", "truth", "pairs", *_WHAT]]
    new, old = np.array([ALPHA, *[ALPHA / OTHERS] * OTHERS]), np.full(1 + OTHERS, ALPHA)
    for kind, draw in KINDS.items():
        worst: dict[tuple[str, int | None, bool], Array] = {}
        for spread in SPREADS:
            noise = draw(np.random.default_rng(0), (STUDIES, 1 + OTHERS, PAIRS))
            seen = {
                "fixed": looks(noise, student, new),
                "looked at": looks(noise, always_valid, new),
                "old": looks(noise, student, old),
            }
            for truth, size in TRUTHS.items():
                for pairs in (3, 5, 10, None):
                    for rule in ("old", "looked at" if pairs is None else "fixed"):
                        found = wrong(*seen[rule], size, 1 / spread, pairs)
                        key = truth, pairs, rule == "old"
                        worst[key] = np.maximum(worst.get(key, found), found)
        for truth in TRUTHS:
            for pairs in (3, 5, 10, None):
                both = zip(worst[truth, pairs, False], worst[truth, pairs, True], strict=True)
                figures = [f"{100 * new_:.1f}% ({100 * old_:.1f}%)" for new_, old_ in both]
                body.append([kind, truth, "until decided" if pairs is None else str(pairs), *figures])
    print(markdown_table(body))


_WHAT = ("wrong same (naive)", "wrong different (naive)", "any other row wrong (naive)")


if __name__ == "__main__":
    main()
