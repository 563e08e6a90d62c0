import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml

from cnn_mnist.errors import UserError
from cnn_mnist.pytorch.logger import RunLogger
from cnn_mnist.runs.environment import write_environment
from cnn_mnist.runs.files import check_writable
from cnn_mnist.runs.folder import new_run_folder
from cnn_mnist.runs.timing import Stopwatch


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is moved on."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return lambda seconds: now.__setitem__(0, now[0] + seconds)


def test_validation_is_left_out_of_the_epoch(clock):
    stopwatch = Stopwatch(started=100.0)
    clock(1)
    stopwatch.resume()
    clock(4)
    stopwatch.pause()
    clock(50)  # a validation
    stopwatch.resume()
    clock(1)
    assert stopwatch.epoch_done(images=600) == {"time/epoch_seconds": 5.0, "throughput/images_per_second": 120.0}


def test_setup_counts_from_the_start_of_the_call_to_the_end_of_the_first_step(clock):
    stopwatch = Stopwatch(started=97.0)
    clock(2)
    assert stopwatch.setup_done() == {"time/setup_seconds": 5.0}


def test_the_fit_is_the_sum_of_its_epochs(clock):
    stopwatch = Stopwatch()
    for _ in range(3):
        stopwatch.resume()
        clock(2)
        stopwatch.epoch_done(images=10)
        clock(7)
    assert stopwatch.fit_done() == {"time/fit_seconds": 6.0}


def test_the_environment_says_what_the_figures_depend_on(tmp_path):
    write_environment(tmp_path, device="cpu", threads=2, precision="32-true")
    environment = yaml.safe_load((tmp_path / "environment.yaml").read_text())
    assert environment["device"] == "cpu"
    assert environment["threads"] == 2
    assert environment["precision"] == "32-true"
    assert environment["packages"]["torch"].startswith("2.")
    assert {"cpu", "cores", "python", "commit"} <= environment.keys()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"expected a folder for logs that can be written, got .*file.logs"):
        check_writable(tmp_path / "file" / "logs")


def test_looking_whether_a_folder_can_be_written_leaves_nothing(tmp_path):
    check_writable(tmp_path / "some" / "logs")
    assert list(tmp_path.iterdir()) == []


def test_run_folders_are_numbered_on(tmp_path):
    assert [new_run_folder(tmp_path, "keras").name for _ in range(3)] == ["version_0", "version_1", "version_2"]


@pytest.mark.parametrize(
    "take", [lambda logs: new_run_folder(logs, "keras"), lambda logs: RunLogger(logs, "x").version]
)
def test_runs_that_start_together_never_share_a_folder(tmp_path, take):
    start = threading.Barrier(8)

    def together(_):
        start.wait()
        return take(tmp_path)

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(together, range(8)))) == 8
    assert len(list(tmp_path.glob("*/version_*"))) == 8
