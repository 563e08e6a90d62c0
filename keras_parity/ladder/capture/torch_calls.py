"""Records the calls in one run of a torch module."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from keras_parity.ladder.capture.calls import OUTPUT, Call, Loss, find_parents, first_tensor, with_containers
from keras_parity.ladder.judge.nests import call_torch, leaves
from keras_parity.ladder.matching.arrays import RECURRENT, recurrent_parts, torch_arrays
from keras_parity.ladder.matching.kinds import kind_of, normalizes_image, to_keras_axes


def record_torch(network: nn.Module, inputs: Any, loss: Loss | None = None) -> list[Call]:
    """Runs a module once, in its current mode, and records its calls.

    Args:
        network: A copy of the user's module; its hooks and gradients are overwritten.
        inputs: The arguments of the call.
        loss: If given, gradients are recorded too.

    Returns:
        The calls in order; the last is the model's output.
    """
    calls: list[Call] = []
    nodes: dict[Any, int] = {}
    outs: list[torch.Tensor | None] = []
    between: list[tuple[str, Any, tuple[int, ...]]] = []

    def recorder(name: str, module: nn.Module) -> Callable[..., None]:
        kind, arrays = kind_of(module, 0), torch_arrays(module)

        def hook(_: Any, args: Any, output: Any) -> None:
            if not arrays and not isinstance(module, nn.RNNBase):
                between.append((name, module, tuple(first_tensor(args).shape)))
                return
            fed, out = first_tensor(args), first_tensor(output)
            inner, pads = _unpadded(fed) if kind.startswith("Conv") else (fed, ())
            parts = list(recurrent_parts(module)) or [({}, arrays)]
            for place, (own_roles, owned) in enumerate(parts):
                call = Call(name, module, kind, owned, own_roles=own_roles, parents=((len(calls) - 1, ()),))
                if place == 0:
                    call.input, call.pads = _array(kind, inner, module), pads
                    call.parents, call.between = _torch_parents(fed, nodes), tuple(between)
                if place == len(parts) - 1:
                    call.output = _array(kind, out, module)
                calls.append(call)
                outs.append(out if place == len(parts) - 1 else None)
            between.clear()
            if out.requires_grad:
                nodes[out.grad_fn] = len(calls) - 1
                if loss is not None:
                    out.retain_grad()

        return hook

    containers, handles = [], []
    for name, module in network.named_modules():
        holds_others = bool(list(module.children())) and not isinstance(module, nn.MultiheadAttention)
        if not holds_others:
            handles.append(module.register_forward_hook(recorder(name, module)))
        elif arrays := torch_arrays(module):
            containers.append(Call(name, module, kind_of(module, 0), arrays))
    input_tensors = list(leaves(inputs))
    for tensor in input_tensors:
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
        for tensor in input_tensors:
            tensor.requires_grad_(False)
    array = output.detach().cpu().numpy().copy()
    array = np.moveaxis(array, 1, -1) if array.ndim == 4 else array
    calls.append(Call(OUTPUT, None, OUTPUT, (), array, array, _torch_parents(output, nodes), tuple(between)))
    return with_containers(containers, calls)


def _array(kind: str, tensor: torch.Tensor, module: nn.Module) -> NDArray:
    array = tensor.detach().cpu().numpy().copy()
    if kind in RECURRENT and not getattr(module, "batch_first", True) and array.ndim == 3:
        return array.swapaxes(0, 1)
    if normalizes_image(module):
        return np.moveaxis(array, 1, -1)
    return to_keras_axes(kind, array)


def _unpadded(padded: torch.Tensor) -> tuple[torch.Tensor, tuple[tuple[int, int], ...]]:
    """Removes the zeros that were added before a convolution; Keras's layer adds them itself.

    Returns:
        The tensor without them, and the zeros before and after each spatial axis.
    """
    flat = getattr(padded.grad_fn, "_saved_pad", ())
    if not flat or min(flat) < 0 or len(flat) > 2 * (padded.ndim - 2):
        return padded, ()
    pads = tuple(zip(flat[-2::-2], flat[::-2], strict=True))
    pads = ((0, 0),) * (padded.ndim - 2 - len(pads)) + pads
    inner = F.pad(padded, [-pad for pad in flat])
    return (inner, pads) if torch.equal(F.pad(inner, flat), padded) else (padded, ())


def _torch_parents(tensor: torch.Tensor, nodes: dict[Any, int]) -> tuple[tuple[int, tuple[str, ...]], ...]:
    def step(node: Any) -> Iterable[Any]:
        return [n for n, _ in node.next_functions if n is not None]

    return find_parents([tensor.grad_fn] if tensor.grad_fn is not None else [], nodes, step, lambda node: node.name())
