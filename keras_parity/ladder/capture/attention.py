"""PyTorch's attention in the parts that Keras's has: a dense layer each for query, key, value and output."""

import copy
import math
from typing import Any

import torch
from torch import nn


class Parts(nn.Module):
    """``nn.MultiheadAttention`` without its dropout, whose first three layers are views of its one matrix and bias."""

    in_proj_bias = None  # has an encoder layer of PyTorch's leave its fused path

    def __init__(self, whole: nn.MultiheadAttention) -> None:
        super().__init__()
        self.heads, self.batch_first = whole.num_heads, whole.batch_first
        self.query, self.key, self.value = (_part(whole, place) for place in range(3))
        self.out_proj = whole.out_proj

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        key_padding_mask: torch.Tensor | None = None,
        need_weights: bool = True,
        attn_mask: torch.Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """As ``nn.MultiheadAttention``'s, of batches: [batch, steps, features], or steps first."""
        parts = [self.query(query), self.key(key), self.value(value)]
        in_batches = [part if self.batch_first else part.transpose(0, 1) for part in parts]
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in in_batches)
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
        for mask, places in (attn_mask, (...,)), (key_padding_mask, (slice(None), None, None)):
            if mask is not None:
                mask = mask.unflatten(0, (-1, self.heads)) if mask.ndim == 3 else mask[places]
                scores = scores.masked_fill(mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
        weights = scores.softmax(-1)
        out = (weights @ v).transpose(1, 2).flatten(2)
        out = self.out_proj(out if self.batch_first else out.transpose(0, 1))
        return out, (weights.mean(1) if average_attn_weights else weights) if need_weights else None


def _part(whole: nn.MultiheadAttention, place: int) -> nn.Linear:
    linear = nn.utils.skip_init(nn.Linear, whole.embed_dim, whole.embed_dim)
    for role, owned in ("weight", whole.in_proj_weight), ("bias", whole._parameters["in_proj_bias"]):
        view: Any = None if owned is None else nn.Parameter(owned.data.chunk(3)[place], owned.requires_grad)
        setattr(linear, role, view)
        if view is not None:
            view.of = owned
    return linear


def in_parts(network: nn.Module) -> nn.Module:
    """The network with its attentions in parts, if it has any; what it owns is shared with the original."""
    fitting = {
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.MultiheadAttention)
        and module._qkv_same_embed_dim
        and module.bias_k is None
        and not module.add_zero_attn
    }
    if not fitting:
        return network
    owned = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    copied = copy.deepcopy(network, owned)
    if "" in fitting:
        return Parts(copied)  # type: ignore[arg-type]
    for name in fitting:
        copied.set_submodule(name, Parts(copied.get_submodule(name)))  # type: ignore[arg-type]
    return copied
