"""Parts of networks, each written three times by hand: in PyTorch, in Keras and in float64 arithmetic.

A part draws its weights once, in Keras's layout; each side loads them with a mapping written here, not the project's.
A fault changes the settings of a part on one side before it is built.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import keras
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnn_mnist.pytorch.keras_layers import with_biased_variance
from tests.ladder import float64_layers as by_hand

L, ops = keras.layers, keras.ops
Array = np.ndarray
ACTIVATIONS: dict[str, Callable[[int], nn.Module]] = {
    "relu": lambda axis: nn.ReLU(), "gelu": lambda axis: nn.GELU(), "tanh": lambda axis: nn.Tanh(),
    "sigmoid": lambda axis: nn.Sigmoid(), "silu": lambda axis: nn.SiLU(), "elu": lambda axis: nn.ELU(),
    "softplus": lambda axis: nn.Softplus(), "softmax": lambda axis: nn.Softmax(axis),
    "gelu_tanh": lambda axis: nn.GELU("tanh"), "none": lambda axis: nn.Identity(),
}  # fmt: skip


@dataclass(kw_only=True, eq=False)
class Part:
    """One step of a network.

    Attributes:
        name: The name of PyTorch's module.
        takes: Names of the inputs and parts whose values it takes.
        rank: Number of spatial axes of its first value.
        first: Whether PyTorch has channels first here.
        keras_first: Whether Keras has channels first too.
        timed: Whether Keras applies it to each step with ``TimeDistributed``.
        reused: Whether another part calls it again.
        arrays: Its weights, float32, in Keras's layout.
        penalties: Kind and rate by role: "kernel", "bias" or "output".
        constraint: Kind and limit of the kernel's constraint.
        frozen: Whether its weights are frozen.
        fused: The activation inside Keras's layer.
        layers: Keras's layers, once they are built.
    """

    name: str
    takes: tuple[str, ...]
    rank: int = 0
    first: bool = False
    keras_first: bool = False
    timed: bool = False
    reused: bool = False
    arrays: dict[str, Array] = field(default_factory=dict)
    penalties: dict[str, tuple[str, float]] = field(default_factory=dict)
    constraint: tuple[str, float] | None = None
    frozen: bool = False
    fused: "Activation | None" = None
    layers: list[Any] = field(default_factory=list)
    prefix: ClassVar[str]

    def draw(self, random: np.random.Generator, *values: Array) -> None:
        """Draws the weights, once the input shapes are known."""

    def float64(self, *values: Array) -> Array:
        """Computes the part in Keras's layout, channels last."""
        raise NotImplementedError

    def modules(self) -> dict[str, nn.Module]:
        """Builds PyTorch's modules by name, with their weights."""
        return {}

    def torch(self, net: nn.Module, *values: Tensor) -> Tensor:
        """Calls the part in PyTorch; by default its module."""
        return getattr(net, self.name)(values[0])

    def parameters(self, net: nn.Module) -> dict[str, list[Tensor]]:
        """Returns PyTorch's parameters by their role in Keras."""
        module = getattr(net, self.name, None)
        roles = {"kernel": getattr(module, "weight", None), "bias": getattr(module, "bias", None)}
        return {role: [tensor] for role, tensor in roles.items() if isinstance(tensor, Tensor)}

    def keras_layers(self) -> list[Any]:
        """Builds Keras's layers, called one after the other."""
        return []

    def keras(self, *values: Any) -> Any:
        """Calls the part in Keras; loads the weights after the first call."""
        new = not self.layers
        if new:
            self.layers = [L.TimeDistributed(layer) if self.timed else layer for layer in self.keras_layers()]
        value = self.call(self.layers, *values)
        if new:
            self.load()
            for layer in self.layers if self.frozen else []:
                layer.trainable = False
        return value

    def call(self, layers: list[Any], *values: Any) -> Any:
        """Calls the layers one after the other."""
        value = values[0]
        for layer in layers:
            value = layer(value)
        return value

    def load(self) -> None:
        """Loads the weights into Keras's layers."""
        if self.arrays:
            self.layers[0].set_weights(list(self.arrays.values()))

    def format(self) -> dict[str, str]:
        """Keras's ``data_format``."""
        return {"data_format": "channels_first"} if self.keras_first else {}

    def keras_words(self) -> dict[str, Any]:
        """Penalties, constraint and activation of a layer with a kernel."""
        regularizers = {"l1": keras.regularizers.L1, "l2": keras.regularizers.L2}
        roles = {"kernel": "kernel_regularizer", "bias": "bias_regularizer", "output": "activity_regularizer"}
        words = {roles[role]: regularizers[kind](rate) for role, (kind, rate) in self.penalties.items()}
        if self.constraint:
            kind, limit = self.constraint
            axes = list(range(self.arrays["kernel"].ndim - 1))
            words["kernel_constraint"] = {
                "max": lambda: keras.constraints.MaxNorm(limit, axis=axes), "positive": keras.constraints.NonNeg,
                "unit": lambda: keras.constraints.UnitNorm(axis=axes),
            }[kind]()  # fmt: skip
        if self.fused:
            words["activation"] = self.fused.keras_function()
        return words


def fill(module: nn.Module, **arrays: Array | None) -> nn.Module:
    """Loads arrays into a module's parameters and buffers."""
    with torch.no_grad():
        for name, array in arrays.items():
            if array is not None:
                getattr(module, name).copy_(torch.tensor(np.ascontiguousarray(array)))
    return module


def kernel(random: np.random.Generator, *shape: int, inputs: int) -> Array:
    """Random weights that preserve the scale of their input."""
    return (random.normal(size=shape) * 1.1 / np.sqrt(inputs)).astype(np.float32)


def vector(random: np.random.Generator, *shape: int) -> Array:
    """A random bias or statistic, away from 0."""
    return (random.uniform(0.05, 0.3, shape) * random.choice([-1, 1], shape)).astype(np.float32)


def wide(arrays: dict[str, Array]) -> dict[str, Array]:
    """Weights in float64."""
    return {name: array.astype(np.float64) for name, array in arrays.items()}


def mask_of(source: Any) -> Any:
    """True for real steps: a word that is not 0, or features with one that is not 0."""
    real = source != 0
    return real if real.ndim == 2 else real.any(-1)


def channels_first(array: Array) -> Array:
    """Moves channels to axis 1, in contiguous memory."""
    return np.ascontiguousarray(np.moveaxis(array, -1, 1))


@dataclass(kw_only=True, eq=False)
class Dense(Part):
    units: int
    bias: bool = True
    order: tuple[int, ...] | None = None  # (height, width, channels) of a flattened input, in Keras's order
    prefix = "fc"

    def draw(self, random, *values):
        came = values[0].shape[-1]
        self.arrays["kernel"] = kernel(random, came, self.units, inputs=came)
        if self.bias:
            self.arrays["bias"] = vector(random, self.units)

    def float64(self, *values):
        weights = wide(self.arrays)
        return values[0] @ weights["kernel"] + weights.get("bias", 0)

    def _turned(self) -> Array:
        weights = self.arrays["kernel"]
        if self.order is None:
            return weights
        return np.moveaxis(weights.reshape(*self.order, -1), -2, 0).reshape(weights.shape)

    def modules(self):
        weights = self._turned()
        module = nn.Linear(*weights.shape, bias=self.bias)
        return {self.name: fill(module, weight=weights.T, bias=self.arrays.get("bias"))}

    def keras_layers(self):
        return [L.Dense(self.units, use_bias=self.bias, **self.keras_words())]

    def load(self):
        first = self._turned() if self.keras_first else self.arrays["kernel"]
        self.layers[0].set_weights([first, *list(self.arrays.values())[1:]])


@dataclass(kw_only=True, eq=False)
class Conv(Part):
    filters: int
    size: int = 3
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    depthwise: bool = False
    padding: str = "valid"  # or "same" or "causal"
    chomp: bool = False  # PyTorch pads both ends and crops the end
    by_name: bool = False  # PyTorch's padding="same"
    pads: list[tuple[int, int]] | None = None  # PyTorch's pads if not those of `padding`
    bias: bool = True
    sizes: tuple[int, ...] = ()
    prefix = "conv"

    def draw(self, random, *values):
        *self.sizes, came = values[0].shape[1:]
        inner = came // self.groups
        window = (self.size,) * self.rank
        self.arrays["kernel"] = kernel(random, *window, inner, self.filters, inputs=inner * self.size**self.rank)
        if self.bias:
            self.arrays["bias"] = vector(random, self.filters)

    def right_pads(self) -> list[tuple[int, int]]:
        """Keras's padding before and after each axis."""
        if self.padding == "same":
            return by_hand.same_pads(tuple(self.sizes), (self.size,) * self.rank, self.stride, self.dilation)
        return [((self.size - 1) * self.dilation if self.padding == "causal" else 0, 0)] * self.rank

    def float64(self, *values):
        weights = wide(self.arrays)
        out = by_hand.conv(values[0], weights["kernel"], self.stride, self.dilation, self.right_pads(), self.groups)
        return out + weights.get("bias", 0)

    def modules(self):
        pads = self.pads or self.right_pads()
        even = len(set(pads)) == 1 and pads[0][0] == pads[0][1]
        padding: Any = pads[0][0] if even else 0
        if self.chomp:
            padding = pads[0][0]
        elif self.by_name and not self.pads and self.stride == 1:
            padding = "same"
        weights = self.arrays["kernel"]
        module = getattr(nn, f"Conv{self.rank}d")(
            weights.shape[-2] * self.groups, self.filters, self.size, self.stride, padding, self.dilation, self.groups,
            self.bias,
        )  # fmt: skip
        weights = np.moveaxis(weights, [-1, -2], [0, 1])
        return {self.name: fill(module, weight=weights, bias=self.arrays.get("bias"))}

    def torch(self, net, *values):
        module, (x,), pads = getattr(net, self.name), values, self.pads or self.right_pads()
        if not module.padding or not any(module.padding):
            x = F.pad(x, [p for pair in reversed(pads) for p in pair]) if np.any(pads) else x
        x = module(x)
        return x[..., : -pads[0][0]] if self.chomp else x

    def keras_layers(self):
        words = {
            "padding": self.padding, "strides": self.stride, "dilation_rate": self.dilation, "use_bias": self.bias,
            **self.format(), **self.keras_words(),
        }  # fmt: skip
        if self.depthwise:
            kind = getattr(L, f"DepthwiseConv{self.rank}D")
            return [kind(self.size, depth_multiplier=self.filters // self.groups, **words)]
        return [getattr(L, f"Conv{self.rank}D")(self.filters, self.size, groups=self.groups, **words)]

    def load(self):
        weights, *rest = self.arrays.values()
        if self.depthwise:
            weights = weights.reshape(*weights.shape[:-2], self.groups, -1)
        self.layers[0].set_weights([weights, *rest])


@dataclass(kw_only=True, eq=False)
class ConvTranspose(Part):
    filters: int
    size: int = 3
    stride: int = 2
    padding: str = "valid"
    bias: bool = True
    cut: bool = False  # PyTorch crops even if its padding would do
    shift: int = 0  # of PyTorch's crop
    sizes: tuple[int, ...] = ()
    prefix = "up"

    def draw(self, random, *values):
        *self.sizes, came = values[0].shape[1:]
        window = (self.size,) * self.rank
        inputs = came * max(1, self.size // self.stride) ** self.rank
        self.arrays["kernel"] = kernel(random, *window, self.filters, came, inputs=inputs)
        if self.bias:
            self.arrays["bias"] = vector(random, self.filters)

    def ends(self) -> tuple[int, int]:
        """Keras's cropping at the beginning and the end."""
        total = self.size - self.stride if self.padding == "same" else 0
        return total // 2, total - total // 2

    def float64(self, *values):
        weights, (begin, end) = wide(self.arrays), self.ends()
        out = by_hand.conv_transpose(values[0], weights["kernel"], self.stride)
        cuts = (slice(begin, s - end) for s in out.shape[1:-1])
        return out[(slice(None), *cuts)] + weights.get("bias", 0)

    def _by_padding(self) -> bool:
        begin, end = self.ends()
        return begin == end and not self.cut and not self.shift

    def modules(self):
        weights = self.arrays["kernel"]
        padding = self.ends()[0] if self._by_padding() else 0
        module = getattr(nn, f"ConvTranspose{self.rank}d")(
            weights.shape[-1], self.filters, self.size, self.stride, padding, bias=self.bias
        )
        weights = np.moveaxis(weights, [-1, -2], [0, 1])
        return {self.name: fill(module, weight=weights, bias=self.arrays.get("bias"))}

    def torch(self, net, *values):
        x = getattr(net, self.name)(values[0])
        if self._by_padding():
            return x
        begin, end = self.ends()
        begin, end = begin + self.shift, end - self.shift
        return x[(..., *(slice(begin, s - end) for s in x.shape[2:]))]

    def keras_layers(self):
        words = {"strides": self.stride, "padding": self.padding, "use_bias": self.bias} | self.format()
        return [getattr(L, f"Conv{self.rank}DTranspose")(self.filters, self.size, **words, **self.keras_words())]


@dataclass(kw_only=True, eq=False)
class Activation(Part):
    function: str
    slope: float = 0.0
    owner: Part | None = None  # the part whose Keras layer computes it
    functional: bool = False  # a function in PyTorch, not a module
    prefix = "act"

    def float64(self, *values):
        return by_hand.ACTIVATIONS[self.function](values[0], self.slope)

    def modules(self):
        axis = 1 if self.first else -1
        leaky = self.function == "leaky_relu"
        return {self.name: nn.LeakyReLU(self.slope) if leaky else ACTIVATIONS[self.function](axis)}

    def torch(self, net, *values):
        if self.functional and self.function in ("relu", "tanh", "sigmoid"):
            return getattr(torch, self.function)(values[0])
        return super().torch(net, *values)

    def keras_function(self) -> Any:
        """The activation in the form a layer takes."""
        return {"none": None, "gelu_tanh": lambda x: keras.activations.gelu(x, approximate=True)}.get(
            self.function, self.function
        )

    def keras_layers(self):
        if self.owner is not None:
            return []
        if self.function == "leaky_relu":
            return [L.LeakyReLU(self.slope)]
        if self.function == "softmax":
            return [L.Softmax(axis=1 if self.keras_first else -1)]
        return [L.Activation(self.keras_function() or "linear")]


@dataclass(kw_only=True, eq=False)
class Norm(Part):
    kind: str  # "batch", "layer" or "group"
    eps: float = 1e-3
    momentum: float = 0.9
    groups: int = 1
    biased: bool = True  # PyTorch's moving variance is biased like Keras's
    prefix = "norm"

    def draw(self, random, *values):
        channels = values[0].shape[-1]
        self.arrays["gamma"] = 1 + vector(random, channels)
        self.arrays["beta"] = vector(random, channels)
        if self.kind == "batch":
            others = tuple(range(values[0].ndim - 1))
            self.arrays["mean"] = (values[0].mean(others) + vector(random, channels)).astype(np.float32)
            self.arrays["var"] = (values[0].var(others) * random.uniform(0.7, 1.4, channels) + 0.02).astype(np.float32)

    def float64(self, *values):
        (x,), weights = values, wide(self.arrays)
        if self.kind == "batch":
            x = (x - weights["mean"]) / np.sqrt(weights["var"] + self.eps)
        elif self.kind == "layer":
            x = by_hand.normalize(x, (-1,), self.eps)
        else:
            x = by_hand.group_norm(x, self.groups, self.eps)
        return x * weights["gamma"] + weights["beta"]

    def modules(self):
        channels, gamma, beta = len(self.arrays["gamma"]), self.arrays["gamma"], self.arrays["beta"]
        if self.kind == "layer":
            return {self.name: fill(nn.LayerNorm(channels, self.eps), weight=gamma, bias=beta)}
        if self.kind == "group":
            return {self.name: fill(nn.GroupNorm(self.groups, channels, self.eps), weight=gamma, bias=beta)}
        norm = getattr(nn, f"BatchNorm{self.rank or 1}d")(channels, self.eps, round(1 - self.momentum, 12))
        fill(norm, weight=gamma, bias=beta, running_mean=self.arrays["mean"], running_var=self.arrays["var"])
        return {self.name: biased_variance(norm) if self.biased else norm}

    def parameters(self, net):
        return dict(zip(("gamma", "beta"), super().parameters(net).values(), strict=True))

    def keras_layers(self):
        axis = 1 if self.keras_first else -1
        if self.kind == "layer":
            return [L.LayerNormalization(axis=axis, epsilon=self.eps)]
        if self.kind == "group":
            return [L.GroupNormalization(self.groups, axis=axis, epsilon=self.eps)]
        return [L.BatchNormalization(axis=axis, momentum=self.momentum, epsilon=self.eps)]


class BatchNorm3d(nn.BatchNorm3d):
    """Keras's moving variance, the biased variance of the batch; PyTorch's is n / (n - 1) times as large."""

    def forward(self, x: Tensor) -> Tensor:
        """Any [batch, channels, depth, height, width]."""
        if self.training:
            with torch.no_grad():
                variance, mean = torch.var_mean(x, (0, 2, 3, 4), correction=0)
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(variance, self.momentum)
            return F.batch_norm(x, None, None, self.weight, self.bias, True, 0.0, self.eps)
        return super().forward(x)


def biased_variance(norm: nn.Module) -> nn.Module:
    """The same norm with Keras's moving variance."""
    if not isinstance(norm, nn.BatchNorm3d):
        return with_biased_variance(norm)
    norm.__class__ = BatchNorm3d
    return norm


class GaussianNoise(nn.Module):
    """Keras's layer of this name."""

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x + self.std * torch.randn_like(x) if self.training and self.std else x


@dataclass(kw_only=True, eq=False)
class Noise(Part):
    kind: str  # "dropout", "spatial" or "gaussian"
    rate: float = 0.2
    prefix = "drop"

    def float64(self, *values):
        return values[0]

    def modules(self):
        spatial = getattr(nn, f"Dropout{self.rank}d", None) if self.kind == "spatial" else None
        return {self.name: GaussianNoise(self.rate) if self.kind == "gaussian" else (spatial or nn.Dropout)(self.rate)}

    def keras_layers(self):
        if self.kind == "spatial":
            words = {} if self.rank == 1 else self.format()
            return [getattr(L, f"SpatialDropout{self.rank}D")(self.rate, **words)]
        return [L.GaussianNoise(self.rate) if self.kind == "gaussian" else L.Dropout(self.rate)]


@dataclass(kw_only=True, eq=False)
class Pool(Part):
    kind: str  # "max" or "avg"
    size: int = 2
    stride: int = 2
    prefix = "pool"

    def float64(self, *values):
        return by_hand.pool(values[0], self.kind, self.size, self.stride)

    def modules(self):
        return {self.name: getattr(nn, f"{self.kind.title()}Pool{self.rank}d")(self.size, self.stride)}

    def keras_layers(self):
        kind = {"max": "Max", "avg": "Average"}[self.kind]
        return [getattr(L, f"{kind}Pooling{self.rank}D")(self.size, self.stride, **self.format())]


@dataclass(kw_only=True, eq=False)
class GlobalPool(Part):
    kind: str = "avg"
    prefix = "gap"

    def float64(self, *values):
        axes = tuple(range(1, values[0].ndim - 1))
        return values[0].mean(axes) if self.kind == "avg" else values[0].max(axes)

    def modules(self):
        return {self.name: getattr(nn, f"Adaptive{self.kind.title()}Pool{self.rank}d")(1)}

    def torch(self, net, *values):
        return super().torch(net, *values).flatten(1)

    def keras_layers(self):
        kind = {"max": "Max", "avg": "Average"}[self.kind]
        return [getattr(L, f"Global{kind}Pooling{self.rank}D")(**self.format())]


@dataclass(kw_only=True, eq=False)
class Flatten(Part):
    how: str = "flatten"  # or "view" or "module"
    prefix = "flat"

    def float64(self, *values):
        return values[0].reshape(len(values[0]), -1)

    def modules(self):
        return {self.name: nn.Flatten()} if self.how == "module" else {}

    def torch(self, net, *values):
        if self.how == "module":
            return super().torch(net, *values)
        return values[0].view(values[0].size(0), -1) if self.how == "view" else values[0].flatten(1)

    def keras_layers(self):
        return [L.Flatten()]


@dataclass(kw_only=True, eq=False)
class Embedding(Part):
    words: int
    units: int
    mask_zero: bool = False
    padding: bool = False  # PyTorch's padding_idx=0
    reversible: bool = False  # Keras's ReversibleEmbedding
    prefix = "emb"

    def draw(self, random, *values):
        self.arrays["embeddings"] = random.normal(size=(self.words, self.units)).astype(np.float32) * 0.7

    def float64(self, *values):
        return wide(self.arrays)["embeddings"][values[0]]

    def modules(self):
        module = nn.Embedding(self.words, self.units, padding_idx=0 if self.padding else None)
        return {self.name: fill(module, weight=self.arrays["embeddings"])}

    def parameters(self, net):
        return {"embeddings": [getattr(net, self.name).weight]}

    def keras_layers(self):
        if self.reversible:
            return [L.ReversibleEmbedding(self.words, self.units, tie_weights=True)]
        return [L.Embedding(self.words, self.units, mask_zero=self.mask_zero)]


@dataclass(kw_only=True, eq=False)
class Masking(Part):
    active: bool = True
    prefix = "masking"

    def float64(self, *values):
        return values[0]

    def torch(self, net, *values):
        return values[0]

    def keras_layers(self):
        return [L.Masking(0.0)] if self.active else []


@dataclass(kw_only=True, eq=False)
class Recurrent(Part):
    """Takes a sequence and, if masked, the value that the mask is read from."""

    kind: str  # "lstm", "gru" or "rnn"
    units: int
    depth: int = 1
    both: bool = False  # bidirectional
    sequence: bool = False
    bias: bool = True
    second: bool = False  # PyTorch trains the second bias of an LSTM or RNN too
    dropout: float = 0.0  # of the inputs, inside Keras's layer
    final: bool = False  # PyTorch uses the returned last state, not the last output
    last_output: bool = False  # wrong with two directions: the last output of both
    prefix = "rnn"

    def draw(self, random, *values):
        came, gates = values[0].shape[-1], {"lstm": 4, "gru": 3, "rnn": 1}[self.kind] * self.units
        for place in range(self.depth):
            for way in self.ways():
                self.arrays[f"kernel_{place}{way}"] = kernel(random, came, gates, inputs=came)
                self.arrays[f"recurrent_{place}{way}"] = kernel(random, self.units, gates, inputs=self.units)
                shape = (2, gates) if self.kind == "gru" else (gates,)
                bias = vector(random, *shape) if self.bias else np.zeros(shape, np.float32)
                self.arrays[f"bias_{place}{way}"] = bias
            came = self.units * len(self.ways())

    def ways(self) -> tuple[str, ...]:
        """PyTorch's suffixes of the directions."""
        return ("", "_reverse") if self.both else ("",)

    def stacks(self) -> list[tuple[str, list[Array]]]:
        """Suffix and arrays of each layer and direction."""
        return [
            (f"{place}{way}", [self.arrays[f"{name}_{place}{way}"] for name in ("kernel", "recurrent", "bias")])
            for place in range(self.depth)
            for way in self.ways()
        ]

    def float64(self, *values):
        mask = mask_of(values[1]) if len(values) > 1 else None
        x = values[0]
        for place in range(self.depth):
            made = []
            for suffix, arrays in self.stacks():
                if suffix.split("_")[0] == str(place):
                    weights = [a.astype(np.float64) for a in arrays]
                    made.append((by_hand.recurrent(x, self.kind, weights, mask, "reverse" in suffix), suffix))
            x = np.concatenate([out for out, _ in made], -1)
        if self.sequence:
            return x if mask is None else np.where(mask[..., None], x, 0)
        return np.concatenate([out[:, 0] if "reverse" in suffix else out[:, -1] for out, suffix in made], -1)

    def _to_torch(self, array: Array) -> Array:
        """Reorders the gates: Keras's GRU has z, r, h, PyTorch's r, z, n."""
        if self.kind == "gru":
            z, r, h = np.split(array, 3, -1)
            array = np.concatenate([r, z, h], -1)
        return array.T

    def modules(self):
        kind = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[self.kind]
        came = self.arrays["kernel_0"].shape[0]
        module = kind(came, self.units, self.depth, bias=self.bias, batch_first=True, bidirectional=self.both)
        for suffix, (weights, again, bias) in self.stacks():
            biases = {}
            if self.bias:
                half = np.float32(0.25) * bias if self.second else np.zeros_like(bias)
                ours = bias if self.kind == "gru" else [bias - half, half]
                biases = {f"bias_{n}_l{suffix}": self._to_torch(b) for n, b in zip(("ih", "hh"), ours, strict=True)}
                if self.kind != "gru" and not self.second:
                    getattr(module, f"bias_hh_l{suffix}").requires_grad_(False)
            ours = {f"weight_ih_l{suffix}": self._to_torch(weights), f"weight_hh_l{suffix}": self._to_torch(again)}
            fill(module, **ours, **biases)
        return {self.name: module} | ({f"{self.name}_drop": nn.Dropout(self.dropout)} if self.dropout else {})

    def torch(self, net, *values):
        x, module = values[0], getattr(net, self.name)
        if self.dropout:
            x = getattr(net, f"{self.name}_drop")(x)
        if len(values) == 1:
            out, state = module(x)
        else:
            lengths = mask_of(values[1]).sum(1).cpu()
            packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            out, state = module(packed)
            out, _ = nn.utils.rnn.pad_packed_sequence(out, batch_first=True, total_length=x.shape[1])
        if self.sequence:
            return out
        if self.last_output or (len(values) == 1 and not self.both and not self.final):
            return out[:, -1]
        state = state[0] if self.kind == "lstm" else state
        return torch.cat([state[-2], state[-1]], 1) if self.both else state[-1]

    def parameters(self, net):
        module = getattr(net, self.name)
        found: dict[str, list[Tensor]] = {}
        for name, tensor in module.named_parameters():
            role = {"weight_ih": "kernel", "weight_hh": "recurrent"}.get(name.split("_l")[0], "bias")
            found.setdefault(role, []).append(tensor)
        return found

    def keras_layers(self):
        kind = {"lstm": L.LSTM, "gru": L.GRU, "rnn": L.SimpleRNN}[self.kind]
        made = []
        for place in range(self.depth):
            last = place == self.depth - 1
            words = {"return_sequences": self.sequence or not last, "use_bias": self.bias}
            if self.dropout and not place:
                words["dropout"] = self.dropout
            if self.sequence and last and len(self.takes) > 1:
                words["zero_output_for_mask"] = True
            made.append(L.Bidirectional(kind(self.units, **words)) if self.both else kind(self.units, **words))
        return made

    def load(self):
        ways, stacks = len(self.ways()), [arrays for _, arrays in self.stacks()]
        for place, layer in enumerate(self.layers):
            arrays = [a for arrays in stacks[place * ways : (place + 1) * ways] for a in arrays[: 2 + self.bias]]
            layer.set_weights(arrays)


class Heads(nn.Module):
    """Multi-head attention from linear layers, as people write it."""

    def __init__(self, came: int, other: int, heads: int, size: int, out: int, causal: bool, scale: float) -> None:
        super().__init__()
        self.heads, self.causal, self.scale = heads, causal, scale
        self.query, self.key = nn.Linear(came, heads * size), nn.Linear(other, heads * size)
        self.value, self.out = nn.Linear(other, heads * size), nn.Linear(heads * size, out)

    def forward(self, query: Tensor, value: Tensor, padded: Tensor | None = None) -> Tensor:
        """Query [n, t, f], value [n, s, g], padded [n, s] where True."""
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, x in ((self.query, query), (self.key, value), (self.value, value))
        )
        scores = q @ k.transpose(-1, -2) * self.scale
        if self.causal:
            scores = scores.masked_fill(torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1), float("-inf"))
        if padded is not None:
            scores = scores.masked_fill(padded[:, None, None], float("-inf"))
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


@dataclass(kw_only=True, eq=False)
class Attention(Part):
    """Takes query, value and, if masked, the value that the mask is read from."""

    heads: int
    size: int
    stock: bool = True  # PyTorch's own module if the sizes allow it
    causal: bool = False
    scaled: bool = True
    padding_mask: bool = True  # whether to apply the mask
    prefix = "attn"

    def draw(self, random, *values):
        came, other = values[0].shape[-1], values[1].shape[-1]
        for name, inputs in (("query", came), ("key", other), ("value", other)):
            self.arrays[f"{name}_kernel"] = 1.5 * kernel(random, inputs, self.heads, self.size, inputs=inputs)
            self.arrays[f"{name}_bias"] = vector(random, self.heads, self.size)
        self.arrays["output_kernel"] = kernel(random, self.heads, self.size, came, inputs=self.heads * self.size)
        self.arrays["output_bias"] = vector(random, came)
        self.stock = self.stock and came == self.heads * self.size == other

    def float64(self, *values):
        query, value = values[:2]
        allowed = np.ones((1, query.shape[1], value.shape[1]), bool)
        if self.causal:
            allowed = np.tril(allowed)
        if len(values) > 2:
            allowed = allowed & mask_of(values[2])[:, None]
        return by_hand.attention(query, value, wide(self.arrays), allowed)

    def modules(self):
        flat = {n: a.reshape(a.shape[0], -1).T for n, a in self.arrays.items() if n.endswith("_kernel")}
        flat["output_kernel"] = self.arrays["output_kernel"].reshape(-1, len(self.arrays["output_bias"])).T
        biases = {n: a.flatten() for n, a in self.arrays.items() if n.endswith("_bias")}
        came, other, out = flat["query_kernel"].shape[1], flat["key_kernel"].shape[1], len(biases["output_bias"])
        if self.stock:
            module: Any = nn.MultiheadAttention(came, self.heads, batch_first=True)
            names = ("query", "key", "value")
            fill(module, in_proj_weight=np.concatenate([flat[f"{n}_kernel"] for n in names]))
            fill(module, in_proj_bias=np.concatenate([biases[f"{n}_bias"] for n in names]))
            fill(module.out_proj, weight=flat["output_kernel"], bias=biases["output_bias"])
            return {self.name: module}
        width = flat["query_kernel"].shape[0]
        scale = (width // self.heads) ** -0.5 if self.scaled else 1.0
        module = Heads(came, other, self.heads, width // self.heads, out, self.causal, scale)
        for name, ours in (("query", "query"), ("key", "key"), ("value", "value"), ("output", "out")):
            fill(getattr(module, ours), weight=flat[f"{name}_kernel"], bias=biases[f"{name}_bias"])
        return {self.name: module}

    def torch(self, net, *values):
        module, (query, value) = getattr(net, self.name), values[:2]
        padded = ~mask_of(values[2]) if len(values) > 2 and self.padding_mask else None
        if not self.stock:
            return module(query, value, padded)
        later = torch.ones(query.shape[1], value.shape[1], dtype=torch.bool).triu(1) if self.causal else None
        return module(query, value, value, key_padding_mask=padded, attn_mask=later, need_weights=False)[0]

    def parameters(self, net):
        kernels, biases = [], []
        for name, tensor in getattr(net, self.name).named_parameters():
            (biases if "bias" in name else kernels).append(tensor)
        return {"kernel": kernels, "bias": biases}

    def keras_layers(self):
        return [L.MultiHeadAttention(self.heads, self.size)]

    def call(self, layers, *values):
        mask = {"attention_mask": ops.not_equal(values[2], 0)[:, None]} if len(values) > 2 and self.padding_mask else {}
        return layers[0](values[0], values[1], use_causal_mask=self.causal, **mask)

    def load(self):
        layer = self.layers[0]
        for name in ("query", "key", "value", "output"):
            inner = getattr(layer, f"_{name}_dense")
            inner.set_weights([self.arrays[f"{name}_kernel"], self.arrays[f"{name}_bias"]])


@dataclass(kw_only=True, eq=False)
class MeanTime(Part):
    """Mean over the steps; over the real steps if it takes the value that the mask is read from."""

    masked: bool = True
    explicit: bool = False  # pass the mask to Keras; attention drops it
    prefix = "mean"

    def float64(self, *values):
        if len(values) == 1:
            return values[0].mean(1)
        mask = mask_of(values[1])[..., None]
        return (values[0] * mask).sum(1) / mask.sum(1)

    def torch(self, net, *values):
        if len(values) == 1 or not self.masked:
            return values[0].mean(1)
        mask = mask_of(values[1]).unsqueeze(-1)
        return (values[0] * mask).sum(1) / mask.sum(1)

    def keras_layers(self):
        return [L.GlobalAveragePooling1D()]

    def call(self, layers, *values):
        if not self.explicit or not self.masked:
            return super().call(layers, *values)
        return layers[0](values[0], mask=ops.not_equal(values[1], 0))


@dataclass(kw_only=True, eq=False)
class LastStep(Part):
    prefix = "last"

    def float64(self, *values):
        return values[0][:, -1]

    def torch(self, net, *values):
        return values[0][:, -1]

    def call(self, layers, *values):
        return values[0][:, -1]


@dataclass(kw_only=True, eq=False)
class Turn(Part):
    """PyTorch's transposition between a sequence and one-dimensional maps; nothing in Keras."""

    prefix = "turn"

    def float64(self, *values):
        return values[0]

    def torch(self, net, *values):
        return values[0].transpose(1, 2)


@dataclass(kw_only=True, eq=False)
class Fold(Part):
    """PyTorch folds time into the batch; Keras applies the next parts with ``TimeDistributed``."""

    prefix = "fold"

    def float64(self, *values):
        return values[0].reshape(-1, *values[0].shape[2:])

    def torch(self, net, *values):
        return values[0].flatten(0, 1)


@dataclass(kw_only=True, eq=False)
class Unfold(Part):
    steps: int
    mixed: bool = False  # batch and time are mixed up
    prefix = "unfold"

    def float64(self, *values):
        return values[0].reshape(-1, self.steps, *values[0].shape[1:])

    def torch(self, net, *values):
        if self.mixed:
            return values[0].unflatten(0, (self.steps, -1)).transpose(0, 1)
        return values[0].unflatten(0, (-1, self.steps))


@dataclass(kw_only=True, eq=False)
class Join(Part):
    how: str  # "add", "cat", "mul" or "distance"
    prefix = "join"

    def float64(self, *values):
        return {
            "add": lambda: values[0] + values[1], "mul": lambda: values[0] * values[1],
            "distance": lambda: np.abs(values[0] - values[1]), "cat": lambda: np.concatenate(values, -1),
        }[self.how]()  # fmt: skip

    def torch(self, net, *values):
        axis = 1 if self.first else -1
        return {
            "add": lambda: values[0] + values[1], "mul": lambda: values[0] * values[1],
            "distance": lambda: (values[0] - values[1]).abs(), "cat": lambda: torch.cat(values, axis),
            "second": lambda: values[1],
        }[self.how]()  # fmt: skip

    def keras_layers(self):
        axis = 1 if self.keras_first else -1
        made = {"add": L.Add, "mul": L.Multiply, "cat": lambda: L.Concatenate(axis=axis)}
        return [made[self.how]()] if self.how in made else []

    def call(self, layers, *values):
        return layers[0](list(values)) if layers else ops.abs(values[0] - values[1])


@dataclass(kw_only=True, eq=False)
class Crop(Part):
    ends: list[tuple[int, int]]  # cropped from each end of each axis
    prefix = "crop"

    def _cuts(self, sizes: Any) -> list[slice]:
        return [slice(begin, size - end) for (begin, end), size in zip(self.ends, sizes, strict=True)]

    def float64(self, *values):
        return values[0][(slice(None), *self._cuts(values[0].shape[1:-1]))]

    def torch(self, net, *values):
        return values[0][(..., *self._cuts(values[0].shape[2:]))]

    def keras_layers(self):
        ends = self.ends[0] if self.rank == 1 else self.ends
        return [getattr(L, f"Cropping{self.rank}D")(ends, **(self.format() if self.rank > 1 else {}))]


@dataclass(kw_only=True, eq=False)
class Upsample(Part):
    prefix = "grow"

    def float64(self, *values):
        x = values[0]
        for axis in range(1, x.ndim - 1):
            x = x.repeat(2, axis)
        return x

    def modules(self):
        return {self.name: nn.Upsample(scale_factor=2)}

    def keras_layers(self):
        return [getattr(L, f"UpSampling{self.rank}D")(2, **(self.format() if self.rank > 1 else {}))]


@dataclass(kw_only=True, eq=False)
class Scale(Part):
    factor: float
    offset: float
    prefix = "scale"

    def float64(self, *values):
        return values[0] * self.factor + self.offset

    def torch(self, net, *values):
        return values[0] * self.factor + self.offset

    def keras_layers(self):
        return [L.Rescaling(self.factor, self.offset)]


class AddLoss(L.Layer):
    """Adds the mean square of its input to the loss."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def call(self, x):
        """Any shape."""
        self.add_loss(self.rate * ops.mean(ops.square(x)))
        return x


@dataclass(kw_only=True, eq=False)
class OwnLoss(Part):
    rate: float
    prefix = "own"

    def float64(self, *values):
        return values[0]

    def torch(self, net, *values):
        return values[0]

    def keras_layers(self):
        return [AddLoss(self.rate)]


@dataclass(kw_only=True, eq=False)
class Again(Part):
    """Reuses another part's weights."""

    of: Part
    prefix = "again"

    def float64(self, *values):
        return self.of.float64(*values)

    def torch(self, net, *values):
        return self.of.torch(net, *values)

    def call(self, layers, *values):
        return self.of.keras(*values)


class TiedHead(L.Layer):
    """A product with another layer's transposed matrix."""

    def __init__(self, read: Callable[[], Any], units: int, bias: bool) -> None:
        super().__init__()
        self.read, self.units, self.use_bias = read, units, bias

    def build(self, shape):
        """Builds a bias if there is one."""
        self.bias = self.add_weight(shape=(self.units,), name="bias") if self.use_bias else None

    def call(self, x):
        """Features in the last axis."""
        x = ops.matmul(x, ops.transpose(self.read()))
        return x if self.bias is None else x + self.bias

    def compute_output_shape(self, shape):
        """The other matrix's number of rows."""
        return (*shape[:-1], self.units)


@dataclass(kw_only=True, eq=False)
class Tied(Part):
    """The transposed matrix of an embedding or dense layer as the last layer."""

    of: Part
    bias: bool = False
    linear: bool = True  # in PyTorch, a module that shares the other's weight
    copied: bool = False  # wrong: starts equal but is not tied
    prefix = "tied"

    def matrix(self) -> Array:
        """[outputs, inputs]."""
        return self.of.arrays.get("embeddings", self.of.arrays.get("kernel"))

    def draw(self, random, *values):
        if self.bias:
            self.arrays["bias"] = vector(random, len(self.matrix()))

    def float64(self, *values):
        return values[0] @ self.matrix().astype(np.float64).T + wide(self.arrays).get("bias", 0)

    def _is_module(self) -> bool:
        return self.copied or (self.linear and isinstance(self.of, Embedding))

    def modules(self):
        if not self._is_module():
            module = nn.Module()
            module.bias = nn.Parameter(torch.tensor(self.arrays["bias"])) if self.bias else None
            return {self.name: module}
        module = fill(
            nn.Linear(*self.matrix().T.shape, bias=self.bias), weight=self.matrix(), bias=self.arrays.get("bias")
        )
        return {self.name: module}

    def tie(self, net: nn.Module) -> None:
        """Shares the weight."""
        if self._is_module() and not self.copied:
            getattr(net, self.name).weight = getattr(net, self.of.name).weight

    def torch(self, net, *values):
        module = getattr(net, self.name)
        if self._is_module():
            return module(values[0])
        weight = getattr(net, self.of.name).weight
        return F.linear(values[0], weight if isinstance(self.of, Embedding) else weight.t(), module.bias)

    def parameters(self, net):
        bias = getattr(net, self.name).bias
        return {} if bias is None else {"bias": [bias]}

    def keras_layers(self):
        if isinstance(self.of, Embedding) and self.of.reversible:
            return [lambda x: self.of.layers[0](x, reverse=True)]
        layer, name = self.of.layers[0], "embeddings" if isinstance(self.of, Embedding) else "kernel"
        return [TiedHead(lambda: getattr(layer, name), len(self.matrix()), self.bias)]
