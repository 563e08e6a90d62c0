"""The schedules' one formula, beside PyTorch's and Keras's own."""

import math

import keras
import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR, StepLR

from cnn_mnist.errors import UserError
from cnn_mnist.schedules import check_length, check_resumed_rate, rate_factor
from cnn_mnist.settings import ModelSettings
from keras_parity.twin.optimizers import keep_rate, make_optimizer

STEPS = 50
SCHEDULES = {
    "constant with warm-up": {"warmup": 0.2},
    "step": {"schedule": "step", "decay_steps": 7},
    "step with warm-up": {"schedule": "step", "decay_steps": 7, "decay_rate": 0.1, "warmup": 0.3},
    "cosine": {"schedule": "cosine"},
    "cosine with warm-up": {"schedule": "cosine", "warmup": 0.2},
    "cosine with hardly anything else": {"schedule": "cosine", "warmup": 0.99},
    "one cycle": {"schedule": "one_cycle", "warmup": 0.3},
    "one cycle in straight lines": {"schedule": "one_cycle", "warmup": 0.25, "anneal_strategy": "linear"},
}


def factors(settings, steps=STEPS):
    return [rate_factor(settings, step, steps) for step in range(steps)]


def rates_of(make_schedule):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule, rates = make_schedule(optimizer), []
    for _ in range(STEPS):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return rates


@pytest.mark.parametrize("settings", SCHEDULES.values(), ids=SCHEDULES)
def test_keras_takes_the_same_rates(settings):
    settings = ModelSettings(learning_rate=0.008, **settings)
    optimizer, rates = make_optimizer(settings, STEPS), []
    for step in range(STEPS):
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate))
    np.testing.assert_allclose([0.008 * factor for factor in factors(settings)], rates, rtol=1e-6, atol=2e-9)


@pytest.mark.parametrize("settings", SCHEDULES.values(), ids=SCHEDULES)
def test_stock_keras_loads_an_optimizer_that_was_trained_and_finds_its_last_rate(settings):
    settings = ModelSettings(learning_rate=0.008, **settings)
    optimizer = make_optimizer(settings, STEPS)
    optimizer.iterations.assign(STEPS)
    rate = float(optimizer.learning_rate)
    keep_rate(optimizer, settings)
    config = keras.optimizers.serialize(optimizer)
    assert "keras_parity" not in str(config)
    loaded = keras.optimizers.deserialize(config)
    loaded.iterations.assign(STEPS)
    assert float(loaded.learning_rate) == pytest.approx(rate)


@pytest.mark.parametrize("strategy", ["cos", "linear"])
@pytest.mark.parametrize("rise", [0.04, 0.3, 0.5])
def test_one_cycle_is_pytorchs(rise, strategy):
    settings = ModelSettings(schedule="one_cycle", warmup=rise, anneal_strategy=strategy)
    cycle = {"pct_start": rise, "anneal_strategy": strategy, "cycle_momentum": False}
    theirs = rates_of(lambda optimizer: OneCycleLR(optimizer, 1.0, STEPS + 1, **cycle))  # which refuses a step past
    np.testing.assert_allclose(factors(settings, STEPS + 1)[:STEPS], theirs, rtol=1e-12)


def test_step_is_pytorchs():
    settings = ModelSettings(schedule="step", decay_steps=7, decay_rate=0.3)
    np.testing.assert_allclose(factors(settings), rates_of(lambda optimizer: StepLR(optimizer, 7, 0.3)), rtol=1e-12)


def test_cosine_is_bitwise_what_it_was():
    settings = ModelSettings(schedule="cosine", warmup=0.3)
    assert factors(settings) == [
        step / 15 if step < 15 else 0.5 * (1 + math.cos(math.pi * min(1.0, (step - 15) / 35))) for step in range(STEPS)
    ]


@pytest.mark.parametrize("settings", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 3, 10_000])
def test_a_factor_lies_in_0_to_1_and_stays_after_the_last_update(settings, steps):
    settings = ModelSettings(**settings)
    values = [rate_factor(settings, step, steps) for step in range(steps + 3)]
    assert 0 <= min(values) <= max(values) <= 1
    if settings.schedule != "step":
        assert values[-1] == values[-2] == values[-3]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"schedule": "one_cycle"}, "warmup: expected over 0 with one_cycle"),
        ({"decay_rate": 0.0}, "decay_rate: expected over 0 and at most 1, got 0.0"),
        ({"decay_rate": 1.5}, "decay_rate: expected over 0 and at most 1, got 1.5"),
        ({"decay_steps": 0}, "decay_steps: expected 1 or more updates, got 0"),
        ({"warmup": 1.0}, "warmup: expected 0 or more and less than 1, got 1.0"),
    ],
)
def test_a_schedule_out_of_its_range_is_refused(settings, message):
    with pytest.raises(UserError, match=message):
        ModelSettings(**settings)


@pytest.mark.parametrize("steps", [math.inf, -1, 0])
def test_only_a_schedule_that_spans_the_training_needs_its_end(steps):
    check_length(ModelSettings(), steps)
    check_length(ModelSettings(schedule="step"), steps)
    assert rate_factor(ModelSettings(schedule="step"), 1000, math.inf) == 0.5
    for settings in ({"schedule": "cosine"}, {"schedule": "one_cycle", "warmup": 0.3}, {"warmup": 0.1}):
        with pytest.raises(UserError, match="expected a training with an end"):
            check_length(ModelSettings(**settings), steps)


def test_a_rate_that_would_jump_is_refused():
    check_resumed_rate(ModelSettings(schedule="cosine"), 0.001, 0.001 * (1 + 1e-15))
    with pytest.raises(UserError, match=r"continue at a learning rate of 0.001, got 0.0011"):
        check_resumed_rate(ModelSettings(schedule="cosine"), 0.001, 0.0011)
