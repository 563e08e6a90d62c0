"""``explain_gap``: two trainings whose figures differ, and what makes them differ."""

import pytest

import keras_parity as kp
from cnn_mnist.errors import UserError
from cnn_mnist.runs.folder import KERAS, PYTORCH
from keras_parity.study.runner import Runner
from tests.conftest import bars, save_npz


@pytest.fixture
def fit(command, tmp_path):
    """Trains LeNet for an epoch on a few bars; gives the run folder."""
    save_npz(tmp_path / "few.npz", *bars(300, 0), *bars(200, 1))

    def run(version, *flags, framework=PYTORCH):
        package, log_dir = {PYTORCH: ("cnn_mnist", ["fit"]), KERAS: ("keras_parity", [])}[framework]
        flags = [*log_dir, "--model.architecture=lenet5", f"--data.file={tmp_path}/few.npz", *flags]
        code, _, err = command(package, *flags, "--trainer.max_epochs=1", "--trainer.enable_progress_bar=false")
        assert code == 0, err
        return tmp_path / "lightning_logs" / framework / f"version_{version}"

    return run


@pytest.fixture
def in_this_process(command, monkeypatch):
    """Trains here, without a process for each training; tests/study has those."""
    monkeypatch.setattr(Runner, "run", lambda self, words: command(*words[2:])[2])


def test_the_one_setting_that_differs_closes_the_gap_to_the_last_digit(fit, tmp_path):
    runs = fit(0, "--model.learning_rate=1e-5"), fit(1)
    gap = kp.explain_gap(*runs)
    assert [(swap.part, swap.left) for swap in gap.swaps] == [("optimizer", 0.0)]
    assert gap.size > gap.chance
    assert gap.closed_by == ["optimizer"]
    assert "learning_rate 1e-05 to 0.001" in str(gap)
    assert str(gap).endswith("Closed by one part alone: optimizer.")
    trained = {path: path.stat().st_mtime_ns for path in tmp_path.glob("lightning_logs/gap/*/version_*")}
    assert len(trained) == 3  # with the other's rate, and with two other seeds
    assert kp.explain_gap(*runs) == gap
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("lightning_logs/gap/*/version_*")} == trained


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("framework", [PYTORCH, KERAS])
@pytest.mark.parametrize("part", ["schedule", "optimizer"])
def test_a_schedule_is_swapped_and_an_optimizer_under_one(fit, part, framework):
    schedule, adam = ("--model.schedule=one_cycle", "--model.warmup=0.3"), ("--model.optimizer=adam",)
    shared = adam if part == "schedule" else schedule
    runs = fit(0, *schedule, *adam, framework=framework), fit(1, *shared, framework=framework)
    gap = kp.explain_gap(*runs, "train_eval/loss")
    assert [(swap.part, swap.left) for swap in gap.swaps] == [(part, 0.0)]


@pytest.mark.usefixtures("in_this_process")
def test_of_two_frameworks_order_weights_formula_and_loss_are_told_apart(fit):
    twin = fit(0, "--seed_everything=3", "--model.learning_rate=3e-3", framework=KERAS)
    ours = fit(0, "--model.align=native", "--model.softmax_before_loss=true", "--model.learning_rate=3e-3")
    gap = kp.explain_gap(twin, ours, "train_eval/loss")
    assert gap.first == ours  # PyTorch's, which has both formulas
    assert {swap.part for swap in gap.swaps} == {"framework", "data order", "initial weights", "optimizer", "loss"}
    assert gap.closed_by == ["loss"]


def test_equal_runs_have_nothing_to_explain(fit):
    assert "same settings and seed" in str(kp.explain_gap(fit(0), fit(1)))


def test_a_run_that_is_not_whole_is_refused_in_a_line(make_run):
    whole, cut = make_run(PYTORCH, 0), make_run(PYTORCH, 1, finished=False)
    with pytest.raises(UserError, match=r"expected a finished run of this project, .*version_1"):
        kp.explain_gap(whole, cut)
    with pytest.raises(UserError, match="expected a figure that both runs have, got val/acc"):
        kp.explain_gap(whole, whole, "val/acc")
