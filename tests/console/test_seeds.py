"""A settings file has one seed: another one of the model or the data is refused, never ignored."""

import pytest

CASES = {
    "data": "seed_everything: 3\ndata: {seed: 7, batch_size: 32}\n",
    "model": "seed_everything: 3\nmodel: {seed: 7}\n",
    "data without the run's": "data: {seed: 7}\n",
    "dotted": "data.seed: 7\n",
    "a file of its own": "data: sub.yaml\n",
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("package", ["cnn_mnist", "keras_parity"])
def test_another_seed_is_refused(command, tmp_path, package, name):
    (tmp_path / "sub.yaml").write_text("seed: 7\n")
    (tmp_path / "a.yaml").write_text(CASES[name])
    code, out, err = command(package, *["fit"] * (package == "cnn_mnist"), "--config=a.yaml", "--print_config")
    assert (code, out, err.count("\n")) == (2, "", 1)
    if package == "cnn_mnist":
        group = "model" if name == "model" else "data"
        assert f"got {group}.seed=7; set seed_everything, and remove {group}.seed" in err


def test_an_equal_seed_is_the_runs(command, tmp_path):
    (tmp_path / "a.yaml").write_text("seed_everything: 3\nmodel: {seed: 3}\ndata: {seed: 3}\n")
    code, out, _ = command("cnn_mnist", "fit", "--config=a.yaml", "--print_config")
    assert code == 0
    assert "seed_everything: 3" in out
