"""Two models with their data, losses, optimizers and schedules, ready to run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import keras
import torch
from numpy.typing import NDArray
from torch import nn

from keras_parity.ladder.judge.keras_runner import KerasRunner, KerasTraining
from keras_parity.ladder.judge.nests import Layout, count_samples, slice_samples
from keras_parity.ladder.judge.snapshots import optimizer_snapshot
from keras_parity.ladder.judge.step_state import objects_in, saved_counters
from keras_parity.ladder.judge.torch_runner import TorchRunner
from keras_parity.ladder.judge.torch_training import TorchTraining, lightning_training, stock_training

TorchOptimizerLike: TypeAlias = torch.optim.Optimizer | Callable[[list[nn.Parameter]], torch.optim.Optimizer] | None
ScheduleLike: TypeAlias = (
    torch.optim.lr_scheduler.LRScheduler
    | Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler]
    | None
)
KerasOptimizerLike: TypeAlias = keras.Optimizer | Callable[[], keras.Optimizer] | str | None


@dataclass
class ModelPair:
    """The arguments of ``check`` in the form in which they run; a fix may replace any of them.

    Attributes:
        torch_model: The module.
        keras_model: The Keras model.
        images: Inputs as Keras takes them: a nest of arrays [count, ...].
        labels: A nest of arrays [count, ...]; None to compare outputs only.
        torch_images: Inputs as PyTorch takes them.
        torch_labels: Labels as PyTorch's loss takes them.
        torch_optimizer: As the user gave it; ``optimizer`` is the object that steps.
        keras_optimizer: Keras's optimizer.
        torch_loss: Mean loss (outputs, labels) -> [].
        keras_loss: A loss for ``compile``, or a function (labels, outputs).
        torch_schedule: A schedule, or a function of the optimizer that returns one.
        torch_step: One whole step (inputs, labels), which replaces loss, optimizer and schedule.
        class_weight: Keras's class weights.
        sample_weight: Keras's sample weights [count].
        batch_size: Samples per step.
        fixed_batch: Samples in each batch of Keras's model, if its inputs fix them.
        random: Why the outputs in inference mode cannot be compared: they are random. Empty if they can.
        notes: Assumptions about the outputs and losses, one line each.
        layouts: The layout of each output.
        optimizer: PyTorch's optimizer.
        undecided: Why the trainings cannot be compared; empty if they can.
        missing_optimizer: The argument that only one side lacks, or "".
        optimizer_note: Assumptions about the optimizers, one line.
        guessed: The losses that were guessed, by argument.
        loss_text: PyTorch's guessed loss in Python, of ``output`` and ``labels``.
        keras_structure: Some of Keras's outputs in their own structure.
        optimizer_source: What ``optimizer`` was made from: the argument, and the ``id`` of each parameter.
        shapes: Shapes of PyTorch's outputs, and of Keras's.
    """

    torch_model: nn.Module
    keras_model: keras.Model
    images: Any
    labels: Any = None
    torch_images: Any = None
    torch_labels: Any = None
    torch_optimizer: TorchOptimizerLike = None
    keras_optimizer: keras.Optimizer | None = None
    torch_loss: Any = None
    keras_loss: Any = None
    torch_schedule: ScheduleLike = None
    torch_step: Callable[[Any, Any], Any] | None = None
    class_weight: Mapping[int, float] | None = None
    sample_weight: NDArray | None = None
    batch_size: int = 32
    fixed_batch: int | None = None
    random: str = ""
    notes: list[str] = field(default_factory=list)
    layouts: list[Layout] = field(default_factory=list)
    optimizer: torch.optim.Optimizer | None = None
    undecided: str = ""
    missing_optimizer: str = ""
    optimizer_note: str = ""
    guessed: tuple[str, ...] = ()
    loss_text: str | None = None
    keras_structure: Any = None
    optimizer_source: Any = None
    shapes: tuple[list[tuple[int, ...]], list[tuple[int, ...]]] = ([], [])

    @property
    def brings_training(self) -> bool:
        """Whether PyTorch trains with the user's own steps: ``torch_step``, or those of a LightningModule."""
        lightning = hasattr(self.torch_model, "configure_optimizers") and hasattr(self.torch_model, "training_step")
        return self.torch_step is not None or (lightning and self.torch_optimizer is None)

    @property
    def output_mismatch(self) -> str:
        """Why the outputs cannot be compared: the numbers of outputs differ. Empty if they can."""
        in_torch, in_keras = map(len, self.shapes)
        if in_torch == in_keras:
            return ""
        return f"PyTorch returns {in_torch} outputs, Keras {in_keras}; return the same outputs in the same order"

    @property
    def count(self) -> int:
        """The number of samples."""
        return count_samples(self.images)

    def inputs(self, framework: str) -> Any:
        """All inputs, as ``"PyTorch"`` or ``"Keras"`` takes them."""
        return self.torch_images if framework == "PyTorch" else self.images

    def batch(self, framework: str, step: int, inputs: Any = None) -> tuple[Any, ...]:
        """Returns the arguments of a runner's ``step``: inputs, labels and, for Keras, sample and class weights.

        Args:
            framework: ``"PyTorch"`` or ``"Keras"``.
            step: Number of the step, from 0; after the last whole batch it wraps to the first.
            inputs: Replaces the pair's own inputs.
        """
        start = step % (self.count // self.batch_size) * self.batch_size
        stop = start + self.batch_size
        batch = slice_samples(self.inputs(framework) if inputs is None else inputs, start, stop)
        if framework == "PyTorch":
            return batch, slice_samples(self.torch_labels, start, stop)
        weight = None if self.sample_weight is None else self.sample_weight[start:stop]
        return batch, slice_samples(self.labels, start, stop), weight, self.class_weight

    def torch_runner(self) -> TorchRunner:
        """Runs PyTorch's model in place."""
        return TorchRunner(
            self.torch_model, self._torch_training(), slice_samples(self.torch_images, 0, self.batch_size)
        )

    def keras_runner(self) -> KerasRunner:
        """Runs Keras's model in place."""
        return KerasRunner(self.keras_model, self.keras_training(), slice_samples(self.images, 0, self.batch_size))

    def _torch_training(self) -> TorchTraining | None:
        if self.labels is None or self.undecided:
            return None
        if self.torch_step is not None:
            optimizers = [self.optimizer] if self.optimizer else objects_in(self.torch_step, torch.optim.Optimizer)
            schedules = objects_in(self.torch_step, torch.optim.lr_scheduler.LRScheduler)
            restore = saved_counters(self.torch_step)
            return TorchTraining(self.torch_step, optimizers, schedules, start=restore, end=restore)
        if self.brings_training:
            return lightning_training(self.torch_model, -(-self.count // self.batch_size))
        assert self.optimizer is not None
        schedule: Any = self.torch_schedule
        restore = optimizer_snapshot(self.optimizer)  # a new schedule changes its optimizer's rate
        if schedule is not None and not hasattr(schedule, "optimizer"):
            schedule = schedule(self.optimizer)
        schedules = [schedule] if schedule else []
        return replace(stock_training(self.torch_model, self.torch_loss, self.optimizer, schedules), end=restore)

    def keras_training(self, optimizer: keras.Optimizer | None = None) -> KerasTraining | None:
        """Returns how Keras trains, with ``optimizer`` or its own; None if the trainings are not compared."""
        optimizer = optimizer or self.keras_optimizer
        if self.labels is None or optimizer is None or self.undecided:
            return None
        if self.keras_loss is None:
            weights = self.keras_model.get_compile_config().get("loss_weights")
            compiled = optimizer is self.keras_model.optimizer
            return KerasTraining(optimizer, self.keras_model.loss, loss_weights=weights, compiled=compiled)
        weighted = self.class_weight is not None or self.sample_weight is not None
        direct = callable(self.keras_loss) and not isinstance(self.keras_loss, keras.losses.Loss) and not weighted
        return KerasTraining(optimizer, self.keras_loss, direct)


def make_optimizer(optimizer: TorchOptimizerLike, model: nn.Module) -> torch.optim.Optimizer:
    """Returns the optimizer itself, or what the function makes of the model's parameters; SGD(0.01) for None."""
    if optimizer is None:
        return torch.optim.SGD(model.parameters(), 0.01)
    return optimizer if isinstance(optimizer, torch.optim.Optimizer) else optimizer(list(model.parameters()))
