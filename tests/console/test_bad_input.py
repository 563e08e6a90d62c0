"""A user's mistake ends in one clear line on stderr and a non-zero exit code, and leaves nothing behind."""

import shutil
import zipfile
from pathlib import Path

import pytest
import torch

from cnn_mnist.data import mnist
from cnn_mnist.pytorch.module import Classifier

pytestmark = pytest.mark.usefixtures("use_tiny_mnist")

QUIET = (
    *("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"),
    "--trainer.enable_checkpointing=false",
)


def _files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def refused(command, tmp_path):
    """Runs ``python -m cnn_mnist ARGUMENTS`` and gives the one line of its error."""

    def run(*arguments: object) -> str:
        before = _files(tmp_path)
        code, out, err = command("cnn_mnist", *arguments)
        assert code in (1, 2)
        assert out == ""
        assert err.count("\n") == 1
        assert err.startswith("python -m cnn_mnist")
        assert _files(tmp_path) == before
        return err

    return run


@pytest.fixture
def checkpoint(command, tmp_path):
    command("cnn_mnist", "fit", "--trainer.max_epochs=1", "--trainer.enable_progress_bar=false")
    (path,) = tmp_path.rglob("*.ckpt")
    return path


@pytest.mark.skipif(torch.accelerator.is_available(), reason="this machine has a GPU")
def test_gpu_without_a_gpu(refused):
    error = refused("fit", "--trainer.accelerator=gpu", *QUIET)
    assert "expected a GPU" in error
    assert "use --trainer.accelerator=cpu" in error


@pytest.mark.parametrize("command_name", ["fit", "summary"])
def test_an_unknown_architecture_lists_the_known_ones(refused, command_name):
    error = refused(command_name, "--model.architecture=lenet")
    assert "unknown architecture 'lenet': expected one of three_conv, conv5x5" in error


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--data.batch_size=0", "batch_size: expected 1 or more images, got 0"),
        ("--data.batch_size=251", "batch_size: expected 1 to 250 (the training images), got 251"),
        ("--data.val_size=250", "val_size: expected 0 to 249 of the 250 training images, since one must remain"),
        ("--data.val_size=-1", "val_size: expected 0 or more images, got -1"),
        ("--data.val_size=200", "batch_size: expected 1 to 50 (the training images), got 64"),
        ("--model.learning_rate=0", "learning_rate: expected a number over 0, got 0.0"),
        ("--seed_everything=99999999999", "--seed_everything: expected 0 to 4294967295, got 99999999999"),
        ("--seed_everything=-1", "--seed_everything: expected 0 to 4294967295, got -1"),
        ("--trainer.max_epochs=0", "fit: expected something to train"),
        ("--trainer.strategy=foo", "--trainer: "),
        ("--model.rho=1", "rho: expected 0 or more and less than 1, got 1.0"),
        ("--model.learning_rate=fast", "--model.learning_rate: expected a number, got fast"),
        ("--model.optimizer=Adam", "--model.optimizer: expected rmsprop, adam, adamw or sgd, got Adam"),
        ("--trainer.max_epochs=ten", "--trainer.max_epochs: expected a whole number or null, got ten"),
        (
            "--trainer.logger=CVSLogger",
            "expected a lightning.pytorch.loggers.logger.Logger, true or false or null, got CVSLogger; did you mean "
            "lightning.pytorch.loggers.CSVLogger?",
        ),
        ("--trainer.callbacks=[EarlyStoping]", "got ['EarlyStoping']; did you mean lightning.pytorch.callbacks.EarlyS"),
        ("--lr=0.1", "--lr=0.1; did you mean --model.learning_rate?"),
        ("--model.learning_rates=1", "model.learning_rates"),
        ("--trainer.max_epochs=soon", "trainer.max_epochs"),
        ("--config=missing.yaml", "missing.yaml"),
    ],
)
def test_a_setting_out_of_its_range(refused, flag, message):
    assert message in refused("fit", flag, *QUIET)


def test_an_unknown_command_lists_the_known_ones(refused):
    error = refused("train")
    for name in ("fit", "validate", "test", "predict", "summary"):
        assert name in error


def test_a_log_folder_that_cannot_be_written(refused, tmp_path):
    (tmp_path / "lightning_logs").touch()
    assert "expected a folder for logs that can be written, got lightning_logs" in refused("fit", *QUIET)


def test_a_run_folder_that_holds_a_run(command, refused):
    version = "--trainer.logger.init_args.version=5"
    command("cnn_mnist", "fit", "--trainer.max_epochs=1", version, *QUIET)
    assert "expected a new run folder, got lightning_logs/pytorch/version_5" in refused("fit", version, *QUIET)


def test_a_corrupt_data_file(refused, tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    raw = tmp_path / "data/MNIST/raw"
    raw.mkdir(parents=True)
    (raw / "t10k-labels-idx1-ubyte").write_bytes(b"no labels")
    error = refused("fit", *QUIET)
    assert "data/MNIST/raw/t10k-labels-idx1-ubyte: expected MNIST's t10k-labels-idx1-ubyte" in error


def test_no_data_and_no_network(refused, monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mnist, "find_spec", lambda _: None)
    monkeypatch.setattr(mnist, "_DOWNLOAD", "raise SystemExit('RuntimeError: Error downloading')")
    error = refused("fit", *QUIET)
    assert "RuntimeError: Error downloading" in error


def test_a_checkpoint_that_has_its_epochs_already(refused, checkpoint):
    error = refused("fit", f"--ckpt_path={checkpoint}", "--trainer.max_epochs=1", *QUIET)
    assert "has 1 epochs already; set --trainer.max_epochs above that" in error


def test_a_network_that_is_nan_after_its_last_step(command):
    flags = ("--data.batch_size=250", "--trainer.max_epochs=1", "--model.learning_rate=1e38")
    code, _, err = command("cnn_mnist", "fit", *flags, *QUIET)
    assert code == 1
    assert "expected finite results, got" in err


def test_test_without_a_checkpoint(refused):
    assert "test: expected a trained network; name one with --ckpt_path=RUN_FOLDER" in refused("test", *QUIET)


def test_validate_without_a_held_out_part(refused, checkpoint):
    error = refused("validate", f"--ckpt_path={checkpoint}", *QUIET)
    assert "expected a run with a validation split, got one that trained on all images; use test instead" in error


class TestCheckpoints:
    @pytest.mark.parametrize("command_name", ["fit", "test", "predict"])
    def test_a_file_that_is_missing(self, refused, command_name):
        error = refused(command_name, "--ckpt_path=none.ckpt")
        assert "expected a run folder or a checkpoint file, got none.ckpt, which does not exist" in error

    def test_a_truncated_one(self, refused, checkpoint, tmp_path):
        (tmp_path / "cut.ckpt").write_bytes(checkpoint.read_bytes()[:20_000])
        assert "got cut.ckpt, which is truncated or no checkpoint" in refused("test", "--ckpt_path=cut.ckpt")

    def test_a_file_that_is_no_checkpoint(self, refused, tmp_path):
        (tmp_path / "notes.ckpt").write_text("no checkpoint")
        (tmp_path / "archive.ckpt").touch()
        with zipfile.ZipFile(tmp_path / "archive.ckpt", "w") as archive:
            archive.writestr("a.txt", "no checkpoint")
        for name, reason in (("notes", "which is truncated or no checkpoint"), ("archive", "cannot be loaded")):
            assert reason in refused("test", f"--ckpt_path={name}.ckpt")

    def test_damage_inside(self, refused, checkpoint, tmp_path):
        shutil.copy(checkpoint, tmp_path / "damaged.ckpt")
        content = bytearray((tmp_path / "damaged.ckpt").read_bytes())
        content[100:3000] = bytes(2900)
        (tmp_path / "damaged.ckpt").write_bytes(content)
        assert "got damaged.ckpt, which" in refused("test", "--ckpt_path=damaged.ckpt")

    def test_weights_of_something_else(self, refused, tmp_path):
        torch.save({"layer.weight": torch.zeros(2)}, tmp_path / "other.ckpt")
        assert "without state_dict and hyper_parameters" in refused("test", "--ckpt_path=other.ckpt")

    def test_weights_that_are_not_the_architectures(self, refused, checkpoint, tmp_path):
        content = torch.load(checkpoint, weights_only=True)
        content["hyper_parameters"]["architecture"] = "conv5x5"
        torch.save(content, tmp_path / "other.ckpt")
        assert "whose weights do not fit conv5x5" in refused("test", "--ckpt_path=other.ckpt")

    def test_another_architecture_typed_beside_it(self, refused, checkpoint):
        error = refused("test", f"--ckpt_path={checkpoint}", "--model.architecture=conv5x5")
        assert "--model.architecture" in error
        assert "was trained with three_conv, got conv5x5" in error

    def test_code_in_it_does_not_run(self, refused, tmp_path):
        class Payload:
            def __reduce__(self):
                return (open, (str(tmp_path / "written"), "w"))

        torch.save({"state_dict": Payload(), "hyper_parameters": {}}, tmp_path / "evil.ckpt")
        assert "cannot be loaded safely" in refused("test", "--ckpt_path=evil.ckpt")
        assert not (tmp_path / "written").exists()


def test_nan_in_the_loss_names_step_and_run(command, monkeypatch):
    shared_step = Classifier._shared_step

    def break_at_step_6(self, batch, split):
        loss, logits = shared_step(self, batch, split)
        return (loss * float("nan") if self.trainer.global_step == 5 else loss), logits

    monkeypatch.setattr(Classifier, "_shared_step", break_at_step_6)
    code, _, err = command("cnn_mnist", "fit", "--trainer.max_epochs=3", *QUIET)
    assert code == 1
    assert err.count("\n") == 1
    assert "expected a finite loss, got NaN or infinity at step 6 of lightning_logs/pytorch/version_0" in err


@pytest.mark.parametrize("words", [("cnn_mnist", "fit"), ("keras_parity",)])
def test_the_settings_of_a_run_that_a_study_has_marked_are_read_without_its_mark(command, tmp_path, words):
    (tmp_path / "marked.yaml").write_text("seed_everything: 3\nstudy: until=decided\n")
    code, out, err = command(*words, "--config=marked.yaml", "--print_config")
    assert (code, err) == (0, "")
    assert "seed_everything: 3\n" in out
    assert "study" not in out
