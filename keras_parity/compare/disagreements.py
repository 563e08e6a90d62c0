"""The test images that two columns predict differently: counted and drawn."""

from collections import Counter
from collections.abc import Sequence

from cnn_mnist.data.splits import Split
from cnn_mnist.runs import pictures
from cnn_mnist.runs.mistakes import Mistakes

Pair = tuple[Mistakes, Mistakes]
"""The mistakes of two runs of one seed, a column's each; what is in neither, both predict as labelled."""


def count_note(pairs: Sequence[Pair], names: tuple[str, str]) -> str:
    """How many predictions, and how many images, each side alone has right, in one line.

    McNemar's test has no place here: the mistakes of one run hang together, so that with the frameworks' names swapped
    at random in the pairs of the reference runs of three_conv it gave p <= 0.05 in a quarter of the draws, over all
    predictions and with one vote for each image alike. The row of the test accuracy is the test.
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
    """The test images that most pairs predict differently, each with its label and its most frequent two predictions.

    Args:
        pairs: At least one.
        test: The test set.
        names: Of the two sides.
        where: Stands before the title.
        most: How many are drawn at most.
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
    summary = (
        f"{where}{len(predictions)} test images predicted differently in {_count(pairs)}, the most often {len(shown)}"
    )
    return pictures.grid([test.images[image] for image in shown], titles, summary, size=11)


def _count(pairs: Sequence[Pair]) -> str:
    return "1 pair of runs" if len(pairs) == 1 else f"{len(pairs)} pairs of runs"
