"""``python -m keras_parity ladder``: is it the same computation, and if not, from which rung on?"""

import keras_parity.both_frameworks  # isort: skip # noqa: F401 - first, see there

import runpy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jsonargparse.typing import PositiveInt
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from cnn_mnist.architecture.descriptions import title
from cnn_mnist.architecture.initial_weights import initial_weights
from cnn_mnist.console.arguments import OneLineErrors, OutputFile
from cnn_mnist.data.augmentation import augmentation
from cnn_mnist.data.mnist import scale
from cnn_mnist.data.splits import Split, load_splits
from cnn_mnist.errors import UserError
from cnn_mnist.pytorch.loader import Loader, to_tensor
from cnn_mnist.pytorch.network import build_network, load_weights
from cnn_mnist.pytorch.optimizers import make_optimizer
from cnn_mnist.settings import SEED, DataSettings, ModelSettings
from keras_parity.ladder.check import check, climb_and_explain, tf32
from keras_parity.ladder.port import Port
from keras_parity.ladder.report import Report, line
from keras_parity.ladder.rung import Rung
from keras_parity.ladder.rungs import RUNGS, climb
from keras_parity.ladder.trajectories import Steps
from keras_parity.twin import network as twin
from keras_parity.twin import optimizers
from keras_parity.twin.loader import TrainingBatches

__all__ = ["Port", "Rung", "check", "climb", "project_port"]


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
    port_help = "Your own two models: a Python file with functions torch_model(), keras_model(), data()."
    parser.add_argument("--port", type=str | None, default=None, help=port_help)
    parser.add_argument("--rungs", type=str, default="1-11", help="The rungs to climb: 1-7, or 1,4,11.")
    parser.add_argument("--steps", type=PositiveInt, default=Steps.free, help="Free steps of rungs 9 and 10.")
    parser.add_argument("--trainer.accelerator", choices=["cpu", "gpu"], default="cpu", help="Where both compute.")
    parser.add_argument("--tf32", type=bool, default=False, help="Whether a GPU may round matrix products to TF32.")
    parser.add_argument(
        "--output",
        type=OutputFile(".json", ".md", ".html"),
        default=None,
        help="File for the report: .json, .md, .html.",
    )
    parser.add_argument(
        "--log_dir", type=str | None, default=None, help="Folder for a figure of rungs 8 to 10, for TensorBoard."
    )
    config = parser.parse_args(args)
    seed = config.seed_everything
    model = ModelSettings(**config.model.as_dict(), seed=seed)
    data = DataSettings(**config.data.as_dict(), seed=seed)
    numbers, device = _numbers(config.rungs), "cuda" if config.trainer.accelerator == "gpu" else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("expected a GPU, found none; --trainer.accelerator=cpu computes without one")
    length = Steps(max(1, config.steps // 2), config.steps)
    what = config.port or f"{title(model.architecture)}, {model.optimizer}"
    shown = SpinnerColumn(), TextColumn("{task.description}"), BarColumn()
    console = Console(stderr=True)
    with tf32(config.tf32), Progress(*shown, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"ladder of {what}", total=len(numbers))

        def climbed(rung: Rung) -> None:
            print(line(rung), flush=True)
            bar.update(task, completed=numbers.index(rung.number) + 1)

        if config.port is not None:
            report = check_file(Path(config.port), numbers=numbers, steps=config.steps, climbed=climbed, device=device)
        else:
            port = replace(project_port(model, data), device=device)
            report = climb_and_explain(port, length, numbers, climbed=climbed)
    print("\n".join(report.explained()))
    if config.output is not None:
        report.write(config.output)
        print(f"wrote {config.output}")
    if config.log_dir is not None:
        _into_tensorboard(report.rungs, Path(config.log_dir))
    if not report.holds:
        raise UserError(report.verdict)


def check_file(path: Path, **words: Any) -> Report:
    """Checks the two models of a file.

    Args:
        path: Of a Python file; its functions bear the names of ``check``'s arguments.
        **words: Further arguments of ``check``.

    Raises:
        UserError: The file is not there, lacks a function or ends in an error.
    """
    if not path.is_file():
        raise UserError(f"expected a Python file, got {path}")
    try:
        functions = runpy.run_path(str(path))
        missing = [name for name in ("torch_model", "keras_model", "data") if not callable(functions.get(name))]
        if missing:
            raise UserError(f"{path}: expected torch_model(), keras_model() and data(), {missing[0]}() is missing")
        models, (images, labels) = [functions[name]() for name in ("torch_model", "keras_model")], functions["data"]()
        made = {"torch_optimizer": lambda make: make(models[0].parameters())} | dict.fromkeys(
            ("keras_optimizer", "torch_images", "match", "weights", "batch_size"), lambda make: make())  # fmt: skip
        words |= {name: make(functions[name]) for name, make in made.items() if name in functions}
        words |= {name: functions[name] for name in ("torch_loss", "keras_loss", "torch_schedule") if name in functions}
    except UserError:
        raise
    except Exception as error:  # of the user's own code
        raise UserError(f"{path} ends in {type(error).__name__}: {error}".splitlines()[0]) from None
    return check(models[0], models[1], images, labels, **words)


def _numbers(text: str) -> list[int]:
    try:
        first, dash, last = text.partition("-")
        numbers = list(range(int(first), int(last) + 1)) if dash else [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not set(numbers) <= RUNGS.keys():
        raise UserError(f"expected --rungs between 1 and 11, as 1-7 or 1,4,11, got {text}")
    return numbers


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
