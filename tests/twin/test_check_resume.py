"""``check_resume`` of ``Model.fit`` with Keras's own backup: what goes on to the bit, and what does not."""

import keras
import numpy as np
import pytest

import keras_parity as kp
from cnn_mnist.errors import UserError

IMAGES, LABELS = np.random.default_rng(0).random((20, 4), dtype=np.float32), np.arange(20) % 3
DATA = IMAGES, LABELS


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(3)])
    network.compile(
        keras.optimizers.SGD(0.1, 0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return network


def test_with_a_backup_at_each_epoch_a_training_goes_on_to_the_bit_from_the_last_epoch(model):
    before = model.get_weights()
    report = kp.check_resume(model, (IMAGES[:12], LABELS[:12]), batch_size=4, shuffle=False)
    assert (report.steps, len(report.stops)) == (6, 5)
    report.raise_if_broken()
    assert all(map(np.array_equal, model.get_weights(), before))  # copies were trained


def test_with_a_backup_every_step_the_epoch_is_begun_again(model):
    report = kp.check_resume(model, DATA, [2, 5], save_freq=1, batch_size=4, shuffle=False)
    assert (report.stops[0].at, report.stops[0].differs[0]) == (3, "the batch")
    assert "from step 3 on, the batch, " in str(report)


def test_a_model_that_is_not_compiled_is_refused():
    with pytest.raises(UserError, match=r"expected a compiled model, .* call its compile\(\) first"):
        kp.check_resume(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]), DATA)


@pytest.mark.parametrize("schedule", [None, keras.optimizers.schedules.CosineDecay(0.1, 10)])
def test_a_function_makes_model_and_data(schedule):
    def make():
        network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        network.compile(keras.optimizers.Adam(schedule or 0.1), keras.losses.MeanSquaredError())
        return network

    data = lambda: (IMAGES, np.eye(3, dtype=np.float32)[LABELS])  # noqa: E731
    kp.check_resume(make, data, [3, 5, 8], batch_size=4, shuffle=False).raise_if_broken()
