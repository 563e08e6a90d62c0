"""Draws pages with or without a digit of MNIST, as a camera or a scanner would see them.

A page is an array of reflectances [height, width] in [0, 1]: paper, printed lines, ink; then light, shadow, table,
blur, noise and JPEG. The same seed gives the same picture.
"""

import io
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Page = NDArray[np.floating]


class Condition(NamedTuple):
    """How a page is photographed.

    Attributes:
        height: Pixels; the width is three quarters of it.
        pencil: Fraction of the pages written in pencil; the others are written in pen.
        light: Fraction of the light that reaches the far side.
        lines: Kinds of printed lines to draw from: "", "ruled" and "squared".
        shadow: Maximum fraction of the light that a hand's shadow takes.
        table: Whether a dark table shows around the sheet.
        turn: Maximum rotation in degrees, either way.
        blur: Maximum standard deviation of the blur, in thousandths of the height.
        quality: JPEG quality.
    """

    height: int = 1600
    pencil: float = 0.3
    light: float = 1.0
    lines: tuple[str, ...] = ("",)
    shadow: float = 0.0
    table: bool = False
    turn: float = 0.0
    blur: float = 0.5
    quality: int = 85


CONDITIONS = {
    "clean paper": Condition(),
    "light from a side": Condition(light=0.5),
    "ruled": Condition(lines=("ruled",), turn=2),
    "squared": Condition(lines=("squared",), turn=2),
    "shadow of a hand": Condition(shadow=0.5),
    "dark table": Condition(table=True, turn=5),
    "pencil, turned": Condition(pencil=1.0, turn=10, blur=1.5, quality=40),
    "phone, 12 megapixels": Condition(
        4000, 0.3, 0.6, ("", "ruled", "squared"), shadow=0.4, table=True, turn=10, blur=1.5, quality=40
    ),
}

WITHOUT_DIGIT = ("empty", "noise", "line", "specks", "cell")


def photograph(image: NDArray[np.uint8] | str, condition: Condition, seed: int) -> bytes:
    """Draws a page as a JPEG file.

    Args:
        image: [28, 28] of MNIST, or one of ``WITHOUT_DIGIT``.
        condition: How the page is photographed.
        seed: Seed of everything random.

    Returns:
        The bytes of the file.
    """
    random = np.random.default_rng(seed)
    height, width = condition.height, condition.height * 3 // 4
    page = np.full((height, width), random.uniform(0.75, 0.97), np.float32)
    page *= 1 + 0.015 * _cloud(random, page.shape, 300)
    pencil = random.random() < condition.pencil
    ink = _ink_of(image, random, page.shape, pencil)
    darkness = random.uniform(0.38, 0.55) if pencil else random.uniform(0.05, 0.35)
    printed, over = _lines(random, random.choice(condition.lines), page.shape), random.random() < 0.5
    if over:
        page = (page * (1 - ink) + darkness * ink) * (1 - printed[0]) + printed[0] * printed[1]
    else:
        page = (page * (1 - printed[0]) + printed[0] * printed[1]) * (1 - ink) + darkness * ink
    if condition.turn or condition.table:
        page = _laid(page, random, condition)
    rows, columns = (np.linspace(-1, 1, side, dtype=np.float32) for side in page.shape)
    towards = random.uniform(0, 2 * np.pi)
    side = (np.cos(towards) * rows[:, None] + np.sin(towards) * columns) / (abs(np.cos(towards)) + abs(np.sin(towards)))
    page *= 1 - (1 - condition.light) * (side + 1) / 2
    if condition.shadow:
        page *= 1 - _shadow(random, rows, columns) * random.uniform(0.6, 1) * condition.shadow
    page = ndimage.gaussian_filter(page, random.uniform(0.3, 1) * condition.blur * height / 1000, truncate=3)
    page += random.normal(0, 0.012, (height // 2, width // 2)).astype(np.float32).repeat(2, 0).repeat(2, 1)
    file = io.BytesIO()
    Image.fromarray(np.clip(page * 255, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=condition.quality)
    return file.getvalue()


def _cloud(random: np.random.Generator, shape: tuple[int, int], cells: int) -> Page:
    """Smooth noise of standard deviation 1, with this many cells over the height."""
    coarse = random.standard_normal((cells + 3, cells + 3)).astype(np.float32)
    return np.asarray(Image.fromarray(coarse).resize(shape[::-1], Image.Resampling.BILINEAR)) * 1.5


def _ink_of(image: NDArray[np.uint8] | str, random: np.random.Generator, shape: tuple[int, int], pencil: bool) -> Page:
    """The fraction of each pixel that ink covers."""
    height, width = shape
    ink = np.zeros(shape, np.float32)
    size = int(random.uniform(0.2, 0.55) * width)
    row, column = (int(random.uniform(0.12 * side, 0.88 * side - size)) for side in shape)
    here = ink[row : row + size, column : column + size]
    if not isinstance(image, str):
        here[:] = _stroke(image, size, random.uniform(0, 0.6))
    elif image == "noise":
        ink[:] = random.random(shape) < 0.3
        return ink
    elif image == "line":
        at, slope = random.uniform(0.1, 0.9), random.uniform(-0.3, 0.3)
        along = np.abs(np.arange(height)[:, None] - height * (at + slope * (np.arange(width) / width - 0.5)))
        ink[:] = along < height * random.uniform(0.001, 0.004)
    elif image == "specks":
        for place in random.uniform(0.02, 0.98, (random.integers(3, 40), 2)):
            y, x, radius = int(place[0] * height), int(place[1] * width), int(random.uniform(1, 4) * height / 1600)
            ink[y - radius : y + radius + 1, x - radius : x + radius + 1] = 1
    elif image == "cell":
        edge = max(2, size // 60)
        here[:] = 1
        here[edge:-edge, edge:-edge] = 0
    if pencil:
        ink *= np.clip(0.75 + 0.35 * _cloud(random, shape, height // 4), 0, 1)
    return ink


def _stroke(image: NDArray[np.uint8], size: int, thinner: float) -> Page:
    """An image of MNIST drawn large with sharp edges and a thinner stroke."""
    fine = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC), np.float32)
    fine = ndimage.gaussian_filter(fine, size / 80)
    inside = ndimage.distance_transform_edt(fine > 100).astype(np.float32)
    widest = ndimage.maximum_filter(inside, size=max(3, size // 14))
    return ndimage.gaussian_filter((inside > np.maximum(thinner * widest, 0.5)).astype(np.float32), max(1, size / 300))


def _lines(random: np.random.Generator, kind: str, shape: tuple[int, int]) -> tuple[Page, float]:
    """The printed lines, 1 on a line and 0 elsewhere, and their reflectance."""
    height, _ = shape
    printed = np.zeros(shape, np.float32)
    step, thick = int(random.uniform(0.03, 0.08) * height), max(1, round(random.uniform(0.0015, 0.004) * height))
    first, darkness = int(random.integers(step)), random.uniform(0.5, 0.75)
    for place in range(thick) if kind else ():
        printed[first + place :: step] = 1
        if kind == "squared":
            printed[:, first + place :: step] = 1
    return printed, darkness


def _laid(page: Page, random: np.random.Generator, condition: Condition) -> Page:
    """The page rotated and, if there is a table, smaller on top of it."""
    height, width = page.shape
    picture = Image.fromarray(page)
    ground = Image.new("F", picture.size, float(page.mean()))
    if condition.table:
        wood = random.uniform(0.12, 0.35) * (1 + 0.1 * _cloud(random, page.shape, 40))
        ground = Image.fromarray(wood.astype(np.float32))
        part = random.uniform(0.7, 0.85)
        picture = picture.resize((int(width * part), int(height * part)), Image.Resampling.BOX)
    turn = random.uniform(-condition.turn, condition.turn)
    sheet = Image.new("L", picture.size, 255).rotate(turn, Image.Resampling.BILINEAR, expand=True)
    fill = 0.0 if condition.table else float(page.mean())
    picture = picture.rotate(turn, Image.Resampling.BILINEAR, expand=True, fillcolor=fill)
    if not condition.table:
        return np.asarray(picture.crop(_middle(picture.size, (width, height))), np.float32).copy()
    place = [(whole - side) // 2 for whole, side in zip((width, height), picture.size, strict=True)]
    ground.paste(picture, tuple(place), sheet)
    return np.asarray(ground, np.float32).copy()


def _middle(of: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    left, top = ((whole - side) // 2 for whole, side in zip(of, size, strict=True))
    return left, top, left + size[0], top + size[1]


def _shadow(random: np.random.Generator, rows: Page, columns: Page) -> Page:
    """The shadow of a hand from one side, in [0, 1], with a soft edge."""
    towards, reach, wide = random.uniform(0, 2 * np.pi), random.uniform(-0.3, 0.4), random.uniform(0.3, 0.8)
    along = np.cos(towards) * rows[:, None] + np.sin(towards) * columns
    across = -np.sin(towards) * rows[:, None] + np.cos(towards) * columns
    tip = np.hypot(np.minimum(along - reach, 0), across) - wide
    return 1 / (1 + np.exp(tip / random.uniform(0.02, 0.06)))
