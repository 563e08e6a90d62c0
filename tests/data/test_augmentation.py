import numpy as np
import pytest

from cnn_mnist.data.augmentation import augmentation, move
from cnn_mnist.data.mnist import scale
from cnn_mnist.data.splits import Split
from cnn_mnist.settings import DataSettings


def _split(size=40, shape=(7, 9, 2)) -> Split:
    images = np.random.default_rng(0).integers(0, 256, (size, *shape), np.uint8)
    return Split(images, np.zeros(size, np.uint8), ("0",))


def _no(count: int) -> np.ndarray:
    return np.zeros(count)


def test_nothing_is_made_where_nothing_is_asked_for():
    assert augmentation(_split(), DataSettings()) is None


def test_a_shift_moves_whole_pixels_and_leaves_background():
    image = scale(_split(1).images)
    moved = move(image, np.array([[2.0, -3.0]]), _no(1))
    assert moved.dtype == np.float32
    np.testing.assert_array_equal(moved[0, 2:, :-3], image[0, :-2, 3:])
    assert moved[0, :2].max() == moved[0, :, -3:].max() == 0


def test_a_shift_by_more_than_the_image_leaves_nothing():
    assert move(np.ones((1, 5, 5, 1), np.float32), np.array([[40.0, 0.0]]), _no(1)).max() == 0


@pytest.mark.parametrize("side", [8, 9])
def test_a_quarter_turn_is_numpys(side):
    images = scale(_split(3, (side, side, 2)).images)
    turned = move(images, np.zeros((3, 2)), np.full(3, np.pi / 2))
    np.testing.assert_allclose(turned, np.rot90(images, axes=(1, 2)), atol=1e-6)


def test_a_turned_image_is_interpolated_between_its_neighbours():
    ndimage = pytest.importorskip("scipy.ndimage")
    image = np.pad(scale(_split(1, (20, 20, 1)).images), ((0, 0), (4, 4), (4, 4), (0, 0)))
    turned = move(image, np.zeros((1, 2)), np.array([np.radians(10)]))
    theirs = ndimage.rotate(image[0, ..., 0].astype(np.float64), 10, reshape=False, order=1)
    np.testing.assert_allclose(turned[0, ..., 0], theirs, atol=1e-5)


def test_draws_stay_within_the_settings_and_fill_them():
    settings = DataSettings(shift=2)
    images = np.zeros((500, 11, 11, 1), np.uint8)
    images[:, 5, 5] = 255
    moved = augmentation(Split(images, np.zeros(500, np.uint8), ("0",)), settings).batch(np.arange(500), epoch=0)
    places = np.argwhere(moved[..., 0] == 1)[:, 1:] - 5
    assert len(places) == 500
    assert {tuple(place) for place in places} == {(y, x) for y in range(-2, 3) for x in range(-2, 3)}


def test_an_image_is_moved_by_seed_epoch_and_its_number_alone():
    split, settings = _split(), DataSettings(shift=3, rotation=20)
    whole = augmentation(split, settings).batch(np.arange(40), epoch=1)
    moved = augmentation(split, settings)
    moved.batch(np.arange(3), epoch=0)
    np.testing.assert_array_equal(moved.batch(np.array([7, 31, 2]), epoch=1), whole[[7, 31, 2]])
    others = (
        moved.batch(np.arange(40), epoch=2),
        augmentation(split, DataSettings(shift=3, rotation=20, seed=1)).batch(np.arange(40), epoch=1),
    )
    assert all((other != whole).any(axis=(1, 2, 3)).mean() > 0.9 for other in others)


def test_draws_are_the_same_in_every_version():
    # Golden values: a change here changes every augmented run that was ever logged.
    split = Split(np.eye(5, dtype=np.uint8)[None, ..., None] * 255, np.zeros(1, np.uint8), ("0",))
    moved = augmentation(split, DataSettings(shift=1, rotation=30, seed=3)).batch(np.array([0]), epoch=2)
    assert moved[0, 2, :, 0].tolist() == pytest.approx([0.0537, 0.3155, 1.0, 0.3155, 0.0537], abs=1e-4)
