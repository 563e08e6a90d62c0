"""What TensorBoard's HParams tab shows of a run: its settings, and which metrics it is judged by."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from cnn_mnist.runs import tags
from cnn_mnist.settings import DataSettings, ModelSettings

_METRICS = (
    *(tags.tag("test", name) for name in tags.METRICS),
    *(tags.tag("train_eval", name) for name in tags.METRICS),
    tags.FIT_SECONDS,
    tags.IMAGES_PER_SECOND,
)


def summaries(
    framework: str, model: ModelSettings, data: DataSettings, max_epochs: int | None, precision: str
) -> list[Any]:
    """The records of a run, as ``tensorboard.compat.proto.summary_pb2.Summary``.

    Args:
        framework: ``"keras"`` or ``"pytorch"``.
        model: What is trained.
        data: On what.
        max_epochs: For how long.
        precision: Lightning's name of it.
    """
    from tensorboard.plugins.hparams import summary_v2 as api

    settings: Mapping[str, Any] = {
        "framework": framework,
        **{name: value for name, value in (asdict(data) | asdict(model)).items() if name != "data_dir"},
        "max_epochs": max_epochs or 0,
        "precision": precision,
    }
    metrics = [api.Metric(tag) for tag in _METRICS]
    # The tab takes one experiment for all runs, so every run of both frameworks writes the same one.
    return [
        api.hparams_config_pb(hparams=[api.HParam(name) for name in settings], metrics=metrics, time_created_secs=0),
        api.hparams_pb(settings),
    ]
