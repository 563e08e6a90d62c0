"""The README: its commands run as printed, its code runs, and its results are what the command prints."""

import glob
import re
import shlex
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.conftest import PROJECT

README = (PROJECT / "README.md").read_text()
COMMANDS = [
    line.partition("  #")[0].strip()
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
]
NOT_HERE = {  # part of a command: why it is not run here
    "pip install": "the set-up, as CI does it",
    "accelerator=gpu": "needs a GPU",
    "val_size=5000": "needs the whole set; tests/test_fit.py holds parts out",
    "keras_parity study": "trains for hours; tests/test_study.py",
    "keras_parity ladder": "takes minutes; tests/test_ladder.py",
    "benchmarks": "takes minutes; tests/test_benchmarks.py",
    "my_keras_logs": "the user's own; tests/test_compare.py",
    "tensorboard": "serves until it is stopped; tests/test_browser.py",
}


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A folder with the reference runs, as after a clone."""
    shutil.copytree(PROJECT / "lightning_logs/reference", tmp_path / "lightning_logs/reference")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def as_a_user(command, clone, use_tiny_mnist, tiny_mnist, tmp_path):
    """Runs a command of the README as a shell would, in a clone with some digits."""
    (tmp_path / "folder_of_digits").mkdir()
    for path in ("photo.png", "folder_of_digits/one.png"):
        Image.fromarray(np.pad(tiny_mnist.test_images[1], 10)).save(tmp_path / path)

    def run(line):
        typed, _, target = line.partition(" > ")
        python, dash_m, package, *words = shlex.split(typed)
        assert (python, dash_m) == ("python", "-m")
        # A shell gives a pattern that finds nothing, or stands in quotes, as it is.
        found = [sorted(glob.glob(word)) if f"'{word}'" not in typed else [] for word in words]
        arguments = [path for word, paths in zip(words, found, strict=True) for path in paths or [word]]
        code, out, err = command(package, *arguments)
        if target:
            (tmp_path / target).write_text(out)
        return code, out, err

    return run


def test_every_quick_command_works_as_printed(as_a_user):
    quick = [line for line in COMMANDS if not any(part in line for part in NOT_HERE)]
    assert len(quick) > 20
    for line in quick:
        code, _, err = as_a_user(line)
        met = code == 0 or err.startswith("python -m keras_parity: error: not met: ")  # 40 updates on 250 images
        assert met, f"{line}: {err}"


def test_every_reason_not_to_run_a_command_is_of_one():
    assert [part for part in NOT_HERE if not any(part in line for line in COMMANDS)] == []


@pytest.mark.filterwarnings("ignore:::lightning", "ignore:.*LeafSpec:FutureWarning")
def test_the_python_api_runs(clone, use_tiny_mnist):
    (block,) = re.findall(r"```python\n(from lightning.*?)```", README, re.DOTALL)
    assert len(block.splitlines()) <= 12
    exec(compile(block, "README.md", "exec"), {})


def test_the_results_are_what_compare_prints_of_the_reference_runs(clone, command):
    code, out, err = command("keras_parity", "compare", "lightning_logs/reference/*/*", "--format=markdown")
    assert (code, err) == (0, "")
    assert out in README
