"""What ``compare`` writes to hand on: CSV files, the page, the slide, TensorBoard's bands; and what it demands."""

import csv
import re

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout

from cnn_mnist.data import mnist
from cnn_mnist.errors import UserError
from cnn_mnist.runs.mistakes import write_mistakes
from keras_parity.compare import curves
from keras_parity.compare.table import make_tables
from keras_parity.logs.event_files import read_scalars
from keras_parity.logs.run import read_run
from tests.logs import foreign

CONV5X5 = {"architecture": "conv5x5"}


@pytest.fixture
def compare(command):
    return lambda *arguments: command("keras_parity", "compare", "lightning_logs/*/*", *arguments)


@pytest.fixture
def make_pairs(make_run):
    """Makes three runs of each framework; PyTorch is better by 0.001."""

    def make(first=0, **about):
        for seed in range(3):
            for ahead, framework in enumerate(("keras", "pytorch")):
                accuracy = 0.99 + (seed + ahead) / 1000
                make_run(framework, first + seed, seed=seed, **about, **{"test/acc": accuracy})

    return make


def _lines(path):
    return list(csv.reader(path.read_text().splitlines()))


def test_the_csv_file_has_a_line_for_each_run_with_settings_hardware_and_rounded_figures(compare, make_run, tmp_path):
    make_run("keras", 0, seed=7, environment={"device": "cpu", "cores": 2}, **{"test/acc": 0.98765432})
    make_run("pytorch", 0, settings=CONV5X5, environment=None)
    assert compare("--output=table.csv")[0] == 0
    head, keras, pytorch = _lines(tmp_path / "table.csv")
    keras, pytorch = (dict(zip(head, line, strict=True)) for line in (keras, pytorch))
    assert keras["run"] == "lightning_logs/keras/version_0"
    assert (keras["seed"], keras["finished"], keras["framework"]) == ("7", "True", "keras")
    assert (keras["environment.device"], keras["environment.cores"], pytorch["environment.cores"]) == ("cpu", "2", "")
    assert (keras["model.architecture"], pytorch["model.architecture"]) == ("three_conv", "conv5x5")
    assert (keras["test/acc"], keras["weights/parameters"]) == ("0.9877", "93322")
    assert not any("*" in cell for cell in head)


def test_the_table_as_csv_keeps_its_footnotes(compare, make_pairs, tmp_path):
    make_pairs()
    assert compare("--output=table.csv", "--rows=verdicts")[0] == 0
    lines = _lines(tmp_path / "table.csv")
    assert lines[0][:3] == ["", "verdict", "difference (3 pairs)"]
    marked = [cell for line in lines for cell in line if cell.endswith(" *")]
    assert marked == ["0.022975 *", "0.023077 *"]
    assert any(line and line[0].startswith("* Not a mean loss") for line in lines)


def test_the_page_is_one_file_that_begins_with_the_verdict(compare, make_pairs, tiny_mnist, monkeypatch, tmp_path):
    make_pairs(environment={"device": "cpu", "packages": {"torch": "<2.9>"}})
    labels = tiny_mnist.test_labels
    for seed in range(3):
        for shift, framework in enumerate(("keras", "pytorch")):
            predictions = np.where(np.arange(len(labels)) < 5, (labels + 1 + shift) % 10, labels)
            write_mistakes(tmp_path / f"lightning_logs/{framework}/version_{seed}", labels, predictions)
    monkeypatch.setattr(mnist, "load_mnist", lambda *_: tiny_mnist)
    code, out, err = compare("--output=report.html")
    assert (code, err) == (0, "")
    assert out.startswith("wrote report.html\n")
    text = (tmp_path / "report.html").read_text()
    assert text.index("acc test: same, but not equal; PyTorch minus Keras is +0.0010") < text.index("<table>")
    assert text.count("<svg") == 1
    assert text.count("class=confusion>") == 2
    assert text.count("data:image/png;base64,") == 1
    assert "&lt;2.9&gt;" in text
    assert "Not a mean loss" in text
    links = re.findall(r"""(?:src|href)\s*=\s*["']?([^"'\s>]{1,40})""", text.partition("<svg")[0])
    assert not links
    assert "<script" not in text


def test_a_notebook_shows_a_table_in_html_with_its_notes_folded(make_run):
    runs = [
        read_run(make_run(framework, seed, seed=seed, environment={"cpu": f"<{framework}>"}))
        for framework in ("keras", "pytorch")
        for seed in range(2)
    ]
    (table,) = make_tables(runs)
    html = table._repr_html_()
    assert html.count("<table>") == html.count("</table>") == 2
    assert "<th>acc test</th><td>undetermined" in html
    assert "<td>&lt;keras&gt;</td>" in html
    assert html.index("</table>") < html.index("<details><summary>notes</summary><ul><li>") < html.index("Not a mean")


def test_a_page_without_the_images_says_why_they_are_missing(compare, make_pairs, monkeypatch, tmp_path):
    make_pairs()
    for path in (tmp_path / "lightning_logs").glob("*/*"):
        (path / "mistakes.csv").write_text("image,label,prediction\n3,1,2\n")

    def fail(*_):
        raise UserError("no data here")

    monkeypatch.setattr(mnist, "load_mnist", fail)
    assert compare("--output=report.html")[0] == 0
    assert "are not drawn: no data here" in (tmp_path / "report.html").read_text()


def test_a_band_is_students_interval_at_the_steps_that_all_runs_share(make_run):
    runs = [read_run(make_run("keras", seed, **{"train/acc": 0.9 + seed / 100})) for seed in range(2)]
    runs.append(read_run(make_run("keras", 2, epochs=1, **{"train/acc": 0.92})))
    (step, _, mean, low, high), *others = curves.band("train/acc", runs)
    assert (step, others) == (938, [])
    assert (mean, high - mean) == pytest.approx((0.91, 4.302653 * 0.01 / 3**0.5), abs=1e-5)
    assert low + high == pytest.approx(2 * mean)
    near_one = [read_run(make_run("keras", 3 + n, **{"train/acc": 1 - n / 100})) for n in range(2)]
    assert curves.band("train/acc", near_one)[:, 4] == pytest.approx([1, 1])


def test_tensorboard_gets_a_band_of_every_tag_for_each_framework_and_a_page_of_them(compare, make_pairs, tmp_path):
    make_pairs()
    compare()
    folder = tmp_path / "lightning_logs/compare"
    for framework in ("Keras", "PyTorch"):
        points = read_scalars(folder / framework).points
        low, mean, high = (points[f"with_bands/train_loss/{part}"] for part in ("lower", "mean", "upper"))
        assert [point.step for point in mean] == [938, 1876]
        assert low[0].value <= mean[0].value <= high[0].value
        assert "with_bands/test_acc/mean" in points
    events = EventAccumulator(str(folder))
    events.Reload()
    (event,) = events.Tensors("custom_scalars__config__")
    (category,) = Layout.FromString(event.tensor_proto.string_val[0]).category
    assert category.title == "Mean and 95% band"
    charts = list(reversed(category.chart))  # as TensorBoard draws them
    assert [chart.title for chart in charts][:2] == ["train/acc", "train/loss"]
    assert charts[1].margin.series[0].lower == "with_bands/train_loss/lower"


def test_in_tensorboard_each_experiment_has_its_page_and_two_bands_in_a_chart(compare, make_pairs, tmp_path):
    make_pairs()
    make_pairs(3, settings=CONV5X5)
    compare()
    folder = tmp_path / "lightning_logs/compare"
    layout = EventAccumulator(str(folder)).Reload().Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0]
    first, second = Layout.FromString(layout).category
    assert second.title == "Mean and 95% band, experiment 2: architecture=conv5x5"
    for category, number in (first, 1), (second, 2):
        assert category.chart[-1].title == f"experiment {number}: train/acc"
        mean = category.chart[-1].margin.series[0].value
        drawn = {path.name for path in folder.iterdir() if path.is_dir() and mean in read_scalars(path).points}
        assert drawn == {f"Keras {number}", f"PyTorch {number}"}


def test_a_long_curve_has_as_many_points_in_its_band_as_tensorboard_shows(compare, make_run, monkeypatch, tmp_path):
    monkeypatch.setattr(curves, "_MOST", 3)
    make_run("keras", epochs=5)
    compare()
    points = read_scalars(tmp_path / "lightning_logs/compare/Keras").points["with_bands/train_loss/mean"]
    assert [point.step for point in points] == [938, 2814, 4690]


def test_bands_of_the_last_comparison_do_not_stay(compare, make_pairs, command, tmp_path):
    make_pairs()
    compare()
    command("keras_parity", "compare", "lightning_logs/keras/*")
    kept = [path.parent.name for path in (tmp_path / "lightning_logs/compare").glob("*/*.compare")]
    assert kept == ["Keras"]


@pytest.mark.parametrize("experiments", [1, 3])
def test_the_figure_is_a_slide_without_the_table_where_that_is_not_wanted(compare, make_pairs, tmp_path, experiments):
    for number in range(experiments):
        make_pairs(3 * number, settings={"learning_rate": number + 1})
    code, out, _ = compare("--figure=slide.png", "--table=false")
    assert code == 0
    assert out == "wrote slide.png\nnext: tensorboard --logdir lightning_logs\n"
    with Image.open(tmp_path / "slide.png") as picture:
        assert picture.width / picture.height == pytest.approx(16 / 9, abs=0.01)


def test_disagreements_of_two_experiments_are_drawn_apart(compare, make_pairs, tiny_mnist, monkeypatch, tmp_path):
    labels, heights = tiny_mnist.test_labels, []
    monkeypatch.setattr(mnist, "load_mnist", lambda *_: tiny_mnist)
    for number, settings in enumerate(({}, CONV5X5)):
        make_pairs(3 * number, settings=settings)
        for seed in range(3 * number, 3 * number + 3):
            write_mistakes(tmp_path / f"lightning_logs/keras/version_{seed}", labels, labels)
            write_mistakes(tmp_path / f"lightning_logs/pytorch/version_{seed}", labels, (labels + 1) % 10)
        assert compare("--disagreements=digits.png")[0] == 0
        with Image.open(tmp_path / "digits.png") as picture:
            heights.append(picture.height)
    assert heights[1] == 2 * heights[0]


def test_what_was_written_beside_the_runs_is_no_run_of_the_next_comparison(compare, make_pairs, tmp_path):
    make_pairs()
    first, second = (compare("--format=markdown")[1] for _ in range(2))
    assert (tmp_path / "lightning_logs/compare/Keras").is_dir()
    assert first == second


def test_titles_of_experiments_are_written_once_and_elsewhere_their_numbers(compare, make_pairs):
    make_pairs()
    make_pairs(3, settings=CONV5X5)
    _, out, _ = compare("--format=markdown")
    assert out.count("architecture=conv5x5") == 1
    _, out, _ = compare("--format=csv")
    assert "\nexperiment 2,Keras 2," in out
    assert "architecture=conv5x5" not in out
    code, _, err = compare("--max_difference=test/acc=0.0001")
    assert code == 1
    assert "; experiment 2: test/acc differs by +0.00" in err


@pytest.mark.parametrize("form", ["rich", "csv", "json"])
def test_without_the_table_nothing_of_it_is_printed_in_any_format(compare, make_pairs, form):
    make_pairs()
    code, out, _ = compare(f"--format={form}", "--table=false")
    assert (code, out.replace("next: tensorboard --logdir lightning_logs\n", "")) == (0, "")


@pytest.mark.parametrize("flag", ["--require=test/acc >= 0.1", "--max_difference=test/acc=1"])
def test_demands_pass_over_unfinished_runs_and_fail_where_there_is_nothing_else(compare, make_pairs, make_run, flag):
    make_run("keras", 9, finished=False)
    code, _, err = compare(flag)
    assert code == 1
    assert "no run has finished" in err
    make_pairs()
    assert compare(flag)[0] == 0


def test_a_greatest_difference_fails_where_an_experiment_or_a_time_was_not_compared(compare, make_pairs, make_run):
    make_pairs()
    make_run("keras", 9, settings=CONV5X5)
    code, _, err = compare("--max_difference=test/acc=1")
    assert code == 1
    assert "experiment 2: test/acc not compared: two columns of finished runs are needed" in err


def test_a_greatest_difference_of_times_fails_on_other_hardware(compare, make_run):
    make_run("keras", environment={"device": "cpu", "cpu": "A"})
    make_run("pytorch", environment={"device": "cpu", "cpu": "B"})
    code, _, err = compare("--max_difference=time/fit_seconds=9")
    assert code == 1
    assert "time/fit_seconds not compared: other hardware" in err


@pytest.mark.parametrize(
    ("named", "hint"),
    [
        (["my logs"], "next: tensorboard --logdir 'my logs'\n"),
        (["my logs/*/run"], "next: tensorboard --logdir 'my logs'\n"),
        (["my logs/a", "other"], "next: tensorboard --logdir .\n"),
        (["my logs/a/run/events.out.tfevents.1.host"], "next: tensorboard --logdir 'my logs/a/run'\n"),
        (["csv"], ""),
        (["csv/log.csv"], ""),
        (["lightning_logs/keras/version_0"], "next: tensorboard --logdir lightning_logs\n"),
    ],
)
def test_the_closing_hint_names_the_folder_compared_where_it_has_event_files(
    command, make_run, tmp_path, monkeypatch, named, hint
):
    make_run("keras")
    for place in ("my logs/a/run", "my logs/b/run", "other"):
        foreign.write(tmp_path / place, {"test_acc": [(1, 0.5)]})
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv/log.csv").write_text("epoch,val_loss\n0,0.5\n")
    code, out, _ = command("keras_parity", "compare", *named)
    assert (code, "".join(line for line in out.splitlines(True) if line.startswith("next: "))) == (0, hint)
