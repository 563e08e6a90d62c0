"""A training that is killed goes on to the bit on each of Keras's backends, in processes that really end."""

import random

import pytest

from keras_parity.frameworks import RUN_NAMES
from tests.lives import NET, QUIET, check_same
from tests.twin.one_life import DEAD

LENGTH = ("--data.batch_size=10", "--trainer.max_epochs=2")
STEPS = 40
"""At least, of 200 or 250 images."""
EVERY = "--checkpoint_every=3"
CASES = [
    ("--model.optimizer=adam", "--model.schedule=cosine", "--data.shift=2", "--trainer.gradient_clip_val=0.5"),
    ("--model.optimizer=sgd", "--model.momentum=0.9", "--model.schedule=one_cycle", "--model.warmup=0.3"),
    ("--model.optimizer=adamw", "--model.label_smoothing=0.1", "--trainer.precision=64-true", "--data.rotation=10"),
    ("--model.centered=true", "--model.schedule=step", "--model.decay_steps=7", "--data.val_size=50"),
]
"""With batch norm and dropout, see ``NET``."""


@pytest.fixture
def goes_on_to_the_bit(run_python, tmp_path, tiny_file, monkeypatch):
    """Trains a case straight, then kills it after some steps and resumes it each time; both runs must be equal."""
    (tmp_path / "net.yaml").write_text(NET)

    def lives(backend, case, kills):
        monkeypatch.setenv("KERAS_BACKEND", backend)
        flags = (*QUIET, *LENGTH, *case, EVERY, f"--data.file={tiny_file}")

        def live(*arguments):
            answer = run_python("-m", "tests.twin.one_life", *arguments)
            assert answer.returncode == (DEAD if arguments[0] else 0), answer.stderr

        live(0, *flags)
        first, *later = kills
        live(first, *flags)
        for step in (*later, 0):
            live(step, "--resume=last")
        runs = tmp_path / "lightning_logs" / RUN_NAMES[backend]
        check_same(runs / "version_0", runs / "version_1")

    return lives


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_killed_run_goes_on_to_the_bit(goes_on_to_the_bit, backend):
    pytest.importorskip(backend)
    goes_on_to_the_bit(backend, CASES[0], (11, 32))


@pytest.mark.slow
def test_a_killed_run_on_two_devices_goes_on_to_the_bit(goes_on_to_the_bit):
    pytest.importorskip("jax")
    goes_on_to_the_bit("jax", (*CASES[0], "--trainer.devices=2"), (11, 32))


@pytest.mark.slow
@pytest.mark.parametrize("backend", RUN_NAMES)
@pytest.mark.parametrize("case", range(len(CASES)))
def test_a_run_that_is_killed_five_times_goes_on_to_the_bit(goes_on_to_the_bit, backend, case):
    pytest.importorskip(backend)
    kills = random.Random(f"{backend} {case}").sample(range(1, STEPS), 5)
    goes_on_to_the_bit(backend, CASES[case], sorted(kills))
