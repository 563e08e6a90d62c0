"""Writes TensorBoard's event files without a framework: the bands of a comparison, and the means of runs."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.custom_scalar import metadata
from tensorboard.plugins.custom_scalar.layout_pb2 import Category, Chart, Layout, MarginChartContent
from tensorboard.util.tensor_util import make_tensor_proto

from cnn_mnist.runs.recorder import picture as picture
from cnn_mnist.runs.recorder import record
from keras_parity.logs.event_files import OURS, PATTERN

_AT_ONCE = 12
"""Number of charts on a page of TensorBoard."""


def write_events(folder: str | Path, summaries: Iterable[Summary], events: Iterable[Event] = ()) -> None:
    """Writes one event file, and deletes those that this function wrote earlier in the folder or below it.

    Args:
        folder: The folder; other files in it are kept.
        summaries: Summaries for step 0.
        events: Further events, with their steps and times.

    Raises:
        OSError: The folder cannot be written.
    """
    folder, now = Path(folder), time.time()
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.rglob(PATTERN + OURS):
        old.unlink()
    head = [Event(wall_time=now, file_version="brain.Event:2")]
    head += [Event(wall_time=now, summary=summary) for summary in summaries]
    (folder / f"events.out.tfevents.{int(now)}{OURS}").write_bytes(b"".join(map(record, [*head, *events])))


def margin_charts(pages: Mapping[str, Sequence[str]]) -> Summary:
    """Lays out *Custom Scalars*: a chart for each tag, with the bands (see ``band_of``) of all runs.

    Args:
        pages: The tags of each page, by its title.

    Returns:
        The layout, as a summary to write.
    """
    layout = Layout()
    for title, tags in pages.items():
        charts = [_margin_chart(tag) for tag in tags]
        # TensorBoard reverses the margin charts of the first page.
        charts[:_AT_ONCE] = reversed(charts[:_AT_ONCE])
        layout.category.append(Category(title=title, chart=charts))
    tensor = make_tensor_proto(layout.SerializeToString())
    about = metadata.create_summary_metadata()
    return Summary(value=[Summary.Value(tag=metadata.CONFIG_SUMMARY_TAG, metadata=about, tensor=tensor)])


def band_of(tag: str) -> list[str]:
    """The tags of a band's mean, lower and upper end, which TensorBoard sorts after the others."""
    return [f"with_bands/{tag.replace('/', '_')}/{part}" for part in ("mean", "lower", "upper")]


def _margin_chart(tag: str) -> Chart:
    value, lower, upper = band_of(tag)
    series = MarginChartContent.Series(value=value, lower=lower, upper=upper)
    return Chart(title=tag, margin=MarginChartContent(series=[series]))


def scalars(tags: Sequence[str], points: Iterable[Sequence[float]]) -> Iterator[Event]:
    """Makes the events of several tags.

    Args:
        tags: The tags.
        points: Step, wall time (seconds since 1970), and a value for each tag.

    Yields:
        An event for each point.
    """
    for step, wall_time, *values in points:
        named = [Summary.Value(tag=tag, simple_value=value) for tag, value in zip(tags, values, strict=True)]
        yield Event(wall_time=wall_time, step=int(step), summary=Summary(value=named))
