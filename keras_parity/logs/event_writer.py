"""Writes TensorBoard's records without a framework: what a comparison shows there, and the means of runs."""

import io
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.custom_scalar import metadata
from tensorboard.plugins.custom_scalar.layout_pb2 import Category, Chart, Layout, MultilineChartContent
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.util.tensor_util import make_tensor_proto

from cnn_mnist.runs.pictures import Picture
from keras_parity.logs.event_files import PATTERN, record

_OURS = ".compare"


def write_events(folder: str | Path, summaries: Iterable[Summary], events: Iterable[Event] = ()) -> None:
    """Makes the folder hold one event file of this function, in place of any that it has written there.

    Args:
        folder: Where; somebody else's files in it stay.
        summaries: Written at step 0.
        events: Written after them, with steps and times of their own.
    """
    folder, now = Path(folder), time.time()
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(PATTERN + _OURS):
        old.unlink()
    head = [Event(wall_time=now, file_version="brain.Event:2")]
    head += [Event(wall_time=now, summary=summary) for summary in summaries]
    (folder / f"events.out.tfevents.{int(now)}{_OURS}").write_bytes(b"".join(map(record, [*head, *events])))


def text_page(tag: str, markdown: str) -> Summary:
    """A text for TensorBoard's text tab."""
    return text_pb(tag, markdown)


def picture(tag: str, pixels: Picture) -> Summary:
    """A picture, uint8 [height, width, 3]."""
    from PIL import Image

    png = io.BytesIO()
    Image.fromarray(pixels).save(png, "PNG")
    height, width, _ = pixels.shape
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png.getvalue())
    return Summary(value=[Summary.Value(tag=tag, image=image)])


def charts(title: str, tags: Sequence[str]) -> Summary:
    """A page of custom scalars with one chart for each tag, over all runs that have it."""
    drawn = [Chart(title=tag, multiline=MultilineChartContent(tag=[f"^{tag}$"])) for tag in tags]
    layout = Layout(category=[Category(title=title, chart=drawn)])
    tensor = make_tensor_proto(layout.SerializeToString())
    about = metadata.create_summary_metadata()
    return Summary(value=[Summary.Value(tag=metadata.CONFIG_SUMMARY_TAG, metadata=about, tensor=tensor)])
