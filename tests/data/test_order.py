import numpy as np
import pytest
from hypothesis import given
from hypothesis.strategies import integers

from cnn_mnist.data import order
from cnn_mnist.errors import UserError
from cnn_mnist.random_streams import Purpose, permutation, uniform

GOLDEN_ORDER = [9, 7, 2, 0, 4, 3, 5, 6, 1, 8]
GOLDEN_UNIFORM = [0.2653024390130161, 0.10117557614235262, 0.9438174611796426]


def test_the_order_is_the_same_on_every_machine_and_in_every_version():
    # Golden values: a change here changes every run that was ever logged.
    assert order.epoch_order(10, seed=0, epoch=0).tolist() == GOLDEN_ORDER
    assert uniform(3, seed=0, purpose=Purpose.WEIGHTS).tolist() == pytest.approx(GOLDEN_UNIFORM, abs=0)


def test_an_order_visits_every_sample_once():
    assert sorted(order.epoch_order(1000, seed=3, epoch=5)) == list(range(1000))


def test_epochs_seeds_and_purposes_have_orders_of_their_own():
    orders = [order.epoch_order(100, 0, 0), order.epoch_order(100, 0, 1), order.epoch_order(100, 1, 0)]
    orders.append(permutation(100, 0, Purpose.SPLIT))
    assert len({tuple(order) for order in orders}) == 4


def test_uniform_draws_lie_in_the_unit_interval_and_fill_it():
    draws = uniform(100_000, seed=1, purpose=Purpose.WEIGHTS)
    assert 0 <= draws.min() < 1e-3
    assert 0.999 < draws.max() < 1
    assert draws.mean() == pytest.approx(0.5, abs=0.005)


def test_the_last_batch_holds_what_is_left():
    slices = list(order.batch_slices(150, 64))
    assert [place.stop - place.start for place in slices] == [64, 64, 22]
    assert len(slices) == order.batch_count(150, 64)
    assert list(order.batch_slices(150, 64, first=2)) == slices[2:]


@pytest.mark.parametrize("batch_size", [0, -1, 101])
def test_a_batch_size_outside_the_set_is_refused(batch_size):
    with pytest.raises(UserError, match=rf"expected 1 to 100 \(the training images\), got {batch_size}"):
        order.check_batch_size(batch_size, 100)


def test_the_split_holds_each_class_out_in_its_proportion():
    labels = np.repeat(np.arange(10), [100, 110, 99, 102, 98, 90, 98, 104, 97, 102]).astype(np.uint8)
    train, val = order.split(labels, 137, seed=0)
    assert len(val) == 137
    assert sorted(np.concatenate([train, val])) == list(range(1000))
    exact = np.bincount(labels) * 137 / 1000
    assert np.abs(np.bincount(labels[val]) - exact).max() < 1


def test_the_split_follows_the_seed():
    labels = np.arange(100, dtype=np.uint8) % 10
    first, again, other = (order.split(labels, 20, seed)[1].tolist() for seed in (0, 0, 1))
    assert first == again != other


def test_no_split_trains_on_everything_in_order():
    train, val = order.split(np.zeros(7, np.uint8), 0, seed=0)
    assert train.tolist() == list(range(7))
    assert len(val) == 0


@pytest.mark.parametrize(("val_size", "message"), [(10, "since one must remain, got 10"), (-1, "got -1")])
def test_a_split_that_leaves_nothing_is_refused(val_size, message):
    with pytest.raises(UserError, match=message):
        order.split(np.zeros(10, np.uint8), val_size, seed=0)


@given(most=integers(1, 300), size=integers(1, 3000), processes=integers(1, 9))
def test_the_largest_shared_size_leaves_an_image_for_each_process_in_every_batch(most, size, processes):
    def fits(batch_size):
        return all(place.stop - place.start >= processes for place in order.batch_slices(size, batch_size))

    found = order.largest_shared_size(most, size, processes)
    assert found == max(filter(fits, range(1, most + 1)), default=0)
