"""Counts and draws the test images that two columns predict differently."""

from collections import Counter
from collections.abc import Sequence

from cnn_mnist.data.splits import Split
from cnn_mnist.runs import pictures
from cnn_mnist.runs.mistakes import Mistakes

Pair = tuple[Mistakes, Mistakes]
"""The mistakes of two runs with the same seed, one of each column; both are right on images in neither."""


def count_note(pairs: Sequence[Pair], names: tuple[str, str]) -> str:
    """Counts the predictions, and the images, that only one side gets right.

    It gives no p-value: the mistakes of one run depend on each other, so McNemar's test is far too sensitive (see
    ``python -m benchmarks.reference``). The row of the test accuracy is the test.

    Args:
        pairs: At least one.
        names: Names of the two sides.

    Returns:
        One line.
    """
    only = [Counter[int](), Counter[int]()]
    for one, other in pairs:
        only[0].update(other.keys() - one.keys())
        only[1].update(one.keys() - other.keys())
    votes = [sum(n > others[image] for image, n in mine.items()) for mine, others in (only, reversed(only))]
    return (
        f"over {_count(pairs)}, {only[0].total()} predictions are right in {names[0]} only and {only[1].total()} in "
        f"{names[1]} only; {votes[0]} images are right more often in {names[0]}, {votes[1]} in {names[1]}"
    )


def draw(
    pairs: Sequence[Pair], test: Split, names: tuple[str, str], where: str = "", most: int = 50
) -> pictures.Picture:
    """Draws the test images that most pairs predict differently, with label and most frequent pair of predictions.

    Args:
        pairs: At least one.
        test: The test set.
        names: Names of the two sides.
        where: Beginning of the title.
        most: Maximum number of images.

    Returns:
        The picture, uint8 [height, width, 3].
    """
    predictions: dict[int, Counter[tuple[int, int]]] = {}
    labels: dict[int, int] = {}
    for one, other in pairs:
        for image in one.keys() | other.keys():
            labels[image] = label = (one.get(image) or other[image])[0]
            both = one.get(image, (label, label))[1], other.get(image, (label, label))[1]
            if both[0] != both[1]:
                predictions.setdefault(image, Counter())[both] += 1
    shown = sorted(predictions, key=lambda image: (-predictions[image].total(), image))[:most]
    titles = []
    for image in shown:
        (predicted, _), *_ = predictions[image].most_common(1)
        often = f"({predictions[image].total()} of {len(pairs)})"
        right, first, second = (test.classes[number] for number in (labels[image], *predicted))
        titles.append(f"label {right}: {names[0]} {first},\n{names[1]} {second} {often}")
    summary = f"{where}{len(predictions)} test images predicted differently in {_count(pairs)}; {len(shown)} are shown"
    return pictures.grid([test.images[image] for image in shown], titles, summary, size=11)


def _count(pairs: Sequence[Pair]) -> str:
    return "1 pair of runs" if len(pairs) == 1 else f"{len(pairs)} pairs of runs"
