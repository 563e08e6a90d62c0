"""Verdicts of ``python -m keras_parity compare``, on made-up runs and numbers."""

import json

import numpy as np
import pytest
import scipy.stats

from cnn_mnist.data import mnist
from cnn_mnist.runs import tags
from cnn_mnist.runs.mistakes import read_mistakes, write_mistakes
from keras_parity.compare import verdict
from keras_parity.compare.verdict import Estimate
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
    mean, half_width, n = verdict.estimate(values)
    low, high = (mean, mean) if len(set(values)) == 1 else scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (mean - half_width, mean + half_width) == pytest.approx((low, high))
    assert n == len(values)


def test_the_paired_interval_is_scipys():
    keras, pytorch = [0.990, 0.991, 0.989, 0.992], [0.991, 0.993, 0.989, 0.992]
    found = verdict.difference(dict(enumerate(keras)), dict(enumerate(pytorch)))
    low, high = scipy.stats.ttest_rel(pytorch, keras).confidence_interval(0.95)
    assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx((low, high))


def test_without_pairs_the_interval_is_welchs():
    keras, pytorch = [0.990, 0.991, 0.989], [0.991, 0.993, 0.988, 0.992, 0.99]
    found = verdict.difference(dict(zip("abc", keras, strict=True)), dict(zip("defgh", pytorch, strict=True)))
    low, high = scipy.stats.ttest_ind(pytorch, keras, equal_var=False).confidence_interval(0.95)
    assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx((low, high))
    assert found.n == 3


def test_one_run_of_a_side_has_no_interval():
    assert verdict.difference({0: 1.0}, {0: 1.5, 1: 2.5}) == Estimate(1.0, None, 1)


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (5, 0), (3, 9), (298, 312), (40, 40)])
def test_mcnemars_p_is_the_exact_binomial_tests(only_first, only_second):
    n = only_first + only_second
    expected = scipy.stats.binomtest(only_first, n).pvalue if n else 1.0
    assert verdict.mcnemar(only_first, only_second) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("difference", "margin", "word", "needed"),
    [
        (Estimate(0.0005, 0.001, 10), 0.002, "same", None),
        (Estimate(0.001, 0.0005, 10), 0.002, "same", None),  # real, and too small to count
        (Estimate(-0.005, 0.001, 10), 0.002, "different", None),
        (Estimate(0.0015, 0.0012, 10), 0.002, "different", None),
        (Estimate(0.0005, 0.003, 10), 0.002, "undetermined", 40),  # (0.003 / (0.002 - 0.0005))^2 = 4
        (Estimate(-0.003, 0.006, 5), 0.002, "undetermined", 20),  # (0.006 / 0.003)^2 = 4
        (Estimate(0.0, 1.0, 5), 0.0, "undetermined", None),
        (Estimate(0.0, None), 0.002, "undetermined", None),
        (Estimate(0.0, 0.0, 2), 0.0, "same", None),
        (Estimate(float("nan"), float("nan"), 2), 0.002, "undetermined", None),
    ],
)
def test_the_interval_and_the_margin_decide_the_word(difference, margin, word, needed):
    assert verdict.judge(difference, margin)[2:] == (word, needed)


def test_ten_equal_pairs_are_the_same_and_half_a_point_is_different(compare, make_pairs):
    make_pairs()
    make_pairs(ahead=0.005, first=10, settings=CONV5X5)
    _, out, _ = compare("--format=markdown")
    three_conv, conv5x5 = (table for table in out.split("### ") if table.startswith("model.architecture="))
    assert "| same | +0.0000 ± 0.0001 |" in three_conv
    assert "| different | +0.0050 ± 0.0001 |" in conv5x5


def test_two_noisy_pairs_decide_nothing_and_it_is_said_how_many_would(compare, make_pairs):
    make_pairs(noise=[0.001, -0.001])
    _, out, _ = compare("--format=markdown")
    # t(1) = 12.706, so the half width is 0.0127; 2 (0.0127 / 0.002)^2 = 80.7
    assert "| undetermined (about 81 pairs) | +0.0000 ± 0.0127 |" in out


def test_single_runs_decide_nothing_but_the_parameters(compare, tables, make_run):
    make_run("keras")
    make_run("pytorch")
    (table,) = tables()
    words = {key: verdict["word"] for key, verdict in table["verdicts"].items()}
    assert words.pop(tags.PARAMETERS) == "same"
    assert set(words.values()) == {"undetermined"}
    assert "one run of a framework decides nothing" in compare()[1]


def test_runs_of_one_seed_count_once_and_the_newest_counts(tables, make_run):
    for version, (keras, pytorch) in enumerate([(0.9, 0.8), (0.99, 0.991)]):
        make_run("keras", version, **{"test/acc": keras})
        make_run("pytorch", version, **{"test/acc": pytorch})
    (table,) = tables()
    difference = table["verdicts"]["test/acc"]["difference"]
    assert difference == {"mean": pytest.approx(0.001, abs=1e-6), "half_width": None, "n": 1}


def test_pairs_of_a_seed_tell_more_than_the_same_runs_unpaired(tables, make_run):
    for seed, noise in enumerate(NOISE):
        make_run("keras", seed, seed=seed, **{"test/acc": 0.99 + 10 * noise})
        make_run("pytorch", seed, seed=seed, **{"test/acc": 0.99 + 10 * noise})
        make_run("pytorch", 10 + seed, seed=10 + seed, settings=CONV5X5, **{"test/acc": 0.99 + 10 * noise})
        make_run("keras", 10 + seed, seed=20 + seed, settings=CONV5X5, **{"test/acc": 0.99 + 10 * noise})
    paired, unpaired = (table["verdicts"]["test/acc"]["difference"]["half_width"] for table in tables())
    assert paired == pytest.approx(0, abs=1e-6)
    assert unpaired > 0.001


def test_a_margin_of_the_user_decides(tables, make_pairs):
    make_pairs(ahead=0.005)
    assert tables()[0]["verdicts"]["test/acc"]["word"] == "different"
    verdict = tables("--margin=test/acc=0.006")[0]["verdicts"]["test/acc"]
    assert (verdict["word"], verdict["margin"]) == ("same", 0.006)


def test_losses_and_times_have_a_tenth_of_keras_as_margin(tables, make_pairs):
    make_pairs()
    verdicts = tables()[0]["verdicts"]
    assert verdicts["test/loss"]["margin"] == pytest.approx(0.0034)
    assert verdicts["time/fit_seconds"]["margin"] == pytest.approx(1.876)
    assert verdicts["test/acc"]["margin"] == 0.002


def test_each_experiment_has_its_table_and_only_three_conv_the_published_columns(compare, tables, make_pairs, tmp_path):
    make_pairs(noise=NOISE[:3])
    make_pairs(noise=NOISE[:3], first=3, settings=CONV5X5)
    three_conv, conv5x5 = tables()
    assert [column["title"] for column in three_conv["columns"]] == [
        "Keras 1", "PyTorch 1", "published Keras", "published PyTorch",
    ]  # fmt: skip
    assert [column["title"] for column in conv5x5["columns"]] == ["Keras 2", "PyTorch 2"]
    assert conv5x5["title"] == "model.architecture=conv5x5"
    code, out, err = compare("--format=markdown", "--figure=figure.png", "--max_difference=test/acc=0.01")
    assert (code, err) == (0, "wrote figure.png\n")
    assert out.count("Not a mean loss") == 1
    assert out.count("Settings that differ") == 1
    assert (tmp_path / "figure.png").read_bytes()[1:4] == b"PNG"
    assert "model.architecture=conv5x5,acc" not in compare("--format=csv")[1]
    assert "\nmodel.architecture=conv5x5,test/acc,Keras 2," in compare("--format=csv")[1]


def test_every_table_must_stay_within_the_greatest_difference(compare, make_pairs):
    make_pairs(noise=NOISE[:2])
    make_pairs(ahead=0.005, noise=NOISE[:2], first=2, settings=CONV5X5)
    code, _, err = compare("--max_difference=test/acc=0.003")
    assert code == 1
    assert "not met: model.architecture=conv5x5: test/acc differs by +0.0049" in err
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
    assert [table["title"] for table in tables()] == ["known settings", "unknown settings"]


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
     b"image,label,prediction\n1,2,2\n", b"image,label,prediction\n1,2,12\n", b"image,label,prediction\n1,2,3\n1,2,3\n",
     b"\xff\xfe\x00"],
)  # fmt: skip
def test_damaged_mistakes_are_one_line(compare, make_run, content):
    (make_run("keras") / "mistakes.csv").write_bytes(content)
    code, _, err = compare()
    assert code == 1
    assert err.count("\n") == 1
    assert "expected lines of image,label,prediction" in err
    assert "keras/version_0/mistakes.csv" in err


def test_mcnemar_pools_the_readings_of_all_pairs(compare, make_pairs, tiny_mnist):
    labels = tiny_mnist.test_labels
    for number, (keras, pytorch) in enumerate(make_pairs(noise=NOISE[:3])):
        for folder, misclassified in (keras, [0, 1, 2]), (pytorch, [0, 5] if number else []):
            predictions = labels.astype(int)
            predictions[misclassified] = (predictions[misclassified] + 1) % 10
            write_mistakes(folder, labels, predictions)
    _, out, _ = compare("--format=markdown")
    p = scipy.stats.binomtest(2, 9).pvalue
    expected = f"3 pairs of runs: 2 predictions right in Keras only, 7 right in PyTorch only, p = {p:.2g}\n"
    assert f"McNemar's exact test over {expected}" in out


def test_disagreements_are_drawn(compare, make_pairs, tiny_mnist, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(mnist, "load", lambda data_dir: asked.append(data_dir) or tiny_mnist)
    labels = tiny_mnist.test_labels
    for keras, pytorch in make_pairs(noise=NOISE[:2]):
        write_mistakes(keras, labels, (labels + (np.arange(len(labels)) < 60)) % 10)
        write_mistakes(pytorch, labels, labels)
    assert compare()[0] == 0
    assert asked == []
    code, _, err = compare("--disagreements=digits.png", "--data.data_dir=elsewhere")
    assert (code, err) == (0, "")
    assert asked == ["elsewhere"]
    assert (tmp_path / "digits.png").read_bytes()[1:4] == b"PNG"


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
        ("--disagreements=digits.png", "--disagreements: expected finished runs of both frameworks, of one seed"),
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
