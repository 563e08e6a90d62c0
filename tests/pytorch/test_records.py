"""What made a run is recorded, whoever made it and however; runs that differ in it are another experiment."""

import re
from datetime import timedelta

import pytest
import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from cnn_mnist import Classifier, MNISTDataModule
from keras_parity.logs.run import read_run

pytestmark = pytest.mark.usefixtures("use_tiny_mnist")

QUIET = ("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false", "--trainer.accelerator=cpu")
PLAIN = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
FIT = (*QUIET, "--trainer.max_epochs=2", "--data.val_size=50")


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Trains from Python, as a script does; gives the run."""
    monkeypatch.chdir(tmp_path)

    def run(ckpt_path=None, **trainer):
        made = Trainer(**PLAIN | {"max_epochs": 2} | trainer)
        model, data = Classifier(), MNISTDataModule(val_size=50)
        made.fit(model, data, ckpt_path=ckpt_path)
        made.test(model, data, verbose=False)
        return read_run(made.loggers[0].log_dir)

    return run


CHANGES = {
    "limit_train_batches": 1,
    "overfit_batches": 2,
    "max_steps": 5,
    "max_time": timedelta(minutes=90),
    "min_epochs": 2,
    "limit_test_batches": 1,
    "accumulate_grad_batches": 2,
    "callbacks": [EarlyStopping("val/acc", patience=7, min_delta=0.5)],
}

OFTEN = ("max_time", "callbacks", "overfit_batches")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", [*OFTEN, *(pytest.param(n, marks=pytest.mark.slow) for n in CHANGES if n not in OFTEN)]
)
def test_what_a_script_gives_its_trainer_makes_another_experiment(script, name):
    run, changed = script(), script(**{name: CHANGES[name]})
    assert changed.settings != run.settings
    assert f"trainer.{name}" in changed.settings
    assert f"trainer.{name}" not in run.settings


def test_a_callback_and_a_time_limit_are_recorded_as_the_commands_record_them(script, command, tmp_path):
    run = script(callbacks=[EarlyStopping("val/acc", min_delta=0.5, mode="max")], max_time="00:01:30:00")
    config = yaml.safe_load((run.folder / "config.yaml").read_text())
    assert config["trainer"]["max_time"] == "00:01:30:00"
    (callback,) = config["trainer"]["callbacks"]
    assert callback["class_path"] == "lightning.pytorch.callbacks.early_stopping.EarlyStopping"
    assert callback["init_args"]["min_delta"] == 0.5
    code, _, err = command("cnn_mnist", "fit", f"--config={run.folder / 'config.yaml'}", *QUIET)
    assert code == 0, err
    again = read_run(tmp_path / "lightning_logs/pytorch/version_1").settings
    assert again["trainer.callbacks"].startswith("EarlyStopping(monitor=val/acc, min_delta=0.5, patience=3")
    assert again["trainer.max_time"] == "00:01:30:00"


def test_a_run_that_a_script_continues_is_no_fresh_one(script):
    first = script(max_epochs=1)
    (checkpoint,) = (first.folder / "checkpoints").iterdir()
    resumed = script(ckpt_path=str(checkpoint))
    assert resumed.settings["ckpt_path"] == str(checkpoint)
    assert resumed.settings != script().settings


@pytest.mark.parametrize(("limit", "recorded", "updates"), [("1", 1, 1), ("1.0", None, 4), ("0.5", 0.5, 2)])
def test_one_batch_and_all_batches_are_two_experiments_and_the_twin_does_the_same(
    run_python, command, tmp_path, tiny_file, limit, recorded, updates
):
    flags = (*QUIET, "--trainer.max_epochs=1", f"--data.file={tiny_file}", f"--trainer.limit_train_batches={limit}")
    answer = run_python("-m", "cnn_mnist", "fit", *flags)  # as a command, whose int | float keeps this order
    assert answer.returncode == 0, answer.stderr
    run = read_run(tmp_path / "lightning_logs/pytorch/version_0")
    assert run.settings.get("trainer.limit_train_batches") == recorded
    assert command("keras_parity", f"--twin_of={run.folder}", *QUIET)[0] == 0
    twin = read_run(tmp_path / "lightning_logs/keras/version_0")
    assert twin.settings == run.settings
    assert [run.points["train/loss"][-1].step, twin.points["train/loss"][-1].step] == [updates, updates]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("limit", "updates"), [(1, 1), (1.0, 4)])
def test_a_twin_of_a_script_trains_as_many_batches(script, command, tmp_path, limit, updates):
    run = script(limit_train_batches=limit, max_epochs=1)
    assert command("keras_parity", f"--twin_of={run.folder}", *QUIET)[0] == 0
    twin = read_run(tmp_path / "lightning_logs/keras/version_0")
    assert twin.points["train/loss"][-1].step == run.points["train/loss"][-1].step == updates
    assert twin.settings == run.settings


@pytest.mark.parametrize("kind", [CSVLogger, TensorBoardLogger])
def test_a_run_with_another_logger_says_what_made_it(command, tmp_path, kind):
    logger = f"--trainer.logger={kind.__name__}", "--trainer.logger.save_dir=other"
    for seed in (0, 2):
        assert command("cnn_mnist", "fit", *FIT, *logger, f"--seed_everything={seed}")[0] == 0
    assert command("cnn_mnist", "fit", *FIT)[0] == 0
    folder = tmp_path / "other/pytorch/version_1"
    run = read_run(folder / "metrics.csv" if kind is CSVLogger else folder)
    usual = read_run(tmp_path / "lightning_logs/pytorch/version_0")
    assert (run.seed, run.settings, run.finished) == (2, usual.settings, True)
    assert run.environment == usual.environment
    assert run.mistakes is not None
    _, out, _ = command("keras_parity", "compare", "other")
    assert "unknown hardware" not in out
    assert "seed 2" not in out


@pytest.mark.filterwarnings("ignore:Experiment logs directory")
def test_several_loggers_and_loggers_without_a_folder_are_no_traceback(command, tmp_path):
    (tmp_path / "two.yaml").write_text(
        "trainer:\n  logger:\n"
        + "".join(
            f"  - class_path: lightning.pytorch.loggers.{kind}\n    init_args: {{save_dir: two, name: both}}\n"
            for kind in ("TensorBoardLogger", "CSVLogger")
        )
    )
    assert command("cnn_mnist", "fit", "--config=two.yaml", *FIT)[0] == 0
    assert read_run(tmp_path / "two/both/version_0").finished
    code, out, err = command("keras_parity", "compare", "two")
    assert code == 0, err
    assert "(n = 1)" in out


def test_results_compare_and_predict_name_the_weights_that_they_speak_of(command, tmp_path):
    best = {"monitor": "val/loss", "mode": "max"}  # of the first epoch
    flags = (*FIT, "--trainer.callbacks=ModelCheckpoint")
    flags += tuple(f"--trainer.callbacks.{name}={value}" for name, value in best.items())
    _, out, err = command("cnn_mnist", "fit", *flags)
    run = "lightning_logs/pytorch/version_0"
    weights = f"weights: {run}/checkpoints/epoch=0-step=4.ckpt, not the final ones of step 8, which the run's results"
    assert f"note: the results are of the final weights; {weights}" in out, err
    for words in (("cnn_mnist", "predict"), ("keras_parity", "predict"), ("cnn_mnist", "test")):
        assert weights in command(*words, f"--ckpt_path={run}")[1]
    _, out, _ = command("keras_parity", "compare")
    assert "the figures are of the final weights, of step 8" in " ".join(out.split())
    _, out, _ = command("cnn_mnist", "fit", *FIT)
    assert "not the final" not in out
    final = "version_1/checkpoints/epoch=1-step=8.ckpt, the final ones of the run"
    assert final in command("cnn_mnist", "predict", f"--ckpt_path={tmp_path / run[:-1]}1")[1]


@pytest.mark.parametrize("flag", ["--trainer.max_steps=5", "--trainer.max_time=00:01:00:00", "--ckpt_path=first"])
def test_a_training_that_others_limit_is_not_set_beside_the_published_one(command, make_run, flag):
    from keras_parity.compare.published import is_published
    from keras_parity.settings import settings_that_matter

    name, value = flag.removeprefix("--").split("=")
    config = {"trainer": {"max_epochs": 10}, "model": {"seed": 0}, "data": {"seed": 0}}
    assert is_published(settings_that_matter(config))
    group, _, key = name.rpartition(".")
    changed = config | ({group: {"max_epochs": 10, key: value}} if group else {key: value})
    assert not is_published(settings_that_matter(changed))


def test_the_bar_counts_the_steps_that_a_limit_leaves(command):
    flags = ("--trainer.enable_model_summary=false", "--trainer.accelerator=cpu", "--trainer.max_epochs=3")
    _, out, _ = command("cnn_mnist", "fit", *flags, "--trainer.max_steps=6")
    assert "epoch 1/3 ━━━━━━━━━━━━ 4/4" in out
    assert "epoch 2/3 ━━━━━━━━━━━━ 2/2" in out
    shown = re.search(r"epoch 2/3 .* loss (\S+) acc (\S+)", out)
    assert shown[1] in out.partition("results")[2]
    assert shown[2] in out.partition("results")[2]
