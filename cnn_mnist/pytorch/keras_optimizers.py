"""Keras's optimizers in PyTorch."""

from collections.abc import Callable
from itertools import product
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

Group = dict[str, Any]
Slots = dict[str, list[Tensor]]


class KerasOptimizer(torch.optim.Optimizer):
    """What Keras's optimizers share.

    Differences from PyTorch's, which a subclass goes on counting:

    1. Weight decay is decoupled for every optimizer, ``p -= p * weight_decay * lr`` before the step.
    2. What Keras casts on its way, it casts through float32: 0.9 is 0.89999998 in a float64 step too.

    The slots of a parameter bear Keras's names and hold Keras's values, so that they travel as they are.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate.
        weight_decay: Part of a parameter that is taken off at a learning rate of 1.
        **defaults: The subclass's own settings.

    Attributes:
        slots: Name of each array that is kept for every parameter, and the setting without which it is not.
    """

    slots: ClassVar[dict[str, str | None]]

    def __init__(self, params: Any, lr: float, weight_decay: float = 0.0, **defaults: Any) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "step": 0, **defaults})

    def slot_names(self, group: Group) -> tuple[str, ...]:
        """The names of the arrays that are kept for every parameter of a group."""
        return tuple(name for name, setting in self.slots.items() if setting is None or group[setting])

    def update(self, group: Group, params: list[Tensor], grads: list[Tensor], slots: Slots) -> None:
        """One step of the parameters, in place; slots as lists in the order of the parameters."""
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

    3. epsilon stands inside the root; no value of PyTorch's epsilon, which is added to the root, does the same.
    4. The learning rate stands inside the momentum.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate.
        rho: Decay of the running means; PyTorch's alpha.
        epsilon: Added under the root.
        momentum: Decay of the sum of increments; 0 for none.
        centered: Whether the square of the mean gradient is taken off the mean square.
        weight_decay: As in ``KerasOptimizer``.
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
        """One step."""
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

    3. epsilon is added to the root of the uncorrected ``v``; PyTorch corrects before it adds.
    4. The correction is computed in the precision of the weights, where ``1 - 0.999`` is off by 2e-5 in float32.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate.
        beta_1: Decay of the mean gradient.
        beta_2: Decay of the mean squared gradient.
        epsilon: Added to the root.
        weight_decay: As in ``KerasOptimizer``.
    """

    slots: ClassVar = {"momentum": None, "velocity": None}

    def __init__(
        self, params: Any, lr: float, beta_1: float, beta_2: float, epsilon: float, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, lr, weight_decay, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon)

    def update(self, group: Group, params: list[Tensor], grads: list[Tensor], slots: Slots) -> None:
        """One step."""
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

    3. The learning rate stands inside the momentum, so that a change of it acts on later gradients only.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate.
        momentum: Decay of the sum of steps; 0 for none.
        nesterov: Whether a step looks one step ahead.
        weight_decay: As in ``KerasOptimizer``.
    """

    slots: ClassVar = {"momentum": "momentum"}

    def __init__(
        self, params: Any, lr: float, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, lr, weight_decay, momentum=momentum, nesterov=nesterov)

    def update(self, group: Group, params: list[Tensor], grads: list[Tensor], slots: Slots) -> None:
        """One step."""
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
