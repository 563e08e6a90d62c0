import numpy as np
import pytest

from cnn_mnist.runs import pictures

DIGITS = tuple("0123456789")


def test_counts_have_labels_in_rows_and_readings_in_columns():
    counts = pictures.count_predictions(np.array([3, 3, 5], np.uint8), np.array([3, 8, 5]), 10)
    assert counts.sum() == 3
    assert counts[3, 3] == counts[3, 8] == counts[5, 5] == 1


def test_pictures_are_rgb_and_not_blank(tiny_mnist):
    labels = tiny_mnist.test_labels
    probabilities = np.full((len(labels), 10), 0.02)
    probabilities[np.arange(len(labels)), (labels + (np.arange(len(labels)) < 7)) % 10] = 0.82
    drawn = [
        pictures.examples(tiny_mnist.train_images[..., None], tiny_mnist.train_labels, DIGITS),
        pictures.mistakes(tiny_mnist.test_images[..., None], labels, DIGITS, probabilities),
        pictures.confusion_matrix(labels, probabilities.argmax(axis=1), DIGITS),
    ]
    for picture in drawn:
        assert picture.dtype == np.uint8
        assert picture.shape[2] == 3
        assert picture.std() > 10


def test_no_mistake_at_all_is_drawn_too(tiny_mnist):
    labels = tiny_mnist.test_labels
    picture = pictures.mistakes(tiny_mnist.test_images[..., None], labels, DIGITS, np.eye(10)[labels])
    assert picture.shape[2] == 3


@pytest.mark.parametrize(
    ("shape", "classes"), [((28, 28, 1), 2), ((32, 32, 3), 7), ((200, 130, 3), 10), ((5, 9, 2), 200)]
)
def test_images_of_any_shape_and_number_of_classes_are_drawn(shape, classes):
    names = [f"class number {number}" for number in range(classes)]
    generator = np.random.default_rng(0)
    images, labels = generator.integers(0, 256, (classes, *shape), np.uint8), np.arange(classes, dtype=np.uint8)
    probabilities = generator.dirichlet(np.ones(classes), classes)
    grid = pictures.mistakes(images, labels, names, probabilities)
    assert grid.shape[1:] == (750, 3)
    matrix = pictures.confusion_matrix(labels, probabilities.argmax(axis=1), names)
    assert max(matrix.shape) <= 2000


def test_a_colour_image_keeps_its_colours_and_a_grey_one_stands_dark_on_white():
    red, grey = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 1), 200, np.uint8)
    red[..., 0] = 255
    drawn = pictures.grid([red, grey], ["", ""])
    assert drawn[140, 75].tolist() == [255, 0, 0]
    assert drawn[140, 225].tolist() == [55, 55, 55]


def test_a_class_that_is_missing_has_no_example():
    images = np.zeros((3, 28, 28, 1), np.uint8)
    three, two = (pictures.examples(images, np.array(labels, np.uint8), DIGITS) for labels in ([1, 2, 3], [1, 3, 3]))
    assert (three[:, 300:450] < 255).any()
    assert (two[40:, 300:450] == 255).all()
