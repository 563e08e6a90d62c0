"""Settings files that somebody else wrote: nothing runs that should not, and nothing grows."""

import pytest

from cnn_mnist.errors import UserError
from cnn_mnist.runs.files import load_yaml
from cnn_mnist.runs.folder import read_config

LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
LOOP = "a: &a [*a]"


@pytest.mark.parametrize("content", [LAUGHS, LOOP])
def test_yaml_whose_aliases_multiply_is_refused_at_once(command, tmp_path, content):
    assert len(LAUGHS) < 435
    (tmp_path / "config.yaml").write_text(content)
    assert read_config(tmp_path) is None
    for package, *arguments in ("cnn_mnist", "fit"), ("keras_parity",):
        code, out, err = command(package, *arguments, "--config=config.yaml")
        assert code in (1, 2)
        assert (out, err.count("\n")) == ("", 1)
        assert "got more from aliases; write them out" in err


def test_yaml_with_an_alias_is_read():
    assert load_yaml("a: &a {b: [1, 2]}\nc: *a\nd: {<<: *a}") == {
        "a": {"b": [1, 2]},
        "c": {"b": [1, 2]},
        "d": {"b": [1, 2]},
    }
    assert load_yaml("") is None
    with pytest.raises(UserError, match="got more from aliases"):
        load_yaml(f"[{'1,' * 100_000}]")


STRANGERS = [
    "trainer: {logger: {class_path: os.system, init_args: {command: touch ran}}}",
    "trainer: {callbacks: [{class_path: subprocess.Popen, init_args: {args: [touch, ran]}}]}",
    "trainer: {callbacks: [beside.Callback]}",
    "trainer: {callbacks: [{class_path: beside.Callback}]}",
    "trainer: {profiler: beside.Callback}",
    "trainer: {callbacks: [{class_path: LambdaCallback, init_args: {on_fit_start: builtins.print}}]}",
]


@pytest.mark.parametrize("content", STRANGERS)
def test_a_class_of_another_package_is_refused_before_its_code_runs(command, tmp_path, monkeypatch, content):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "beside.py").write_text("open('ran', 'w')\nfrom lightning.pytorch import Callback")
    (tmp_path / "own.yaml").write_text(content)
    code, out, err = command("cnn_mnist", "fit", "--config=own.yaml")
    assert code in (1, 2)
    assert (out, err.count("\n")) == ("", 1)
    assert "whose code would run; add --allow_classes where you trust the file" in err
    assert not (tmp_path / "ran").exists()


def test_a_file_that_is_trusted_may_name_any_class(command, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "trusted.py").write_text("from lightning.pytorch import Callback\nclass Mine(Callback): pass")
    (tmp_path / "own.yaml").write_text("trainer: {callbacks: [{class_path: trusted.Mine}]}")
    code, out, err = command("cnn_mnist", "fit", "--config=own.yaml", "--allow_classes", "--print_config")
    assert code == 0, err
    assert "trusted.Mine" in out


def test_names_with_dots_that_are_no_classes_are_let_by(command, tmp_path):
    (tmp_path / "own.yaml").write_text("trainer: {default_root_dir: runs.of.may, callbacks: [ModelCheckpoint]}")
    code, _, err = command("cnn_mnist", "fit", "--config=own.yaml", "--print_config")
    assert code == 0, err
