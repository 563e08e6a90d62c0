"""``compare --by``: columns of any setting, part of the environment or folder, on made-up runs."""

import json
import shutil

import pytest


@pytest.fixture
def tables(command):
    """The tables of ``compare --format=json ARGUMENTS``."""

    def read(*arguments):
        code, out, err = command("keras_parity", "compare", "--format=json", *arguments)
        assert code == 0, err
        return json.loads(out)["tables"]

    return read


@pytest.fixture
def make_seeds(make_run):
    """Makes three runs that differ in their seeds."""

    def make(framework, first, ahead=0.0, **about):
        for seed in range(3):
            accuracy = 0.99 + seed / 1000 + ahead
            make_run(framework, first + seed, seed=seed, **about, **{"test/acc": accuracy})

    return make


def _titles(table):
    return [column["title"] for column in table["columns"]]


def test_two_values_of_a_setting_are_compared_within_a_framework(tables, make_seeds):
    make_seeds("pytorch", 0)
    make_seeds("pytorch", 3, ahead=0.005, settings={"align": "native"})
    (table,) = tables("--by=model.align")
    assert _titles(table) == ["align=keras", "align=native"]
    assert table["verdicts"]["test/acc"]["word"] == "different"
    assert table["verdicts"]["test/acc"]["difference"]["mean"] == pytest.approx(0.005, abs=1e-6)


def test_each_framework_has_a_table_where_both_have_both_values(command, tables, make_seeds):
    for number, framework in enumerate(("keras", "pytorch")):
        make_seeds(framework, 0)
        make_seeds(framework, 3, ahead=0.005 * number, settings={"align": "native"})
    found = tables("lightning_logs", "--by=model.align")
    assert [table["title"] for table in found] == ["experiment 1: framework=Keras", "experiment 2: framework=PyTorch"]
    assert [table["verdicts"]["test/acc"]["word"] for table in found] == ["same", "different"]
    _, out, _ = command("keras_parity", "compare", "--by=model.align", "--format=markdown")
    assert "difference: align=native minus align=keras, " in out


def test_more_values_are_each_compared_with_the_first_and_hold_together(command, tables, make_seeds):
    for number, rate in enumerate((0.1, 0.2, 0.3)):
        make_seeds("keras", 3 * number, ahead=0.005 * number, settings={"learning_rate": rate})
    (table,) = tables("--by=model.learning_rate")
    assert _titles(table) == [f"learning_rate={rate}" for rate in (0.1, 0.2, 0.3)]
    (others,) = table["verdicts of others"].values()
    assert [of["test/acc"]["difference"]["mean"] for of in (table["verdicts"], others)] == pytest.approx(
        [0.005, 0.01], abs=1e-6
    )
    assert others["test/acc"]["level"] == 0.975
    _, out, _ = command("keras_parity", "compare", "--by=model.learning_rate", "--format=markdown")
    assert "| learning_rate=0.2: verdict |" in out
    assert "| learning_rate=0.3: verdict |" in out


def test_versions_of_a_package_are_columns(tables, make_seeds):
    make_seeds("pytorch", 0, environment={"packages": {"torch": "2.9"}})
    make_seeds("pytorch", 3, environment={"packages": {"torch": "2.10"}})
    (table,) = tables("--by=environment.packages.torch")
    assert _titles(table) == ["torch=2.9", "torch=2.10"]
    assert table["verdicts"]["test/acc"]["basis"] == "3 pairs"


def test_folders_are_columns_by_the_first_name_in_which_they_differ_across_frameworks_too(tables, make_seeds, tmp_path):
    make_seeds("keras", 0)
    make_seeds("pytorch", 0, ahead=0.005)
    shutil.move(tmp_path / "lightning_logs/pytorch", tmp_path / "b/of_today/pytorch")
    shutil.move(tmp_path / "lightning_logs/keras", tmp_path / "a/keras")
    (table,) = tables("b", "a", "--by=folder")
    assert _titles(table) == ["b", "a"]
    assert table["verdicts"]["test/acc"]["difference"]["mean"] == pytest.approx(-0.005, abs=1e-6)


def test_a_run_without_the_setting_is_a_column_of_its_own(tables, make_run):
    make_run("keras", 0, settings={"my_own": 1})
    make_run("keras", 1)
    (table,) = tables("--by=model.my_own")
    assert _titles(table) == ["my_own=1", "my_own=-"]
