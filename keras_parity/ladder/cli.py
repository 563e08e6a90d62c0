"""``python -m keras_parity ladder``: is it the same computation, and if not, from which rung on?"""

import keras_parity.both_frameworks  # isort: skip # noqa: F401 - first, see there

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from cnn_mnist.architecture.descriptions import title
from cnn_mnist.architecture.initial_weights import initial_weights
from cnn_mnist.console.arguments import OneLineErrors, OutputFile
from cnn_mnist.console.tables import markdown_table, print_table
from cnn_mnist.data.augmentation import augmentation
from cnn_mnist.data.mnist import scale
from cnn_mnist.data.splits import Split, load_splits
from cnn_mnist.errors import UserError
from cnn_mnist.pytorch.loader import Loader, to_tensor
from cnn_mnist.pytorch.network import build_network, load_weights
from cnn_mnist.pytorch.optimizers import make_optimizer
from cnn_mnist.settings import SEED, DataSettings, ModelSettings
from keras_parity.ladder.port import Port
from keras_parity.ladder.rung import Rung
from keras_parity.ladder.rungs import climb
from keras_parity.ladder.trajectories import Steps
from keras_parity.twin import network as twin
from keras_parity.twin import optimizers
from keras_parity.twin.loader import TrainingBatches

__all__ = ["Port", "Rung", "climb", "project_port"]


def project_port(model: ModelSettings, data: DataSettings) -> Port:
    """This project's own network in both frameworks, each with its own weights, batches and optimizer.

    Args:
        model: What is compared.
        data: On which batches.
    """
    described = model.network
    weights = initial_weights(described, "keras", model.seed)
    network, keras_model = build_network(described, seed=model.seed), twin.build_twin(described, model.seed)
    load_weights(network, weights, described)
    twin.load_weights(keras_model, weights)
    splits = load_splits(data)
    return Port(
        network=network,
        model=keras_model,
        torch_batches=_torch_batches(splits["train"], data),
        keras_batches=_keras_batches(splits["train"], data),
        test=(scale(splits["test"].images), splits["test"].labels.astype(np.int64)),
        torch_optimizer=lambda params: make_optimizer(params, model),
        keras_optimizer=lambda: optimizers.make_optimizer(model),
    )


def main(args: list[str]) -> None:
    """Reads the arguments after ``ladder``, climbs and prints; exits with 1 where a rung breaks."""
    parser = OneLineErrors(
        prog="python -m keras_parity ladder",
        description="Proves, rung by rung, that both frameworks compute the same, or names the first rung that breaks.",
    )
    parser.add_argument("--seed_everything", type=int, default=SEED, help="Seed of the weights and of the batches.")
    schedule = {"schedule", "warmup", "decay_steps", "decay_rate", "anneal_strategy"}
    skipped = {"seed", "align", "label_smoothing", "softmax_before_loss"} | schedule
    parser.add_class_arguments(ModelSettings, "model", skip=skipped)
    parser.add_class_arguments(DataSettings, "data", skip={"seed"})
    parser.add_argument(
        "--output", type=OutputFile(".json", ".md"), default=None, help="File for the table: .json or .md."
    )
    parser.add_argument(
        "--log_dir", type=str | None, default=None, help="Folder for a figure of rungs 8 to 10, for TensorBoard."
    )
    config = parser.parse_args(args)
    seed = config.seed_everything
    model = ModelSettings(**config.model.as_dict(), seed=seed)
    data = DataSettings(**config.data.as_dict(), seed=seed)
    rungs = list(climb(project_port(model, data)))
    print_table(_table(rungs), title=f"ladder of {title(model.architecture)}, {model.optimizer}")
    if config.output is not None:
        _write(rungs, Path(config.output))
        print(f"wrote {config.output}")
    if config.log_dir is not None:
        _into_tensorboard(rungs, Path(config.log_dir))
    last = rungs[-1]
    if not last.holds:
        raise UserError(f"rung {last.number} breaks ({last.compared}) at {last.where}; usual causes: {last.cause}")


def _table(rungs: Sequence[Rung]) -> list[list[str]]:
    rows = [["rung", "compared", "greatest difference", "limit", "verdict", "where"]]
    for rung in rungs:
        limit = "" if rung.limit is None else f"{rung.limit:.0e}" if rung.limit else "0"
        verdict = "holds" if rung.holds else "BREAKS"
        rows.append([str(rung.number), rung.compared, f"{rung.difference:.2g}", limit, verdict, rung.where])
    return rows


def _write(rungs: Sequence[Rung], path: Path) -> None:
    if path.suffix == ".md":
        path.write_text(markdown_table(_table(rungs)) + "\n")
    else:
        path.write_text(json.dumps([asdict(rung) for rung in rungs], indent=2) + "\n")


def _into_tensorboard(rungs: Sequence[Rung], folder: Path) -> None:
    import tensorflow as tf
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = [rung for rung in rungs if rung.curves]
    figure = Figure(figsize=(6 * max(1, len(drawn)), 4.5), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for place, rung in enumerate(drawn, start=1):
        axes = figure.add_subplot(1, len(drawn), place)
        for name, curve in rung.curves.items():
            between = name in ("difference", "PyTorch against Keras")
            axes.plot(
                np.maximum(curve, 1e-17), label=name, linewidth=2 if between else 0.8, alpha=1 if between else 0.6
            )
        axes.set(title=f"rung {rung.number}", xlabel="step", ylabel="difference of the losses (nats)", yscale="log")
        axes.legend(fontsize=7)
    canvas.draw()
    with tf.summary.create_file_writer(str(folder / "ladder")).as_default(0):
        tf.summary.image("ladder/rungs", np.asarray(canvas.buffer_rgba())[None, ..., :3])


def _torch_batches(split: Split, data: DataSettings) -> list[tuple[np.ndarray, np.ndarray]]:
    labels, moved = torch.from_numpy(split.labels.astype(np.int64)), augmentation(split, data)
    loader = Loader(to_tensor(split.images), labels, data.batch_size, data.seed, augmentation=moved)
    batches = zip(range(Steps.free), loader, strict=False)
    return [(images.numpy(), labels.numpy()) for _, (images, labels) in batches]


def _keras_batches(split: Split, data: DataSettings) -> list[tuple[np.ndarray, np.ndarray]]:
    pipeline = TrainingBatches(split, data, "float32")
    return [(images.numpy(), labels.numpy()) for images, labels in pipeline.dataset.take(Steps.free)]
