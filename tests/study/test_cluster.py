"""``python -m keras_parity study --cluster``: where it trains, and what survives the death of whom."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from cnn_mnist.runs.folder import FRAMEWORKS, KERAS, PYTORCH, RESULTS
from keras_parity.logs.folders import all_folders
from keras_parity.logs.run import read_run
from keras_parity.study import jobs
from keras_parity.study.cluster import Cluster, _unpack
from keras_parity.study.worker import _packed
from tests.conftest import PROJECT
from tests.lives import check_same

ray = pytest.importorskip("ray")

_LOCAL = "--cluster=local", "--cores_per_run=1"
_REAL = (
    *("study", "--data.file=tiny.npz", "--data.batch_size=10", "--trainer.accelerator=cpu"),
    "--model.architecture=net.yaml",
)
_TWO = "--seeds=2", "--trainer.max_epochs=60"
_DIE = "import os, signal, time; os.kill(os.getppid(), signal.SIGKILL); time.sleep(60)\n"
_DIE_ONCE = "import pathlib\nif not pathlib.Path('died').exists():\n    pathlib.Path('died').touch()\n    " + _DIE


def _table(out):
    return out.partition("\nresults\n")[2].partition("\nwrote")[0].partition("\nnext: ")[0]


def _results(out):
    """The lines about the runs, without number and seconds, in any order."""
    return sorted(line.partition("] ")[2].rpartition(", ")[0] for line in out.splitlines() if line.startswith("["))


def test_a_study_on_a_cluster_ends_in_the_table_of_the_sequential_one(studied, tmp_path):
    flags = "--until=decided", "--max_seeds=9"
    out = studied(*flags)[1]
    code, there, err, _ = studied(*flags, *_LOCAL, "--trainer.log_dir=there")
    assert (code, err) == (0, "")
    assert "10 runs: decided after 5 pairs" in there
    assert there.startswith("2 runs at a time on 1 node\n[1/18] ")
    assert _table(there) == _table(out)
    assert set(_results(out)) <= set(_results(there))  # it started the next seed before it looked
    marked = [path for path in tmp_path.glob("there/*/*/config.yaml") if "until=decided" in path.read_text()]
    assert len(marked) == 10


def test_a_run_whose_worker_dies_goes_on_elsewhere_and_one_that_kills_workers_fails(studied, tmp_path):
    first = {"PyTorch, seed 0": _DIE_ONCE, "Keras, seed 1": _DIE}
    code, out, err, _ = studied("--seeds=2", *_LOCAL, first=lambda job: first.get(str(job), ""))
    assert (code, err.count("\n")) == (1, 1)
    assert "1 of 4 runs failed (Keras, seed 1: its worker on " in err
    assert len(re.findall(r"^PyTorch, seed 0: its worker on \S+ died; another continues its run$", out, re.M)) == 1
    assert out.count("Keras, seed 1: its worker on ") == 2
    assert len(all_folders(tmp_path / "lightning_logs")) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cores_per_run=1"], "--cores_per_run: expected --cluster with it, got none"),
        ([*_LOCAL, "--cores_per_run=0"], "--cores_per_run: expected 1 or more, got 0"),
        ([*_LOCAL, "--cores_per_run=9999"], "--cores_per_run: expected at most the cores of a node ("),
        (["--cluster=127.0.0.1:9"], "--cluster=127.0.0.1:9: expected local, or the address of a running Ray cluster"),
        (["--cluster=nowhere"], "--cluster=nowhere: expected local, or the address of a running Ray cluster"),
    ],
)
def test_a_mistake_is_one_line(studied, arguments, message):
    code, _, err, trained = studied(*arguments)
    assert (code, trained, err.count("\n")) == (1, [], 1)
    assert message in err


def test_folders_of_a_node_that_does_not_share_the_logs_come_back_whole_under_numbers_of_their_own(tmp_path):
    for number in (0, 1):
        (tmp_path / f"there/version_{number}/checkpoints").mkdir(parents=True)
        (tmp_path / f"there/version_{number}/checkpoints/last.ckpt").write_text(f"weights {number}")
    (tmp_path / "logs/keras/version_0").mkdir(parents=True)
    (tmp_path / "logs/keras/version_0/mine").write_text("a user's")
    _unpack(_packed(tmp_path / "there"), str(tmp_path / "logs"), "keras")
    files = {path.relative_to(tmp_path / "logs").as_posix() for path in tmp_path.glob("logs/**/*") if path.is_file()}
    kept = {f"keras/version_{number + 1}/checkpoints/last.ckpt" for number in (0, 1)}
    assert files == {"keras/version_0/mine", *kept}
    assert list((tmp_path / "there").iterdir()) == []


@pytest.fixture(scope="module")
def folder(tiny_file, tmp_path_factory):
    """A folder with a small data set and a network."""
    folder = tmp_path_factory.mktemp("cluster")
    shutil.copy(tiny_file, folder / "tiny.npz")
    (folder / "net.yaml").write_text("[{Conv2D: {filters: 4, kernel_size: 3, activation: relu}}, Flatten, {Dense: 10}]")
    return folder


@pytest.fixture(scope="module")
def straight(folder):
    """The runs of the sequential study on one core."""
    _study(folder, *_TWO, "--trainer.log_dir=straight", cores={0})
    return folder / "straight"


@pytest.fixture
def logs(folder):
    """The log folder of one test."""
    shutil.rmtree(folder / "lightning_logs", ignore_errors=True)
    return folder / "lightning_logs"


def _environment(folder):
    return os.environ | {"PYTHONPATH": str(PROJECT), "COLUMNS": "80", "OF": str(folder), "RAY_AUTH_MODE": "disabled"}


def _processes(folder):
    """What still runs of a command: each process has the environment that it was started with."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"OF={folder}\0".encode() in (path / "environ").read_bytes():
                found[int(path.name)] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


@contextmanager
def _started(folder, *arguments, cores=None):
    before = None if cores is None else (lambda: os.sched_setaffinity(0, cores))
    process = subprocess.Popen(
        [sys.executable, "-m", "keras_parity", *arguments], cwd=folder, env=_environment(folder), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=before,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()


def _study(folder, *arguments, cores=None):
    with _started(folder, *_REAL, *arguments, cores=cores) as process:
        out, err = process.communicate(timeout=500)
    assert process.returncode == 0, err
    return out


def _until(holds, seconds=60):
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def _runs(log_dir):
    return {(run.framework, run.seed): run for run in map(read_run, all_folders(log_dir)) if run.finished}


def _check_equal(log_dir, other):
    """Both folders hold the same runs, each once, equal to the bit but for times."""
    runs, others = _runs(log_dir), _runs(other)
    assert runs.keys() == others.keys()
    assert len(runs) == len([path for name in FRAMEWORKS for path in Path(log_dir, name).glob("version_*")])
    for key, run in runs.items():
        check_same(others[key].folder, run.folder)


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["ray::Worker.train", "raylet/raylet "])
def test_a_killed_worker_or_node_loses_nothing_and_trains_nothing_twice(folder, logs, straight, victim):
    """Prints what the study says, and the seconds until it says it."""
    with _started(folder, *_REAL, *_TWO, *_LOCAL) as process:
        _until(lambda: list(logs.glob("pytorch/*/checkpoints/*.ckpt")))
        (pid, *_) = (pid for pid, line in _processes(folder).items() if victim in line)
        killed = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        said = next(line for line in iter(process.stdout.readline, "") if "died" in line)
        print(f"{time.monotonic() - killed:.1f} s after the kill of {victim}: {said}", end="")
        out, err = process.communicate(timeout=500)
    print(out.partition("results")[0])
    assert (process.returncode, err) == (0, "")
    assert "raylet" not in out
    _check_equal(logs, straight)
    _until(lambda: not _processes(folder), 20)


@pytest.mark.slow
def test_twenty_kills_lose_nothing_and_train_nothing_twice(folder, logs, straight):
    """Kills a worker, and two times the node process, whenever each run that trains has a new checkpoint."""
    victims = [*["ray::Worker.train"] * 9, "raylet/raylet "] * 2

    len_and_name = lambda name: (len(name), name)  # noqa: E731 - step=75 before step=100

    def newest():
        cut = [run for run in logs.glob("*/version_*") if not (run / RESULTS).exists()]
        return {
            run: max((file.name for file in run.glob("checkpoints/[!.]*")), key=len_and_name, default="") for run in cut
        }

    def moved_on(known):
        """A worker that still starts its run must not die: three deaths from one checkpoint end a run."""
        now, training = newest(), sum("ray::Worker.train" in line for line in _processes(folder).values())
        moved = now and all(file and known.get(run) != file for run, file in now.items())
        return now if moved and len(now) >= training else None

    with _started(folder, *_REAL, *_TWO, *_LOCAL) as process:
        known = {}
        for number, victim in enumerate(victims):
            known = _until(lambda: moved_on(known), 120)  # noqa: B023
            pids = _until(lambda: [pid for pid, line in _processes(folder).items() if victim in line])  # noqa: B023
            os.kill(pids[number % len(pids)], signal.SIGKILL)
        out, err = process.communicate(timeout=500)
    print(out.partition("results")[0])
    assert (process.returncode, err) == (0, "")
    _check_equal(logs, straight)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_study_that_is_stopped_leaves_no_process_and_the_same_command_goes_on(folder, logs, straight, number, code):
    with _started(folder, *_REAL, *_TWO, *_LOCAL) as process:
        _until(lambda: list(logs.glob("pytorch/*/checkpoints/*.ckpt")))
        stopped = time.monotonic()
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert err == ("" if code < 0 else "python -m keras_parity: interrupted; repeat the command to continue\n")
    _until(lambda: not _processes(folder), 20)
    print(f"signal {number}: nothing left after {time.monotonic() - stopped:.1f} s")
    _study(folder, *_TWO, *_LOCAL)
    _check_equal(logs, straight)


@contextmanager
def _nodes(folder, *nodes):
    """A running cluster: a node without cores for the study, and nodes of one core, each started behind some words."""
    ray_start = [sys.executable, "-m", "ray.scripts.scripts", "start"]
    address = "127.0.0.1:6399"
    head = [*ray_start, "--head", "--port=6399", "--num-cpus=0", "--include-dashboard=false"]
    try:
        for command in (head, *([*node, *ray_start, f"--address={address}", "--num-cpus=1"] for node in nodes)):
            subprocess.run(command, env=_environment(folder), check=True, capture_output=True, cwd=folder)
        yield f"--cluster={address}", "--cores_per_run=1"
    finally:
        for pid in _processes(folder):
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_node_that_does_not_share_the_log_folder_sends_its_runs_whole(folder, logs, straight):
    logs.mkdir()
    hide = ["unshare", "-m", "sh", "-c", f'mount -t tmpfs none {logs} && exec "$@"', "sh"]
    if subprocess.run([*hide, "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs root, to hide the log folder from a node")
    with _nodes(folder, hide) as cluster:
        out = _study(
            folder, *_TWO, *cluster, f"--data.file={folder}/tiny.npz", f"--model.architecture={folder}/net.yaml"
        )
    assert out.startswith("1 run at a time on 1 node\n")
    _check_equal(logs, straight)


@pytest.mark.slow
def test_a_node_that_dies_has_its_run_resumed_on_another_and_without_its_own_node_a_study_ends(folder, logs, straight):
    with _nodes(folder, ["taskset", "-c", "0"], ["taskset", "-c", "1"]) as cluster:
        raylets = sorted(pid for pid, line in _processes(folder).items() if "raylet/raylet " in line)
        with _started(folder, *_REAL, *_TWO, *cluster) as process:
            _until(lambda: list(logs.glob("pytorch/*/checkpoints/*.ckpt")))
            killed = time.monotonic()
            os.kill(raylets[-1], signal.SIGKILL)
            said = next(line for line in iter(process.stdout.readline, "") if "died" in line)
            print(f"{time.monotonic() - killed:.1f} s after the kill of a node: {said}", end="")
            killed = time.monotonic()
            os.kill(raylets[0], signal.SIGKILL)
            err = process.communicate(timeout=100)[1]
            print(f"{time.monotonic() - killed:.1f} s after the kill of the study's node: {err}", end="")
        assert process.returncode == 1
        assert err.count("\n") == 1
        assert "repeat the command" in err
    _until(lambda: not _processes(folder), 20)
    _study(folder, *_TWO, *_LOCAL)
    _check_equal(logs, straight)


@pytest.mark.slow
def test_eight_seeds_on_two_slots_take_at_most_six_tenths_of_the_time(folder, logs):
    """Needs two idle cores, and trainings that are longer than the start of Ray and of the slots' servers."""
    flags = "--seeds=8", "--trainer.max_epochs=100"
    start = time.monotonic()
    alone = _study(folder, *flags, "--trainer.log_dir=eight", cores={0})
    sequential = time.monotonic() - start
    there = _study(folder, *flags, *_LOCAL)
    both = time.monotonic() - start - sequential
    print(f"sequential {sequential:.0f} s, two slots {both:.0f} s: {both / sequential:.2f}")
    untimed = lambda out: [line for line in _table(out).splitlines() if line.startswith(("acc", "loss", "param"))]  # noqa: E731
    assert untimed(there) == untimed(alone)
    _check_equal(logs, folder / "eight")
    assert both <= 0.6 * sequential


_STAND_IN = """
import os, shutil, time
time.sleep(0.5)
shutil.copytree({source!r}, {aside!r})
with open({aside!r} + "/config.yaml", "r+") as file:
    text = file.read()
    file.seek(0)
    file.write(text.replace("seed_everything: 0", "seed_everything: {seed}"))
os.makedirs(os.path.dirname({target!r}), exist_ok=True)
os.rename({aside!r}, {target!r})
"""


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [50, 500])
def test_many_runs_keep_the_slots_busy(command, make_run, monkeypatch, tmp_path, seeds):
    """The slots wait for the study in less than 2% of the time; each run stands for a training of half a second."""
    made = {framework: make_run(framework, epochs=2).rename(tmp_path / framework) for framework in (KERAS, PYTORCH)}
    starts, trained, own = [], [], (Cluster.start, Cluster.wait)

    def stand_in(job):
        framework, seed = job.framework, job.model.seed
        target = tmp_path / job.trainer.log_dir / framework / f"version_{seed}"
        names = {"source": str(made[framework]), "aside": str(tmp_path / f"{framework}_{seed}"), "target": str(target)}
        return [sys.executable, "-c", _STAND_IN.format(**names, seed=seed)]

    def start(self, *arguments):
        starts.append(time.monotonic())
        own[0](self, *arguments)

    def wait(self):
        if ended := own[1](self):
            trained.append((time.monotonic(), ended.seconds))
        return ended

    monkeypatch.setattr(jobs.Job, "command", property(stand_in))
    monkeypatch.setattr(Cluster, "start", start)
    monkeypatch.setattr(Cluster, "wait", wait)
    code, _, err = command("keras_parity", "study", "--trainer.max_epochs=2", f"--seeds={seeds}", *_LOCAL)
    assert (code, err, len(trained)) == (0, "", 2 * seeds)
    wall = trained[-1][0] - starts[0]
    waiting = 1 - sum(seconds for _, seconds in trained) / 2 / wall
    print(f"{len(trained)} runs on two slots in {wall:.0f} s; the slots waited for {waiting:.2%} of it")
    assert waiting < 0.02
