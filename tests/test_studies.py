"""``python -m benchmarks.studies``: its words are the table's, and its rates those of what it simulates."""

import numpy as np
import pytest

from benchmarks import studies
from keras_parity.compare import intervals, verdict
from keras_parity.compare.intervals import Estimate


def test_its_words_and_intervals_are_those_of_the_table():
    noise = np.random.default_rng(0).normal(0.3, 1, (200, 1, 6))
    mean, half_width = studies.looks(noise, intervals.student, np.array([0.05]))
    estimates = [intervals.estimate(list(row)) for row in noise[:, 0]]
    assert half_width[:, 0, -1] == pytest.approx([found.half_width for found in estimates])
    expected = [verdict.judge(Estimate(*found[:3]), 1.0)[0] for found in estimates]
    said = np.array(studies.words(mean[:, 0, -1], half_width[:, 0, -1], 1.0)).T
    assert [(w.startswith("same"), w.startswith("different"), w == "different") for w in expected] == list(
        map(tuple, said)
    )
    assert {"same", "undetermined"} <= set(expected)


def test_a_fixed_number_is_wrong_as_often_as_it_says_and_looking_again_more_often():
    noise = np.random.default_rng(0).standard_normal((4_000, 2, 30))
    alphas = np.array([0.05, 0.05])
    once = studies.wrong(*studies.looks(noise, intervals.student, alphas), 0.0, 0.25, 10)
    often = studies.wrong(*studies.looks(noise, intervals.student, alphas), 0.0, 0.25, None)
    valid = studies.wrong(*studies.looks(noise, intervals.always_valid, alphas), 0.0, 0.25, None)
    assert once[1] == pytest.approx(0.05, abs=0.01)
    assert often[1] > 0.2
    assert valid[1] < 0.05
