"""``python -m keras_parity ladder``: are two models the same computation, and if not, which rung breaks first?"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import wrap
from typing import Any

import keras
import numpy as np
import torch
from jsonargparse.typing import PositiveInt

from cnn_mnist.architecture.descriptions import title
from cnn_mnist.console.arguments import SEED_FLAG, OneLineErrors, OutputFile
from cnn_mnist.console.progress import status
from cnn_mnist.errors import UserError
from cnn_mnist.neutral import say
from cnn_mnist.pytorch.keras_layers import MaskedDropout
from cnn_mnist.runs.recorder import Recorder
from cnn_mnist.settings import DataSettings, ModelSettings, names
from keras_parity.frameworks import keep_out
from keras_parity.ladder.check import check, quiet, versions
from keras_parity.ladder.check_file import check_file
from keras_parity.ladder.report import Report
from keras_parity.ladder.rungs.comparison import Comparison
from keras_parity.ladder.rungs.port import Port
from keras_parity.ladder.rungs.project_port import project_port
from keras_parity.ladder.rungs.rung import Rung, line
from keras_parity.ladder.rungs.rungs import RUNGS, climb, rungs
from keras_parity.ladder.rungs.trajectories import Steps
from keras_parity.twin.engines import ENGINE
from keras_parity.twin.engines.torch import tf32 as torch_tf32

__all__ = ["Port", "Rung", "check", "climb", "project_port"]


def climb_all(
    port: Port,
    length: Steps,
    numbers: Sequence[int] = tuple(RUNGS),
    climbed: Callable[[Rung], None] = lambda rung: None,
) -> Report:
    """Climbs every requested rung, even above one that breaks.

    Args:
        port: The model in both frameworks.
        length: Length of the trainings.
        numbers: The rungs to climb, 1 to 11.
        climbed: Called with each rung as soon as it is climbed.

    Returns:
        The report with its rungs.
    """
    report = Report(notes=[versions()])
    with quiet(), keras.device("gpu" if port.device == "cuda" else "cpu"):
        comparison = Comparison(port)
        match = comparison.double.match
        matched = sum(bool(match.torch_calls[pair.torch].arrays) for pair in match.pairs)
        masked = any(isinstance(module, MaskedDropout) for module in port.network.modules())
        dropout = "dropout uses the same masks on both sides" if masked else "no dropout"
        report.notes.append(f"{matched} layers and {len(match.arrays)} arrays matched; {dropout}")
        for rung in rungs(comparison, length, numbers):
            report.rungs.append(rung)
            climbed(rung)
    return report


def build_parser() -> OneLineErrors:
    """Builds the parser of ``ladder``."""
    parser = OneLineErrors(
        prog="python -m keras_parity ladder",
        description="Proves rung by rung that this project's network is the same computation in both frameworks. "
        "With --port, checks two models of your own.",
    )
    parser.add_argument("--seed_everything", **SEED_FLAG)
    skipped = names(ModelSettings, "seed", "framework", "schedule", "loss")
    parser.add_class_arguments(ModelSettings, "model", skip=skipped)
    parser.add_class_arguments(DataSettings, "data", skip=names(DataSettings, "seed"))
    port_help = "Check your own models: a Python file with the functions torch_model(), keras_model() and data()."
    parser.add_argument("--port", type=str | None, default=None, help=port_help)
    parser.add_argument("--rungs", type=str, default="1-11", help="Rungs to climb, as 1-7 or 1,4,11.")
    steps = "Training steps of rungs 9 and 10 (default: 200); with --port, of both trainings (default: 50)."
    parser.add_argument("--steps", type=PositiveInt | None, default=None, help=steps)
    parser.add_argument("--trainer.accelerator", choices=["cpu", "gpu"], default="cpu", help="Device of both sides.")
    parser.add_argument("--tf32", type=bool, default=False, help="Let a GPU round matrix products to TF32.")
    output = "Write the report to a .json, .md or .html file."
    parser.add_argument("--output", type=OutputFile(".json", ".md", ".html"), default=None, help=output)
    log_dir = "Write a figure of rungs 8 to 10 to this folder, for TensorBoard."
    parser.add_argument("--log_dir", type=str | None, default=None, help=log_dir)
    return parser


_WITH_PORT = ("--port", "--steps", "--output")


def main(args: list[str]) -> None:
    """Parses the arguments after ``ladder``, judges or climbs, and prints the report.

    Exits with 2 if nothing is decided.

    Raises:
        UserError: An argument is wrong, or the models differ.
    """
    config = build_parser().parse_args(args)
    if config.port is not None:
        for flag in args:
            if flag.startswith("--") and flag.partition("=")[0] not in _WITH_PORT:
                raise UserError(f"--port: expected no flags but {', '.join(_WITH_PORT)}, got {flag}; remove it")
        told = lambda report: print(*wrap(report.verdict, 80), sep="\n", flush=True)  # noqa: E731
        report = check_file(Path(config.port), steps=config.steps, judged=told)
        say("\n".join(report.details()))
    else:
        report = _climb(config)
        say("\n".join(report.explained()).strip())
    if config.output is not None:
        report.write(config.output)
        say(f"wrote {config.output}")
    if config.log_dir is not None:
        _write_figure(report.rungs, Path(config.log_dir))
    if report.exit_code == 2:
        print(f"python -m keras_parity ladder: {report.verdict}", file=sys.stderr)
        raise SystemExit(2)
    if not report.holds:
        raise UserError(report.verdict)


def _climb(config: Any) -> Report:
    """Climbs the ladder of this project's own network."""
    if keras.config.backend() != "tensorflow":
        keep_out("tensorflow")
    seed = config.seed_everything
    model = ModelSettings(**config.model.as_dict(), seed=seed)
    data = DataSettings(**config.data.as_dict(), seed=seed)
    numbers, device = _numbers(config.rungs), "cuda" if config.trainer.accelerator == "gpu" else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("expected a GPU, found none; use --trainer.accelerator=cpu")
    steps = config.steps or Steps.free
    with (
        torch_tf32(config.tf32),
        ENGINE.tf32(config.tf32),
        status(f"ladder of {title(model.architecture)}, {model.optimizer}", len(numbers)) as update,
    ):

        def climbed(rung: Rung) -> None:
            print(line(rung), flush=True)
            update(completed=numbers.index(rung.number) + 1)

        port = replace(project_port(model, data), device=device)
        return climb_all(port, Steps(max(1, steps // 2), steps), numbers, climbed)


def _numbers(text: str) -> list[int]:
    try:
        first, dash, last = text.partition("-")
        numbers = list(range(int(first), int(last) + 1)) if dash else [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not set(numbers) <= RUNGS.keys():
        raise UserError(f"expected --rungs between 1 and 11, as 1-7 or 1,4,11, got {text}")
    return numbers


def _write_figure(rungs: Sequence[Rung], folder: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = [rung for rung in rungs if rung.curves]
    figure = Figure(figsize=(6 * max(1, len(drawn)), 4.5), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for place, rung in enumerate(drawn, start=1):
        axes = figure.add_subplot(1, len(drawn), place)
        for name, curve in rung.curves.items():
            width, alpha = (2, 1) if name in ("difference", "PyTorch against Keras") else (0.8, 0.6)
            axes.plot(np.maximum(curve, 1e-17), label=name, linewidth=width, alpha=alpha)
        axes.set(title=f"rung {rung.number}", xlabel="step", ylabel="difference of the losses (nats)", yscale="log")
        axes.legend(fontsize=7)
    canvas.draw()
    Recorder(folder / "ladder").add_image("ladder/rungs", np.asarray(canvas.buffer_rgba())[..., :3], 0)
