"""Damaged files of every kind that is read: the right result, or one clear line; in reasonable time and memory.

``pytest -m slow tests/faults/test_fuzz.py`` reads 20,000; the default ``pytest`` reads a few of each kind.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.faults.readers import MOST, READERS, outcome, read_damaged, write_whole_files

FILES = 20_000


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A folder with a whole file of each kind."""
    folder = tmp_path_factory.mktemp("whole")
    write_whole_files(folder)
    return folder


@pytest.mark.parametrize("name", READERS)
def test_a_whole_file_is_read_and_one_that_is_damaged_read_or_refused(whole, tmp_path, name):
    assert outcome(READERS[name], whole / name)[0] in ("read", "refused")  # the labels' checksum is not MNIST's
    found = read_damaged(whole, tmp_path, name, 6)
    assert found.keys() <= {"read", "refused"}, found


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures memory in /proc")
def test_thousands_of_damaged_files_in_one_process_of_limited_memory(whole, tmp_path, row):
    command = [sys.executable, "-m", "tests.faults.readers", str(whole), str(tmp_path), str(-(-FILES // len(READERS)))]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr[-2000:]
    found = [json.loads(line) for line in answer.stdout.splitlines()]
    for name, what, number, seed, peak, seconds in found:
        row(f"{number} damaged {name}", f"{what}; first seed {seed}, {peak / 1024:.0f} MB, all in {seconds} s")
    assert {name for name, *_ in found} == READERS.keys()
    assert sum(number for _, _, number, *_ in found) >= FILES
    assert not [line for line in found if line[1] not in ("read", "refused")]
    assert max(peak for *_, peak, _ in found) * 1024 < MOST
