"""``python -m benchmarks.reference``: makes pictures, tables and mean runs from the 40 runs in ``reference``.

TensorBoard selects no run by default if there are more than 40, so this writes one run for each framework and network:
the mean over the seeds. Run it from the project's folder.
"""

from collections.abc import Iterator
from contextlib import redirect_stdout
from io import BytesIO, StringIO
from itertools import product
from pathlib import Path
from statistics import mean

import numpy as np
from PIL import Image
from scipy.special import bdtr
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.text.summary_v2 import text_pb

from cnn_mnist.architecture.examples import EXAMPLES
from cnn_mnist.architecture.network import layer_table
from cnn_mnist.console.tables import markdown_table
from cnn_mnist.errors import one_line_errors
from cnn_mnist.runs import hparams, tags
from cnn_mnist.runs.folder import KERAS, LOG_DIR, PYTORCH
from cnn_mnist.settings import DataSettings, ModelSettings
from keras_parity.compare import cli
from keras_parity.compare.intervals import ALPHA, Estimate, Reach, always_valid, difference, student
from keras_parity.compare.rows import ACC_MARGIN, PRIMARY, resolution
from keras_parity.compare.verdict import FEWEST, judge, pairs_needed
from keras_parity.logs.event_writer import picture, write_events
from keras_parity.logs.run import Run, read_run

RAW = Path("benchmarks/reference")
SHOWN = Path(LOG_DIR, "reference")
README = Path(LOG_DIR, "README.md")

_TABLES = "<!-- tables -->", "<!-- end of the tables -->"


def main() -> None:
    """Writes the mean runs, comparison, pictures and the README's tables; prints the numbers in REFERENCE.md."""
    found = sorted((read_run(folder) for folder in RAW.glob("*/version_*")), key=lambda run: run.seed or 0)
    for architecture in sorted({str(run.settings["model.architecture"]) for run in found}):
        same = [run for run in found if run.settings["model.architecture"] == architecture]
        sides = [[run for run in same if run.framework == framework] for framework in (KERAS, PYTORCH)]
        for runs in sides:
            write_mean(runs, SHOWN / runs[0].framework / architecture)
        print(f"{architecture}: {decided(*sides)}; {swapped(*sides)}")
    for tag, png in read_pictures(SHOWN / PYTORCH / "three_conv").items():
        (SHOWN / f"{tag.split('/')[1]}.png").write_bytes(png)
    drawn = [f"--figure={SHOWN}/curves.png", f"--disagreements={SHOWN}/disagreements.png"]
    with redirect_stdout(StringIO()) as tables:
        cli.main([f"{RAW}/*/*", "--format=markdown", f"--log_dir={SHOWN}", *drawn])
    head, _, rest = README.read_text().partition(_TABLES[0])
    README.write_text(f"{head}{_TABLES[0]}\n{tables.getvalue()}{_TABLES[1]}{rest.partition(_TABLES[1])[2]}")


def decided(first: list[Run], second: list[Run]) -> str:
    """Counts the pairs after which ``--until=decided`` stops, and the pairs that a study of fixed size needs.

    Args:
        first: Runs of one framework, ascending by seed.
        second: Runs of the other framework with the same seeds, ascending by seed.

    Returns:
        One line.
    """
    floor = resolution(PRIMARY, first[0].settings, [run.last(PRIMARY) or 0.0 for run in (*first, *second)])

    def estimated(count: int, reach: Reach) -> Estimate:
        keras, pytorch = ({run.partner: run.last(PRIMARY) or 0.0 for run in runs[:count]} for runs in (first, second))
        return difference(keras, pytorch, floor, reach=reach)

    counts = range(FEWEST, len(first) + 1)
    words = (judge(estimated(count, always_valid), ACC_MARGIN, reach=always_valid)[0] for count in counts)
    first_word = next(count for count, word in zip(counts, words, strict=False) if word != "undetermined")
    fixed = pairs_needed(estimated(len(first), student), ACC_MARGIN)
    return f"--until=decided stops after {first_word} pairs; a study of fixed size needs {fixed} pairs for 80% power"


def swapped(first: list[Run], second: list[Run]) -> str:
    """Measures how often McNemar's exact test finds a difference when the frameworks' names are swapped in pairs.

    Args:
        first: Runs of one framework.
        second: Runs of the other framework, with the same seeds.

    Returns:
        One line, over all swaps.
    """
    wrong = [{run.seed: set(run.mistakes or ()) for run in runs} for runs in (first, second)]
    only = np.array([[len(a[s] - b[s]) for a, b in (wrong, wrong[::-1])] for s in wrong[0]])
    swaps = np.array(list(product((True, False), repeat=len(only))))
    ones, total = np.where(swaps, only[:, 0], only[:, 1]).sum(axis=1), only.sum()
    found = np.mean(2 * bdtr(np.minimum(ones, total - ones), total, 0.5) <= ALPHA)
    return f"McNemar's p <= {ALPHA} in {100 * found:.0f}% of all swaps of the frameworks' names"


def write_mean(runs: list[Run], folder: Path) -> None:
    """Writes the mean of runs that differ only in their seeds as one run.

    Args:
        runs: At least one; pictures and wall times are those of the first.
        folder: The folder to write, ``<framework>/<architecture>``.
    """
    first = runs[0]
    model, data = (
        {name.split(".")[1]: value for name, value in first.settings.items() if name.startswith(f"{group}.")}
        for group in ("model", "data")
    )
    settings = ModelSettings(**model), DataSettings(**data)
    about = int(first.settings["trainer.max_epochs"]), str(first.settings["trainer.precision"])
    summaries = hparams.summaries(first.framework, *settings, *about, f"{folder.name}, mean of {len(runs)} seeds")
    layers = text_pb(tags.LAYERS + tags.TEXT_SUFFIX, markdown_table(layer_table(EXAMPLES[folder.name])))
    pictures = [picture(tag, np.asarray(Image.open(BytesIO(png)))) for tag, png in read_pictures(first.folder).items()]
    write_events(folder, [*summaries, layers, *pictures], _means(runs))


def read_pictures(folder: Path) -> dict[str, bytes]:
    """Reads the newest picture of each tag from a run's event files, as the bytes of a PNG file."""
    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: events.Images(tag)[-1].encoded_image_string for tag in events.Tags()["images"]}


def _means(runs: list[Run]) -> Iterator[Event]:
    for tag in sorted(runs[0].points):
        for points in zip(*(run.points[tag] for run in runs), strict=True):
            value = Summary.Value(tag=tag, simple_value=mean(point.value for point in points))
            yield Event(wall_time=points[0].wall_time, step=points[0].step, summary=Summary(value=[value]))


if __name__ == "__main__":
    with one_line_errors("python -m benchmarks.reference"):
        main()
