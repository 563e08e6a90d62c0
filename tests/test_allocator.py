"""Large buffers: kept by the process, and in huge pages where Linux gives them."""

import platform
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is set up")

_SIZE = 2**26  # bytes, made by Python itself: numpy asks for huge pages of its own accord

_FAULTS = f"""
import resource
from cnn_mnist.allocator import keep_large_buffers
CALL
b"1" * {_SIZE}
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    b"1" * {_SIZE}
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

_HUGE_KILOBYTES = f"""
from cnn_mnist.allocator import keep_large_buffers
CALL
buffer = b"1" * {_SIZE}
lines = open("/proc/self/smaps_rollup").read().splitlines()
print(next(int(line.split()[1]) for line in lines if line.startswith("AnonHugePages")))
"""


@pytest.fixture
def with_and_without(run_python):
    """What a script prints after ``keep_large_buffers`` and without it."""

    def run(script: str) -> tuple[int, int]:
        scripts = (script.replace("CALL", call) for call in ("keep_large_buffers()", ""))
        with_it, without = (int(run_python("-c", text).stdout) for text in scripts)
        return with_it, without

    return run


def test_a_buffer_that_is_taken_again_faults_no_page_in_again(with_and_without):
    with_it, without = with_and_without(_FAULTS)
    assert with_it < 100 < 10 * _SIZE / 2**22 < without  # half of the pages, where all of them are huge


def test_a_large_buffer_lies_in_huge_pages_where_linux_gives_them(with_and_without):
    given = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not given.exists() or "[madvise]" not in given.read_text():
        pytest.skip("this Linux is set up to give huge pages always or never")
    with_it, without = with_and_without(_HUGE_KILOBYTES)
    assert without < _SIZE / 2**11 < with_it
