"""Writes TensorBoard's records without a framework: what a comparison shows there, and the means of runs."""

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
"""Charts that TensorBoard shows before one turns the page."""


def write_events(folder: str | Path, summaries: Iterable[Summary], events: Iterable[Event] = ()) -> None:
    """Makes the folder hold one event file of this function, in place of any that it has written there or below.

    Args:
        folder: Where; somebody else's files in it stay.
        summaries: Written at step 0.
        events: Written after them, with steps and times of their own.
    """
    folder, now = Path(folder), time.time()
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.rglob(PATTERN + OURS):
        old.unlink()
    head = [Event(wall_time=now, file_version="brain.Event:2")]
    head += [Event(wall_time=now, summary=summary) for summary in summaries]
    (folder / f"events.out.tfevents.{int(now)}{OURS}").write_bytes(b"".join(map(record, [*head, *events])))


def margin_charts(pages: Mapping[str, Sequence[str]]) -> Summary:
    """Custom scalars with a chart for each tag: the band of ``band_of``, over all runs that have it.

    Args:
        pages: The tags of each page, by its title.
    """
    layout = Layout()
    for title, tags in pages.items():
        charts = [_margin_chart(tag) for tag in tags]
        # TensorBoard draws the margin charts that it shows at once in reverse.
        charts[:_AT_ONCE] = reversed(charts[:_AT_ONCE])
        layout.category.append(Category(title=title, chart=charts))
    tensor = make_tensor_proto(layout.SerializeToString())
    about = metadata.create_summary_metadata()
    return Summary(value=[Summary.Value(tag=metadata.CONFIG_SUMMARY_TAG, metadata=about, tensor=tensor)])


def band_of(tag: str) -> list[str]:
    """The tags of mean, lower and upper end of a tag's band, behind the others in TensorBoard's order."""
    return [f"with_bands/{tag.replace('/', '_')}/{part}" for part in ("mean", "lower", "upper")]


def _margin_chart(tag: str) -> Chart:
    value, lower, upper = band_of(tag)
    series = MarginChartContent.Series(value=value, lower=lower, upper=upper)
    return Chart(title=tag, margin=MarginChartContent(series=[series]))


def scalars(tags: Sequence[str], points: Iterable[Sequence[float]]) -> Iterator[Event]:
    """Points of several tags.

    Args:
        tags: The tags.
        points: Step, wall time, and a value for each tag.
    """
    for step, wall_time, *values in points:
        named = [Summary.Value(tag=tag, simple_value=value) for tag, value in zip(tags, values, strict=True)]
        yield Event(wall_time=wall_time, step=int(step), summary=Summary(value=named))
