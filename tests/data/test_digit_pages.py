"""Photos and scans of pages to images like MNIST's: light, lines, a table below, several digits, and none."""

import contextlib
import re

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from benchmarks.paper import CONDITIONS, WITHOUT_DIGIT, photograph
from cnn_mnist.data import mnist
from cnn_mnist.data.digits import files
from cnn_mnist.data.digits.files import MOST_PIXELS
from cnn_mnist.data.digits.pieces import _frame
from cnn_mnist.data.digits.read import find_digits, read_digits
from cnn_mnist.errors import UserError, UserNotice

SEVEN = [(0.33, 0.31), (0.67, 0.31), (0.47, 0.7)]
PAPER, SIZE = 235, (600, 800)


def page(strokes=(SEVEN,), ink=60, line=None, squared=False, width=10):
    """A page [800, 600] with strokes drawn through points (in parts of its width and height), and printed lines."""
    picture = Image.new("L", SIZE, PAPER)
    draw = ImageDraw.Draw(picture)
    for place in range(55, SIZE[1], 55) if line else ():
        draw.line([(0, place), (SIZE[0], place)], fill=line, width=3)
        if squared:
            draw.line([(place, 0), (place, SIZE[1])], fill=line, width=3)
    for points in strokes:
        draw.line([(x * SIZE[0], y * SIZE[1]) for x, y in points], fill=ink, width=width, joint="curve")
    return np.asarray(picture, np.float32)


def shadowed(grey):
    """The left half of a page in the soft shadow of a hand."""
    step = np.arange(SIZE[1])[:, None] * 0.2 + np.arange(SIZE[0]) > 300
    return grey * (1 - 0.45 * ndimage.gaussian_filter((~step).astype(np.float32), 8))


def on_table(grey):
    """A page on a table darker than its ink is bright."""
    return np.pad(grey, 120, constant_values=70.0)


SEVENS = {
    "light that falls to half": page() * np.linspace(1, 0.5, SIZE[0]),
    "shadow of a hand": shadowed(page()),
    "sheet on a dark table": on_table(page()),
    "pencil on ruled paper": page(ink=130, line=185),
    "pen on squared paper": page(line=160, squared=True),
    "chalk on a board": 255 - page(),
    "a stroke of two parts": page([SEVEN[:2], [(0.665, 0.33), SEVEN[2]]]),
    "a sheet with a cell around the digit": page([SEVEN, [(0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8), (0.2, 0.2)]]),
}


@pytest.mark.parametrize("name", SEVENS)
def test_under_any_light_and_on_any_paper_the_digit_is_the_one_on_clean_paper(name):
    (found,), (clean,) = find_digits(SEVENS[name]), find_digits(page())
    assert np.abs(found.image.astype(int) - clean.image).mean() < 8  # of 255 grey levels; another digit is 30 away
    offset = 120 if "table" in name else 0
    for side, of_clean in zip(found.box, clean.box, strict=True):
        assert abs(side.start - offset - of_clean.start) < 12
        assert abs(side.stop - offset - of_clean.stop) < 12


def test_a_thin_pen_is_drawn_as_wide_as_mnist():
    thin, wide = (find_digits(page(width=width))[0].image for width in (3, 30))
    assert (thin > 127).sum() == pytest.approx((wide > 127).sum(), rel=0.25)


def test_two_digits_are_read_in_reading_order(tmp_path):
    one = [(0.15, 0.3), (0.14, 0.7)]
    digits = find_digits(page([SEVEN, one]))
    assert [digit.box[1].start < 120 for digit in digits] == [True, False]
    Image.fromarray(page([SEVEN, one]).astype(np.uint8)).save(tmp_path / "page.png")
    assert [file.rsplit("/", 1)[1] for file in read_digits([tmp_path]).files] == ["page.png[0]", "page.png[1]"]
    above, below = [(x, y * 0.5) for x, y in SEVEN], [(0.2, 0.6), (0.19, 0.9)]
    assert [digit.box[0].start < 200 for digit in find_digits(page([below, above]))] == [True, False]


RULED = page((), line=160)
NO_DIGIT = {
    "a blank page": page(()),
    "light that falls off": page(()) * np.linspace(1, 0.5, SIZE[0]),
    "shadow": shadowed(page(())),
    "an empty sheet": on_table(page(())),
    "empty ruled paper": RULED,
    "an empty frame": page([[(0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8), (0.2, 0.2)]]),
    "a line": page([[(0.05, 0.5), (0.95, 0.55)]]),
    "specks": page([[(x, 0.4), (x + 0.01, 0.41)] for x in (0.1, 0.4, 0.8)], width=5),
    "noise": np.where(np.random.default_rng(0).random(SIZE[::-1]) < 0.1, 60.0, PAPER).astype(np.float32),
    "a page of text": page(
        [[(x, y), (x + 0.02, y + 0.02)] for x in np.arange(0.1, 0.9, 0.04) for y in (0.2, 0.3, 0.4)]
    ),
}


@pytest.mark.parametrize("name", NO_DIGIT)
def test_a_page_without_a_digit_is_refused_with_what_there_is(name):
    with pytest.raises(UserError, match="expected a digit, got "):
        find_digits(NO_DIGIT[name])


def test_what_makes_a_reading_unsure_is_said(tmp_path):
    pages = {
        "edge": (page([[(x - 0.33, y) for x, y in SEVEN]]), "reaches the edge"),
        "far": (page([[(0.5 + x / 16, 0.5 + y / 16) for x, y in SEVEN]], width=2), "pixels high; move closer"),
        "broad": (page([[(0.1, 0.4), (0.8, 0.4), (0.75, 0.5)]]), "are there two"),
    }
    for name, (grey, warning) in pages.items():
        Image.fromarray(grey.astype(np.uint8)).save(tmp_path / f"{name}.png")
        with pytest.warns(UserNotice, match=f"{name}.png: .*{warning}"):
            read_digits([tmp_path / f"{name}.png"])


class TestFiles:
    @pytest.fixture
    def read(self, tmp_path):
        def run(picture, name="digit.png", **options):
            picture.save(tmp_path / name, **options)
            return read_digits([tmp_path / name]).images[0].astype(int)

        return run

    @pytest.fixture
    def seven(self):
        return Image.fromarray(page().astype(np.uint8))

    @pytest.mark.parametrize("name", ["a.bmp", "a.webp", "a.tif", "a.tiff", "a.gif", "a.jpg", "a.png"])
    def test_every_kind_of_file_is_the_same_image(self, read, seven, name):
        assert np.abs(read(seven, name) - read(seven)).mean() < 3

    @pytest.mark.parametrize("bits", [10, 12, 16])
    def test_bits_are_told_by_what_is_in_the_file(self, read, seven, bits):
        deep = (np.asarray(seven).astype(np.uint16) << (bits - 8)).astype(np.uint16)
        assert np.abs(read(Image.fromarray(deep), "deep.tif") - read(seven)).mean() < 1

    def test_cmyk_is_read_as_it_looks(self, read, seven):
        assert np.abs(read(seven.convert("CMYK"), "a.tif") - read(seven)).mean() < 1

    @pytest.mark.parametrize("ink", [0, 255])
    def test_ink_of_either_kind_on_nothing_is_read(self, read, seven, ink):
        picture = Image.new("RGBA", SIZE, (ink, ink, ink, 0))
        picture.putalpha(seven.point(lambda level: 255 - level if level < PAPER else 0))
        assert np.abs(read(picture) - read(seven)).mean() < 3

    def test_what_a_phone_writes_is_refused_with_what_to_do(self, tmp_path):
        (tmp_path / "photo.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
        with pytest.raises(UserError, match=r"got a HEIC file; save or share the photo as JPEG"):
            read_digits([tmp_path])

    def test_a_folder_in_a_folder_is_said(self, tmp_path, seven):
        (tmp_path / "more").mkdir()
        seven.save(tmp_path / "a.png")
        with pytest.warns(UserNotice, match="more: subfolders are read only if named"):
            assert len(read_digits([tmp_path]).files) == 1

    def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(self, tmp_path):
        Image.new("1", (12_000, MOST_PIXELS // 12_000 + 1), 1).save(tmp_path / "large.png")
        with pytest.raises(UserError, match=r"expected at most 120 megapixels, got 12000 x 10001 pixels"):
            read_digits([tmp_path])


@pytest.mark.parametrize("name", ["a.tif", "a.gif", "a.png", "a.webp"])
def test_every_page_of_a_file_is_read_and_named(tmp_path, name):
    pages = [page(), page(()), page([SEVEN, [(0.15, 0.3), (0.14, 0.7)]]), 255 - page()]
    first, *others = (Image.fromarray(grey.astype(np.uint8)) for grey in pages)
    first.save(tmp_path / name, save_all=True, append_images=others)
    with pytest.warns(UserNotice, match=rf"{re.escape(name)}\[1\]: expected a digit, got a blank page"):
        digits = read_digits([tmp_path / name])
    endings = [file.removeprefix(str(tmp_path / name)) for file in digits.files]
    assert endings == ["[0]", "[2][0]", "[2][1]", "[3]"]
    assert digits.unreadable == [f"{tmp_path / name}[1]"]
    assert np.abs(digits.images[0].astype(int) - digits.images[3]).mean() < 8
    scaled = read_digits([tmp_path / name], shape=(8, 8, 1)).files
    assert scaled == [f"{tmp_path / name}[{number}]" for number in range(4)]


def test_a_thumbnail_in_a_tiff_is_no_page_and_a_damaged_page_is_named(tmp_path):
    first, small = (Image.fromarray(page().astype(np.uint8)).resize(size) for size in (SIZE, (60, 80)))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    first.save(tmp_path / "a.tif", save_all=True, append_images=[small])
    assert [file.rsplit("/", 1)[1] for file in read_digits([tmp_path / "a.tif"]).files] == ["a.tif[0]"]
    first.save(tmp_path / "cut.gif", save_all=True, append_images=[Image.fromarray(255 - np.asarray(first))])
    content = (tmp_path / "cut.gif").read_bytes()
    (tmp_path / "cut.gif").write_bytes(content[: len(content) * 3 // 4])
    with pytest.warns(UserNotice, match=r"cut.gif\[1\]: expected BMP, .*, got what cannot be read"):
        assert len(read_digits([tmp_path / "cut.gif"]).files) == 1


def test_a_file_of_too_many_pages_says_where_it_stops(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MOST_PAGES", 2)
    pages = [Image.fromarray(page(width=width).astype(np.uint8)) for width in (9, 10, 11)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.warns(UserNotice, match=r"a.tif\[2\]: expected at most 2 pages, got more; the first 2 are read"):
        assert len(read_digits([tmp_path / "a.tif"]).files) == 2


def test_a_picture_of_100_megapixels_is_read_in_500_mb(run_python, tmp_path):
    large = Image.fromarray(page().astype(np.uint8)).resize((8660, 11547), Image.Resampling.NEAREST)
    for name in ("large.jpg", "large.png"):
        large.convert("RGB").save(tmp_path / name, **({"compress_level": 1} if name.endswith("png") else {}))
    code = """
import resource, sys
import numpy, scipy.ndimage, scipy.spatial, PIL.Image
from cnn_mnist.data.digits.read import read_digits
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
read_digits(sys.argv[1:])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    for name in ("large.jpg", "large.png"):
        answer = run_python("-c", code, tmp_path / name)
        assert int(answer.stdout) < 500, answer.stderr


@pytest.mark.slow
@pytest.mark.parametrize("condition", CONDITIONS)
def test_pages_of_mnist_hold_one_digit_and_others_none(condition, data_dir, tmp_path):
    images = mnist.load_mnist(data_dir).test_images[:20].reshape(-1, 28, 28)
    found = []
    for seed, image in enumerate([*images, *WITHOUT_DIGIT]):
        (tmp_path / "page.jpg").write_bytes(photograph(image, CONDITIONS[condition], seed))
        try:
            found.append(len(read_digits([tmp_path / "page.jpg"]).files))
        except UserError:
            found.append(0)
    assert found[:20].count(1) >= 19
    assert found[20:].count(0) >= 4


def test_a_straight_stroke_is_no_frame():
    assert not _frame(np.eye(20, dtype=bool))


def test_a_stroke_one_pixel_wide_is_no_traceback():
    page = np.full((200, 200), 250, np.float32)
    page[50:150, 100] = 0
    assert len(find_digits(page)) == 1


@pytest.mark.parametrize("inverted", [False, True])
def test_an_enlarged_image_of_mnist_is_one_digit_and_no_sheet(data_dir, inverted):
    for image in mnist.load_mnist(data_dir).test_images[:100]:
        large = Image.fromarray(image).resize((200, 200), Image.Resampling.BICUBIC)
        grey = np.asarray(large, np.float32)
        (found,) = find_digits(255 - grey if inverted else grey)
        assert np.abs(found.image.astype(int) - image).mean() < 25  # of 255 grey levels; strokes are drawn anew


@pytest.mark.parametrize("narrow", [1, 2, 3, 5, 8, 16, 24])
def test_a_strip_of_any_width_is_refused_and_never_ends_the_others(narrow):
    random = np.random.default_rng(narrow)
    for length in (101, 300, 3000):
        strip = random.integers(0, 256, (narrow, length)).astype(np.float32)
        blank = np.full((narrow, length), 255, np.float32)
        for page in (strip, blank, np.where(np.arange(length) % 7, blank, 0)):
            for turned in (page, np.ascontiguousarray(page.T)):
                with contextlib.suppress(UserError):
                    find_digits(turned)
