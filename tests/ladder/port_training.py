"""The training of a port, described once and built for each framework."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import lightning.pytorch as lightning
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnn_mnist.pytorch.keras_optimizers import KerasAdam, KerasRMSprop, KerasSGD
from tests.ladder.port_parts import OwnLoss, Part

Parts = dict[str, Part]
UNDECAYED = ("bias", "gamma", "beta")


@dataclass
class Training:
    """One side's training.

    Attributes:
        losses: Kind of loss of each output, by the output's name.
        loss_weights: Their weights.
        classes: Number of classes of integer labels.
        optimizer: "sgd", "nesterov", "keras_sgd", "adagrad", "adam" or "rmsprop".
        rate: The learning rate.
        momentum: Momentum of SGD.
        eps: Epsilon of Adam and RMSprop.
        accumulator: Adagrad's initial accumulator.
        decay: Decoupled weight decay.
        excluded: Whether the decay excludes biases and norms.
        schedule: Name and settings of the schedule.
        clip: "each", "all" or "value", and the limit.
        class_weight: Weight of each class.
        smoothing: Label smoothing of one-hot labels.
        penalties: "decay" if PyTorch's optimizer adds the gradient of L2, "loss" if its loss has the term.
        decay_all: Wrong: PyTorch's weight_decay applies to all parameters.
        factor: Factor of PyTorch's penalties; as a decay, L2 of rate r is 2 r.
        normalised: Wrong: PyTorch divides by the sum of the class weights.
        summed: Wrong: PyTorch sums the losses of a batch.
        step: Whether PyTorch's step is the user's own function.
        project: Whether that step applies the constraints.
        lightning: Whether PyTorch's side is a LightningModule.
        instance: Whether PyTorch's optimizer is passed, instead of a function that makes one.
        compiled: Whether Keras's model brings loss and optimizer.
    """

    losses: dict[str, str]
    loss_weights: dict[str, float] | None = None
    classes: int = 0
    optimizer: str = "sgd"
    rate: float = 0.1
    momentum: float = 0.0
    eps: float = 1e-4
    accumulator: float = 0.1
    decay: float = 0.0
    excluded: bool = False
    schedule: tuple[str, dict[str, Any]] | None = None
    clip: tuple[str, float] | None = None
    class_weight: dict[int, float] | None = None
    smoothing: float = 0.0
    penalties: str = "loss"
    decay_all: bool = False
    factor: float = 1.0
    normalised: bool = False
    summed: bool = False
    step: bool = False
    project: bool = True
    lightning: bool = False
    instance: bool = True
    compiled: bool = True


def schedule_factor(name: str, step: int, w: dict[str, Any]) -> float:
    """Returns the factor of Keras's schedule on the first rate at a step, from 0."""
    if name == "exponential":
        return w["rate"] ** (step // w["steps"] if w["staircase"] else step / w["steps"])
    if name == "cosine":
        return (1 - w["alpha"]) * 0.5 * (1 + math.cos(math.pi * min(step / w["steps"], 1))) + w["alpha"]
    if name == "piecewise":
        return w["factors"][sum(step > boundary for boundary in w["boundaries"])]
    part = math.floor(step / w["steps"]) if w["staircase"] else step / w["steps"]
    return 1 / (1 + w["rate"] * part)


def keras_rate(training: Training) -> Any:
    """Returns Keras's learning rate or schedule."""
    if training.schedule is None:
        return training.rate
    schedules, (name, w), rate = keras.optimizers.schedules, training.schedule, training.rate
    if name == "exponential":
        return schedules.ExponentialDecay(rate, w["steps"], w["rate"], w["staircase"])
    if name == "cosine":
        return schedules.CosineDecay(rate, w["steps"], w["alpha"])
    if name == "piecewise":
        return schedules.PiecewiseConstantDecay(w["boundaries"], [rate * f for f in w["factors"]])
    return schedules.InverseTimeDecay(rate, w["steps"], w["rate"], w["staircase"])


def torch_schedule(training: Training) -> Callable[[Any], Any] | None:
    """Builds PyTorch's schedule, with its own class if one has the formula."""
    if training.schedule is None:
        return None
    schedulers, (name, w) = torch.optim.lr_scheduler, training.schedule
    kind = w.get("torch")
    if kind == "stock" and name == "exponential" and w["staircase"]:
        return lambda o: schedulers.StepLR(o, w["steps"], w["rate"])
    if kind == "stock" and name == "cosine":
        return lambda o: schedulers.CosineAnnealingLR(o, w["steps"], w["alpha"] * training.rate)
    if kind == "epoch":  # wrong: steps once in three steps
        return lambda o: schedulers.LambdaLR(o, lambda step: schedule_factor(name, step // 3, w))
    if kind == "compound":  # wrong: multiplies the previous rate
        return lambda o: schedulers.MultiplicativeLR(o, lambda step: schedule_factor(name, step, w))
    return lambda o: schedulers.LambdaLR(o, lambda step: schedule_factor(name, step, w))


def keras_optimizer(training: Training) -> keras.optimizers.Optimizer:
    """Builds Keras's optimizer."""
    kinds, rate = keras.optimizers, keras_rate(training)
    words: dict[str, Any] = {"learning_rate": rate}
    if training.clip:
        name = {"each": "clipnorm", "all": "global_clipnorm", "value": "clipvalue"}[training.clip[0]]
        words[name] = training.clip[1]
    if training.decay:
        words["weight_decay"] = training.decay
    made = {
        "adagrad": lambda: kinds.Adagrad(initial_accumulator_value=training.accumulator, epsilon=0.0, **words),
        "adam": lambda: (kinds.AdamW if training.decay else kinds.Adam)(epsilon=training.eps, **words),
        "rmsprop": lambda: kinds.RMSprop(epsilon=training.eps, **words),
    }.get(
        training.optimizer,
        lambda: kinds.SGD(momentum=training.momentum, nesterov=training.optimizer == "nesterov", **words),
    )()
    if training.excluded:
        made.exclude_from_weight_decay(var_names=list(UNDECAYED))
    return made


def torch_optimizer(training: Training, parameters: Any) -> torch.optim.Optimizer:
    """Builds PyTorch's optimizer from parameters or groups."""
    rate = training.rate
    if training.optimizer == "adagrad":
        return torch.optim.Adagrad(parameters, rate, initial_accumulator_value=training.accumulator, eps=0)
    if training.optimizer == "adam":
        return KerasAdam(parameters, rate, 0.9, 0.999, training.eps, training.decay)
    if training.optimizer == "rmsprop":
        return KerasRMSprop(parameters, rate, 0.9, training.eps)
    if training.optimizer == "keras_sgd":
        return KerasSGD(parameters, rate, training.momentum, weight_decay=training.decay)
    return torch.optim.SGD(
        parameters, rate, momentum=training.momentum, nesterov=training.optimizer == "nesterov",
    )  # fmt: skip


def parameter_groups(training: Training, parts: Parts, net: nn.Module) -> list[dict[str, Any]] | None:
    """Groups parameters by weight decay."""
    decays: dict[int, float] = {}
    if training.penalties == "decay":
        for part in parts.values():
            for role, (kind, rate) in part.penalties.items():
                assert kind == "l2"
                decays |= {id(p): 2 * rate * training.factor for p in part.parameters(net).get(role, [])}
        if training.decay_all and decays:
            decays = {id(p): max(decays.values()) for p in net.parameters()}
    elif training.excluded:
        decays = {id(p): training.decay for p in net.parameters()}
        for part in parts.values():
            roles = part.parameters(net)
            decays |= {id(p): 0.0 for role in UNDECAYED for p in roles.get(role, [])}
        if training.decay_all:
            decays = {}
    if not decays:
        return None
    groups: dict[float, list[Tensor]] = {}
    for parameter in net.parameters():
        groups.setdefault(decays.get(id(parameter), 0.0), []).append(parameter)
    return [{"params": members, "weight_decay": decay} for decay, members in groups.items()]


_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": F.mse_loss,
    "huber": F.huber_loss,
    "bce": F.binary_cross_entropy_with_logits,
}


def _last(output: Tensor, turned: bool) -> Tensor:
    return output.movedim(1, -1) if turned else output


def torch_loss_of(kind: str, training: Training, turned: bool) -> Callable[[Tensor, Tensor], Tensor]:
    """Builds the mean loss of one output and its labels; moves channels that come first to the end."""
    words: dict[str, Any] = {"reduction": "sum"} if training.summed else {}
    if kind in _LOSSES:
        return lambda output, labels: _LOSSES[kind](_last(output, turned), labels, **words)
    if kind == "probabilities":
        return lambda output, labels: F.nll_loss(torch.log(output), labels, **words)
    if kind == "smooth":
        return lambda output, labels: F.cross_entropy(output, labels, label_smoothing=training.smoothing, **words)
    if kind == "padded":  # the labels of padded steps are 0
        return lambda output, labels: F.cross_entropy(output.transpose(1, 2), labels, ignore_index=0)
    if training.class_weight:
        weights = torch.tensor([training.class_weight[c] for c in range(training.classes)])
        if training.normalised:
            return lambda output, labels: F.cross_entropy(output, labels, weights)
        return lambda output, labels: F.cross_entropy(output, labels, weights, reduction="sum") / len(labels)
    return lambda output, labels: F.cross_entropy(
        output if turned or output.ndim == 2 else output.movedim(-1, 1), labels, **words
    )


def keras_loss_of(kind: str, training: Training) -> keras.losses.Loss:
    """Builds Keras's loss of the same kind."""
    losses = keras.losses
    return {
        "mse": losses.MeanSquaredError, "huber": losses.Huber,
        "bce": lambda: losses.BinaryCrossentropy(from_logits=True),
        "probabilities": losses.SparseCategoricalCrossentropy,
        "smooth": lambda: losses.CategoricalCrossentropy(from_logits=True, label_smoothing=training.smoothing),
    }.get(kind, lambda: losses.SparseCategoricalCrossentropy(from_logits=True))()  # fmt: skip


def penalty(training: Training, parts: Parts, net: nn.Module, kept: dict[str, Tensor]) -> Tensor | float:
    """Computes Keras's penalties the way PyTorch code adds them."""
    total: Any = 0.0
    for part in parts.values():
        for role, (kind, rate) in part.penalties.items():
            if role == "output":
                value = kept[(part.fused or part).name]
                total = total + rate * (value.abs() if kind == "l1" else value**2).sum() / len(value)
            elif training.penalties == "loss":
                for tensor in part.parameters(net).get(role, []):
                    total = total + rate * training.factor * (tensor.abs() if kind == "l1" else tensor**2).sum()
        if isinstance(part, OwnLoss):
            total = total + part.rate * (kept[part.name] ** 2).mean()
    return total


def clip(training: Training, parameters: list[Tensor]) -> None:
    """Clips gradients as Keras does."""
    kind, limit = training.clip or ("none", 0.0)
    parameters = [p for p in parameters if p.grad is not None]
    if kind == "all":
        nn.utils.clip_grad_norm_(parameters, limit)
    elif kind == "value":
        nn.utils.clip_grad_value_(parameters, limit)
    elif kind == "each":
        for parameter in parameters:
            norm = parameter.grad.norm()
            if norm > limit:
                parameter.grad.mul_(limit / norm)


def project(parts: Parts, net: nn.Module) -> None:
    """Applies the kernels' constraints as Keras does after each step."""
    with torch.no_grad():
        for part in parts.values():
            if part.constraint:
                kind, limit = part.constraint
                (weight,) = part.parameters(net)["kernel"]
                norms = weight.flatten(1).norm(dim=1).reshape(-1, *[1] * (weight.ndim - 1))
                if kind == "max":
                    weight.mul_(norms.clamp(max=limit) / (1e-7 + norms))
                elif kind == "unit":
                    weight.div_(1e-7 + norms)
                else:
                    weight.clamp_(min=0)


class Lit(lightning.LightningModule):
    """A port as Lightning's users write it.

    Args:
        net: The network.
        loss: Loss (output, labels).
        optimizer: Makes the optimizer.
        schedule: Makes the schedule, if any.
    """

    def __init__(self, net: nn.Module, loss: Any, optimizer: Any, schedule: Any) -> None:
        super().__init__()
        self.net, self.loss, self.make_optimizer, self.make_schedule = net, loss, optimizer, schedule

    def forward(self, *inputs: Tensor) -> Any:
        """Calls the network."""
        return self.net(*inputs)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Returns the loss."""
        inputs, labels = batch
        return self.loss(self(inputs), labels)

    def configure_optimizers(self) -> Any:
        """Returns the optimizer, and a schedule by step."""
        optimizer = self.make_optimizer(list(self.net.parameters()))
        if self.make_schedule is None:
            return optimizer
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": self.make_schedule(optimizer), "interval": "step"},
        }


def torch_side(training: Training, parts: Parts, net: Any, turned: dict[str, bool]) -> tuple[nn.Module, dict[str, Any]]:
    """Returns the module to train and ``check``'s arguments for it."""
    losses = {name: torch_loss_of(kind, training, turned[name]) for name, kind in training.losses.items()}
    weights = training.loss_weights or dict.fromkeys(losses, 1.0)
    structure = net.outputs

    def loss(output: Any, labels: Any, kept: dict[str, Tensor] | None = None) -> Tensor:
        one = isinstance(structure, str)
        keys = [None] if one else list(structure) if isinstance(structure, dict) else range(len(structure))
        names = [structure] if one else [structure[key] for key in keys]
        total: Any = 0.0
        for key, name in zip(keys, names, strict=True):
            pair = (output, labels) if one else (output[key], labels[key])
            total = total + weights[name] * losses[name](*pair)
        return total + penalty(training, parts, net, net.kept if kept is None else kept)

    groups = parameter_groups(training, parts, net)
    make = lambda parameters: torch_optimizer(training, groups or parameters)  # noqa: E731
    schedule = torch_schedule(training)
    if training.lightning:
        return Lit(net, loss, make, schedule), {}
    words: dict[str, Any] = {"torch_schedule": schedule} if schedule else {}
    if not training.step:
        given = make(net.parameters()) if training.instance or groups else make
        return net, words | {"torch_loss": loss, "torch_optimizer": given}
    optimizer = make(net.parameters())

    def step(inputs: Any, labels: Any) -> Tensor:
        optimizer.zero_grad()
        kept: dict[str, Tensor] = {}
        value = loss(net(*inputs if isinstance(inputs, (list, tuple)) else [inputs], kept=kept), labels, kept)
        value.backward()
        clip(training, list(net.parameters()))
        optimizer.step()
        if training.project:
            project(parts, net)
        return value

    return net, words | {"torch_step": step, "torch_optimizer": optimizer}


def keras_side(training: Training, model: keras.Model, structure: Any) -> dict[str, Any]:
    """Compiles the model, or returns ``check``'s arguments for it."""
    losses = {name: keras_loss_of(kind, training) for name, kind in training.losses.items()}
    words: dict[str, Any] = {"class_weight": training.class_weight} if training.class_weight else {}
    if isinstance(structure, str):
        if not training.compiled:
            return words | {"keras_optimizer": keras_optimizer(training), "keras_loss": losses[structure]}
        model.compile(keras_optimizer(training), losses[structure])
        return words
    place = lambda made: keras.tree.map_structure(lambda name: made[name], structure)  # noqa: E731
    weights = place(training.loss_weights) if training.loss_weights else None
    model.compile(keras_optimizer(training), place(losses), loss_weights=weights)
    return words


def as_tensors(value: Any) -> Any:
    """Converts arrays in any structure to tensors with PyTorch's strides, also where a length is 1."""
    tensor = lambda a: torch.empty(a.shape, dtype=torch.from_numpy(a[:0]).dtype).copy_(torch.from_numpy(a))  # noqa: E731
    return keras.tree.map_structure(tensor, value)


def batches(inputs: Any, labels: Any, size: int, steps: int) -> Any:
    """Yields the batch of each step; starts again at the end of the data."""
    count = len(keras.tree.flatten(labels)[0]) // size
    for step in range(steps):
        rows = slice(step % count * size, (step % count + 1) * size)
        yield keras.tree.map_structure(lambda a, rows=rows: a[rows], (inputs, labels))


def call(net: nn.Module, inputs: Any) -> Any:
    """Calls a network with tensors in any structure."""
    return net(*inputs) if isinstance(inputs, (list, tuple)) else net(inputs)


def train_torch(net: nn.Module, words: dict[str, Any], inputs: Any, labels: Any, size: int, steps: int) -> None:
    """Trains in a plain loop."""
    step, loss = words.get("torch_step"), words.get("torch_loss")
    if isinstance(net, Lit):
        loss, made = net.loss, net.configure_optimizers()
        optimizer = made["optimizer"] if isinstance(made, dict) else made
        schedule = made["lr_scheduler"]["scheduler"] if isinstance(made, dict) else None
    else:
        optimizer = words["torch_optimizer"]
        optimizer = optimizer if isinstance(optimizer, torch.optim.Optimizer) else optimizer(list(net.parameters()))
        schedule = words["torch_schedule"](optimizer) if "torch_schedule" in words else None
    net.train()
    for part, wanted in batches(inputs, labels, size, steps):
        part, wanted = as_tensors(part), as_tensors(wanted)
        if step is not None:
            step(part, wanted)
        else:
            optimizer.zero_grad()
            loss(call(net, part), wanted).backward()
            optimizer.step()
        if schedule is not None:
            schedule.step()


def train_keras(model: keras.Model, words: dict[str, Any], inputs: Any, labels: Any, size: int, steps: int) -> None:
    """Trains with the stock ``train_on_batch``."""
    if "keras_optimizer" in words:
        model.compile(words["keras_optimizer"], words["keras_loss"])
    for part, wanted in batches(inputs, labels, size, steps):
        model.train_on_batch(part, wanted, class_weight=words.get("class_weight"))
