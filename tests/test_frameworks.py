"""What is settled before a framework is imported."""

import platform

import pytest

from cnn_mnist.frameworks import WAIT_POLICY

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is set up")

_SIZE = 2**26  # bytes, made by Python itself: numpy asks for huge pages of its own accord

_FAULTS = f"""
import resource
from cnn_mnist.frameworks import raise_malloc_thresholds
CALL
b"1" * {_SIZE}
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    b"1" * {_SIZE}
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.fixture
def with_and_without(run_python):
    """What a script prints after ``raise_malloc_thresholds`` and without it."""

    def run(script: str) -> tuple[int, int]:
        scripts = (script.replace("CALL", call) for call in ("raise_malloc_thresholds()", ""))
        with_it, without = (int(run_python("-c", text).stdout) for text in scripts)
        return with_it, without

    return run


def test_a_buffer_that_is_taken_again_faults_no_page_in_again(with_and_without):
    with_it, without = with_and_without(_FAULTS)
    assert with_it < 100 < 10 * _SIZE / 2**22 < without  # half of the pages, where all of them are huge


@pytest.mark.parametrize("when", ["meanwhile", "afterwards"])
def test_whoever_reads_scipy_signal_gets_the_real_one(run_python, when):
    use = "import scipy.signal; print(scipy.signal.windows.hamming(3).round(2).tolist())"
    meanwhile, afterwards = (use if when == moment else "pass" for moment in ("meanwhile", "afterwards"))
    code = f"""
from cnn_mnist.frameworks import importing_lightning
with importing_lightning():
    import torchmetrics
    {meanwhile}
{afterwards}
"""
    answer = run_python("-c", code)
    assert answer.stdout == "[0.08, 1.0, 0.08]\n", answer.stderr


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch):
    """An earlier test of this process may have chosen how threads wait."""
    for name in WAIT_POLICY:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def chosen_where(run_python, tmp_path):
    """What is chosen where so many threads of the machine run, and this process's own are in these states."""

    def choose(running, own):
        tmp_path.joinpath("stat").write_text(f"processes 9\nprocs_running {running}\nprocs_blocked 0\n")
        for number, state in enumerate(own):
            tmp_path.joinpath(f"self/task/{number}").mkdir(parents=True)
            tmp_path.joinpath(f"self/task/{number}/stat").write_text(f"{number} (a (name) R) {state} 1 1 R")
        code = f"""
import os
from pathlib import Path
from cnn_mnist import frameworks
frameworks.PROC = Path({str(tmp_path)!r})
frameworks.choose_wait_policy()
print({{name: os.environ[name] for name in frameworks.WAIT_POLICY if name in os.environ}})
"""
        return eval(run_python("-c", code).stdout)

    return choose


@pytest.mark.parametrize(
    ("running", "own", "chosen"),
    [
        (1, "R", {"GOMP_SPINCOUNT": "10000"}),
        (2, "R", {"OMP_WAIT_POLICY": "PASSIVE"}),
        (2, "SR", {"OMP_WAIT_POLICY": "PASSIVE"}),
        (2, "RR", {"GOMP_SPINCOUNT": "10000"}),  # NumPy's threads still run when it has just been imported
    ],
)
def test_threads_spin_on_an_idle_machine_and_sleep_beside_other_work(chosen_where, running, own, chosen):
    assert chosen_where(running, own) == chosen


def test_a_thread_that_ends_while_it_is_looked_at_stops_no_import(chosen_where, tmp_path):
    tmp_path.joinpath("self/task/ended/stat").mkdir(parents=True)  # nothing that can be read
    assert chosen_where(1, "R") == {"GOMP_SPINCOUNT": "10000"}


def test_what_the_user_has_said_of_waiting_threads_stays(chosen_where, monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert chosen_where(2, "R") == {"OMP_WAIT_POLICY": "ACTIVE"}
