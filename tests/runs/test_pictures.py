import numpy as np

from cnn_mnist.runs import pictures


def test_counts_have_labels_in_rows_and_readings_in_columns():
    counts = pictures.count_predictions(np.array([3, 3, 5], np.uint8), np.array([3, 8, 5]))
    assert counts.sum() == 3
    assert counts[3, 3] == counts[3, 8] == counts[5, 5] == 1


def test_pictures_are_rgb_and_not_blank(tiny_mnist):
    labels = tiny_mnist.test_labels
    probabilities = np.full((len(labels), 10), 0.02)
    probabilities[np.arange(len(labels)), (labels + (np.arange(len(labels)) < 7)) % 10] = 0.82
    drawn = [
        pictures.examples(tiny_mnist.train_images, tiny_mnist.train_labels),
        pictures.mistakes(tiny_mnist.test_images, labels, probabilities),
        pictures.confusion_matrix(labels, probabilities.argmax(axis=1)),
    ]
    for picture in drawn:
        assert picture.dtype == np.uint8
        assert picture.shape[2] == 3
        assert picture.std() > 10


def test_no_mistake_at_all_is_drawn_too(tiny_mnist):
    labels = tiny_mnist.test_labels
    picture = pictures.mistakes(tiny_mnist.test_images, labels, np.eye(10)[labels])
    assert picture.shape[2] == 3
