"""A rank or an agent that is killed: all end within a minute with one line, and the run resumes (``pytest -m faults``).

What is killed when is drawn from a seed.
"""

import os
import random
import signal
import time

import pytest

from tests.conftest import bars, save_npz
from tests.lives import check_same
from tests.processes import LAUNCHES, NET, QUIET, check_close, children, ended, fit, seconds_until_gone, start

pytestmark = pytest.mark.faults

KILLS = int(os.environ.get("FAULTS_KILLS", "20"))
"""Over all runs of the first test."""

FLAGS = (
    *QUIET, "--data.file=images.npz", "--model.architecture=net.yaml", "--data.batch_size=49", "--data.val_size=100",
    "--trainer.max_epochs=12", "--trainer.log_every_n_steps=3", "--checkpoint_every=2", "--data.shift=1",
)  # fmt: skip
RESUMED = "lightning_logs/pytorch/version_1"
VICTIMS = {"ddp of 2": ("rank 0", "rank 1"), "ddp of 3": ("rank 0", "rank 1", "rank 2")}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "net.yaml").write_text(NET)
    save_npz(tmp_path / "images.npz", *bars(600, seed=0), *bars(71, seed=1))
    return tmp_path


def named(processes, victim):
    """The process of a victim's name."""
    kind, number = victim.split()
    if kind == "agent":
        return processes[int(number)].pid
    if len(processes) > 1:  # each agent has one
        return children(processes[int(number)].pid)[0]
    return [processes[0].pid, *children(processes[0].pid)][int(number)]


def killed(folder, processes, victim, moments):
    """Kills the victim a moment after the next checkpoint; gives what the others say and their seconds, or None."""
    files = set(folder.glob(f"{RESUMED}/checkpoints/*"))
    while all(process.poll() is None for process in processes):
        if set(folder.glob(f"{RESUMED}/checkpoints/*")) - files:
            break
        time.sleep(0.005)
    time.sleep(moments.random() * 0.3)
    try:
        os.kill(named(processes, victim), signal.SIGKILL)
    except (OSError, IndexError):  # the training has ended
        return None
    seconds = seconds_until_gone(folder)
    codes, said = ended(processes)
    assert 0 not in codes
    return seconds, [line for line in "".join(said).splitlines() if line.startswith("python -m cnn_mnist:")], said


@pytest.mark.parametrize("launch", list(LAUNCHES)[1:4])
def test_a_rank_or_an_agent_that_is_killed_ends_all_and_the_run_resumes_to_the_bit(folder, row, launch):
    victims = VICTIMS.get(launch, ("rank 0", "rank 1", "agent 0", "agent 1"))
    straight, moments = fit(folder, launch, *FLAGS), random.Random(launch)
    processes, longest, kills = start(folder, launch, *FLAGS), 0.0, 0
    while kills < -(-KILLS // 3):
        found = killed(folder, processes, victims[kills % len(victims)], moments)
        if found is None:
            break
        seconds, lines, said = found
        assert all(line.endswith(f" --resume={RESUMED}") for line in lines), lines
        assert len(lines) == 1 or (len(lines) == 2 and launch.startswith("torchrun")), said  # one a terminal
        assert launch.startswith("torchrun") or said == [f"{lines[0]}\n"]
        longest, kills = max(longest, seconds), kills + 1
        processes = start(folder, launch, f"--resume={RESUMED}")
    codes, said = ended(processes)
    assert not any(codes), said
    check_same(straight, folder / RESUMED)
    row(f"{kills} SIGKILLs of ranks and agents, {launch}", f"all gone in {longest:.1f} s, resumed to the bit")


@pytest.mark.parametrize("victim", ["rank 0", "rank 2"])
def test_a_rank_that_is_killed_before_all_have_met_ends_all(folder, row, victim):
    processes = start(folder, "ddp of 3", *FLAGS)
    while len(children(processes[0].pid)) < 2:
        time.sleep(0.01)
    time.sleep(1)  # they import PyTorch
    os.kill(named(processes, victim), signal.SIGKILL)
    seconds = seconds_until_gone(folder)
    (code,), (said,) = ended(processes)
    assert code
    ours = [line for line in said.splitlines() if line.startswith("python -m cnn_mnist:")]  # PyTorch warns, too
    assert ours in ([], ["python -m cnn_mnist: error: expected 3 processes to the end, lost at least one"])
    row(f"{victim} of 3 killed before they met", f"all gone in {seconds:.1f} s")


def test_a_run_resumes_with_another_number_of_processes(folder, row):
    flags, moments = (*FLAGS, "--trainer.precision=64-true"), random.Random(0)
    straight = fit(folder, "one process", *flags)
    processes = start(folder, "ddp of 3", *flags)
    for launch in ("torchrun on 2 nodes", "one process", "ddp of 2"):
        assert killed(folder, processes, "rank 0", moments) is not None
        processes = start(folder, launch, f"--resume={RESUMED}")
    assert not any(ended(processes)[0])
    difference = check_close(straight, folder / RESUMED)
    assert 0 < difference < 1e-12
    row("a run on 3, 2, 1 and 2 processes in turn", f"weights within {difference:.0e} of one process")
