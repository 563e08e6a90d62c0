"""The pages: every command and every block of Python runs as printed, every link leads somewhere, none is too long."""

import glob
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import PROJECT, save_npz

PAGES = {
    path.relative_to(PROJECT).as_posix(): path.read_text()
    for page in ("README.md", "REFERENCE.md", "SCALING.md")
    for path in (*PROJECT.glob(page), *PROJECT.glob(f"[a-z]*/{page}"))
}
FRONT = PAGES["README.md"]
FRONT_PAGE = "front page"


def _blocks(language: str) -> dict[str, list[str]]:
    """The blocks of each folder, those of its README before those of its REFERENCE.md."""
    blocks: dict[str, list[str]] = {}
    for name, text in PAGES.items():
        found = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
        blocks.setdefault(Path(name).parent.name or FRONT_PAGE, []).extend(found)
    return blocks


COMMANDS = {
    name: [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]
    for name, blocks in _blocks("bash").items()
}
PYTHON = {name: blocks for name, blocks in _blocks("python").items() if blocks}
NOT_HERE = {  # part of a command: why it is not run here
    "venv": "the set-up, as CI does it",
    "pip install": "the set-up, as CI does it",
    "accelerator=gpu": "needs a GPU",
    "--trainer.devices=2": "starts processes; tests/pytorch/test_ddp.py",
    "val_size=5000": "needs the whole set; tests/pytorch/test_fit.py has validation splits",
    "keras_parity study": "trains for hours; tests/study",
    "RAY_AUTH_MODE": "the set-up of a cluster",
    "ray start": "starts a node; tests/study/test_cluster.py",
    "keras_parity ladder": "takes minutes; tests/ladder",
    "-m benchmarks": "takes minutes; tests/test_benchmarks.py, tests/test_reference.py",
    "--backend=": "one backend a process; tests/twin/test_engines.py",
    "my_keras_logs": "the user's own; tests/compare",
}
QUICK = {
    name: quick
    for name, lines in COMMANDS.items()
    if (quick := [line for line in lines if not any(part in line for part in NOT_HERE)])
}
BEFORE = [
    "python -m cnn_mnist fit",
    "python -m keras_parity --twin_of lightning_logs/pytorch/version_0",
    "python -m cnn_mnist fit --print_config > my.yaml",
]
"""What the front page, and those of ``cnn_mnist``, have the reader do before the other pages."""


@pytest.fixture
def clone(tmp_path, monkeypatch, use_tiny_mnist):
    """The working folder: a clone with the reference runs."""
    for folder in ("lightning_logs/reference", "benchmarks/reference"):
        shutil.copytree(PROJECT / folder, tmp_path / folder)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def as_a_user(command, train, clone, tiny_mnist, tmp_path):
    """Runs a command of a README as a shell would, in a clone with some digits."""
    (tmp_path / "folder_of_digits").mkdir()
    for path in ("photo.png", "folder_of_digits/one.png"):
        Image.fromarray(np.pad(tiny_mnist.test_images[1], 10)).save(tmp_path / path)

    save_npz(tmp_path / "my.npz", *tiny_mnist)
    for block in [block for blocks in _blocks("yaml").values() for block in blocks]:
        if file := re.match(r"# (\S+\.yaml)\n", block):
            (tmp_path / file[1]).write_text(block)

    def run(line):
        typed, _, target = line.partition(" > ")
        python, dash_m, package, *words = shlex.split(typed)
        assert (python, dash_m) == ("python", "-m"), line
        # A shell gives a pattern that finds nothing, or stands in quotes, as it is.
        found = [sorted(glob.glob(word)) if f"'{word}'" not in typed else [] for word in words]
        arguments = [path for word, paths in zip(words, found, strict=True) for path in paths or [word]]
        if line in BEFORE[:2]:
            train(package, *arguments)
            return 0, "", ""
        code, out, err = command(package, *arguments)
        if target:
            (tmp_path / target).write_text(out)
        return code, out, err

    return run


@pytest.mark.parametrize("name", QUICK)
def test_every_quick_command_works_as_printed(as_a_user, name):
    for line in [*BEFORE * (name != FRONT_PAGE), *QUICK[name]]:
        code, _, err = as_a_user(line)
        missed = "--require" in line and "error: not met: test/acc >= " in err  # 40 updates on 250 images
        assert code == missed, f"{line}: {err}"


def test_every_reason_not_to_run_a_command_is_of_one():
    lines = [line for of_one in COMMANDS.values() for line in of_one]
    assert [part for part in NOT_HERE if not any(part in line for line in lines)] == []


@pytest.mark.filterwarnings("ignore:::lightning", "ignore:.*LeafSpec:FutureWarning")
@pytest.mark.parametrize("name", PYTHON)
def test_the_blocks_of_python_run_one_after_the_other(clone, name):
    pasted = {}
    for place, block in enumerate(PYTHON[name]):
        exec(compile(block, f"{name}-{place}", "exec"), pasted)
    for test in [value for key, value in pasted.items() if key.startswith("test_") and callable(value)]:
        test()


def test_the_front_page_fits_into_150_lines_and_its_python_into_ten():
    assert len(FRONT.splitlines()) <= 150
    (block,) = PYTHON[FRONT_PAGE]
    assert len(block.splitlines()) <= 10


def test_the_table_of_the_front_page_is_what_the_command_below_it_prints(as_a_user):
    table, _, below = FRONT.partition("\n| three_conv")[2].partition("\n\n")
    rows = [row.removesuffix("|") for row in table.splitlines() if not row.startswith("| ---")]
    (line,) = re.findall(r"```bash\n(.*)\n```", below.partition("\n## ")[0])
    code, out, _ = as_a_user(f"{line} --format=markdown")
    printed = out.partition("\n### experiment 2")[0].splitlines()
    assert code == 0
    assert [row for row in rows[1:] if not any(full.startswith(row) for full in printed)] == []
    assert any(rows[0].partition(" |")[2] in full for full in printed)  # whose columns they are
    assert len(rows) == 7


@pytest.mark.parametrize("name", [name for name in PAGES if name.endswith("/README.md")])
def test_the_readme_of_a_folder_has_at_most_900_words(name):
    assert len(PAGES[name].split()) <= 900


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_to_a_file_or_a_heading(name):
    for target in re.findall(r"\]\(([^)#]*(?:#[^)]*)?)\)", PAGES[name]):
        path, _, heading = target.partition("#")
        found = (PROJECT / name).parent / path if path else PROJECT / name
        assert found.exists(), target
        if heading:
            titles = [title.lower() for title in re.findall(r"^#+ (.*)", found.read_text(), re.M)]
            assert heading in [re.sub(r"[^\w -]", "", title).replace(" ", "-") for title in titles], target
