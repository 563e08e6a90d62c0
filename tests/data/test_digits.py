"""Picture files to images like MNIST's."""

import numpy as np
import pytest
from PIL import Image

from cnn_mnist.data import mnist
from cnn_mnist.data.digits.read import MIDDLE, find_digits, read_digits
from cnn_mnist.errors import UserError, UserNotice


def like_mnist(grey, invert=None):
    """The one digit of a picture."""
    (found,) = find_digits(grey.astype(np.float32), invert)
    return found.image


def _seven(height=60, width=90, top=5, left=50):
    """A bright 7 on black, off the centre."""
    image = np.zeros((height, width), np.uint8)
    image[top : top + 5, left : left + 25] = 255
    for row in range(35):
        image[top + row, left + 20 - row // 3 : left + 25 - row // 3] = 255
    return image


def _centre(image):
    return [image.sum(axis=1 - axis) @ np.arange(28) / image.sum() for axis in (0, 1)]


@pytest.fixture
def read(tmp_path):
    """Saves a picture and reads it as the command does."""

    def run(picture, name="digit.png", **options):
        picture.save(tmp_path / name, **options)
        (image,) = read_digits([tmp_path / name]).images
        return image[..., 0]

    return run


def test_dark_on_light_is_light_on_dark():
    seven = _seven().astype(float)
    np.testing.assert_array_equal(like_mnist(255 - seven), like_mnist(seven))
    np.testing.assert_array_equal(like_mnist(200 - seven / 2), like_mnist(seven))  # and faint is strong


@pytest.mark.parametrize("shape", [(60, 90), (41, 80), (700, 75), (400, 500)])
def test_of_any_size_and_place_the_digit_is_centred_in_its_box(shape):
    image = like_mnist(_seven(*shape, top=shape[0] - 36))
    rows, columns = (np.flatnonzero(image.any(axis=axis)) for axis in (1, 0))
    assert np.ptp(rows) + 1 <= 20
    assert np.ptp(columns) + 1 <= 20
    assert image.max() == 255
    np.testing.assert_allclose(_centre(image.astype(float)), MIDDLE, atol=0.5)


def test_for_another_networks_input_a_picture_is_scaled_whole(tmp_path):
    own = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    Image.fromarray(own).save(tmp_path / "own.png")
    tall = Image.fromarray(np.repeat(np.repeat(own, 20, axis=0), 20, axis=1))
    Image.merge("RGB", tall.split()).crop((0, -160, 240, 320)).save(tmp_path / "tall.png")  # black above and below
    images = read_digits([tmp_path / "own.png", tmp_path / "tall.png"], shape=(8, 12, 3)).images
    np.testing.assert_array_equal(images[0], own)
    assert images.shape == (2, 8, 12, 3)
    assert np.abs(images[1].astype(int) - own).mean() < 25  # the middle of it, and resampled
    np.testing.assert_array_equal(
        read_digits([tmp_path / "own.png"], invert=True, shape=(8, 12, 3)).images[0], 255 - own
    )
    assert read_digits([tmp_path / "own.png"], shape=(5, 5, 1)).images.shape == (1, 5, 5, 1)
    with pytest.raises(UserError, match="1 or 3 input channels"):
        read_digits([tmp_path / "own.png"], shape=(8, 12, 2))


def test_a_digit_keeps_its_aspect():
    image = like_mnist(np.pad(np.full((100, 10), 255), 20))
    assert (image > 127).any(axis=1).sum() == 20
    assert (image > 127).any(axis=0).sum() in (2, 3)


def test_mnist_itself_stays_nearly_as_it_is(data_dir):
    images = mnist.load_mnist(data_dir).test_images[:200]
    for forms in (images, 255 - images):
        changes = np.abs(np.stack([like_mnist(form) for form in forms]).astype(int) - images)
        assert changes.mean() < 0.5  # of 255 grey levels
        # A digit whose faint edge is cut may move by a pixel; all others lose at most that edge.
        assert (changes.max(axis=(1, 2)) > 52).mean() < 0.02


def test_noise_and_uneven_light_move_the_digit_little():
    page = np.zeros((1200, 1600))
    page[300:900, 500:1400] = np.kron(_seven(), np.ones((10, 10)))
    page = 200 - 110 * page / 255
    photo = page + np.random.default_rng(0).normal(0, 12, page.shape) + np.linspace(0, 15, 1600)
    assert np.abs(like_mnist(photo).astype(int) - like_mnist(page)).mean() < 4


def test_a_digit_that_fills_the_picture_is_told_by_force():
    picture = np.full((20, 8), 30.0)  # a 1 cut out without paper beside it
    picture[[0, -1]] = 240
    with pytest.raises(UserError, match="expected a digit, got a blank image"):
        like_mnist(picture)  # two bright lines along its edges
    assert (like_mnist(picture, invert=True) == 255).any(axis=1).sum() == 20


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "P", "I;16"])
def test_every_mode_of_a_png_is_the_same_image(read, mode):
    seven = Image.fromarray(255 - _seven())
    picture = seven.convert(mode) if mode != "I;16" else Image.fromarray((255 - _seven()).astype(np.uint16) * 257)
    assert picture.mode == mode
    np.testing.assert_array_equal(read(picture), like_mnist(_seven()))


def test_a_transparent_background_is_white_paper(read):
    picture = Image.new("RGBA", (90, 60), (0, 0, 0, 0))
    picture.putalpha(Image.fromarray(_seven()))
    np.testing.assert_array_equal(read(picture), like_mnist(_seven()))


def test_a_photo_is_turned_as_its_metadata_say(read):
    turned = Image.fromarray(_seven()).rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # show it turned clockwise by 90 degrees
    np.testing.assert_array_equal(read(turned, exif=exif), like_mnist(_seven()))
    assert np.abs(read(turned, "digit.jpg", exif=exif).astype(int) - like_mnist(_seven())).mean() < 3


def test_a_folder_is_read_by_name_and_what_is_no_image_is_said(tmp_path):
    for name in ("b.png", "a.JPG", "c.jpeg"):
        Image.fromarray(_seven()).save(tmp_path / name)
    (tmp_path / "aa.png").write_text("text")
    (tmp_path / "notes.txt").write_text("not looked at")
    kinds = "expected BMP, GIF, JPEG, PNG, TIFF, WEBP, got what cannot be read"
    with pytest.warns(UserNotice, match=f"aa.png: {kinds}") as notices:
        digits = read_digits([tmp_path])
    assert [file.rsplit("/", 1)[1] for file in digits.files] == ["a.JPG", "b.png", "c.jpeg"]
    assert digits.images.shape == (3, 28, 28, 1)
    assert len(notices) == 1


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_blank_image_is_refused(read, level):
    with pytest.raises(UserError, match=r"digit.png: expected a digit, got a blank image"):
        read(Image.new("L", (50, 40), level))
