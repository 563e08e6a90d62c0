"""A ``Trainer`` in Python that is stopped after any step resumes to the bit."""

import pytest

from cnn_mnist.pytorch.data_module import MNISTDataModule
from cnn_mnist.pytorch.module import Classifier
from tests.lives import Killed, same
from tests.stepwise import Recorder, train

pytestmark = pytest.mark.usefixtures("use_tiny_mnist")


def check_every_stop(folder, steps, schedule, data, **trainer):
    module = Classifier(architecture="conv5x5", schedule=schedule)
    straight = train(module, data, Recorder(), **trainer)
    assert len(straight) == steps
    for stop in range(1, steps):
        with pytest.raises(Killed):
            train(module, data, Recorder(folder / f"{stop}.ckpt", stop), **trainer)
        resumed = train(module, data, Recorder(), folder / f"{stop}.ckpt", **trainer)
        assert same(resumed, {step: straight[step] for step in range(stop + 1, steps + 1)}), stop


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_training_goes_on_to_the_bit_after_every_step(tmp_path, schedule):
    check_every_stop(tmp_path, 8, schedule, MNISTDataModule(batch_size=20, shift=1), limit_train_batches=4)


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_training_of_40_steps_goes_on_to_the_bit_after_every_step(tmp_path, schedule):
    check_every_stop(tmp_path, 40, schedule, MNISTDataModule(batch_size=10), limit_train_batches=20)
