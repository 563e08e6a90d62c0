"""Keras's optimizers in PyTorch, with the differences from PyTorch's own numbered."""

from collections.abc import Callable
from itertools import product
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

Group = dict[str, Any]
Slots = dict[str, list[Tensor]]


class KerasOptimizer(torch.optim.Optimizer):
    """Base class of Keras's optimizers.

    Differences from PyTorch's; subclasses continue the numbering:

    1. Weight decay is decoupled for every optimizer, ``p -= p * weight_decay * lr`` before the step.
    2. Keras casts some constants to float32: 0.9 is 0.89999998 even in a float64 step.

    The slots have Keras's names and values, so that they can be copied between the frameworks.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate.
        weight_decay: Decoupled weight-decay coefficient.
        **defaults: Settings of the subclass.

    Attributes:
        slots: Name of each array per parameter, and the setting that enables it; None: always.
    """

    slots: ClassVar[dict[str, str | None]]

    def __init__(self, params: Any, lr: float, weight_decay: float = 0.0, **defaults: Any) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "step": 0, **defaults})

    def slot_names(self, group: Group) -> tuple[str, ...]:
        """Returns the names of the arrays that each parameter of a group has."""
        return tuple(name for name, setting in self.slots.items() if setting is None or group[setting])

    def update(self, group: Group, params: list[Tensor], grads: list[Tensor], slots: Slots) -> None:
        """Updates the parameters in place; slots are lists in the order of the parameters."""
        raise NotImplementedError

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates every parameter that has a gradient; returns what ``closure`` returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [param for param in group["params"] if param.grad is not None]
            if not params:
                continue
            names = self.slot_names(group)
            for param, name in product(params, names):
                if name not in self.state[param]:
                    self.state[param][name] = torch.zeros_like(param)
            if group["weight_decay"]:
                factor = 1 - float(np.float32(group["weight_decay"])) * group["lr"]  # differences 1 and 2
                torch._foreach_mul_(params, factor)
            group["step"] += 1
            slots = {name: [self.state[param][name] for param in params] for name in names}
            self.update(group, params, [param.grad for param in params if param.grad is not None], slots)
        return loss


class KerasRMSprop(KerasOptimizer):
    """``v = rho v + (1 - rho) g^2; p -= lr g / sqrt(v + epsilon)``; source: ``keras/src/optimizers/rmsprop.py``.

    3. epsilon is inside the square root; PyTorch adds it outside, so no value of its epsilon is equivalent.
    4. The momentum includes the learning rate.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate.
        rho: Decay of the running means, in [0, 1); PyTorch's alpha.
        epsilon: Added inside the square root.
        momentum: Momentum, in [0, 1).
        centered: Divide by the variance of the gradient instead of its mean square.
        weight_decay: Decoupled weight-decay coefficient.
    """

    slots: ClassVar = {"velocity": None, "momentum": "momentum", "average_gradient": "centered"}

    def __init__(
        self,
        params: Any,
        lr: float,
        rho: float,
        epsilon: float,
        momentum: float = 0.0,
        centered: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr, weight_decay, rho=rho, epsilon=epsilon, momentum=momentum, centered=centered)

    def update(self, group: Group, params: list[Tensor], grads: list[Tensor], slots: Slots) -> None:
        """Updates the parameters in place."""
        rho = group["rho"]
        torch._foreach_mul_(slots["velocity"], rho)
        torch._foreach_addcmul_(slots["velocity"], grads, grads, value=1 - rho)
        roots = torch._foreach_add(slots["velocity"], group["epsilon"])  # difference 3
        if group["centered"]:
            average = slots["average_gradient"]
            torch._foreach_mul_(average, rho)
            torch._foreach_add_(average, grads, alpha=1 - rho)
            torch._foreach_addcmul_(roots, average, average, value=-1)
        torch._foreach_sqrt_(roots)
        if group["momentum"] > 0:
            torch._foreach_mul_(slots["momentum"], group["momentum"])
            torch._foreach_addcdiv_(slots["momentum"], grads, roots, value=group["lr"])  # difference 4
            torch._foreach_sub_(params, slots["momentum"])
        else:
            torch._foreach_addcdiv_(params, grads, roots, value=-group["lr"])


class KerasAdam(KerasOptimizer):
    """Adam, and with weight decay AdamW; source: ``keras/src/optimizers/adam.py`` and ``adamw.py``.

    ``m += (g - m)(1 - beta_1); v += (g^2 - v)(1 - beta_2);
    p -= m lr sqrt(1 - beta_2^t) / (1 - beta_1^t) / (sqrt(v) + epsilon)``

    3. epsilon is added to the square root of the uncorrected ``v``; PyTorch corrects ``v`` first.
    4. The correction has the precision of the weights; in float32 ``1 - 0.999`` is off by 2e-5.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate.
        beta_1: Decay of the mean gradient, in [0, 1).
        beta_2: Decay of the mean squared gradient, in [0, 1).
        epsilon: Added to the square root.
        weight_decay: Decoupled weight-decay coefficient.
    """

    slots: ClassVar = {"momentum": None, "velocity": None}

    def __init__(
        self, params: Any, lr: float, beta_1: float, beta_2: float, epsilon: float, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, lr, weight_decay, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon)

    def update(self, group: Group, params: list[Tensor], grads: list[Tensor], slots: Slots) -> None:
        """Updates the parameters in place."""
        real = np.float64 if params[0].dtype == torch.float64 else np.float32  # difference 4
        powers = [real(np.float32(group[beta])) ** real(group["step"]) for beta in ("beta_1", "beta_2")]  # difference 2
        alpha = float(real(group["lr"]) * np.sqrt(1 - powers[1]) / (1 - powers[0]))
        torch._foreach_lerp_(slots["momentum"], grads, 1 - group["beta_1"])
        torch._foreach_lerp_(slots["velocity"], torch._foreach_mul(grads, grads), 1 - group["beta_2"])
        roots = torch._foreach_sqrt(slots["velocity"])
        torch._foreach_add_(roots, group["epsilon"])  # difference 3
        torch._foreach_addcdiv_(params, slots["momentum"], roots, value=-alpha)


class KerasSGD(KerasOptimizer):
    """``m = momentum m - lr g; p += m``, or with Nesterov ``p += momentum m - lr g``.

    Source: ``keras/src/optimizers/sgd.py``.

    3. The momentum includes the learning rate, so a change of it affects only later gradients.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate.
        momentum: Momentum, in [0, 1).
        nesterov: Nesterov momentum.
        weight_decay: Decoupled weight-decay coefficient.
    """

    slots: ClassVar = {"momentum": "momentum"}

    def __init__(
        self, params: Any, lr: float, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, lr, weight_decay, momentum=momentum, nesterov=nesterov)

    def update(self, group: Group, params: list[Tensor], grads: list[Tensor], slots: Slots) -> None:
        """Updates the parameters in place."""
        if not slots:
            torch._foreach_add_(params, grads, alpha=-group["lr"])
            return
        momentum = float(np.float32(group["momentum"]))  # difference 2
        torch._foreach_mul_(slots["momentum"], momentum)
        torch._foreach_add_(slots["momentum"], grads, alpha=-group["lr"])  # difference 3
        if group["nesterov"]:
            torch._foreach_add_(params, slots["momentum"], alpha=momentum)
            torch._foreach_add_(params, grads, alpha=-group["lr"])
        else:
            torch._foreach_add_(params, slots["momentum"])
