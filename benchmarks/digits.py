"""``python -m benchmarks digits RUN RUN``: counts the photographed digits that ``predict`` reads and refuses.

Draws the first test images of MNIST on pages, under each condition of ``benchmarks.paper``, and reads the files with
the command that a user would type. Existing pages are not drawn again.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.paper import CONDITIONS, WITHOUT_DIGIT, photograph
from benchmarks.report import machine
from cnn_mnist.console.tables import markdown_table
from cnn_mnist.data import mnist
from cnn_mnist.data.digits.read import read_digits
from cnn_mnist.errors import UserError, one_line_errors

ITSELF, NOTHING = "MNIST itself", "no digit"


_Page = tuple[Path, Any, str, int]  # file; image, or kind of page without a digit; condition; seed


def main(args: Sequence[str]) -> None:
    """Draws the missing pages, reads all pages, and prints a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks digits", description=__doc__)
    parser.add_argument("runs", nargs="+", help="A run folder or checkpoint, or one of each framework.")
    parser.add_argument("--images", type=int, default=500, help="Test images under each condition (default: 500).")
    parser.add_argument("--empty", type=int, default=200, help="Pages without a digit (default: 200).")
    parser.add_argument("--pages", type=Path, default=Path("pages"), help="Folder of the pages (default: pages).")
    parser.add_argument("--data_dir", type=Path, default=Path("data"), help="Folder of the MNIST files.")
    chosen = parser.parse_args(args)
    with one_line_errors("python -m benchmarks digits"):
        test = mnist.load_mnist(chosen.data_dir)
        images, labels = test.test_images[: chosen.images].reshape(-1, 28, 28), test.test_labels
        print(f"On {machine()}.", flush=True)
        _draw_all(images, chosen.empty, chosen.pages)
        rows = []
        known = (
            chosen.pages / ITSELF / "0000.png"
        )  # read with every call, because predict fails if it refuses all files
        for name in (ITSELF, *CONDITIONS, NOTHING):
            files = sorted((chosen.pages / name).iterdir())[: chosen.empty if name == NOTHING else chosen.images]
            read = _read([*files, known], chosen.runs)
            if name == NOTHING:
                answered = {name.partition("[")[0] for name in read}
                refused = sum(str(file) not in answered for file in files)
                print(f"{refused} of {len(files)} pages without a digit refused", flush=True)
                continue
            rows.append([name, *_row(files, labels, read)])
            print(", ".join(rows[-1]), flush=True)
        frameworks = list(next(iter(read.values()), {}))
        header = ["", *(f"right, {name}" for name in sorted(frameworks)), "refused", "taken for several", "seconds"]
        print("\n" + markdown_table([header, *rows]))


def _draw_all(images: NDArray[np.uint8], empty: int, pages: Path) -> None:
    """Draws the missing pages; those without a digit alternate between all kinds and conditions."""
    kinds = itertools.product(CONDITIONS, WITHOUT_DIGIT)
    wanted: list[_Page] = []
    for i, image in enumerate(images):
        wanted += [(pages / name / f"{i:04}.jpg", image, name, i) for name in CONDITIONS]
        wanted.append((pages / ITSELF / f"{i:04}.png", image, ITSELF, i))
    for i, (name, kind) in zip(range(empty), itertools.cycle(kinds), strict=False):
        wanted.append((pages / NOTHING / f"{i:04}.jpg", kind, name, 100_000 + i))
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(_draw, (page for page in wanted if not page[0].exists()), chunksize=4))


def _draw(page: _Page) -> None:
    file, image, condition, seed = page
    file.parent.mkdir(parents=True, exist_ok=True)
    if condition == ITSELF:
        Image.fromarray(image).save(file)
    else:
        file.write_bytes(photograph(image, CONDITIONS[condition], seed))


def _read(files: Sequence[Path], runs: Sequence[str]) -> dict[str, dict[str, int]]:
    """The digit that each framework reads, by file; refused files are missing."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "read.json")
        command = [sys.executable, "-m", "keras_parity", "predict", *(f"--ckpt_path={run}" for run in runs)]
        answer = subprocess.run([*command, f"--output={output}", *map(str, files)], capture_output=True, text=True)
        if not output.is_file():  # predict also fails if one of several files has no digit
            reason = (answer.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise UserError(reason.removeprefix("python -m keras_parity: error: "))
        records = json.loads(output.read_text())
    ending = "_digit"
    keys = [key for key in records[0] if key.endswith(ending)] or [ending[1:]]
    return {record["file"]: {key.removesuffix(ending): record[key] for key in keys} for record in records}


def _row(files: Sequence[Path], labels: NDArray[np.uint8], read: dict[str, dict[str, int]]) -> list[str]:
    """Percentage that each framework reads correctly, pages refused, pages read as several digits, seconds per page."""
    several = {name.partition("[")[0] for name in read} - read.keys()
    refused = len({str(file) for file in files} - read.keys() - several)
    frameworks = sorted(next(iter(read.values())))
    right = {
        framework: sum(read.get(str(file), {}).get(framework) == labels[int(file.stem)] for file in files)
        for framework in frameworks
    }
    seconds = []
    for file in [file for file in files if str(file) in read][:20]:
        began = time.perf_counter()
        read_digits([file])
        seconds.append(time.perf_counter() - began)
    parts = [f"{count / len(files):.1%}" for count in right.values()]
    return [*parts, str(refused), str(len(several)), f"{np.median(seconds):.2f}"]
