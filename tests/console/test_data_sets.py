"""Other data sets than MNIST, through the commands of both packages."""

import json
import shlex

import numpy as np
import pytest
import yaml

from cnn_mnist.data import mnist
from cnn_mnist.runs.mistakes import read_mistakes
from keras_parity.logs.event_files import read_scalars

QUIET = ("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false", "--trainer.accelerator=cpu")
TRAINING = {"cnn_mnist": ("cnn_mnist", "fit", *QUIET), "keras_parity": ("keras_parity", *QUIET)}
RUNS = {"cnn_mnist": "lightning_logs/pytorch/version_0", "keras_parity": "lightning_logs/keras/version_0"}
SHORT = ("--trainer.max_epochs=1", "--data.batch_size=50")


@pytest.fixture
def asked(tiny_mnist, monkeypatch) -> list[tuple]:
    """What is asked of the folder of the known sets, which all hold the tiny one."""
    found: list[tuple] = []
    monkeypatch.setattr(mnist, "load_mnist", lambda *where: found.append(where) or tiny_mnist)
    return found


@pytest.fixture
def save(tmp_path):
    """Writes an .npz file of bars in images of a shape, of so many classes."""

    def write(shape=(28, 28, 1), classes=10, name="my.npz"):
        labels = np.arange(210, dtype=np.uint8) % classes
        images = np.zeros((210, *shape), np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[2 * label + 2 : 2 * label + 5, 4:-4] = 255
        parts = {"x_train": images[:150], "y_train": labels[:150], "x_test": images[150:], "y_test": labels[150:]}
        np.savez(tmp_path / name, **parts)
        return tmp_path / name

    return write


@pytest.mark.parametrize("package", TRAINING)
@pytest.mark.parametrize(
    ("shape", "classes", "message"),
    [
        ((32, 32, 3), 7, "the images are 32x32x3, the network takes 28x28x1: begin the architecture with `- Input"),
        ((28, 28), 7, "the images are of 7 classes, the network has 10 logits: end the architecture with `- Dense: 7`"),
    ],
)
def test_data_that_do_not_fit_the_network_are_one_line(command, save, tmp_path, package, shape, classes, message):
    file = save(shape, classes)
    code, out, err = command(*TRAINING[package], *SHORT, f"--data.file={file}")
    errors = [line for line in err.splitlines() if ": warning: " not in line]
    assert (code, out, len(errors)) == (1, "", 1)
    assert message in errors[0]
    assert list(tmp_path.iterdir()) == [file]


def test_a_users_file_goes_through_fit_twin_compare_and_predict(command, save, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    save()
    flags = (*SHORT, "--data.file=~/my.npz", "--data.shift=1", "--data.rotation=5")
    for training in TRAINING.values():
        code, _, err = command(*training, *flags)
        assert code == 0, err
    kept = yaml.safe_load((tmp_path / RUNS["keras_parity"] / "config.yaml").read_text())["data"]
    assert (kept["file"], kept["shift"], kept["rotation"]) == (str(tmp_path / "my.npz"), 1, 5.0)
    losses = [read_scalars(tmp_path / run).points["train/loss"][-1].value for run in RUNS.values()]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    code, out, err = command("keras_parity", "compare", "--disagreements=differ.png", "--output=page.html")
    assert code == 0, err
    code, out, err = command("keras_parity", "predict", *(f"--ckpt_path={run}" for run in RUNS.values()))
    assert code == 0, err
    assert "of 60 test images right" in out


def test_the_next_commands_are_those_of_the_log_that_was_written_and_work(command, save):
    save()
    log = "--trainer.logger=CSVLogger", "--trainer.logger.save_dir=my logs", "--trainer.logger.name=one"
    code, out, err = command("cnn_mnist", "fit", *SHORT, "--data.file=my.npz", *log)
    assert code == 0, err
    assert "tensorboard --logdir" not in out
    _, _, line = out.partition("next: python -m keras_parity ")
    arguments = shlex.split(line.partition("\n")[0])
    assert arguments == ["--twin_of", "my logs/one/version_0", "--trainer.log_dir=my logs"]
    code, out, err = command("keras_parity", *arguments)
    assert code == 0, err
    assert out.endswith("next: python -m keras_parity compare 'my logs'\n      tensorboard --logdir 'my logs'\n")
    code, out, err = command("keras_parity", "compare", "my logs")
    assert code == 0, err


def test_a_run_on_a_users_file_is_tested_on_that_file(command, use_tiny_mnist, save, tmp_path):
    save()
    flags = ("--data.file=my.npz", "--data.val_size=20", "--trainer.max_epochs=1", "--model.architecture=conv5x5")
    code, trained, err = command(*TRAINING["cnn_mnist"], *flags)
    assert code == 0, err
    run = f"--ckpt_path={RUNS['cnn_mnist']}"
    code, tested, err = command("cnn_mnist", "test", run)
    assert code == 0, err
    one, two = (next(line.split() for line in out.splitlines() if "test set" in line) for out in (trained, tested))
    assert one == two
    with np.load(tmp_path / "my.npz") as arrays:
        np.savez(
            tmp_path / "other.npz", **{n: 255 - array if n.startswith("x") else array for n, array in arrays.items()}
        )
    code, other, err = command("cnn_mnist", "test", run, "--data.file=other.npz")
    assert code == 0, err
    assert next(line.split() for line in other.splitlines() if "test set" in line) != one


def test_names_of_classes_stand_in_predictions_pages_and_pictures(command, asked, tmp_path):
    for training in TRAINING.values():
        code, _, err = command(*training, *SHORT, "--data.dataset=fashion_mnist", "--model.learning_rate=1e-9")
        assert code == 0, err
    assert set(asked) == {("data", "fashion_mnist")}
    for run in RUNS.values():
        assert read_mistakes(tmp_path / run)
    code, _, err = command(
        "keras_parity", "compare", "--disagreements=differ.png", "--output=page.html", "--log_dir=lightning_logs"
    )
    assert code == 0, err
    page = (tmp_path / "page.html").read_text()
    assert "<th>Ankle boot</th>" in page
    assert page.count("<th>Shirt</th>") == 4
    for package, run in RUNS.items():
        code, _, err = command(package, "predict", f"--ckpt_path={run}", "--output=a.json", "--figure=a.png")
        assert (code, err) == (0, "")
        records = json.loads((tmp_path / "a.json").read_text())
        assert {record["name"] for record in records} <= {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"} | {
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
        }
    assert set(asked) == {("data", "fashion_mnist")}
    code, out, _ = command("cnn_mnist", "predict", f"--ckpt_path={RUNS['cnn_mnist']}", "--data.dataset=mnist")
    assert code == 0
    assert asked[-1] == ("data", "mnist")
    assert "name" not in out


def test_a_run_resumed_in_another_epoch_goes_on_with_the_same_moved_images(command, asked, tmp_path):
    flags = (
        "--model.architecture=[Flatten, {Dense: 10}]",
        "--data.batch_size=50",
        "--data.shift=2",
        "--data.rotation=10",
    )
    for package, training in TRAINING.items():
        command(*training, *flags, "--trainer.max_epochs=2")
        (first,) = (tmp_path / RUNS[package] / "checkpoints").iterdir()
        command(*training, *flags, "--trainer.max_epochs=1")
        again = tmp_path / RUNS[package].replace("0", "1")
        code, _, err = command(*training, f"--ckpt_path={again}", "--trainer.max_epochs=2")
        assert code == 0, err
        ends = [tmp_path / RUNS[package].replace("0", number) for number in "02"]
        one, two = (read_scalars(run).points["test/loss"][-1].value for run in ends)
        assert one == two, first


def test_a_home_folder_is_found_in_every_argument_and_file(command, asked, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    (tmp_path / "me").mkdir()
    (tmp_path / "my.yaml").write_text("data:\n  data_dir: ~/data\nseed_everything: 3\n")
    for package, training in TRAINING.items():
        for flags in (("--data.data_dir=~/data",), ("--data.data_dir", "~/data"), ("--config=my.yaml",)):
            code, out, err = command(*training, *flags, "--print_config")
            assert (code, err) == (0, "")
            assert f"data_dir: {tmp_path}/me/data" in out, package
    code, _, err = command("keras_parity", "--twin_of=~/none")
    assert f"got {tmp_path}/me/none" in err
    assert not (tmp_path / "~").exists()
