"""The test images that the two frameworks predict differently: counted, tested and drawn."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cnn_mnist.runs import pictures
from cnn_mnist.runs.mistakes import Mistakes
from keras_parity.compare.verdict import mcnemar

Pair = tuple[Mistakes, Mistakes]
"""The mistakes of a Keras run and of a PyTorch run of one seed; what is in neither, both predict as labelled."""


def mcnemar_note(pairs: Sequence[Pair]) -> str:
    """McNemar's test over the predictions of all pairs, in one line.

    Several pairs read the same images, which the test takes for other ones: with them p is an indication.
    """
    only_keras = sum(len(pytorch.keys() - keras.keys()) for keras, pytorch in pairs)
    only_pytorch = sum(len(keras.keys() - pytorch.keys()) for keras, pytorch in pairs)
    return (
        f"McNemar's exact test over {_count(pairs)}: {only_keras} predictions right in Keras only, "
        f"{only_pytorch} right in PyTorch only, p = {mcnemar(only_keras, only_pytorch):.2g}"
    )


def draw(pairs: Sequence[Pair], images: NDArray[np.uint8], most: int = 50) -> pictures.Picture:
    """The test images that most pairs predict differently, each with its label and its most frequent two predictions.

    Args:
        pairs: At least one.
        images: The test images, [n, 28, 28].
        most: How many are drawn at most.
    """
    predictions: dict[int, Counter[tuple[int, int]]] = {}
    labels: dict[int, int] = {}
    for keras, pytorch in pairs:
        for image in keras.keys() | pytorch.keys():
            labels[image] = label = (keras.get(image) or pytorch[image])[0]
            both = keras.get(image, (label, label))[1], pytorch.get(image, (label, label))[1]
            if both[0] != both[1]:
                predictions.setdefault(image, Counter())[both] += 1
    shown = sorted(predictions, key=lambda image: (-predictions[image].total(), image))[:most]
    titles = []
    for image in shown:
        ((keras_prediction, pytorch_prediction), _), *_ = predictions[image].most_common(1)
        often = f"({predictions[image].total()} of {len(pairs)})"
        titles.append(f"label {labels[image]}: Keras {keras_prediction},\nPyTorch {pytorch_prediction} {often}")
    summary = f"{len(predictions)} test images predicted differently in {_count(pairs)}, the most often {len(shown)}"
    return pictures.grid([images[image] for image in shown], titles, summary, size=11)


def _count(pairs: Sequence[Pair]) -> str:
    return "1 pair of runs" if len(pairs) == 1 else f"{len(pairs)} pairs of runs"
