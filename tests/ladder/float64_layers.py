"""Layers in NumPy and float64, written from their formulas: an independent reference for every port.

Arrays have Keras's layout: channels last, kernels [*size, in, out], recurrent kernels [in, gates * units].
"""

import numpy as np
from scipy.special import erf, expit

Array = np.ndarray
Pads = list[tuple[int, int]]

ACTIVATIONS = {
    "relu": lambda x, slope: np.maximum(x, 0),
    "leaky_relu": lambda x, slope: np.where(x > 0, x, slope * x),
    "gelu": lambda x, slope: 0.5 * x * (1 + erf(x / np.sqrt(2))),
    "tanh": lambda x, slope: np.tanh(x),
    "sigmoid": lambda x, slope: expit(x),
    "silu": lambda x, slope: x * expit(x),
    "elu": lambda x, slope: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "softplus": lambda x, slope: np.logaddexp(x, 0),
    "softmax": lambda x, slope: softmax(x),
    "none": lambda x, slope: x,
}


def softmax(x: Array) -> Array:
    """Over the last axis."""
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def same_pads(sizes: tuple[int, ...], kernel: tuple[int, ...], stride: int, dilation: int) -> Pads:
    """Keras's padding="same": an odd pixel goes to the end."""
    totals = [
        max((-(-s // stride) - 1) * stride + (k - 1) * dilation + 1 - s, 0) for s, k in zip(sizes, kernel, strict=True)
    ]
    return [(total // 2, total - total // 2) for total in totals]


def _offsets(x: Array, size: tuple[int, ...], stride: int, dilation: int):
    """Yields each position in a window with that element of every window."""
    counts = [(s - (k - 1) * dilation - 1) // stride + 1 for s, k in zip(x.shape[1:-1], size, strict=True)]
    for place in np.ndindex(*size):
        cuts = [
            slice(p * dilation, p * dilation + (c - 1) * stride + 1, stride) for p, c in zip(place, counts, strict=True)
        ]
        yield place, x[(slice(None), *cuts)]


def conv(
    x: Array, kernel: Array, stride: int = 1, dilation: int = 1, pads: Pads | None = None, groups: int = 1
) -> Array:
    """A convolution of any rank; kernel [*size, in / groups, out]."""
    size = kernel.shape[:-2]
    x = np.pad(x, [(0, 0), *(pads or [(0, 0)] * len(size)), (0, 0)])
    out = 0.0
    for place, element in _offsets(x, size, stride, dilation):
        parts = zip(np.split(element, groups, -1), np.split(kernel[place], groups, -1), strict=True)
        out = out + np.concatenate([part @ weights for part, weights in parts], -1)
    return out


def conv_transpose(x: Array, kernel: Array, stride: int) -> Array:
    """A transposed convolution of any rank, uncropped: each input adds its kernel; kernel [*size, out, in]."""
    size = kernel.shape[:-2]
    out = np.zeros(
        (len(x), *((s - 1) * stride + k for s, k in zip(x.shape[1:-1], size, strict=True)), kernel.shape[-2])
    )
    for at in np.ndindex(*x.shape[1:-1]):
        cuts = tuple(slice(a * stride, a * stride + k) for a, k in zip(at, size, strict=True))
        out[(slice(None), *cuts)] += np.einsum("...oi,ni->n...o", kernel, x[(slice(None), *at)])
    return out


def pool(x: Array, kind: str, size: int, stride: int) -> Array:
    """Maxima or means of windows without padding."""
    elements = np.stack([element for _, element in _offsets(x, (size,) * (x.ndim - 2), stride, 1)])
    return elements.max(0) if kind == "max" else elements.mean(0)


def _lstm(x, state, kernel, recurrent, bias):
    h, c = state
    i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4, -1)
    c = expit(f) * c + expit(i) * np.tanh(g)
    return expit(o) * np.tanh(c), c


def _gru(x, state, kernel, recurrent, bias):
    (h,) = state
    (xz, xr, xh), (hz, hr, hh) = np.split(x @ kernel + bias[0], 3, -1), np.split(h @ recurrent + bias[1], 3, -1)
    z, r = expit(xz + hz), expit(xr + hr)
    return (z * h + (1 - z) * np.tanh(xh + r * hh),)


def _rnn(x, state, kernel, recurrent, bias):
    return (np.tanh(x @ kernel + state[0] @ recurrent + bias),)


_CELLS = {"lstm": (_lstm, 2), "gru": (_gru, 1), "rnn": (_rnn, 1)}


def recurrent(x: Array, kind: str, weights: list[Array], mask: Array | None = None, backwards: bool = False) -> Array:
    """One recurrent layer: outputs [n, steps, units]; where the mask is False, the state stays."""
    cell, states = _CELLS[kind]
    state = tuple(np.zeros((len(x), weights[1].shape[0])) for _ in range(states))
    outputs = np.zeros((*x.shape[:2], weights[1].shape[0]))
    for t in reversed(range(x.shape[1])) if backwards else range(x.shape[1]):
        new = cell(x[:, t], state, *weights)
        keep = np.ones(len(x), bool) if mask is None else mask[:, t]
        state = tuple(np.where(keep[:, None], a, b) for a, b in zip(new, state, strict=True))
        outputs[:, t] = state[0]
    return outputs


def attention(query: Array, value: Array, weights: dict[str, Array], allowed: Array) -> Array:
    """Multi-head attention; kernels [in, heads, size] and [heads, size, out]; allowed [n or 1, queries, keys]."""
    q, k, v = (
        np.einsum("ntf,fhs->nhts", x, weights[f"{name}_kernel"]) + weights[f"{name}_bias"][:, None]
        for name, x in (("query", query), ("key", value), ("value", value))
    )
    scores = np.where(allowed[:, None], np.einsum("nhqs,nhks->nhqk", q, k) / np.sqrt(q.shape[-1]), -np.inf)
    mixed = np.einsum("nhqk,nhks->nhqs", softmax(scores), v)
    return np.einsum("nhqs,hso->nqo", mixed, weights["output_kernel"]) + weights["output_bias"]


def normalize(x: Array, axes: tuple[int, ...], eps: float) -> Array:
    """Mean 0 and variance 1 over axes."""
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def group_norm(x: Array, groups: int, eps: float) -> Array:
    """Of each sample, over positions and a group's channels."""
    parts = x.reshape(len(x), -1, groups, x.shape[-1] // groups)
    return normalize(parts, (1, 3), eps).reshape(x.shape)
