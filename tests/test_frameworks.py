"""What is settled before a framework is imported."""

import platform

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is set up")

_SIZE = 2**26  # bytes, made by Python itself: numpy asks for huge pages of its own accord

_FAULTS = f"""
import resource
from cnn_mnist.frameworks import keep_large_buffers
CALL
b"1" * {_SIZE}
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    b"1" * {_SIZE}
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
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
