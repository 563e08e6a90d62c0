"""``--data=FILE``, ``--model=FILE`` and ``--trainer=FILE``: each command reads a group of settings from a file."""

import pytest
import yaml

from keras_parity.ladder import cli as ladder
from keras_parity.study import cli as study
from tests.console.test_data_sets import QUIET

PRINTED = {"cnn_mnist": ("cnn_mnist", "fit", "--print_config"), "keras_parity": ("keras_parity", "--print_config")}
FILES = {
    "data.yaml": "batch_size: 25\nval_size: 10\n",
    "model.yaml": "optimizer: adam\n",
    "trainer.yaml": "max_epochs: 1\n",
    "all.yaml": "data: data.yaml\nmodel: model.yaml\ntrainer: trainer.yaml\nseed_everything: 4\n",
    "seed.yaml": "seed: 7\n",
}


@pytest.fixture(autouse=True)
def files(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "folder").mkdir()
    (tmp_path / "my.npz").write_bytes(b"\xe5\xff")


@pytest.mark.parametrize("flags", [["--data=data.yaml", "--model", "model.yaml"], ["--config=all.yaml"]])
@pytest.mark.parametrize("words", [("cnn_mnist", "fit"), ("keras_parity",)])
def test_both_trainers_read_them(command, use_tiny_mnist, tmp_path, words, flags):
    code, _, err = command(*words, *QUIET, "--trainer=trainer.yaml", *flags)
    assert code == 0, err
    (path,) = tmp_path.glob("lightning_logs/*/version_0/config.yaml")
    saved = yaml.safe_load(path.read_text())
    assert (saved["data"]["batch_size"], saved["data"]["val_size"], saved["model"]["optimizer"]) == (25, 10, "adam")
    assert saved["trainer"]["max_epochs"] == 1
    assert "__path__" not in path.read_text()


@pytest.mark.parametrize("flags", [("--data=data.yaml",), ("--model=model.yaml",)])
def test_a_study_and_the_ladder_read_them(command, monkeypatch, flags):
    seen = []
    monkeypatch.setattr(study, "plan", lambda *given: seen.extend(given[3:5]) or [])
    monkeypatch.setattr(study, "train_until", lambda *_, **__: ({}, {}))
    monkeypatch.setattr(ladder, "project_port", lambda *given: seen.extend(given) or 1 / 0)
    code, _, err = command("keras_parity", "study", *flags)
    assert code == 0, err
    with pytest.raises(ZeroDivisionError):
        command("keras_parity", "ladder", *flags)
    assert len(seen) == 4
    for model, data in (seen[:2], seen[2:]):
        assert (data.batch_size, model.optimizer) == ((25, "rmsprop") if "data" in flags[0] else (64, "adam"))


@pytest.mark.parametrize("package", PRINTED)
@pytest.mark.parametrize("flags", [(), ("--seed_everything=3",), ("--seed_everything=7",)])
@pytest.mark.parametrize("group", ["data", "model"])
def test_a_seed_in_one_is_refused(command, package, group, flags):
    code, out, err = command(*PRINTED[package], f"--{group}=seed.yaml", *flags)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"error: --{group}: expected one seed for model and data, got seed=7 in seed.yaml; use --seed_every" in err


@pytest.mark.parametrize("package", PRINTED)
@pytest.mark.parametrize(
    "flags",
    [
        ("--data.batch_size=16", "--data=data.yaml"),
        ("--data.batch_size", "16", "--data", "data.yaml"),
        ("--data=data.yaml", "--data.batch_size=16"),
        ("--data.batch_size=16", "--config=all.yaml"),
        ("--data.batch_size=16", "-c", "all.yaml"),
    ],
)
def test_a_typed_flag_overrides_a_file_on_either_side_of_it(command, package, flags):
    code, out, err = command(*PRINTED[package], *flags)
    assert (code, err) == (0, "")
    data = yaml.safe_load(out)["data"]
    assert (data["batch_size"], data["val_size"]) == (16, 10)


@pytest.mark.parametrize("package", PRINTED)
def test_of_two_files_the_later_counts(command, package):
    code, out, _ = command(*PRINTED[package], "--data=data.yaml", "--data={batch_size: 30}")
    assert code == 0
    assert yaml.safe_load(out)["data"]["batch_size"] == 30


@pytest.mark.parametrize("package", PRINTED)
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none.yaml", "does not exist"),
        ("folder", "is a folder"),
        ("my.npz", "is no text; --data.file takes images"),
    ],
)
def test_a_file_that_is_none_is_one_line(command, package, name, reason):
    code, out, err = command(*PRINTED[package], f"--data={name}")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"error: --data: expected a file of settings, got {name}, which {reason} (see --help)" in err


@pytest.mark.parametrize("package", PRINTED)
@pytest.mark.parametrize("flag", ["--seed=7", "--data.seed=7", "--model.seed=7"])
def test_another_name_of_the_seed_leads_to_the_right_one_at_once(command, package, flag):
    code, _, err = command(*PRINTED[package], flag)
    assert code == 2
    assert "; did you mean --seed_everything? (see --help)" in err or "; use --seed_everything (see --help)" in err


def test_a_study_has_seeds_instead(command):
    _, _, err = command("keras_parity", "study", "--seed=7")
    assert "; did you mean --seeds? (see --help)" in err
