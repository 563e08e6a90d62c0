"""Verdicts of ``python -m keras_parity compare``, on made-up runs and numbers."""

import json
import re

import numpy as np
import pytest
import scipy.stats

from cnn_mnist.data import mnist
from cnn_mnist.runs import tags
from cnn_mnist.runs.mistakes import read_mistakes, write_mistakes
from keras_parity.compare import intervals, verdict
from keras_parity.compare.intervals import Estimate
from keras_parity.compare.table import make_tables
from keras_parity.logs.run import read_run
from keras_parity.settings import settings_that_matter

ALL = "lightning_logs/*/version_*"
NOISE = [0.0001, -0.0002, 0.0003, 0.0, -0.0001, 0.0002, -0.0003, 0.0001, 0.0, -0.0001]
CONV5X5 = {"architecture": "conv5x5"}


@pytest.fixture
def compare(command):
    def run(*arguments):
        return command("keras_parity", "compare", ALL, *arguments)

    return run


@pytest.fixture
def tables(compare):
    """The tables of ``compare ARGUMENTS --format=json``."""

    def read(*arguments):
        code, out, err = compare(*arguments, "--format=json")
        assert code == 0, err
        return json.loads(out)["tables"]

    return read


@pytest.fixture
def make_pairs(make_run):
    """Makes runs of both frameworks, of the seeds 0, 1, ...; PyTorch is better by ``ahead``, give or take ``noise``."""

    def make(ahead=0.0, noise=NOISE, first=0, **settings):
        folders = []
        for seed, (shared, own) in enumerate(zip(reversed(NOISE), noise, strict=False)):
            keras, pytorch = 0.99 + 10 * shared, 0.99 + 10 * shared + ahead + own
            folders.append(
                tuple(
                    make_run(framework, first + seed, seed=seed, **settings, **{"test/acc": acc})
                    for framework, acc in (("keras", keras), ("pytorch", pytorch))
                )
            )
        return folders

    return make


@pytest.mark.parametrize("values", [[0.99, 0.992], [1.0, 2.0, 4.0, 8.0], [3.0] * 3])
def test_students_interval_is_scipys(values):
    mean, half_width, n, _ = intervals.estimate(values)
    low, high = (mean, mean) if len(set(values)) == 1 else scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (mean - half_width, mean + half_width) == pytest.approx((low, high))
    assert n == len(values)


def test_the_paired_interval_is_scipys():
    keras, pytorch = [0.990, 0.991, 0.989, 0.992], [0.991, 0.993, 0.989, 0.992]
    found = intervals.difference(dict(enumerate(keras)), dict(enumerate(pytorch)))
    low, high = scipy.stats.ttest_rel(pytorch, keras).confidence_interval(0.95)
    assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx((low, high))


def test_without_pairs_the_interval_is_welchs():
    keras, pytorch = [0.990, 0.991, 0.989], [0.991, 0.993, 0.988, 0.992, 0.99]
    found = intervals.difference(dict(zip("abc", keras, strict=True)), dict(zip("defgh", pytorch, strict=True)))
    low, high = scipy.stats.ttest_ind(pytorch, keras, equal_var=False).confidence_interval(0.95)
    assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx((low, high))
    assert found.n == 3


def test_one_run_of_a_side_has_no_interval():
    assert intervals.difference({0: 1.0}, {0: 1.5, 1: 2.5}) == Estimate(1.0, None, 1)


def test_seeds_without_their_partner_are_compared_over_all_runs_and_never_thrown_away():
    keras, pytorch = dict(enumerate([0.990, 0.991, 0.989, 0.992])), dict(enumerate([0.991, 0.993, 0.988, 0.99], 2))
    found = intervals.difference(keras, pytorch)
    sides = list(pytorch.values()), list(keras.values())
    low, high = scipy.stats.ttest_ind(*sides, equal_var=False).confidence_interval(0.95)
    assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx((low, high))


def test_equal_differences_have_the_spread_that_rounding_hides():
    found = intervals.difference(dict.fromkeys(range(3), 0.99), dict.fromkeys(range(3), 0.993), 1 / (10_000 * 12**0.5))
    assert found.spread == pytest.approx(2**0.5 / (10_000 * 12**0.5))
    assert found.half_width == pytest.approx(4.302653 * found.spread / 3**0.5)


@pytest.mark.parametrize(("n", "factor"), [(3, np.inf), (4, np.inf), (5, 8.45), (8, 4.25), (10, 3.87), (50, 3.32)])
def test_an_interval_that_may_be_looked_at_is_wider_than_students(n, factor):
    assert intervals.always_valid(n - 1, 0.05) == pytest.approx(factor, abs=0.005)


@pytest.mark.parametrize(
    ("difference", "margin", "word"),
    [
        (Estimate(0.0005, 0.001, 10), 0.002, "same"),
        (Estimate(0.001, 0.0005, 10), 0.002, "same, but not equal"),
        (Estimate(-0.005, 0.001, 10), 0.002, "different"),
        (Estimate(0.0015, 0.0012, 10), 0.002, "different, perhaps slightly"),
        (Estimate(0.0005, 0.003, 10), 0.002, "undetermined"),
        (Estimate(-0.005, 0.001, 2), 0.002, "undetermined"),
        (Estimate(0.0, np.inf, 4), 0.002, "undetermined"),
        (Estimate(0.0, 0.0, 3), 0.0, "same"),
        (Estimate(float("nan"), float("nan"), 3), 0.002, "undetermined"),
    ],
)
def test_the_interval_and_the_margin_decide_the_word(difference, margin, word):
    assert verdict.judge(difference, margin) == (word, None)


@pytest.mark.parametrize(("mean", "spread"), [(0.0, 0.0014), (0.0005, 0.002), (0.002, 0.003)])
def test_the_number_of_pairs_that_is_named_decides_in_four_of_five_studies(mean, spread):
    n = verdict.pairs_needed(Estimate(mean, 1.0, 3, spread), 0.002)
    draws = np.random.default_rng(0).normal(mean, spread, (2_000, n))

    def decided(values):
        return np.mean([verdict.judge(intervals.estimate(list(row)), 0.002)[0] != "undetermined" for row in values])

    assert decided(draws) > 0.77
    assert decided(draws[:, :-1]) < 0.83


def test_no_number_of_pairs_is_named_without_a_spread_or_where_none_would_decide():
    assert verdict.pairs_needed(Estimate(0.0), 0.002) is None
    assert verdict.pairs_needed(Estimate(0.0, 1.0, 3, 1.0), 0.0) is None


def test_ten_equal_pairs_are_the_same_and_half_a_point_is_different(compare, make_pairs):
    make_pairs()
    make_pairs(ahead=0.005, first=10, settings=CONV5X5)
    _, out, _ = compare("--format=markdown")
    three_conv, conv5x5 = (table for table in out.split("### ") if table.startswith("experiment "))
    assert "| same | +0.0000 ± 0.0001 |" in three_conv
    assert "| different | +0.0050 ± 0.0001 |" in conv5x5
    assert "difference (10 pairs)" in conv5x5


def test_two_noisy_pairs_decide_nothing_and_it_is_said_how_many_would(compare, make_pairs):
    make_pairs(noise=[0.001, -0.001])
    _, out, _ = compare("--format=markdown")
    assert "| undetermined (about 8 pairs) | +0.0000 ± 0.0127 |" in out  # t(1) is 12.7, t(7) 2.4


def test_single_runs_decide_nothing_but_the_parameters(compare, tables, make_run):
    make_run("keras")
    make_run("pytorch")
    (table,) = tables()
    words = {key: verdict["word"] for key, verdict in table["verdicts"].items()}
    assert words.pop(tags.PARAMETERS) == "same"
    assert set(words.values()) == {"undetermined"}
    assert "fewer than 3 pairs of runs decide nothing" in compare()[1]


def test_runs_of_one_seed_count_once_and_the_newest_counts(tables, make_run):
    for version, (keras, pytorch) in enumerate([(0.9, 0.8), (0.99, 0.991)]):
        make_run("keras", version, **{"test/acc": keras})
        make_run("pytorch", version, **{"test/acc": pytorch})
    (table,) = tables()
    difference = table["verdicts"]["test/acc"]["difference"]
    assert difference == {"mean": pytest.approx(0.001, abs=1e-6), "half_width": None, "n": 1, "spread": None}
    cells = {column["title"]: column["cells"]["test/acc"] for column in table["columns"] if column["runs"]}
    assert [cell["mean"] for cell in cells.values()] == pytest.approx([0.99, 0.991])
    assert all(cell["n"] == 1 for cell in cells.values())


def test_pairs_of_a_seed_tell_more_than_the_same_runs_unpaired(tables, make_run):
    for seed, noise in enumerate(NOISE):
        make_run("keras", seed, seed=seed, **{"test/acc": 0.99 + 10 * noise})
        make_run("pytorch", seed, seed=seed, **{"test/acc": 0.99 + 10 * noise})
        make_run("pytorch", 10 + seed, seed=10 + seed, settings=CONV5X5, **{"test/acc": 0.99 + 10 * noise})
        make_run("keras", 10 + seed, seed=20 + seed, settings=CONV5X5, **{"test/acc": 0.99 + 10 * noise})
    paired, unpaired = (table["verdicts"]["test/acc"]["difference"]["half_width"] for table in tables())
    assert paired < 0.0001
    assert unpaired > 0.001


def test_a_margin_of_the_user_decides(tables, make_pairs):
    make_pairs(ahead=0.005)
    assert tables()[0]["verdicts"]["test/acc"]["word"] == "different"
    verdict = tables("--margin=test/acc=0.006")[0]["verdicts"]["test/acc"]
    assert (verdict["word"], verdict["margin"]) == ("same, but not equal", 0.006)


def test_losses_and_times_are_judged_by_their_ratio_whichever_framework_comes_first(compare, tables, make_run):
    for seed in range(3):
        for framework, loss in (("keras", 0.02), ("pytorch", 0.025 + seed / 1e5)):
            make_run(framework, seed, seed=seed, **{"test/loss": loss, "test/acc": 0.99})
    found = tables()[0]["verdicts"]["test/loss"]
    assert found["margin"] == pytest.approx(np.log(1.1))
    assert found["difference"]["mean"] == pytest.approx(np.log(1.25), abs=1e-3)
    assert (found["ratio"], found["word"], found["basis"]) == (True, "different", "3 pairs")
    assert "| loss test | different | +25" in compare("--format=markdown")[1]
    assert tables("--margin=test/loss=0.3")[0]["verdicts"]["test/loss"]["word"] == "same, but not equal"
    assert compare("--max_difference=test/loss=0.3")[0] == 0
    assert "test/loss differs by +0.25" in compare("--max_difference=test/loss=0.2")[2]


def test_a_loss_of_zero_has_no_ratio_and_no_word(tables, make_run):
    for seed in range(3):
        for framework in ("keras", "pytorch"):
            make_run(framework, seed, seed=seed, **{"test/loss": 0.0})
    found = tables()[0]["verdicts"]["test/loss"]
    assert (found["word"], found["difference"]["mean"]) == ("undetermined", None)


def test_the_other_rows_share_their_five_percent_and_the_primary_keeps_its_own(tables, make_pairs):
    make_pairs()
    verdicts = tables()[0]["verdicts"]
    others = verdicts.keys() - {"test/acc", tags.PARAMETERS}
    assert verdicts["test/acc"]["level"] == pytest.approx(0.95)
    assert {verdicts[key]["level"] for key in others} == {1 - 0.05 / len(others)}


def test_runs_of_a_study_that_may_stop_have_intervals_that_may_be_looked_at(compare, tables, make_pairs):
    folders = make_pairs()
    fixed = tables()[0]["verdicts"]["test/acc"]["difference"]["half_width"]
    with (folders[0][0] / "config.yaml").open("a") as file:
        file.write("study: until=decided\n")
    wider = tables()[0]["verdicts"]["test/acc"]["difference"]["half_width"]
    assert wider / fixed == pytest.approx(3.873 / 2.262, rel=1e-3)
    out = compare()[1]
    assert "--until=decided" in out
    assert "inf" not in out.split()
    assert "what differs" not in out


def test_an_interval_of_an_accuracy_ends_at_1_and_a_cell_of_fewer_runs_says_so(compare, make_run):
    for seed, accuracy in enumerate((0.9999, 0.985)):
        make_run("keras", seed, seed=seed, **{"test/acc": accuracy})
    make_run("keras", 2, seed=2, **{"val/acc": 0.5, "test/acc": 0.99})
    out = compare("--format=markdown")[1]
    assert re.search(r"\| acc test \| 0.9916 \(0\.97\d\d to 1\.0000\) \|", out)


def test_each_experiment_has_its_table_and_only_three_conv_the_published_columns(compare, tables, make_pairs, tmp_path):
    make_pairs(noise=NOISE[:3])
    make_pairs(noise=NOISE[:3], first=3, settings=CONV5X5)
    three_conv, conv5x5 = tables()
    assert [column["title"] for column in three_conv["columns"]] == [
        "Keras 1", "PyTorch 1", "published Keras", "published PyTorch",
    ]  # fmt: skip
    assert [column["title"] for column in conv5x5["columns"]] == ["Keras 2", "PyTorch 2"]
    assert conv5x5["title"] == "experiment 2: architecture=conv5x5"
    code, out, err = compare("--format=markdown", "--figure=figure.png", "--max_difference=test/acc=0.01")
    assert (code, err) == (0, "wrote figure.png\n")
    assert out.count("Not a mean loss") == 1
    assert out.count("What differs") == 1
    assert (tmp_path / "figure.png").read_bytes()[1:4] == b"PNG"


def test_every_table_must_stay_within_the_greatest_difference(compare, make_pairs):
    make_pairs(noise=NOISE[:2])
    make_pairs(ahead=0.005, noise=NOISE[:2], first=2, settings=CONV5X5)
    code, _, err = compare("--max_difference=test/acc=0.003")
    assert code == 1
    assert "not met: experiment 2: test/acc differs by +0.0049" in err
    code, _, err = compare("--require=test/acc >= 0.995")
    assert "Keras 1 test/acc" in err
    assert "PyTorch 2 test/acc" in err


def test_an_unfinished_run_beside_it_takes_no_verdict_away(tables, make_run):
    make_run("keras", 0)
    make_run("pytorch", 0)
    make_run("keras", 1, finished=False, settings=CONV5X5)
    (table,) = tables()
    assert "test/acc" in table["verdicts"]


def test_a_log_without_settings_has_a_table_of_its_own_among_several(tables, make_pairs, make_run):
    make_pairs(noise=NOISE[:2])
    (make_run("keras", 9) / "config.yaml").unlink()
    assert [table["title"] for table in tables()] == ["experiment 1: known settings", "experiment 2: unknown settings"]


def test_a_setting_that_is_newer_than_a_run_had_its_default():
    old = {"trainer": {"max_epochs": 1}, "model": {"align": "native"}, "data": {"data_dir": "x"}}
    new = old | {"model": {"align": "native", "momentum": 0.0, "seed": 3}}
    assert settings_that_matter(old) == settings_that_matter(new)
    assert settings_that_matter(old)["data.batch_size"] == 64
    assert settings_that_matter({"trainer": {"max_epochs": 1}}).keys() == {"trainer.max_epochs", "trainer.precision"}


def test_mistakes_are_kept_and_all_else_was_read_as_labelled(tmp_path):
    labels = np.array([3, 1, 4, 1, 5], np.uint8)
    assert read_mistakes(tmp_path) is None
    write_mistakes(tmp_path, labels, np.array([3, 7, 4, 1, 6]))
    assert (tmp_path / "mistakes.csv").read_text() == "image,label,prediction\n1,1,7\n4,5,6\n"
    assert read_mistakes(tmp_path) == {1: (1, 7), 4: (5, 6)}
    write_mistakes(tmp_path, labels, labels)
    assert read_mistakes(tmp_path) == {}


@pytest.mark.parametrize(
    "content",
    [b"", b"image,label\n1,2\n", b"image,label,prediction\n1,2\n", b"image,label,prediction\n1,2,x\n",
     b"image,label,prediction\n1,2,2\n", b"image,label,prediction\n1,2,256\n",
     b"image,label,prediction\n1,2,3\n1,2,3\n",
     b"\xff\xfe\x00"],
)  # fmt: skip
def test_damaged_mistakes_are_one_note(compare, make_run, content):
    (make_run("keras") / "mistakes.csv").write_bytes(content)
    code, out, err = compare()
    assert (code, err) == (0, "")
    assert "expected lines of image,label,prediction" in out
    assert "lightning_logs/keras/version_0/mistakes.csv; the run is compared without its predictions" in out


def test_what_only_one_framework_has_right_is_counted_by_prediction_and_by_image(compare, make_pairs, tiny_mnist):
    labels = tiny_mnist.test_labels
    for number, (keras, pytorch) in enumerate(make_pairs(noise=NOISE[:3])):
        for folder, misclassified in (keras, [0, 1, 2]), (pytorch, [0, 5] if number else []):
            predictions = labels.astype(int)
            predictions[misclassified] = (predictions[misclassified] + 1) % 10
            write_mistakes(folder, labels, predictions)
    out = compare("--format=markdown")[1]
    assert (
        "over 3 pairs of runs, 2 predictions are right in Keras only and 7 in PyTorch only; "
        "1 images are right more often in Keras, 3 in PyTorch\n"
    ) in out
    config = keras / "config.yaml"
    for folder in keras.parent.glob("version_*"):
        config = folder / "config.yaml"
        config.write_text(config.read_text().replace("align: keras", "align: native"))
    assert "right in Keras only" not in compare("--format=markdown")[1]


def test_disagreements_are_drawn(compare, make_pairs, tiny_mnist, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(mnist, "load_mnist", lambda *where: asked.append(where) or tiny_mnist)
    labels = tiny_mnist.test_labels
    for keras, pytorch in make_pairs(noise=NOISE[:2]):
        write_mistakes(keras, labels, (labels + (np.arange(len(labels)) < 60)) % 10)
        write_mistakes(pytorch, labels, labels)
    assert compare()[0] == 0
    assert asked == []
    code, _, err = compare("--disagreements=digits.png", "--data.data_dir=elsewhere")
    assert (code, err) == (0, "")
    assert asked == [("elsewhere", "mnist")]
    assert (tmp_path / "digits.png").read_bytes()[1:4] == b"PNG"


def test_runs_of_two_data_sets_have_no_images_in_common(compare, make_pairs, tiny_mnist):
    labels = tiny_mnist.test_labels
    for pair in make_pairs(noise=NOISE[:2]):
        for folder, dataset in zip(pair, ("mnist", "kmnist"), strict=True):
            write_mistakes(folder, labels, (labels + (np.arange(len(labels)) < 60)) % 10)
            config = folder / "config.yaml"
            config.write_text(config.read_text().replace("data:\n", f"data:\n  dataset: {dataset}\n"))
    code, out, _ = compare("--by=data.dataset")
    assert code == 0
    assert "are right in" not in out
    assert "expected finished runs" in compare("--by=data.dataset", "--disagreements=digits.png")[2]


def test_a_number_beyond_the_test_set_is_one_line(compare, make_pairs, use_tiny_mnist):
    for folder in make_pairs(noise=NOISE[:1])[0]:
        (folder / "mistakes.csv").write_text("image,label,prediction\n70,1,2\n")
    code, _, err = compare("--disagreements=digits.png")
    assert code == 1
    assert err.endswith("expected numbers of 70 test images in mistakes.csv, got 70\n")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--disagreements=digits.png", "--disagreements: expected finished runs of two frameworks with the same seed"),
        ("--margin=test/acc=-1", "--margin: expected TAG=NUMBER, 0 or more, such as test/acc=0.003, got test/acc=-1"),
        ("--margin=accuracy=1", "--margin: expected one of the tags"),
    ],
)
def test_a_mistake_is_one_line(compare, make_run, flag, message):
    make_run("keras")
    make_run("pytorch")
    code, _, err = compare(flag)
    assert code == 1
    assert err.count("\n") == 1
    assert message in err


@pytest.mark.parametrize("changed", ["dataset: kmnist", "file: my.npz", "shift: 2", "rotation: 5.0"])
def test_other_data_are_not_the_published_experiment(make_run, changed):
    folder = make_run("keras")
    assert [column.title for column in make_tables([read_run(folder)])[0].columns if not column.runs]
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("data:\n", f"data:\n  {changed}\n"))
    assert all(column.runs for column in make_tables([read_run(folder)])[0].columns)
