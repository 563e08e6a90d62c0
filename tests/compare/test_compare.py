"""``python -m keras_parity compare``, on made-up runs."""

import json
import re
import statistics

import pytest
from torch.utils.tensorboard import SummaryWriter

from cnn_mnist.console.tables import wrapped
from cnn_mnist.runs import tags
from keras_parity.compare import published
from keras_parity.compare.table import make_tables
from keras_parity.logs.folders import all_folders
from keras_parity.logs.run import read_run


@pytest.fixture
def compare(command):
    def run(*arguments):
        code, out, err = command("keras_parity", "compare", *arguments)
        return code, out, err

    return run


@pytest.fixture
def cells(compare):
    """The figures of ``compare ARGUMENTS`` as {column: {row: mean}}."""

    def read(*arguments):
        code, out, err = compare(*arguments, "--format=json")
        assert code == 0, err
        return {
            column["title"]: {key: cell["mean"] for key, cell in column["cells"].items()}
            for table in json.loads(out)["tables"]
            for column in table["columns"]
        }

    return read


def test_the_published_figures_are_the_designs(cells, make_run):
    make_run("keras")
    table = cells()
    assert table["published Keras"] == {
        "train/acc": 0.9980, "test/acc": 0.9902, "train/loss": 0.0074, "test/loss": 0.0435,
        "time/fit_seconds": 409.031732,
    }  # fmt: skip
    assert table["published PyTorch"] == {
        "train/acc": 0.9916, "test/acc": 0.9913, "train/loss": 0.022975, "test/loss": 0.023077,
        "time/fit_seconds": 815.372076,
    }  # fmt: skip


def test_the_published_pytorch_loss_is_1_4696_and_1_4699_per_batch():
    assert f"{published.loss_per_batch('train/loss'):.4f}" == "1.4696"
    assert f"{published.loss_per_batch('test/loss'):.4f}" == "1.4699"
    assert f"{0.022975 * 60_000 / 938:.4f}" == "1.4696"
    assert f"{0.023077 * 10_000 / 157:.4f}" == "1.4699"


def test_both_frameworks_stand_beside_the_published_columns(compare, cells, make_run):
    make_run("keras", **{"test/acc": 0.990})
    make_run("pytorch", **{"test/acc": 0.992})
    code, out, err = compare()
    assert (code, err) == (0, "")
    assert "0.022975 *" in out
    assert "1.4696" in out
    assert "+0.0020" in out
    table = cells()
    assert list(table) == ["Keras", "PyTorch", "published Keras", "published PyTorch"]
    assert table["Keras"]["train/loss"] == pytest.approx(0.05)
    assert table["Keras"]["ms_per_step"] == pytest.approx(10)
    assert table["Keras"]["throughput/images_per_second"] == pytest.approx(60_000 / 9.38)
    assert table["Keras"][tags.PARAMETERS] == 93_322
    assert table["PyTorch"]["time/setup_seconds"] == 5


@pytest.mark.parametrize(
    ("figures", "shown"),
    [([82.0], "82.0000"), ([82.0, 83.0], "82.5000 ± 6.3531"), ([float("inf")], "inf"), ([float("nan")], "nan"),
     ([1e308], f"{1e308:.4f}"), ([float("nan")] * 2, "nan ± nan"), ([0.5], "0.5000"),
     ([0.98, 1.0], "0.9900 (0.8629 to 1.0000)")],
)  # fmt: skip
def test_an_interval_holds_its_figure_and_ends_within_what_is_possible(compare, tmp_path, figures, shown):
    for number, figure in enumerate(figures):
        (tmp_path / "log").mkdir(exist_ok=True)
        (tmp_path / f"log/{number}.csv").write_text(f"epoch,val_acc\n0,{figure}\n")
    code, out, err = compare("log", "--format=markdown")
    assert (code, err) == (0, "")
    assert f"| acc validation split | {shown} |" in out


def test_a_negative_loss_keeps_its_interval(compare, tmp_path):
    for number, figure in enumerate((-1.0, -1.5)):
        (tmp_path / f"{number}.csv").write_text(f"epoch,val_loss\n0,{figure}\n")
    assert "| -1.2500 ± 3.1766 |" in compare("*.csv", "--format=markdown")[1]


def test_several_runs_become_mean_interval_and_n(compare, make_run):
    accuracies = [0.990, 0.992, 0.991]
    for seed, accuracy in enumerate(accuracies):
        make_run("keras", seed, seed=seed, **{"test/acc": accuracy})
    code, out, _ = compare("lightning_logs/keras/*", "--format=json")
    assert code == 0
    cell = json.loads(out)["tables"][0]["columns"][0]["cells"]["test/acc"]
    assert cell["mean"] == pytest.approx(statistics.fmean(accuracies))
    # Student's t for 2 degrees of freedom: 4.302653
    assert cell["half_width"] == pytest.approx(4.302653 * statistics.stdev(accuracies) / 3**0.5, rel=1e-4)
    assert cell["n"] == 3


def test_runs_whose_settings_differ_are_never_averaged_and_only_the_differences_are_listed(compare, make_run):
    make_run("keras", 0)
    make_run("keras", 1, settings={"align": "native"}, **{"test/acc": 0.5})
    code, out, _ = compare("lightning_logs/keras/*", "--format=markdown")
    assert code == 0
    assert "| model.align | keras | native |" in out
    assert "model.architecture" not in out
    assert "Keras 1" in out
    assert "Keras 2" in out


def test_a_resumed_run_is_another_experiment_than_a_whole_one(compare, make_run):
    make_run("keras", 0)
    config = make_run("keras", 1) / "config.yaml"
    config.write_text(config.read_text() + "ckpt_path: half_way.keras\n")
    _, out, _ = compare("lightning_logs/keras/*", "--format=markdown")
    assert "Keras 1" in out
    assert "| ckpt_path |" in out


def test_an_event_file_is_read_like_its_run_folder(cells, make_run):
    folder = make_run("pytorch")
    (file,) = folder.glob("events.out.tfevents.*")
    assert cells(str(file)) == cells(str(folder))


def test_without_arguments_the_newest_finished_pair_that_shares_settings_is_taken(compare, make_run):
    make_run("pytorch", 0)
    make_run("keras", 0)
    make_run("pytorch", 1, settings={"align": "native"})
    make_run("pytorch", 2, finished=False)
    code, out, _ = compare("--format=json")
    assert code == 0
    content = json.loads(out)
    folders = [run for column in content["tables"][0]["columns"] for run in column["runs"]]
    assert folders == ["lightning_logs/keras/version_0", "lightning_logs/pytorch/version_0"]
    assert content["notes"][:2] == [
        "compared: lightning_logs/keras/version_0 and lightning_logs/pytorch/version_0, the newest finished runs with "
        "the same settings; 1 more left out: python -m keras_parity compare lightning_logs takes all",
        "lightning_logs/pytorch/version_2 is unfinished and left out",
    ]


def test_one_framework_is_printed_alone_and_what_is_missing_is_said(compare, make_run):
    make_run("pytorch")
    code, out, _ = compare()
    assert code == 0
    assert "no Keras run among these: python -m keras_parity trains one" in out


def test_an_unfinished_run_is_shown_apart(compare, make_run):
    make_run("keras", 0)
    make_run("keras", 1, finished=False)
    code, out, _ = compare("lightning_logs/keras/*", "--format=markdown")
    assert code == 0
    assert "|  | Keras (n = 1) | Keras (unfinished) (n = 1) | published Keras |" in out
    assert "version_1 is unfinished" in out


def test_a_softmax_before_the_loss_is_flagged(compare, make_run):
    make_run("pytorch", **{"train/loss": 1.4704, "train/acc": 0.99})
    _, out, _ = compare()
    assert "a loss of 1.4704 at an accuracy of 0.9900 points to a softmax before the loss" in out


def test_no_flag_for_a_network_that_has_not_learnt(compare, make_run):
    make_run("pytorch", **{"train/loss": 2.3, "train/acc": 0.1})
    assert "softmax before the loss, which" not in compare()[1].replace("\n", " ")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--require=test/acc >= 0.995"], "Keras test/acc = 0.991, required >= 0.995"),
        (["--require=train_eval/loss<0.001"], "PyTorch train_eval/loss = 0.004, required < 0.001"),
        (["--max_difference=test/acc=0.003"], "test/acc differs by -0.091, allowed 0.003"),
        (["--require=val/acc >= 0.1"], "Keras has no val/acc"),
    ],
)
def test_a_demand_that_is_not_met_exits_with_1_and_names_the_row(compare, make_run, flags, message):
    make_run("keras")
    make_run("pytorch", **{"test/acc": 0.9})
    code, _, err = compare(*flags)
    assert code == 1
    assert message in err
    assert err.count("\n") == 1


def test_demands_that_are_met_exit_with_0(compare, make_run):
    make_run("keras")
    make_run("pytorch")
    code, _, err = compare("--require=test/acc >= 0.985", "--require=test/loss < 1", "--max_difference=test/acc=0.003")
    assert (code, err) == (0, "")


def test_stock_logs_of_both_frameworks_are_read_through_aliases(cells, tmp_path):
    keras_log, lightning_log = tmp_path / "stock_keras", tmp_path / "stock_lightning/version_0"
    import tensorflow as tf

    for part, offset in ("train", 0), ("validation", 1):
        with tf.summary.create_file_writer(str(keras_log / part)).as_default():
            tf.summary.scalar("epoch_accuracy", 0.5 + offset / 4, 3)
            tf.summary.scalar("epoch_loss", 0.25, 3)
    writer = SummaryWriter(lightning_log)
    for tag, value in {"train_loss_step": 9, "train_loss_epoch": 0.125, "train_acc": 0.75, "hits": 0.875}.items():
        writer.add_scalar(tag, value, 7)
    writer.close()
    table = cells("stock_keras", "stock_lightning/version_0", "--alias=test/acc=hits")
    assert table["Keras"] == {"train/acc": 0.5, "train/loss": 0.25, "val/acc": 0.75, "val/loss": 0.25}
    assert table["PyTorch"] == {"train/acc": 0.75, "train/loss": 0.125, "test/acc": 0.875}


def test_each_file_is_written_in_the_format_of_its_ending_and_named_before_the_next_command(
    compare, make_run, tmp_path
):
    make_run("keras")
    make_run("pytorch")
    code, out, err = compare("--output=table.md", "--figure=curves.pdf")
    assert (code, err) == (0, "")
    assert out == "wrote table.md\nwrote curves.pdf\nnext: tensorboard --logdir lightning_logs\n"
    header = (
        "|  | verdict | difference (1 pair) | Keras (n = 1) | PyTorch (n = 1) | published Keras | published PyTorch |"
    )
    assert (tmp_path / "table.md").read_text().startswith(header)
    assert (tmp_path / "curves.pdf").read_bytes().startswith(b"%PDF")
    assert len(list((tmp_path / "lightning_logs/compare").glob("*.compare"))) == 1
    compare("--output=table.json")
    assert len(json.loads((tmp_path / "table.json").read_text())["tables"]) == 1


def test_what_is_piped_holds_the_table_alone(compare, make_run):
    make_run("keras")
    _, out, err = compare("--format=json", "--figure=curves.png")
    assert json.loads(out)["tables"]
    assert err == "wrote curves.png\n"


def test_the_terminal_ends_with_the_next_command(compare, make_run, tmp_path):
    make_run("keras")
    assert compare()[1].endswith("\nnext: tensorboard --logdir lightning_logs\n")
    (tmp_path / "lightning_logs").rename(tmp_path / "my logs")
    assert compare("--log_dir=my logs")[1].endswith("\nnext: tensorboard --logdir 'my logs'\n")
    assert (tmp_path / "my logs/compare").is_dir()


@pytest.mark.parametrize("width", [80, 100, 140])
def test_on_any_terminal_no_word_or_figure_of_the_table_is_broken(compare, make_run, monkeypatch, width):
    for seed in range(3):
        make_run("keras", seed, seed=seed, **{"test/acc": 0.99 + seed / 1000})
        make_run("pytorch", seed, seed=seed, **{"test/acc": 0.99 - seed / 500})
    _, markdown, _ = compare("lightning_logs/*/*", "--format=markdown")
    monkeypatch.setenv("COLUMNS", str(width))
    code, out, _ = compare("lightning_logs/*/*")
    assert code == 0
    assert max(map(len, out.splitlines())) <= width
    for line in markdown.replace("\\*", "*").splitlines():
        for cell in line.strip("| ").split(" | ") if line.startswith("| ") else ():
            for part in wrapped(cell, 1):
                assert re.search(rf"(?<!\S){re.escape(part)}(?!\S)", out) or part == "---", part


def test_verdicts_stand_before_figures_and_the_published_columns_below_where_they_do_not_fit(
    compare, make_run, monkeypatch
):
    make_run("keras")
    make_run("pytorch")
    monkeypatch.setenv("COLUMNS", "60")
    lines = [line.rstrip() for line in compare()[1].splitlines()]
    assert lines[0] == "results"
    assert lines[1].split() == ["difference", "Keras", "PyTorch"]
    assert lines[2].split()[0] == "verdict"
    below = lines.index("published")
    assert lines[below + 1].split() == ["published", "Keras", "published", "PyTorch"]
    assert lines[below + 4].split() == ["acc", "test", "0.9902", "0.9913"]
    monkeypatch.setenv("COLUMNS", "140")
    assert compare()[1].splitlines()[1].split()[-1] == "PyTorch"


def test_64_and_64_point_0_are_one_setting(compare, make_run):
    make_run("keras", 0, settings={"learning_rate": 1})
    make_run("keras", 1, seed=1, settings={"learning_rate": 1.0})
    _, out, _ = compare("lightning_logs/keras/*")
    assert "Keras (n = 2)" in out
    assert "what differs" not in out
    make_run("keras", 2, settings={"learning_rate": [1, 2]})
    assert "model.learning_rate" in compare("lightning_logs/keras/*")[1]


def test_a_run_and_a_table_have_a_short_repr_and_a_table_prints_as_text(make_run, monkeypatch, tmp_path):
    for framework in ("keras", "pytorch"):
        for seed in range(2):
            make_run(framework, seed, seed=seed)
    monkeypatch.chdir(tmp_path)
    runs = [read_run(folder) for folder in all_folders()]
    assert repr(runs[0]) == "Run(lightning_logs/keras/version_0, keras, seed 0, finished)"
    (table,) = make_tables(runs)
    assert repr(table) == "Table(three_conv: 2 Keras, 2 PyTorch runs)"
    monkeypatch.setenv("COLUMNS", "140")
    assert str(table).startswith("results\n")
    assert "Keras (n = 2)" in str(table)
    assert "Not a mean loss" in str(table)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--format=text"], "text"),
        (["--output=table.csv", "--format=json"], "--format: expected csv, as --output=table.csv ends, got json"),
        (["--rows=verdicts"], "--rows: expected the CSV format, got rich"),
        (["--by=model.aling"], "got model.aling; did you mean model.align?"),
        (["--by=model.align"], "--by: expected runs that differ in model.align, got only align=keras"),
        (["--output=no/such/table.md"], "expected a folder that exists, got no/such"),
        (["--output=table.txt"], "expected a .md or .csv or .json or .html file, got table.txt"),
        (["--disagreements=digits.pdf"], "expected a .png file, got digits.pdf"),
        (["--require=test/acc"], "--require: expected TAG, comparison and number"),
        (["--require=test/accuracy > 0.9"], "--require: expected one of the tags train/acc, test/acc"),
        (["--max_difference=test/acc"], "--max_difference: expected TAG=NUMBER"),
        (["--alias=test/acc"], "--alias: expected TAG=NAME"),
        (["--alias=my/acc=x"], "--alias: expected one of the tags"),
        (["--alias=test/acc=x"], "--alias: expected a tag of these runs, got x"),
        (["missing/*"], "expected a run folder with event files, got missing/*"),
        (["--figure=table.xyz"], "expected a .png or .pdf or .svg file, got table.xyz"),
    ],
)
def test_a_mistake_is_one_line(compare, make_run, flags, message):
    make_run("keras")
    code, _, err = compare(*flags)
    assert code in (1, 2)
    assert err.count("\n") == 1
    assert message in err


def test_no_runs_at_all_says_which_commands_make_them(compare):
    code, _, err = compare()
    assert code == 1
    assert "train some with python -m cnn_mnist fit and python -m keras_parity" in err


def test_a_log_without_scalars_is_no_run(compare, make_run):
    make_run("keras")
    compare()  # leaves a text in lightning_logs/compare
    code, out, _ = compare("lightning_logs/compare", "lightning_logs/keras/*", "--format=markdown")
    assert code == 0
    assert "| Keras (n = 1) |" in out.splitlines()[0]
    code, _, err = compare("lightning_logs/compare")
    assert code == 1
    assert "expected runs with scalars, found none" in err


def test_only_unfinished_runs_are_said(compare, make_run):
    make_run("keras", finished=False)
    code, _, err = compare()
    assert code == 1
    assert "found only lightning_logs/keras/version_0" in err


def test_a_damaged_log_is_used_as_far_as_it_is_good_with_one_note(compare, make_run):
    (path,) = make_run("keras", epochs=5).glob("*tfevents*")
    path.write_bytes(path.read_bytes()[:-7])
    code, out, err = compare("lightning_logs/keras/version_0", "--format=markdown")
    assert (code, err) == (0, "")
    assert f"\nlightning_logs/keras/version_0/{path.name} ends inside a record at byte " in out


def test_no_training_framework_is_imported(run_python, make_run):
    make_run("keras", 0)
    make_run("keras", 1, seed=1)
    make_run("pytorch")
    code = """
import sys
from keras_parity.__main__ import main
main()
print("imported:", {"torch", "tensorflow", "keras", "lightning"} & sys.modules.keys())
"""
    answer = run_python("-c", code, "compare", "lightning_logs/*/version_*")
    assert answer.stdout.endswith("imported: set()\n"), answer.stderr


def test_run_folders_come_in_the_order_in_which_they_are_named_each_once(make_run):
    from keras_parity import find_folders

    second, first = make_run("keras", 1), make_run("keras", 0)
    assert find_folders([str(second), f"{first.parent}/*"]) == [second, first]
