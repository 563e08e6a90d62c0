"""A recipe for each kind of network, and one for each kind of training."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.ladder import port_parts as p
from tests.ladder.port_training import Parts, Training

Array = np.ndarray
COUNT = 48
SMOOTH = ["tanh", "sigmoid", "silu", "gelu", "elu", "softplus"]
ANY = [*SMOOTH, "relu", "relu", "leaky_relu"]


class Draft:
    """A port while it is drawn; computes every part's value at once to know the shapes."""

    def __init__(self, seed: int, base: str, trained: str) -> None:
        self.random = np.random.default_rng([seed, 7])
        self.base, self.trained = base, trained
        self.parts: Parts = {}
        self.arrays: dict[str, Array] = {}
        self.axes: dict[str, int] = {}
        self.values: dict[str, Array] = {}
        self.first: dict[str, bool] = {}
        self.order: dict[str, tuple[int, ...] | None] = {}
        self.keras_first = self.timed = False
        self.outputs: Any = None
        self.labels: Any = None
        self.losses: dict[str, str] = {}
        self.classes = 0
        self.structure = "tuple"

    def trains_alike(self) -> bool:
        """Whether both frameworks train it the same; not if PyTorch trains a second bias that Keras lacks."""
        layers = [part for part in self.parts.values() if isinstance(part, p.Recurrent) and part.kind != "gru"]
        return not any(part.second and not part.frozen for part in layers)

    def pick(self, *options: Any) -> Any:
        """Returns one at random."""
        return options[self.random.integers(len(options))]

    def chance(self, probability: float) -> bool:
        """Returns True with this probability."""
        return bool(self.random.random() < probability)

    def between(self, low: int, high: int) -> int:
        """Returns a random integer, both ends included."""
        return int(self.random.integers(low, high + 1))

    def input_structure(self) -> Any:
        """Names of the inputs as both models take them."""
        names = list(self.arrays)
        if len(names) == 1:
            return names[0]
        return {name: name for name in names} if self.structure == "dict" else names

    def given(self, name: str, array: Array, axis: int | None = None) -> str:
        """Adds an input; ``axis`` is PyTorch's channel axis if it is not the last."""
        self.values[name], self.first[name], self.order[name] = array, axis == 1, None
        if self.keras_first:
            array = p.channels_first(array)
        elif axis is not None:
            self.axes[name] = axis
        self.arrays[name] = array
        return name

    def add(self, part_class: type[p.Part], /, *takes: str, **words: Any) -> str:
        """Adds a part after others; returns its name."""
        number = sum(isinstance(part, part_class) for part in self.parts.values()) + 1
        values, before = [self.values[name] for name in takes], takes[0]
        first = words.pop("first", self.first[before])
        part = part_class(
            name=f"{part_class.prefix}{number}", takes=takes, rank=max(values[0].ndim - 2, 0), first=self.first[before],
            keras_first=self.keras_first, timed=self.timed, **words,
        )  # fmt: skip
        if isinstance(part, p.Dense):
            part.order = self.order[before]
        part.draw(self.random, *values)
        value = part.float64(*values)
        if self.keras_first and value.ndim > 2 and value.shape[-1] == value.shape[-2] and "bias" in part.arrays:
            part.bias = False  # type: ignore[attr-defined]  # Keras 3.15 would add it along the last axis
            del part.arrays["bias"]
            value = part.float64(*values)
        self.parts[part.name], self.values[part.name] = part, value
        self.first[part.name] = first and self.values[part.name].ndim > 2
        flattens = isinstance(part, p.Flatten) and self.first[before]
        self.order[part.name] = values[0].shape[1:] if flattens else None
        if isinstance(part, p.Noise | p.Activation):
            self.order[part.name] = self.order[before]
        return part.name

    def activation(self, x: str, options: list[str] = ANY) -> str:
        """Adds a random activation; it may be fused into Keras's layer."""
        function, before = self.pick(*options), self.parts.get(x)
        slope = self.pick(0.1, 0.2, 0.3) if function == "leaky_relu" else 0.0
        kernel = isinstance(before, p.Dense | p.Conv | p.ConvTranspose)
        owner = before if kernel and function != "leaky_relu" and self.chance(0.5) else None
        name = self.add(p.Activation, x, function=function, slope=slope, owner=owner, functional=self.chance(0.2))
        if owner is not None:
            owner.fused = self.parts[name]
        return name

    def dense(self, x: str, units: int | None = None, options: list[str] = ANY) -> str:
        """Adds a dense layer and its activation."""
        return self.activation(self.add(p.Dense, x, units=units or self.between(5, 10)), options)

    def sequence(self, name: str = "series") -> str:
        """Adds an input of steps and features."""
        steps, features = self.between(5, 9), self.between(3, 6)
        return self.given(name, self.random.normal(size=(COUNT, steps, features)).astype(np.float32))

    def maps(self, rank: int, name: str = "images", side: int | None = None, channels: int | None = None) -> str:
        """Adds an input of images with one to three axes of different lengths."""
        side = side or {1: self.between(9, 12), 2: self.between(7, 10), 3: 6}[rank]
        sizes = [side + k % 2 for k in range(rank)]
        array = self.random.normal(size=(COUNT, *sizes, channels or self.between(1, 3))).astype(np.float32)
        return self.given(name, array, axis=1)

    def words(self, name: str = "words", padded: bool = True, steps: int | None = None) -> str:
        """Adds an input of words, padded with 0 at the end."""
        steps, count = steps or self.between(5, 9), self.between(9, 14)
        ids = self.random.integers(1, count, (COUNT, steps))
        if padded:
            lengths = self.random.integers(1, steps + 1, COUNT)
            ids[np.arange(steps) >= lengths[:, None]] = 0
        return self.given(name, ids)

    def embedding(self, words: str, units: int | None = None, **settings: Any) -> str:
        """Adds an embedding of words."""
        count = int(self.values[words].max()) + 1
        return self.add(p.Embedding, words, words=count, units=units or self.between(4, 7), **settings)

    def conv(self, x: str, filters: int | None = None, norm: bool | None = None, **settings: Any) -> str:
        """Adds a convolution, an activation and at random a norm and dropout."""
        filters = filters or 2 * self.between(2, 4)
        norm = self.chance(0.35) if norm is None else norm
        x = self.add(p.Conv, x, filters=filters, bias=not norm or None is norm, **settings)
        if norm:
            x = self.norm(x)
        x = self.activation(x)
        return self.noise(x) if self.chance(0.2) else x

    def norm(self, x: str) -> str:
        """A batch or group norm of maps."""
        kind, channels = self.pick("batch", "batch", "group"), self.values[x].shape[-1]
        eps, momentum = self.pick(1e-3, 1e-2), self.pick(0.9, 0.8)
        return self.add(p.Norm, x, kind=kind, eps=eps, momentum=momentum, groups=2 if channels % 2 == 0 else 1)

    def noise(self, x: str) -> str:
        """Dropout of some kind."""
        part_of_maps = self.first.get(x) and not self.timed
        return self.add(p.Noise, x, kind=self.pick("dropout", "gaussian", *["spatial"] * bool(part_of_maps)))

    def pool_out(self, x: str) -> str:
        """Reduces maps to features: flatten or a global pool."""
        if self.chance(0.5):
            return self.add(p.Flatten, x, how=self.pick("flatten", "view", "module"))
        return self.add(p.GlobalPool, x, kind=self.pick("avg", "avg", "max"))

    def head(self, x: str, hidden: bool | None = None) -> str:
        """Ends in the features of one output, with a loss and labels."""
        if self.values[x].shape[-1] > 40 or (self.chance(0.4) if hidden is None else hidden):
            x = self.dense(x)
        if self.trained == "own loss":
            x = self.add(p.OwnLoss, x, rate=self.pick(0.1, 0.3))
        kinds = {"class weights": ["sparse"], "label smoothing": ["smooth"]}.get(
            self.trained, ["sparse", "sparse", "mse", "huber", "bce", "probabilities"]
        )
        return self.output(x, self.pick(*kinds))

    def output(self, x: str, kind: str, units: int | None = None) -> str:
        """Adds a dense layer as output, its loss and its labels."""
        units = units or self.between(3, 5)
        x = self.add(p.Dense, x, units=units)
        if kind == "probabilities":
            x = self.activation(x, ["softmax"])
        self.end(x, kind)
        return x

    def end(self, x: str, kind: str) -> None:
        """Makes a part the output."""
        self.outputs, self.losses[x] = x, kind
        self.labels = self.labels_for(x, kind)

    def labels_for(self, x: str, kind: str) -> Array:
        """Draws labels of an output."""
        shape, random = self.values[x].shape, self.random
        if kind in ("sparse", "probabilities"):
            self.classes = shape[-1]
            return random.integers(0, shape[-1], shape[:-1])
        if kind == "smooth":
            self.classes = shape[-1]
            return np.eye(shape[-1], dtype=np.float32)[random.integers(0, shape[-1], shape[:-1])]
        if kind == "bce":
            return random.integers(0, 2, shape).astype(np.float32)
        labels = random.random(shape, dtype=np.float32)
        return p.channels_first(labels) if self.keras_first and labels.ndim > 2 else labels


def _after_sequence(d: Draft, x: str) -> str:
    """Reduces a sequence to features."""
    return d.add(p.MeanTime, x) if d.chance(0.5) else d.add(p.LastStep, x)


def _recurrent(kind: str, second: bool = False, both: bool = False) -> Callable[[Draft], None]:
    """One or two recurrent layers, in one module or two; the last step or the sequence is used."""

    def recipe(d: Draft) -> None:
        x, chosen = d.sequence(), kind if kind != "any" else d.pick("lstm", "rnn", *["gru"] * (not second))
        words = {"kind": chosen, "second": second, "both": both, "bias": second or d.chance(0.8)}
        if d.chance(0.3):
            x = d.add(p.Recurrent, x, units=d.between(4, 7), sequence=True, **words)
            x = d.noise(x) if d.chance(0.3) else x
        sequence, dropout = d.chance(0.4), 0.2 if d.chance(0.2) else 0.0
        words |= {"depth": d.between(1, 2), "sequence": sequence, "dropout": dropout, "final": d.chance(0.4)}
        x = d.add(p.Recurrent, x, units=d.between(4, 7), **words)
        d.head(_after_sequence(d, x) if sequence else x)

    return recipe


def _attention(d: Draft) -> None:
    """Blocks of attention with residuals and norms, causal or not."""
    x = d.sequence()
    heads, size = d.pick(2, 2, 3), d.pick(2, 3)
    x = d.add(p.Dense, x, units=heads * size)
    _block(d, x, heads, size, causal=d.chance(0.5))


def _block(d: Draft, x: str, heads: int, size: int, causal: bool, masked: str | None = None) -> None:
    for _ in range(d.between(1, 2)):
        takes = (x, x, masked) if masked else (x, x)
        mixed = d.add(p.Attention, *takes, heads=heads, size=size, causal=causal, stock=d.chance(0.5))
        x = d.add(p.Norm, d.add(p.Join, x, mixed, how="add"), kind="layer", eps=d.pick(1e-3, 1e-2))
        if d.chance(0.5):
            width = d.values[x].shape[-1]
            inner = d.add(p.Dense, d.dense(x, 2 * width, SMOOTH), units=width)
            x = d.add(p.Join, x, inner, how="add")
    if masked:
        d.head(d.add(p.MeanTime, x, masked, explicit=True), hidden=False)
    else:
        d.head(_after_sequence(d, x))


def _cross_attention(d: Draft) -> None:
    """Attention between a query of one input and values of another."""
    heads, size = d.pick(2, 3), d.pick(2, 3)
    query = d.add(p.Dense, d.sequence("query"), units=heads * size)
    steps, features = d.between(4, 8), d.between(3, 6)
    value = d.given("memory", d.random.normal(size=(COUNT, steps, features)).astype(np.float32))
    value = d.add(p.Dense, value, units=heads * size) if d.chance(0.5) else value
    mixed = d.add(p.Attention, query, value, heads=heads, size=size, stock=d.chance(0.6))
    d.head(_after_sequence(d, d.add(p.Join, query, mixed, how="add")))


def _masked_recurrent(d: Draft) -> None:
    """Padded words, packed in PyTorch and masked in Keras."""
    words = d.words()
    x = d.embedding(words, mask_zero=True, padding=d.chance(0.5))
    sequence, kind = d.chance(0.4), d.pick("lstm", "gru", "rnn")
    sizes = {"units": d.between(4, 7), "depth": d.between(1, 2), "both": d.chance(0.3)}
    x = d.add(p.Recurrent, x, words, kind=kind, sequence=sequence, **sizes)
    d.head(d.add(p.MeanTime, x, words) if sequence else x, hidden=False)


def _masking(d: Draft) -> None:
    """Padded features, found by Keras's Masking."""
    x = d.sequence()
    steps = d.arrays[x].shape[1]
    lengths = d.random.integers(1, steps + 1, COUNT)
    d.arrays[x][np.arange(steps) >= lengths[:, None]] = 0
    masked = d.add(p.Masking, x)
    sizes = {"units": d.between(4, 7), "depth": d.between(1, 2), "both": d.chance(0.3)}
    d.head(d.add(p.Recurrent, masked, x, kind=d.pick("lstm", "gru", "rnn"), **sizes))


def _masked_attention(d: Draft) -> None:
    """Padded words, then attention with a padding mask."""
    words, (heads, size) = d.words(), (d.pick(2, 3), d.pick(2, 3))
    x = d.embedding(words, heads * size, padding=d.chance(0.5))
    _block(d, x, heads, size, causal=d.chance(0.3), masked=words)


def _masked_mean(d: Draft) -> None:
    """The mean of the real words."""
    words = d.words()
    x = d.embedding(words, mask_zero=True, padding=d.chance(0.5))
    x = d.dense(x) if d.chance(0.5) else x
    d.head(d.add(p.MeanTime, x, words), hidden=False)


def _tagger(d: Draft) -> None:
    """A class for each word; Keras excludes padded words from its loss."""
    words = d.words()
    x = d.embedding(words, mask_zero=True)
    if d.chance(0.6):
        kind, both = d.pick("lstm", "gru"), d.chance(0.5)
        x = d.add(p.Recurrent, x, words, kind=kind, units=d.between(4, 7), sequence=True, both=both)
    x = d.add(p.Dense, d.dense(x) if d.chance(0.5) else x, units=d.between(4, 5))
    d.end(x, "padded")
    d.labels = np.where(d.values[words] != 0, d.random.integers(1, d.values[x].shape[-1], d.values[words].shape), 0)


def _tied_words(d: Draft) -> None:
    """A language model whose last layer is its embedding."""
    words, units = d.words(padded=False), d.between(4, 7)
    x = d.embedding(words, units, reversible=d.chance(0.4))
    embedding = d.parts[x]
    x = d.add(p.MeanTime, x) if d.chance(0.5) else d.add(p.Recurrent, x, kind=d.pick("gru", "lstm"), units=units)
    x = d.dense(x, units, SMOOTH)
    bias = not embedding.reversible and d.chance(0.5)
    d.end(d.add(p.Tied, x, of=embedding, bias=bias, linear=d.chance(0.7)), "sparse")


def _tied_autoencoder(d: Draft) -> None:
    """A decoder with the encoder's transposed matrix."""
    features = d.between(6, 10)
    x = d.given("features", d.random.normal(size=(COUNT, features)).astype(np.float32))
    x = d.add(p.Dense, x, units=d.between(3, 5))
    encoder = d.parts[x]
    x = d.activation(x, SMOOTH)
    x = d.add(p.Noise, x, kind="gaussian") if d.chance(0.3) else x
    d.end(d.add(p.Tied, x, of=encoder, bias=d.chance(0.7)), "mse")


def _two_inputs(d: Draft) -> None:
    """Features together with images, words or a sequence, by position or by name."""
    d.structure = d.pick("tuple", "dict")
    other = d.pick("images", "words", "series", "more")
    x = d.dense(d.given("features", d.random.normal(size=(COUNT, d.between(3, 6))).astype(np.float32)), 6)
    if other == "images":
        y = d.dense(d.add(p.Flatten, d.conv(d.maps(2), padding="same")), 6)
    elif other == "words":
        y = d.dense(d.add(p.MeanTime, d.embedding(d.words(padded=False))), 6)
    elif other == "series":
        y = d.dense(d.add(p.Recurrent, d.sequence(), kind=d.pick("gru", "lstm"), units=5), 6)
    else:
        y = d.dense(d.given("more", d.random.normal(size=(COUNT, d.between(3, 6))).astype(np.float32)), 6)
    d.head(d.add(p.Join, x, y, how=d.pick("cat", "add", "mul")))


def _several_outputs(d: Draft) -> None:
    """Heads of different losses, in a list or by name."""
    if d.chance(0.5):
        x = d.add(p.Flatten, d.conv(d.maps(2), padding="same", stride=2))
    else:
        x = d.given("features", d.random.normal(size=(COUNT, d.between(4, 8))).astype(np.float32))
    x = d.dense(x)
    names = []
    units = d.between(3, 4)
    for k in range(d.between(2, 3)):
        kind = ["sparse", d.pick("mse", "huber", "sparse"), "bce"][k]
        names.append(d.add(p.Dense, d.dense(x) if d.chance(0.4) else x, units=units if d.chance(0.6) else 2))
        d.losses[names[-1]] = kind
    labels = [d.labels_for(name, d.losses[name]) for name in names]
    keys = ["kind", "amount", "flags"][: len(names)]
    by_name = d.chance(0.5)
    d.outputs = dict(zip(keys, names, strict=True)) if by_name else names
    d.labels = dict(zip(keys, labels, strict=True)) if by_name else labels


def _convolutions(rank: int, keras_first: bool = False) -> Callable[[Draft], None]:
    """Two or three convolutions with strides, dilations, groups, paddings and pools."""

    def recipe(d: Draft) -> None:
        d.keras_first = keras_first
        own = rank or d.pick(1, 2, 2, 3)
        x = d.maps(own)
        for _ in range(d.between(1, 2) if own == 3 else d.between(2, 3)):
            side = min(d.values[x].shape[1:-1])
            options = ["same", "same", "stride", "dilation", "pool"] + ["valid"] * (side > 4)
            options += ["causal"] * 3 * (own == 1 and not keras_first) + ["groups", "depthwise"] * (own < 3)
            x = _one_conv(d, x, d.pick(*options), side)
        d.head(d.pool_out(x))

    return recipe


def _one_conv(d: Draft, x: str, how: str, side: int) -> str:
    channels, size = d.values[x].shape[-1], d.pick(2, 3, 3)
    if how == "pool":
        x = d.conv(x, padding="same", by_name=d.chance(0.3))
        return d.add(p.Pool, x, kind=d.pick("max", "avg")) if side >= 4 else x
    if how == "stride":
        return d.conv(x, padding=d.pick("same", "same", "valid") if side > 4 else "same", stride=2, size=size)
    if how == "dilation":
        return d.conv(x, padding="same", dilation=2, size=size, by_name=d.chance(0.3))
    if how == "causal":
        return d.conv(x, padding="causal", dilation=d.between(1, 2), size=size, chomp=d.chance(0.5))
    if how == "groups" and channels % 2 == 0:
        return d.conv(x, padding="same", groups=2)
    if how == "depthwise":
        return d.conv(x, channels * d.between(1, 2), padding="same", groups=channels, depthwise=True)
    return d.conv(
        x,
        padding="valid" if how == "valid" else "same",
        size=size,
        by_name=how == "same" and size == 3 and d.chance(0.3),
    )


def _time_distributed(d: Draft) -> None:
    """Each step separately: a dense layer of features, or a small network of images."""
    if d.chance(0.35):
        x = d.sequence()
        d.timed = True
        x = d.dense(x)
        d.timed = False
    else:
        steps, rank = d.between(3, 4), d.pick(1, 2, 2)
        sizes = [d.between(5, 6) + k for k in range(rank)]
        frames = d.random.normal(size=(COUNT, steps, *sizes, d.between(1, 2))).astype(np.float32)
        x = d.add(p.Fold, d.given("frames", frames, axis=2), first=True)
        d.timed = True
        x = d.conv(x, 4, norm=False, padding=d.pick("valid", "same"))
        if d.chance(0.5):
            x = d.add(p.Pool, x, kind=d.pick("max", "avg"))
        x = d.pool_out(x)
        x = d.dense(x, 6) if d.values[x].shape[-1] > 30 else x
        d.timed = False
        x = d.add(p.Unfold, x, steps=steps)
    if d.chance(0.4):
        return void(d.head(d.add(p.Recurrent, x, kind=d.pick("lstm", "gru"), units=5)))
    return void(d.head(_after_sequence(d, x)))


def void(_: Any) -> None:
    """Nothing."""


def _crops(d: Draft) -> None:
    """Cropping layers in Keras, slices in PyTorch."""
    rank = d.pick(1, 2, 2, 3)
    x = d.conv(d.maps(rank), padding="same")
    ends = [(d.between(0, 2), d.between(0, 1)) for _ in range(rank)]
    ends[0] = (d.between(1, 2), ends[0][1])
    x = d.add(p.Crop, x, ends=ends)
    x = d.conv(x, padding="same", stride=d.pick(1, 2))
    d.head(d.pool_out(x))


def _transposed(d: Draft) -> None:
    """A transposed convolution before a classifier's head; PyTorch pads or crops."""
    rank = d.pick(1, 2, 2, 3)
    x = d.conv(d.maps(rank, side=4), padding="same")
    size, padding = d.pick(2, 3, 4) if rank < 3 else 3, d.pick("same", "same", "valid")
    x = d.add(p.ConvTranspose, x, filters=4, size=size, padding=padding, cut=d.chance(0.3))
    x = d.activation(x)
    if padding == "valid" and d.chance(0.5):
        x = d.add(p.Crop, x, ends=[(1, 1)] * rank)
    d.head(d.pool_out(d.conv(x, 4, stride=2, padding="same") if d.chance(0.6) else x))


def _autoencoder(d: Draft) -> None:
    """Images as output."""
    d.keras_first = d.chance(0.2)
    rank = 2 if d.keras_first else d.pick(1, 2, 2, 2)
    images = d.maps(rank, side=8, channels=d.pick(1, 3))
    x = d.conv(images, padding="same", stride=2)
    if d.chance(0.5):
        x = d.add(p.ConvTranspose, x, filters=6, size=d.pick(2, 3, 4), padding="same", cut=d.chance(0.3))
    else:
        x = d.add(p.Upsample, d.conv(x, padding="same"))
    x = d.activation(x)
    x = d.add(p.Conv, x, filters=d.values[images].shape[-1], size=d.pick(1, 3), padding="same")
    d.end(d.activation(x, ["sigmoid"]) if d.chance(0.6) else x, d.pick("mse", "mse", "huber"))


def _segmentation(d: Draft) -> None:
    """A class for each pixel, with a shortcut around a pool."""
    images = d.maps(2, side=8)
    d.arrays[images] = d.values[images] = d.values[images][:, :8, :8]
    wide = d.conv(images, padding="same")
    x = d.conv(d.add(p.Pool, wide, kind=d.pick("max", "avg")), padding="same")
    x = (
        d.add(p.Upsample, x)
        if d.chance(0.5)
        else d.add(p.ConvTranspose, x, filters=4, size=d.pick(2, 3, 4), padding="same")
    )
    x = d.conv(d.add(p.Join, wide, x, how="cat"), padding="same")
    d.end(d.add(p.Conv, x, filters=d.between(3, 5), size=1), "sparse")


def _embeddings(d: Draft) -> None:
    """Embeddings that are averaged, convolved or flattened."""
    x = d.embedding(d.words(padded=d.chance(0.5)))
    how = d.pick("mean", "conv", "flat")
    if how == "conv":
        how = d.pick("same", "causal", "valid")
        x = d.conv(d.add(p.Turn, x, first=True), padding=how, chomp=how == "causal" and d.chance(0.5))
        return void(d.head(d.pool_out(x)))
    return void(d.head(d.add(p.MeanTime, x) if how == "mean" else d.add(p.Flatten, x)))


def _siamese(d: Draft) -> None:
    """One tower for two inputs, and a comparison of its features."""
    d.structure = d.pick("tuple", "dict")
    if d.chance(0.5):
        array = d.random.normal(size=(2, COUNT, d.between(4, 8))).astype(np.float32)
        one, two = d.given("left", array[0]), d.given("right", array[1])
        tower = [lambda x: d.add(p.Dense, x, units=7), lambda x: d.activation(x, SMOOTH)]
    else:
        array = d.random.normal(size=(2, COUNT, 7, 8, 2)).astype(np.float32)
        one, two = d.given("left", array[0], axis=1), d.given("right", array[1], axis=1)
        tower = [
            lambda x: d.add(p.Conv, x, filters=4), lambda x: d.activation(x, SMOOTH), lambda x: d.add(p.Flatten, x),
            lambda x: d.add(p.Dense, x, units=6),
        ]  # fmt: skip
    for make in tower:
        one = make(one)
        part = d.parts[one]
        part.reused = True
        two = d.add(p.Again, two, of=part)
        d.first[two] = d.first[one]
    how = d.pick("distance", "mul", "cat")
    d.head(d.add(p.Join, one, two, how=how), hidden=False)


def _dense(d: Draft) -> None:
    """Dense layers with norms between them, scaled inputs."""
    features = d.random.integers(0, 256, (COUNT, d.between(5, 9))).astype(np.float32)
    x = d.add(p.Scale, d.given("features", features), factor=1 / 127.5, offset=-1.0)
    for _ in range(d.between(1, 3)):
        kind = d.pick("batch", "layer", "none", "none")
        if kind == "none":
            x = d.dense(x)
        else:
            x = d.add(p.Dense, x, units=d.between(5, 10), bias=kind == "layer")
            x = d.activation(d.add(p.Norm, x, kind=kind, eps=d.pick(1e-3, 1e-2), momentum=d.pick(0.9, 0.8)))
        x = d.noise(x) if d.chance(0.2) else x
    d.head(x, hidden=False)


def _shared_depth(d: Draft) -> None:
    """One dense layer used several times in a row."""
    x = d.given("features", d.random.normal(size=(COUNT, d.between(4, 8))).astype(np.float32))
    x = d.dense(x, 6, SMOOTH)
    x = d.add(p.Dense, x, units=6)
    part = d.parts[x]
    part.reused = True
    for _ in range(d.between(1, 2)):
        x = d.add(p.Again, d.activation(x, SMOOTH), of=part)
    part.fused = None
    for other in d.parts.values():
        if isinstance(other, p.Activation) and other.owner is part:
            other.owner = None
    d.head(d.activation(x, SMOOTH), hidden=False)


def _conv_recurrent(d: Draft) -> None:
    """Convolutions over time, then a recurrent layer."""
    how = d.pick("same", "causal")
    x = d.conv(d.add(p.Turn, d.sequence(), first=True), padding=how, chomp=how == "causal" and d.chance(0.5))
    x = d.add(p.Pool, x, kind="max") if d.chance(0.5) else x
    x = d.add(p.Turn, x, first=False)
    d.head(d.add(p.Recurrent, x, kind=d.pick("lstm", "gru"), units=d.between(4, 6), both=d.chance(0.4)))


BASES: dict[str, Callable[[Draft], None]] = {
    "lstm": _recurrent("lstm"), "gru": _recurrent("gru"), "rnn": _recurrent("rnn"),
    "two biases": _recurrent("any", second=True), "bidirectional": _recurrent("any", both=True),
    "attention": _attention, "cross attention": _cross_attention, "masked attention": _masked_attention,
    "masked recurrent": _masked_recurrent, "masking": _masking, "masked mean": _masked_mean, "tagger": _tagger,
    "tied words": _tied_words, "tied autoencoder": _tied_autoencoder, "two inputs": _two_inputs,
    "several outputs": _several_outputs, "conv1d": _convolutions(1), "conv2d": _convolutions(2),
    "conv3d": _convolutions(3), "channels_first": _convolutions(0, keras_first=True),
    "time distributed": _time_distributed, "crops": _crops, "transposed": _transposed, "autoencoder": _autoencoder,
    "segmentation": _segmentation, "embeddings": _embeddings, "siamese": _siamese, "dense": _dense,
    "shared in depth": _shared_depth, "conv and recurrent": _conv_recurrent,
}  # fmt: skip

SGD = [("sgd", 0.1, 0.0), ("sgd", 0.05, 0.9), ("nesterov", 0.05, 0.8)]
TRAININGS = [
    "sgd", "momentum", "nesterov", "adagrad", "adam", "rmsprop", "adamw", "excluded decay", "decay for l2",
    "l2 in the loss", "l1 in the loss", "activity penalty", "own loss", "max norm", "unit norm", "non-negative",
    "clipped each", "clipped all", "clipped values", "exponential", "cosine", "piecewise", "inverse time",
    "class weights", "label smoothing", "frozen", "lightning",
]  # fmt: skip


def draw_training(d: Draft, kind: str) -> tuple[Training, str]:
    """Returns the training of that kind with its name; plain SGD if the network cannot have it."""
    t = Training(dict(d.losses), classes=d.classes)
    if kind in ("class weights", "label smoothing", "own loss") and len(d.losses) > 1:
        kind = "sgd"
    _draw_optimizer(d, t, kind)
    if len(d.losses) > 1:
        t.loss_weights = (
            {name: d.pick(0.3, 1.0, 2.0) + k / 8 for k, name in enumerate(d.losses)} if d.chance(0.7) else None
        )
    kind = _draw_holds(d, t, kind) or "sgd"
    if t.clip or t.optimizer in ("adagrad", "adam", "rmsprop"):
        for part in d.parts.values():  # TensorFlow squares and clips the gradient of a repeated word piece by piece
            part.frozen = part.frozen or isinstance(part, p.Embedding)
    if kind == "class weights":
        if list(t.losses.values()) == ["sparse"] and d.values[d.outputs].ndim == 2:
            t.class_weight = {c: float(d.pick(0.5, 1.0, 2.0, 3.0)) + c / 10 for c in range(t.classes)}
        else:
            kind = "sgd"
    if "smooth" in t.losses.values():
        t.smoothing = d.pick(0.1, 0.2)
    elif kind == "label smoothing":
        kind = "sgd"
    if kind == "lightning" and len(d.arrays) > 1:
        kind = "sgd"
    t.lightning = kind == "lightning"
    penalised = any("output" in part.penalties for part in d.parts.values())
    t.step = bool(t.clip) or any(part.constraint for part in d.parts.values()) or (penalised and d.chance(0.5))
    t.step = t.step or (not t.lightning and not t.schedule and d.chance(0.1))
    t.instance, t.compiled = d.chance(0.6), d.chance(0.6) or "padded" in t.losses.values()
    return t, kind


def _draw_optimizer(d: Draft, t: Training, kind: str) -> None:
    """Draws optimizer and schedule."""
    settled = {
        "sgd": ("sgd", 0.1, 0.0), "momentum": ("sgd", 0.05, 0.9), "nesterov": ("nesterov", 0.05, 0.8),
        "adagrad": ("adagrad", 0.05, 0.0), "adam": ("adam", 0.01, 0.0), "rmsprop": ("rmsprop", 0.003, 0.0),
        "adamw": ("adam", 0.01, 0.0), "excluded decay": d.pick(("adam", 0.01, 0.0), ("keras_sgd", 0.05, 0.8)),
        "decay for l2": d.pick(*SGD, ("adagrad", 0.05, 0.0)),
        "non-negative": d.pick(*SGD),
    }  # fmt: skip
    choice = settled.get(kind) or d.pick(*SGD, ("adagrad", 0.05, 0.0), ("adam", 0.01, 0.0))
    schedules = {
        "exponential": {"steps": d.between(2, 4), "rate": d.pick(0.5, 0.7), "staircase": d.chance(0.5)},
        "cosine": {"steps": d.between(20, 30), "alpha": d.pick(0.0, 0.1)},
        "piecewise": {"boundaries": [2, 7], "factors": [1.0, 0.4, 0.1]},
        "inverse time": {"steps": d.between(1, 3), "rate": d.pick(0.2, 0.5), "staircase": d.chance(0.3)},
    }
    if kind in schedules:
        t.schedule = (kind, schedules[kind] | {"torch": d.pick("stock", "lambda")})
        choice = d.pick(("sgd", 0.2, 0.0), ("keras_sgd", 0.1, 0.8), ("adagrad", 0.05, 0.0), ("adam", 0.02, 0.0))
    t.optimizer, t.rate, t.momentum = choice
    t.rate *= d.pick(0.5, 1.0)
    t.eps, t.accumulator = d.pick(1e-3, 1e-4), d.pick(0.1, 0.3)
    if kind in ("adamw", "excluded decay"):
        t.decay, t.excluded = d.pick(0.3, 0.5, 1.0), kind == "excluded decay"


def _draw_holds(d: Draft, t: Training, kind: str) -> str | None:
    """Draws penalties, constraints, clipping and frozen weights."""
    parts = list(d.parts.values())
    kernels = [q for q in parts if isinstance(q, p.Dense | p.Conv) and not getattr(q, "depthwise", False)]
    free = [q for q in kernels if not q.timed and not q.reused]
    if kind in ("decay for l2", "l2 in the loss", "l1 in the loss"):
        t.penalties = "decay" if kind == "decay for l2" else "loss"
        for part in d.random.permutation(np.array(kernels, object))[: d.between(1, 3)]:
            part.penalties["kernel"] = ("l1" if kind.startswith("l1") else "l2", d.pick(0.01, 0.03))
            if "bias" in part.arrays and d.chance(0.2):
                part.penalties["bias"] = part.penalties["kernel"]
    elif kind == "activity penalty" and free:
        part = d.pick(*free)
        size = float(np.abs(d.values[(part.fused or part).name]).sum() / COUNT)
        part.penalties["output"] = (d.pick("l1", "l2"), round(0.3 / size, 4))
    elif kind in ("max norm", "unit norm", "non-negative"):
        for part in d.random.permutation(np.array(free, object))[: d.between(1, 2)]:
            weights = part.arrays["kernel"]
            norms = np.sqrt((weights**2).sum(tuple(range(weights.ndim - 1))))
            limit = round(float(np.median(norms)), 3)
            part.constraint = ({"max norm": "max", "unit norm": "unit"}.get(kind, "positive"), limit)
    elif kind.startswith("clipped"):
        several = any(isinstance(q, p.Attention) or (isinstance(q, p.Recurrent) and q.kind == "gru") for q in parts)
        kind = "clipped all" if kind == "clipped each" and several else kind
        how = {"clipped each": "each", "clipped all": "all", "clipped values": "value"}[kind]
        t.clip = (how, {"each": 0.05, "all": 0.1, "value": 0.01}[how])
    elif kind == "frozen":
        kinds = p.Dense | p.Conv | p.Embedding | p.Recurrent | p.ConvTranspose
        owners = [q for q in parts if isinstance(q, kinds) and not q.reused and not q.timed]
        if len(owners) < 2:
            return None
        d.pick(*owners[:-1]).frozen = True
    elif kind == "activity penalty":
        return None
    return kind
