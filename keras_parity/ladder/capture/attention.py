"""Splits PyTorch's attention into the layers that Keras's has: a dense layer each for query, key, value and output."""

import copy
import math
from typing import Any

import torch
from torch import nn


class SplitAttention(nn.Module):
    """``nn.MultiheadAttention`` without dropout, with a linear layer each for query, key and value.

    The three layers share the original's one matrix and bias.

    Args:
        whole: The original module.
    """

    in_proj_bias = None  # takes PyTorch's encoder layers off their fused path

    def __init__(self, whole: nn.MultiheadAttention) -> None:
        super().__init__()
        self.heads, self.batch_first = whole.num_heads, whole.batch_first
        self.query, self.key, self.value = (_projection(whole, index) for index in range(3))
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
        """Computes what ``nn.MultiheadAttention`` does, for batches [batch, steps, features], or steps first."""
        projected = [self.query(query), self.key(key), self.value(value)]
        in_batches = [tensor if self.batch_first else tensor.transpose(0, 1) for tensor in projected]
        q, k, v = (tensor.unflatten(-1, (self.heads, -1)).transpose(1, 2) for tensor in in_batches)
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
        for mask, axes in (attn_mask, (...,)), (key_padding_mask, (slice(None), None, None)):
            if mask is not None:
                mask = mask.unflatten(0, (-1, self.heads)) if mask.ndim == 3 else mask[axes]
                scores = scores.masked_fill(mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
        weights = scores.softmax(-1)
        out = (weights @ v).transpose(1, 2).flatten(2)
        out = self.out_proj(out if self.batch_first else out.transpose(0, 1))
        return out, (weights.mean(1) if average_attn_weights else weights) if need_weights else None


def _projection(whole: nn.MultiheadAttention, index: int) -> nn.Linear:
    linear = nn.utils.skip_init(nn.Linear, whole.embed_dim, whole.embed_dim)
    for role, owned in ("weight", whole.in_proj_weight), ("bias", whole._parameters["in_proj_bias"]):
        view: Any = None if owned is None else nn.Parameter(owned.data.chunk(3)[index], owned.requires_grad)
        setattr(linear, role, view)
    return linear


def split_attention(network: nn.Module) -> nn.Module:
    """Returns a network with every attention split, or the network itself if it has none; weights stay shared."""
    names = {
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.MultiheadAttention)
        and module._qkv_same_embed_dim
        and module.bias_k is None
        and not module.add_zero_attn
    }
    if not names:
        return network
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    copied = copy.deepcopy(network, shared)
    if "" in names:
        return SplitAttention(copied)  # type: ignore[arg-type]
    for name in names:
        copied.set_submodule(name, SplitAttention(copied.get_submodule(name)))  # type: ignore[arg-type]
    return copied
