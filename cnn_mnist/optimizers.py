"""Keras's optimizers in PyTorch.

First floor, PyTorch: imported by the Lightning module and the ladder.
"""

from collections.abc import Callable
from typing import Any

import torch


class KerasRMSprop(torch.optim.RMSprop):
    """RMSprop with Keras's formula, ``v = rho v + (1 - rho) g^2; p -= lr g / sqrt(v + epsilon)``.

    Source: ``keras/src/optimizers/rmsprop.py``. Differences from ``torch.optim.RMSprop``:

    1. epsilon stands inside the root; no value of PyTorch's epsilon, which is added to the root, does the same.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate.
        rho: Decay of the running mean of squared gradients; PyTorch's alpha.
        epsilon: Added to that mean under the root.
    """

    def __init__(self, params: Any, lr: float, rho: float, epsilon: float) -> None:
        super().__init__(params, lr=lr, alpha=rho, eps=epsilon)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates every parameter that has a gradient; returns what ``closure`` returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params: list[torch.Tensor] = []
            grads: list[torch.Tensor] = []
            squares: list[torch.Tensor] = []
            self._init_group(group, params, grads, squares, [], [], [])
            if not params:
                continue
            torch._foreach_mul_(squares, group["alpha"])
            torch._foreach_addcmul_(squares, grads, grads, value=1 - group["alpha"])
            roots = torch._foreach_add(squares, group["eps"])  # difference 1
            torch._foreach_sqrt_(roots)
            torch._foreach_addcdiv_(params, grads, roots, value=-group["lr"])
        return loss
