"""Records of a run for TensorBoard's HParams tab: its settings and metrics."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from cnn_mnist.runs import tags
from cnn_mnist.settings import DataSettings, ModelSettings, names

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary

_EVALUATED = [tags.tag(split, name) for split in tags.EVALUATED for name in tags.METRICS]
_METRICS = (*_EVALUATED, tags.FIT_SECONDS, tags.IMAGES_PER_SECOND)

_FIRST = ("architecture", "framework", "learning_rate", "optimizer", "seed")
"""Columns that the tab shows at first: it sorts by ``differs``, then by name, and shows five."""


def summaries(
    framework: str, model: ModelSettings, data: DataSettings, max_epochs: int | None, precision: str, name: str
) -> "list[Summary]":
    """Builds the records of a run.

    Args:
        framework: One of ``runs.folder.FRAMEWORKS``.
        model: Settings of the model.
        data: Settings of the data.
        max_epochs: Number of epochs; None if unlimited.
        precision: Lightning's name of it.
        name: Name of the run, for example ``"version_0"``; with the framework it identifies the trial.

    Returns:
        Two records, ``tensorboard.compat.proto.summary_pb2.Summary``.
    """
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata, summary_v2
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    chosen, left_out = asdict(data) | asdict(model), names(DataSettings, "surroundings")
    plain = {name: _plain_value(value) for name, value in chosen.items() if name not in left_out}
    settings = {"framework": framework, **plain, "max_epochs": max_epochs or 0, "precision": precision}
    # The tab uses one experiment for all runs, so every run of both frameworks writes the same one.
    columns = [api_pb2.HParamInfo(name=field, differs=field in _FIRST) for field in settings]
    metrics = [api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag)) for tag in _METRICS]
    experiment = api_pb2.Experiment(hparam_infos=columns, metric_infos=metrics)
    about = metadata.create_summary_metadata(HParamsPluginData(experiment=experiment))
    value = Summary.Value(tag=metadata.EXPERIMENT_TAG, metadata=about, tensor=metadata.NULL_TENSOR)
    return [Summary(value=[value]), summary_v2.hparams_pb(settings, trial_id=f"{framework}/{name}")]


def _plain_value(value: object) -> bool | int | float | str:
    """Converts a setting for the tab, which takes only numbers and texts."""
    return value if isinstance(value, bool | int | float | str) else str(value or "")
