"""Two models with all that people have in hand beside them: inputs, labels, losses, optimizers, schedules."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import keras
import torch
from numpy.typing import NDArray
from torch import nn

from keras_parity.ladder.judge.guess import guess_losses
from keras_parity.ladder.judge.keras_runner import KerasRunner, KerasTraining, as_given
from keras_parity.ladder.judge.nests import (
    Layout,
    count_samples,
    cut,
    find_layouts,
)
from keras_parity.ladder.judge.probe import probe, run_torch
from keras_parity.ladder.judge.torch_runner import TorchRunner
from keras_parity.ladder.judge.torch_training import TorchTraining, lightning_training, objects_in, stock_training

GivenTorchOptimizer: TypeAlias = torch.optim.Optimizer | Callable[[list[nn.Parameter]], torch.optim.Optimizer] | None
GivenSchedule: TypeAlias = (
    torch.optim.lr_scheduler.LRScheduler
    | Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler]
    | None
)
GivenKerasOptimizer: TypeAlias = keras.Optimizer | Callable[[], keras.Optimizer] | str | None


@dataclass
class ModelPair:
    """What ``check`` is given, in the form in which it is run; a fix may exchange any of it.

    Attributes:
        torch_model: The module.
        keras_model: The Keras model.
        images: Inputs as Keras takes them: a nest of arrays [count, ...].
        torch_images: As PyTorch takes them.
        labels: A nest of arrays [count, ...]; None where only outputs are compared.
        torch_labels: As PyTorch's loss takes them.
        torch_optimizer: As it was given; ``optimizer`` is the one that steps.
        keras_optimizer: Keras's.
        torch_loss: Mean loss of outputs and labels.
        keras_loss: What ``compile`` takes, or a function of labels and outputs.
        torch_schedule: A schedule, or what makes one of the optimizer.
        torch_step: One whole step of inputs and labels, in place of loss, optimizer and schedule.
        class_weight: Keras's.
        sample_weight: Keras's [count].
        batch_size: Samples of a step.
        notes: What was assumed, one line each.
        layouts: Of each output, how PyTorch's axes become Keras's.
        optimizer: PyTorch's, given or made of what was given.
        undecided: Why the trainings are not compared; empty where they are.
        missing: The optimizer that only one side has, by the argument that gives it.
        optimizers: What was assumed of them, in one line.
        guessed: Which of the losses were guessed.
        loss_text: PyTorch's loss as Python writes it, of ``output`` and ``labels``, where it was guessed.
        form: Keras's outputs of some samples as it gives them.
        shapes: Of PyTorch's outputs and of Keras's.
    """

    torch_model: nn.Module
    keras_model: keras.Model
    images: Any
    torch_images: Any
    labels: Any = None
    torch_labels: Any = None
    torch_optimizer: GivenTorchOptimizer = None
    keras_optimizer: keras.Optimizer | None = None
    torch_loss: Any = None
    keras_loss: Any = None
    torch_schedule: GivenSchedule = None
    torch_step: Callable[[Any, Any], Any] | None = None
    class_weight: Mapping[int, float] | None = None
    sample_weight: NDArray | None = None
    batch_size: int = 32
    notes: list[str] = field(default_factory=list)
    layouts: list[Layout] = field(default_factory=list)
    optimizer: torch.optim.Optimizer | None = None
    undecided: str = ""
    missing: str = ""
    optimizers: str = ""
    guessed: tuple[str, ...] = ()
    loss_text: str | None = None
    form: Any = None
    _made_of: Any = None
    shapes: tuple[list[tuple[int, ...]], list[tuple[int, ...]]] = ([], [])

    def look_again(self) -> None:
        """Finds the forms of the outputs, and guesses the losses that are not given, from the models as they are now.

        Raises:
            UserError: A model cannot take the inputs.
        """
        for name in self.guessed:
            setattr(self, name, None)
        owned = [self.torch_optimizer, *map(id, self.torch_model.parameters())]
        used = self.torch_optimizer is not None or not self.brings_training
        if used and self.missing != "torch_optimizer" and owned != self._made_of:
            self.optimizer, self._made_of = make_optimizer(self.torch_optimizer, self.torch_model), owned
        self.guessed, self.notes = (), []
        self.undecided = f"{self.missing} is missing; give {self.missing}=" if self.missing else ""
        ours, theirs, self.form = self.probe()
        self.shapes = [array.shape for array in ours], [array.shape for array in theirs]
        self.layouts = find_layouts(ours, theirs)
        if self.labels is not None and not self.undecided:
            compiled = self.keras_model.compiled and self.keras_model.loss is not None
            needs = self.torch_loss is None and not self.brings_training, self.keras_loss is None and not compiled
            found = guess_losses(ours, theirs, self.labels, self.layouts, needs, self._weighted)
            for name, value in found.items():
                setattr(self, name, value)

    @property
    def _weighted(self) -> bool:
        return self.class_weight is not None or self.sample_weight is not None

    @property
    def brings_training(self) -> bool:
        """Whether PyTorch's side has steps of its own: ``torch_step``, or those of a LightningModule."""
        lightning = hasattr(self.torch_model, "configure_optimizers") and hasattr(self.torch_model, "training_step")
        return self.torch_step is not None or (lightning and self.torch_optimizer is None)

    @property
    def unlike(self) -> str:
        """Why the outputs cannot be compared, as there are more on one side; empty where they can."""
        ours, theirs = map(len, self.shapes)
        if ours == theirs:
            return ""
        return f"PyTorch gives {ours} outputs and Keras {theirs}; have both return the same ones, in one order"

    @property
    def count(self) -> int:
        """How many samples there are."""
        return count_samples(self.images)

    def inputs(self, framework: str) -> Any:
        """All inputs, as ``"PyTorch"`` or ``"Keras"`` takes them."""
        return self.torch_images if framework == "PyTorch" else self.images

    def batch(self, framework: str, step: int, inputs: Any = None) -> tuple[Any, ...]:
        """What a runner's ``step`` takes: inputs and labels, for Keras with the weights of samples and classes.

        Args:
            framework: ``"PyTorch"`` or ``"Keras"``.
            step: Number of the step, from 0; after the last whole batch comes the first again.
            inputs: In place of the pair's own.
        """
        start = step % (self.count // self.batch_size) * self.batch_size
        stop = start + self.batch_size
        given = cut(self.inputs(framework) if inputs is None else inputs, start, stop)
        if framework == "PyTorch":
            return given, cut(self.torch_labels, start, stop)
        weight = None if self.sample_weight is None else self.sample_weight[start:stop]
        return given, cut(self.labels, start, stop), weight, self.class_weight

    def keras_inputs(self, count: int) -> Any:
        """The first samples, as the Keras model is called with them."""
        return as_given(cut(self.images, 0, count))

    def torch_outputs(self, count: int) -> Any:
        """What the module gives for the first samples in inference mode, in its own structure."""
        return run_torch(self.torch_model, self.torch_images, count)

    def probe(self) -> tuple[list[NDArray], list[NDArray], Any]:
        """Both models' outputs of the first samples in inference mode, and Keras's as it gives them."""
        return probe(self.torch_model, self.keras_model, self.torch_images, self.images, self.count)

    def torch_runner(self) -> TorchRunner:
        """PyTorch's side, in place."""
        return TorchRunner(self.torch_model, self._torch_training(), cut(self.torch_images, 0, self.batch_size))

    def keras_runner(self) -> KerasRunner:
        """Keras's side, in place."""
        return KerasRunner(self.keras_model, self.keras_training(), cut(self.images, 0, self.batch_size))

    def _torch_training(self) -> TorchTraining | None:
        if self.labels is None or self.undecided:
            return None
        if self.torch_step is not None:
            given = [self.optimizer] if self.optimizer else objects_in(self.torch_step, torch.optim.Optimizer)
            schedules = objects_in(self.torch_step, torch.optim.lr_scheduler.LRScheduler)
            return TorchTraining(self.torch_step, given, schedules)
        if self.brings_training:
            return lightning_training(self.torch_model, -(-self.count // self.batch_size))
        assert self.optimizer is not None
        schedule: Any = self.torch_schedule
        if schedule is not None and not hasattr(schedule, "optimizer"):
            schedule = schedule(self.optimizer)
        return stock_training(self.torch_model, self.torch_loss, self.optimizer, [schedule] if schedule else [])

    def keras_training(self, optimizer: keras.Optimizer | None = None) -> KerasTraining | None:
        """How Keras trains, with another optimizer where one is given; None where nothing trains."""
        optimizer = optimizer or self.keras_optimizer
        if self.labels is None or optimizer is None or self.undecided:
            return None
        loss, compiled = self.keras_loss, self.keras_loss is None
        words = {}
        if compiled:
            loss = self.keras_model.loss
            words = {"loss_weights": self.keras_model.get_compile_config().get("loss_weights")}
        direct = callable(loss) and not isinstance(loss, keras.losses.Loss) and not compiled and not self._weighted
        return KerasTraining(optimizer, loss, direct, words, compiled and optimizer is self.keras_model.optimizer)


def make_optimizer(given: Any, model: nn.Module) -> torch.optim.Optimizer:
    """An optimizer itself, or what a function makes of a model's parameters; the plainest where none is given."""
    if given is None:
        return torch.optim.SGD(model.parameters(), 0.01)
    return given if isinstance(given, torch.optim.Optimizer) else given(list(model.parameters()))
