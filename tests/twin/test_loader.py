"""The batches of both frameworks, bit by bit."""

import keras
import numpy as np
import pytest
import torch

from cnn_mnist.data.augmentation import augmentation
from cnn_mnist.data.splits import Split
from cnn_mnist.pytorch.loader import Loader, to_tensor
from cnn_mnist.settings import DataSettings
from keras_parity.twin import loader
from keras_parity.twin.engines import tensorflow
from keras_parity.twin.engines.tensorflow import TrainingBatches, evaluation_batches


def read(batches):
    """Batches of TensorFlow or of NumPy, as arrays."""
    if isinstance(batches, keras.utils.PyDataset):
        return [batches[number] for number in range(len(batches))]
    return [(images.numpy(), labels.numpy()) for images, labels in batches]


@pytest.fixture
def split() -> Split:
    images = np.random.default_rng(0).integers(0, 256, (23, 6, 5, 3), np.uint8)
    return Split(images, np.arange(23, dtype=np.uint8) % 7, tuple("0123456"))


@pytest.mark.parametrize(
    "settings",
    [DataSettings(batch_size=8), DataSettings(batch_size=8, shift=2, rotation=10)],
    ids=["as found", "moved"],
)
@pytest.mark.parametrize("source", [tensorflow, loader], ids=["TensorFlow", "NumPy"])
def test_both_frameworks_train_on_the_same_bits_in_every_epoch(split, settings, source):
    moved = augmentation(split, settings)
    twin = source.TrainingBatches(split, settings, "float32")
    pytorch = Loader(to_tensor(split.images), torch.from_numpy(split.labels).long(), 8, 0, augmentation=moved)
    seen = []
    for epoch in (0, 1, 4):
        twin.epoch = epoch
        pytorch.set_epoch(epoch)
        for (images, labels), batch in zip(read(twin.rest(0)), pytorch, strict=True):
            np.testing.assert_array_equal(images, batch.images.permute(0, 2, 3, 1).numpy())
            np.testing.assert_array_equal(labels, batch.labels.numpy())
            seen.append(images)
        for (images, _), left in zip(read(twin.rest(2)), seen[-1:], strict=True):
            np.testing.assert_array_equal(images, left)
    assert len({np.concatenate(seen)[place].tobytes() for place in range(3 * 23)}) == (3 * 23 if moved else 23)


def test_nothing_runs_in_python_per_batch_where_nothing_is_moved(split):
    dataset = TrainingBatches(split, DataSettings(batch_size=8), "float32").dataset
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cnn_mnist.data.augmentation.move", None)
        assert len(list(dataset)) == 3


@pytest.mark.parametrize("source", [tensorflow, loader], ids=["TensorFlow", "NumPy"])
def test_evaluation_is_in_order_and_never_moved(split, source):
    images = np.concatenate([images for images, _ in read(source.evaluation_batches(split, "float32"))])
    np.testing.assert_array_equal(images, to_tensor(split.images).permute(0, 2, 3, 1).numpy())


def test_no_thread_tunes_the_batches_since_their_end_often_waits_for_it(split):
    for batches in (TrainingBatches(split, DataSettings(), "float32").dataset, evaluation_batches(split, "float32")):
        assert batches.options().autotune.enabled is False
