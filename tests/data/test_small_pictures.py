"""Cells of 28 to 100 pixels, as of a form: with a digit, with several, and empty, with scan noise and border lines."""

import numpy as np
import pytest
from PIL import Image

from cnn_mnist.data import mnist
from cnn_mnist.data.digits.read import find_digits, read_digits
from cnn_mnist.errors import UserError


def cell(rng, digits=(), lines=None):
    """A cell with digits of MNIST side by side, and so many of its four border lines; float32 [height, width]."""
    side = int(rng.integers(28, 101))
    wide = int(np.clip(0.75 * side * len(digits), side, 100)) if len(digits) > 1 else side
    high = max(28, min(side, int(wide / max(1, len(digits)) / 0.75)))
    ink, slot = np.zeros((high, wide)), wide / max(1, len(digits))
    for place, image in enumerate(digits):
        rows, columns = (np.flatnonzero(image.any(axis=axis)) for axis in (1, 0))
        box = Image.fromarray(image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
        scale = min(rng.uniform(0.5, 0.75) * min(high, 1.25 * slot) / max(box.size), (slot - 2) / box.width)
        box = box.resize([max(1, int(length * scale)) for length in box.size], Image.Resampling.BICUBIC)
        top = int(rng.uniform(0.25, 0.75) * (high - box.height))
        left = int(place * slot + rng.uniform(0.35, 0.65) * (slot - box.width))
        ink[top : top + box.height, left : left + box.width] = np.asarray(box) / 255
    thick, dark = int(rng.integers(1, max(2, side // 28 + 1))), rng.uniform(0.3, 1)
    for turns in rng.permutation(4)[: rng.integers(0, 5) if lines is None else lines]:
        off = int(rng.integers(0, max(1, side // 20)))
        edge = np.rot90(ink, turns)[off : off + thick]
        edge[:] = np.maximum(edge, dark)
    paper, pen = rng.uniform(200, 250), rng.uniform(20, 110)
    noisy = paper + ink * (pen - paper) + rng.normal(0, 1, ink.shape) * rng.uniform(0, 12)
    return np.round(np.clip(noisy, 0, 255)).astype(np.float32)


def cells(images, counts, many):
    """So many cells, each with the numbers of its digits in ``images``; the counts of digits take turns."""
    rng = np.random.default_rng(0)
    for number in range(many):
        drawn = rng.integers(0, len(images), counts[number % len(counts)])
        yield cell(rng, images[drawn], lines=None if len(drawn) < 2 else int(rng.choice([0, 0, 2]))), drawn


def found(grey):
    try:
        return find_digits(grey)
    except UserError:
        return []


KINDS = {"one": ((1,), 200, 0.97), "empty": ((0,), 200, 0.97), "several": ((2, 3), 100, 0.9)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", [10, pytest.param(1, marks=pytest.mark.slow)])
def test_a_small_cell_has_as_many_digits_as_were_drawn(data_dir, kind, part):
    counts, many, share = KINDS[kind]
    images = mnist.load_mnist(data_dir).test_images
    right = [len(found(grey)) == len(drawn) for grey, drawn in cells(images, counts, many // part)]
    assert np.mean(right) >= share


@pytest.mark.slow
def test_the_digits_of_small_cells_are_read(data_dir, command, tmp_path):
    flags = (f"--data.data_dir={data_dir}", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false")
    assert command("cnn_mnist", "fit", "--config=speedrun", *flags)[0] == 0
    from cnn_mnist.pytorch.predict import compute_logits

    (checkpoint,) = tmp_path.rglob("*.ckpt")
    data = mnist.load_mnist(data_dir)
    for counts, many, share in KINDS.values():
        right = []
        for grey, drawn in cells(data.test_images, counts, many):
            digits = [digit.image[..., None] for digit in found(grey)]
            read = compute_logits(checkpoint, np.stack(digits)).argmax(axis=1) if digits else []
            right.append(list(read) == list(data.test_labels[drawn]))
        assert np.mean(right) >= share


def test_doubt_about_a_small_picture_is_said(tmp_path):
    picture = np.zeros((40, 40), np.uint8)
    picture[:, 18:22] = 255
    Image.fromarray(picture[:30]).save(tmp_path / "cut.png")
    with pytest.warns(UserWarning, match="reaches the edge"):
        read_digits([tmp_path / "cut.png"], invert=False)
