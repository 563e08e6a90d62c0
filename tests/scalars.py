"""Reads the scalars of a run folder for tests."""

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def read(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Every scalar as {tag: [(step, value)]}, and every image and text as {tag: []}."""
    events = EventAccumulator(str(run), size_guidance={"scalars": 0, "tensors": 0, "images": 0})
    events.Reload()
    tags = events.Tags()
    scalars = {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags["scalars"]}
    return scalars | {tag.removesuffix("/text_summary"): [] for tag in (*tags["images"], *tags["tensors"])}
