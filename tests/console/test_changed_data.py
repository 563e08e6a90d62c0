"""A user's data file that changes after a run was trained on it: each command that uses both says so."""

import numpy as np
import pytest

from cnn_mnist.runs.folder import ENVIRONMENT
from keras_parity.logs.run import read_run
from tests.conftest import save_npz
from tests.console.test_data_sets import QUIET, RUNS, TRAINING

FLAGS = ("--data.file=my.npz", "--data.val_size=30", "--trainer.max_epochs=1")
FLAGS = (*FLAGS, "--model.architecture=[Flatten, {Dense: 10}]")


@pytest.fixture
def overwrite(tmp_path, tiny_mnist):
    """Replaces the data file by one of inverted images, or writes the first."""

    def write(inverted=True):
        train, labels, test, test_labels = tiny_mnist
        change = np.invert if inverted else np.copy
        save_npz(tmp_path / "my.npz", change(train), labels, change(test), test_labels)

    write(inverted=False)
    return write


@pytest.mark.parametrize(
    "words",
    [
        ("cnn_mnist", "test", "--ckpt_path"),
        ("cnn_mnist", "validate", "--ckpt_path"),
        ("cnn_mnist", "predict", "--ckpt_path"),
        ("cnn_mnist", "fit", *QUIET, "--trainer.max_epochs=2", "--ckpt_path"),
        ("keras_parity", *QUIET, "--twin_of"),
    ],
    ids=lambda words: words[1],
)
def test_a_command_says_that_the_file_has_changed(command, overwrite, words):
    command(*TRAINING["cnn_mnist"], *FLAGS)
    run = RUNS["cnn_mnist"]
    code, _, err = command(*words, run)
    assert (code, err) == (0, "")
    overwrite()
    code, _, err = command(*words, run)
    assert (code, err.count("\n")) == (0, 1)
    assert f"warning: my.npz is not the file that {run} was trained on: its SHA-256 was " in err
    assert err.endswith("; results of the two do not compare\n")


@pytest.mark.parametrize("package", RUNS)
def test_a_run_is_not_resumed_on_other_data(command, overwrite, package):
    command(*TRAINING[package], *FLAGS)
    overwrite()
    words = [word for word in TRAINING[package][:2] if not word.startswith("--")]
    code, _, err = command(*words, f"--resume={RUNS[package]}", "--trainer.max_epochs=2")
    assert code == 1
    assert f"error: --resume: my.npz is not the file that {RUNS[package]} was trained on" in err
    assert err.endswith("; restore the file, or start a new run\n")
    overwrite(inverted=False)
    code, _, err = command(*words, f"--resume={RUNS[package]}", "--trainer.max_epochs=2")
    assert code == 0, err


def test_compare_names_the_data_as_a_difference(command, overwrite, tmp_path):
    command(*TRAINING["cnn_mnist"], *FLAGS)
    command("keras_parity", *QUIET, f"--twin_of={RUNS['cnn_mnist']}")
    code, out, _ = command("keras_parity", "compare")
    assert code == 0
    assert "the newest finished runs with the same settings" in out
    assert "sha256" not in out
    overwrite()
    command("keras_parity", *QUIET, f"--twin_of={RUNS['cnn_mnist']}")
    code, out, _ = command("keras_parity", "compare", RUNS["cnn_mnist"], "lightning_logs/keras/version_1")
    assert code == 0
    (line,) = [line for line in out.splitlines() if line.startswith("data.sha256")]
    assert len(set(line.split())) == 3
    assert "predictions are right in" not in out
    (tmp_path / "lightning_logs/keras/version_0/config.yaml").unlink()
    _, out, _ = command("keras_parity", "compare")
    assert "with the same settings" not in out


def test_predict_says_it_of_the_second_run_as_well(command, overwrite):
    command(*TRAINING["cnn_mnist"], *FLAGS)
    overwrite()
    command("keras_parity", *QUIET, f"--twin_of={RUNS['cnn_mnist']}")
    paths = [f"--ckpt_path={RUNS[package]}" for package in ("keras_parity", "cnn_mnist")]
    code, _, err = command("keras_parity", "predict", *paths)
    assert (code, err.count("\n")) == (0, 1)
    assert f"my.npz is not the file that {RUNS['cnn_mnist']} was trained on" in err


def test_a_run_without_the_hash_is_read_and_used(command, overwrite, tmp_path):
    command(*TRAINING["cnn_mnist"], *FLAGS)
    path = tmp_path / RUNS["cnn_mnist"] / ENVIRONMENT
    assert "data_sha256: " in path.read_text()
    assert read_run(path.parent).settings["data.sha256"]
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if "sha256" not in line))
    assert "data.sha256" not in read_run(path.parent).settings
    overwrite()
    code, _, err = command("cnn_mnist", "test", f"--ckpt_path={RUNS['cnn_mnist']}")
    assert (code, err) == (0, "")
