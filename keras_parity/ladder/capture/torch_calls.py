"""The calls in one run of a torch module."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from keras_parity.ladder.capture.calls import OUTPUT, Call, Loss, find_parents, first_tensor, moved, shifted
from keras_parity.ladder.judge.nests import call_torch, leaves
from keras_parity.ladder.matching.arrays import RECURRENT, recurrent_parts, torch_arrays
from keras_parity.ladder.matching.kinds import in_keras_layout, kind_of


def record_torch(network: nn.Module, inputs: Any, loss: Loss | None = None) -> list[Call]:
    """Runs a module once, in the mode that it is in, and gives its calls in order; the output stands last.

    Args:
        network: A copy of the user's, whose hooks and gradients are of no interest.
        inputs: What it is called with.
        loss: Where it is given, gradients are recorded too.
    """
    calls: list[Call] = []
    nodes: dict[Any, int] = {}
    outs: list[torch.Tensor | None] = []
    between: list[tuple[str, Any, tuple[int, ...]]] = []

    def keep(name: str, module: nn.Module) -> Callable[..., None]:
        kind, arrays = kind_of(module, 0), torch_arrays(module)

        def hook(_: Any, args: Any, output: Any) -> None:
            if not arrays and not isinstance(module, nn.RNNBase):
                between.append((name, module, tuple(first_tensor(args).shape)))
                return
            given, out = first_tensor(args), first_tensor(output)
            inner, pads = _unpadded(given) if kind.startswith("Conv") else (given, ())
            parts = list(recurrent_parts(module)) or [({}, arrays)]
            for place, (own_roles, owned) in enumerate(parts):
                call = Call(name, module, kind, owned, own_roles=own_roles, parents=((len(calls) - 1, ()),))
                if place == 0:
                    call.given, call.pads = _array(kind, inner, module), pads
                    call.parents, call.between = _torch_parents(given, nodes), tuple(between)
                if place == len(parts) - 1:
                    call.out = _array(kind, out, module)
                calls.append(call)
                outs.append(out if place == len(parts) - 1 else None)
            between.clear()
            if out.requires_grad:
                nodes[out.grad_fn] = len(calls) - 1
                if loss is not None:
                    out.retain_grad()

        return hook

    loose = []
    handles = []
    for name, module in network.named_modules():
        holds_others = bool(list(module.children())) and not isinstance(module, nn.MultiheadAttention)
        if not holds_others:
            handles.append(module.register_forward_hook(keep(name, module)))
        elif arrays := torch_arrays(module):
            loose.append(Call(name, module, kind_of(module, 0), arrays))
    given_tensors = list(leaves(inputs))
    for tensor in given_tensors:
        tensor.requires_grad_(tensor.is_floating_point())
    try:
        output = first_tensor(call_torch(network, inputs))
        if loss is not None:
            loss(output).backward()
            for call, out in zip(calls, outs, strict=True):
                if out is not None and out.grad is not None:
                    call.gradient = _array(call.kind, out.grad, call.layer)
    finally:
        for handle in handles:
            handle.remove()
        for tensor in given_tensors:
            tensor.requires_grad_(False)
    array = output.detach().cpu().numpy().copy()
    array = np.moveaxis(array, 1, -1) if array.ndim == 4 else array
    return [*loose, *moved(calls, len(loose)), Call(OUTPUT, None, OUTPUT, (), array, array,
        shifted(_torch_parents(output, nodes), len(loose)), tuple(between))]  # fmt: skip


def _array(kind: str, tensor: torch.Tensor, module: nn.Module) -> NDArray:
    array = tensor.detach().cpu().numpy().copy()
    if kind in RECURRENT and not getattr(module, "batch_first", True) and array.ndim == 3:
        return array.swapaxes(0, 1)
    if isinstance(module, nn.LayerNorm) and type(module).__name__.endswith("2d"):  # torchvision's, of images
        return np.moveaxis(array, 1, -1)
    return in_keras_layout(kind, array)


def _unpadded(given: torch.Tensor) -> tuple[torch.Tensor, tuple[tuple[int, int], ...]]:
    """What zeros were added to, as a layer's own setting says it in Keras, and how many."""
    flat = getattr(given.grad_fn, "_saved_pad", ())
    if not flat or min(flat) < 0 or len(flat) > 2 * (given.ndim - 2):
        return given, ()
    pads = tuple(zip(flat[-2::-2], flat[::-2], strict=True))
    pads = ((0, 0),) * (given.ndim - 2 - len(pads)) + pads
    inner = F.pad(given, [-pad for pad in flat])
    return (inner, pads) if torch.equal(F.pad(inner, flat), given) else (given, ())


def _torch_parents(tensor: torch.Tensor, nodes: dict[Any, int]) -> tuple[tuple[int, tuple[str, ...]], ...]:
    def step(node: Any) -> Iterable[Any]:
        return [n for n, _ in node.next_functions if n is not None]

    return find_parents([tensor.grad_fn] if tensor.grad_fn is not None else [], nodes, step, lambda node: node.name())
