"""Describes a PyTorch model, without importing PyTorch: classes are known by name."""

from collections.abc import Callable, Iterator
from typing import Any

from cnn_mnist.architecture.in_pytorch import ACTIVATIONS
from cnn_mnist.architecture.layers import KINDS
from cnn_mnist.architecture.network import Network
from cnn_mnist.architecture.records import from_records
from cnn_mnist.errors import UserError, told_of

_SIDES = (28, 32, *range(1, 513))  # of an image, the most common first

_MODULES = ("torch.nn.modules.", "torchvision.models.convnext")
"""Where the known classes are defined; a class of the same name elsewhere is another one."""

_NEUTRAL: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("inplace", "count_include_pad"), (True, False)),  # the latter without padding, see ``_pool``
    **dict.fromkeys(("transposed", "return_indices"), (False,)),
    **dict.fromkeys(("track_running_stats", "elementwise_affine"), (True,)),
    **dict.fromkeys(("output_padding", "padding"), (0, (0, 0), [0, 0])),
    "dilation": (1, (1, 1), [1, 1]),
    "divisor_override": (None,),
    "padding_mode": ("zeros",),
    "value": (0,),
    "start_dim": (1,),
    "end_dim": (-1,),
    "output_size": (1, (1, 1), [1, 1]),
    "beta": (1,),
    "threshold": (20, 40),  # of a softplus in float32
    "dim": (1, -1),
}
"""The only values of the attributes that no record has."""

_IMPLIED = ("in_channels", "in_features", "num_features", "normalized_shape", "_reversed_padding_repeated_twice")


def describe(model: Any) -> Network:
    """Returns the network of a torch ``nn.Sequential``, whose images are assumed to be square.

    Args:
        model: The model.

    Raises:
        UserError: It is another module, or a layer has no equivalent.
    """
    leaves = list(_leaves(model))
    _check_sharing(leaves)
    records = [record for number, leaf in enumerate(leaves, start=1) for record in _records(number, leaf)]
    features = [_FEATURES[kind](leaf) for leaf in leaves if (kind := type(leaf).__name__) in _FEATURES]
    channels = next((leaf.in_channels for leaf in leaves if hasattr(leaf, "in_channels")), 1)
    refusal = None
    for side in _SIDES:
        try:
            if _fits(network := from_records([{"Input": [side, side, channels]}, *records]), features):
                return network
            refusal = None
        except UserError as error:
            refusal = error  # for a large image, only the layers can be the reason
    ceil = ", and ceil_mode windows that begin at its corner" if any(getattr(x, "ceil_mode", 0) for x in leaves) else ""
    wanted = f"a square input image that gives {features} features{ceil}"
    raise refusal or UserError(f"architecture: expected {wanted}, found none; describe the network as a list of layers")


def _fits(network: Network, features: list[int]) -> bool:
    """Returns whether dense layers, and norms after a flatten, take these features, and no pool pads at the start.

    PyTorch's windows that extend past the end, which are described as "same", begin at the corner.
    """
    pools = [(place.layer, place.input_shape) for place in network.placed if hasattr(place.layer, "pool_size")]
    corners = all(before == 0 for layer, shape in pools for before, _ in layer.pads(shape))  # type: ignore[attr-defined]
    takers = (KINDS["Dense"], KINDS["LayerNormalization"])
    flat = [place for place in network.placed if isinstance(place.layer, takers) and len(place.input_shape) == 1]
    return corners and features == [place.input_shape[0] for place in flat]


def _leaves(module: Any) -> Iterator[Any]:
    """Yields the modules in the order of their calls; a module that occurs twice is yielded twice."""
    kind = type(module)
    hooks = [name for name, value in vars(module).items() if name.endswith(("hooks", "forward")) and value]
    if hooks := [name for name in hooks if "state_dict" not in name]:
        raise UserError(f"architecture: {kind.__name__}: {hooks[0]} changes what it computes; remove it")
    children = list(module._modules.values())
    if children and (kind.__name__ != "Sequential" or not kind.__module__.startswith(_MODULES)):
        raise UserError(f"architecture: expected an nn.Sequential, got {kind.__name__}, whose forward() is code")
    for child in children:
        yield from _leaves(child)
    if kind.__name__ != "Sequential":
        yield module


def _check_sharing(leaves: list[Any]) -> None:
    """Raises ``UserError`` if an array belongs to two layers; the records' layers have their own."""
    owner: dict[int, int] = {}
    for number, leaf in enumerate(leaves, start=1):
        for name, tensor in (*leaf._parameters.items(), *leaf._buffers.items()):
            if tensor is not None and owner.setdefault(id(tensor), number) != number:
                kind = f"layer {number}, {type(leaf).__name__}"
                raise UserError(f"{kind}: shares its {name} with layer {owner[id(tensor)]}; use two modules")


class _Asked:
    """Returns a module's attributes, and records the names that were read."""

    def __init__(self, leaf: Any) -> None:
        self.leaf, self.names = leaf, set[str]()

    def __getattr__(self, name: str) -> Any:
        self.names.add(name)
        return getattr(self.leaf, name)


def _records(number: int, leaf: Any) -> list[Any]:
    """Returns the records of one module; padding that its record cannot express becomes a record before it."""
    kind, asked = type(leaf).__name__, _Asked(leaf)
    names = [name for name, (theirs, _) in ACTIVATIONS.items() if theirs == kind]
    if (kind not in _KINDS and not names) or not type(leaf).__module__.startswith(_MODULES):
        known = f"{', '.join(sorted(_KINDS))} or an activation of torch.nn"
        raise UserError(f"layer {number}: expected one of {known}, got {leaf}")
    with told_of(f"layer {number}, {leaf}: "):
        if kind in _KINDS:
            records = _KINDS[kind](asked)
        else:  # gelu has two, the one by tanh last
            records = [{"Activation": names[getattr(asked, "approximate", "none") == "tanh"]}]
        for record in records:
            for made, value in record.items() if isinstance(record, dict) else ():
                make: Any = KINDS[made]
                make(**value) if isinstance(value, dict) else make(value)
    for name, value in vars(leaf).items():
        known_name = name in asked.names or name in _IMPLIED or name.startswith("_") or name == "training"
        if not known_name and value not in _NEUTRAL.get(name, ()):
            raise UserError(f"layer {number}, {kind}: {name}={value}, which no record has")
    for name, parameter in leaf._parameters.items():
        if parameter is not None and not parameter.requires_grad:
            raise UserError(f"layer {number}, {kind}: {name}.requires_grad=False, which no record has")
    if leaf._parameters.get("weight") is not None and leaf._parameters["bias"] is None and "bias" not in asked.names:
        raise UserError(f"layer {number}, {kind}: bias=False, which no record has")
    return records


def _convolution(leaf: Any) -> list[Any]:
    arguments = {"kernel_size": leaf.kernel_size, "strides": leaf.stride, "dilation_rate": leaf.dilation}
    arguments["use_bias"] = leaf.bias is not None
    before = []
    if leaf.padding not in ("valid", (0, 0)):
        same = [step * (size - 1) / 2 for step, size in zip(leaf.dilation, leaf.kernel_size, strict=True)]
        if leaf.padding == "same" or (list(leaf.padding) == same and leaf.stride == (1, 1)):
            arguments["padding"] = "same"
        else:
            before = [{"ZeroPadding2D": leaf.padding}]
    if leaf.groups == leaf.in_channels > 1:
        return [*before, {"DepthwiseConv2D": {"depth_multiplier": leaf.out_channels // leaf.groups, **arguments}}]
    return [*before, {"Conv2D": {"filters": leaf.out_channels, "groups": leaf.groups, **arguments}}]


def _pool(kind: str, leaf: Any) -> list[Any]:
    """Makes the record of a pool; its padding and dilation may only be none."""
    padding = "same" if leaf.ceil_mode else "valid"
    return [{kind: {"pool_size": leaf.kernel_size, "strides": leaf.stride, "padding": padding}}]


def _norm(leaf: Any) -> list[Any]:
    if leaf.momentum is None:
        raise UserError("momentum=None, a mean over all batches, which no record has")
    affine = {} if leaf.affine else {"center": False, "scale": False}
    return [{"BatchNormalization": {"momentum": round(1 - leaf.momentum, 12), "epsilon": leaf.eps, **affine}}]


def _pads(leaf: Any) -> list[Any]:
    left, right, above, below = leaf.padding
    return [{"ZeroPadding2D": {"padding": [[above, below], [left, right]]}}]


_KINDS: dict[str, Callable[[Any], list[Any]]] = {
    "Conv2d": _convolution,
    "MaxPool2d": lambda leaf: _pool("MaxPooling2D", leaf),
    "AvgPool2d": lambda leaf: _pool("AveragePooling2D", leaf),
    "AdaptiveAvgPool2d": lambda leaf: ["GlobalAveragePooling2D"],
    "AdaptiveMaxPool2d": lambda leaf: ["GlobalMaxPooling2D"],
    "BatchNorm2d": _norm,
    "BatchNorm1d": _norm,
    **dict.fromkeys(("LayerNorm", "LayerNorm2d"), lambda leaf: [{"LayerNormalization": {"epsilon": leaf.eps}}]),
    "Dropout": lambda leaf: [{"Dropout": leaf.p}],
    "Flatten": lambda leaf: ["Flatten"],
    "Identity": lambda leaf: [],
    "Linear": lambda leaf: [{"Dense": {"units": leaf.out_features, "use_bias": leaf.bias is not None}}],
    "ZeroPad2d": _pads,
    "LeakyReLU": lambda leaf: [{"LeakyReLU": leaf.negative_slope}],
    "ELU": lambda leaf: [{"ELU": leaf.alpha}],
    "Softmax": lambda leaf: ["Softmax"],
}
"""The records of each of PyTorch's modules, which say what they ask for."""

_FEATURES: dict[str, Callable[[Any], int]] = {
    "Linear": lambda leaf: int(leaf.in_features),
    "LayerNorm": lambda leaf: int(leaf.normalized_shape[0]) if len(leaf.normalized_shape) == 1 else -1,
}
"""Input features of a module after a flatten; before it, a ``LayerNorm`` normalizes other axes."""
