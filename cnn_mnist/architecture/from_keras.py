"""Converts Keras's configuration of a model to records, and refuses every unknown option by name."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from cnn_mnist.architecture.layer_spec import STATISTICS
from cnn_mnist.architecture.layers import ALIASES, KINDS
from cnn_mnist.architecture.network import Network
from cnn_mnist.errors import UserError, expect, notify

GELU_TANH = "keras_parity>gelu_tanh"
"""The registered name of the tanh GELU, the only activation of a record that Keras has no name for."""

_TRAINING = ("_regularizer", "_constraint", "_initializer")
"""Endings of the options that touch neither the weights nor what they compute."""
_USUAL = {
    **dict.fromkeys(("kernel_initializer", "depthwise_initializer", "pointwise_initializer"), "GlorotUniform"),
    **dict.fromkeys(("bias_initializer", "beta_initializer", "moving_mean_initializer"), "Zeros"),
    **dict.fromkeys(("gamma_initializer", "moving_variance_initializer"), "Ones"),
}
"""Keras's defaults, which are also those of ``initial_weights``."""

_ANY = ("name", "seed", "renorm_momentum")  # the last has no effect without renorm
_DTYPES = ("float32", "float64", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16")
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "trainable": (True,),
    "data_format": (None, "channels_last"),
    "axis": (-1, 3, [-1], [3]),
    "center": (True,),
    "scale": (True,),
    "negative_slope": (0,),
    "threshold": (0,),
    **dict.fromkeys(("max_value", "noise_shape", "quantization_config", "renorm_clipping"), (None,)),
    **dict.fromkeys(("keepdims", "rms_scaling", "synchronized", "renorm", "sparse", "ragged", "optional"), (False,)),
}
"""The only values of the options that no record has."""


def from_keras(config: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Reads Keras's configuration of a model whose layers form one chain.

    Returns:
        The records; and the options left out because they affect only training, such as
        ``{"layer 1, Dense: kernel_regularizer": {"class_name": "L2", ...}}``.

    Raises:
        UserError: The model is of another kind, or a layer does something that no record can express.
    """
    body: Any = config.get("config")
    known = config.get("class_name") in ("Sequential", "Functional", "Model") and isinstance(body, Mapping)
    layers: Any = body.get("layers") if known else None
    if not _are_layers(layers):
        came = config.get("class_name") or f"a mapping of {', '.join(map(str, config)) or 'nothing'}"
        raise UserError(f"expected a list of layers, or Keras's configuration of a sequential model, got {came}")
    left_out: dict[str, Any] = {}
    found = list(_plain(layers, left_out))
    _check_outputs(body.get("output_layers"), _name(layers[-1]))
    built = body.get("build_input_shape")  # of a sequential model that names no input
    start = [{"Input": built[1:]}] if built and layers[0]["class_name"] != "InputLayer" else []
    return [*start, *found], left_out


def _plain(layers: list[Any], left_out: dict[str, Any]) -> Iterator[Any]:
    number, before = 0, None
    for layer in layers:
        kind, config = layer["class_name"], layer["config"]
        number += kind != "InputLayer"
        where = f"layer {number}, {kind}"
        _check_call(where, layer, before)
        before = _name(layer)
        record = KINDS.get(kind)
        if record is None and kind not in (*ALIASES, "InputLayer"):
            yield kind  # the caller refuses it
            continue
        names = {field.name for field in fields(record)} if record else set()
        shapes = ("batch_shape", "batch_input_shape") if kind == "InputLayer" else ("batch_input_shape",)
        for name in [name for name in config if name not in names and name not in shapes]:
            _check_option(where, name, config[name], left_out)
        if kind == "InputLayer":
            yield {"Input": (config.get("batch_shape") or config.get("batch_input_shape") or [])[1:]}
            continue
        arguments = {name: _value(where, name, value) for name, value in config.items() if name in names}
        yield {kind: arguments} if arguments else kind


def _check_option(where: str, name: str, value: Any, left_out: dict[str, Any]) -> None:
    """Notes an option that only training uses; raises ``UserError`` for another one that changes something."""
    said = f"{_class(value)}({value.get('config')})" if isinstance(value, Mapping) else value
    if name == "dtype":
        policy = value.get("config", {}).get("name") if isinstance(value, Mapping) else value
        if policy not in (None, *_DTYPES):
            raise UserError(f"{where}: dtype={policy}, which no record has; expected one of {', '.join(_DTYPES)}")
    elif name.endswith(_TRAINING):
        if value is not None and _class(value) != _USUAL.get(name):
            left_out[f"{where}: {name}"] = value
    elif name not in _ANY and value not in _NEUTRAL.get(name, ()):
        raise UserError(f"{where}: {name}={said}, which no record has; remove it")


def _value(where: str, name: str, value: Any) -> Any:
    if name == "activation" and isinstance(value, Mapping):  # a function that Keras has no name for
        function = value.get("config")
        if function != GELU_TANH:
            raise UserError(f"{where}: the activation {function}, which no record has")
        return GELU_TANH.rpartition(">")[2]
    return value


def _class(value: Any) -> str:
    """The name of the class of a serialized object, or of its short form, ``"zeros"`` for ``Zeros``."""
    found = value.get("class_name") if isinstance(value, Mapping) else value
    return str(found).title().replace("_", "") if str(found).islower() else str(found)


def _name(layer: Mapping[str, Any]) -> Any:
    return layer.get("name") or layer["config"].get("name")


def _check_call(where: str, layer: Mapping[str, Any], before: Any) -> None:
    """Raises ``UserError`` unless a layer is Keras's own and is called once, with the output before it alone."""
    if layer.get("registered_name") not in (None, layer["class_name"]):
        raise UserError(f"{where}: expected a layer of Keras, got {layer['registered_name']}, whose code is its own")
    nodes = layer.get("inbound_nodes") or []
    expect(where, len(nodes) < 2, "layers that are used once", f"{_name(layer)} used {len(nodes)} times")
    for node in nodes:
        known = isinstance(node, Mapping) and isinstance(node.get("kwargs", {}), Mapping)
        if not known or [_history(argument) for argument in node.get("args", [])] != [[before, 0, 0]]:
            raise UserError(f"{where}: expected a chain, in which each layer takes the output of the one before it")
        for name, value in node.get("kwargs", {}).items():
            if value is not None:
                raise UserError(f"{where}: called with {name}={value}, which no record has; remove it")


def _history(argument: Any) -> Any:
    config = argument.get("config") if isinstance(argument, Mapping) else None
    return config.get("keras_history") if isinstance(config, Mapping) else None


def _check_outputs(outputs: Any, last: Any) -> None:
    """Raises ``UserError`` unless a functional model gives the output of its last layer alone."""
    entries = list(outputs.values()) if isinstance(outputs, Mapping) else outputs
    if not isinstance(entries, list) or not entries:  # a sequential model
        return
    names = [entry[0] if isinstance(entry, list) and entry else entry for entry in entries]
    if isinstance(entries[0], str):
        names = names[:1]
    if len(names) > 1:
        ask = "take one, as in keras.Model(model.inputs, model.outputs[-1])"
        raise UserError(f"expected one output, got {len(names)} ({', '.join(map(str, names))}); {ask}")
    if names != [last]:
        raise UserError(f"expected the output of the last layer, {last}, got that of {names[0]}")


def _are_layers(layers: Any) -> bool:
    known = isinstance(layers, list) and all(
        isinstance(entry, Mapping)
        and isinstance(entry.get("class_name"), str)
        and isinstance(entry.get("config"), Mapping)
        for entry in layers
    )
    return known and bool(layers)


def take_over_penalty(network: Network, optimizer: str, momentum: float, weight_decay: float) -> float:
    """Turns the L2 penalty of a user's model into weight decay where equivalent, and names the options left out.

    They are equivalent for plain SGD without clipping if each trained array has the penalty; decay is decoupled in both
    frameworks.

    Args:
        network: The network, with what its description leaves out.
        optimizer: The optimizer's name.
        momentum: Its momentum.
        weight_decay: The weight decay that the user set.

    Returns:
        The weight decay to train with.
    """
    left_out, arrays = dict(network.left_out), (set(place.weight_shapes) - {*STATISTICS} for place in network.placed)
    l2 = _common_l2(left_out, sum(map(len, arrays)))
    if l2 and optimizer == "sgd" and not momentum and not weight_decay:
        weight_decay = 2 * l2
        left_out = {option: value for option, value in left_out.items() if not option.endswith("_regularizer")}
        same = f"the model's L2 penalty of {l2:g} is weight_decay={weight_decay:g}"
        notify(f"{same}; the logged loss and gradient clipping are without it, where Keras includes it", stacklevel=4)
    if left_out:
        gone = f"the model's training options are left out: {', '.join(left_out)}"
        notify(f"{gone}; set what you need with flags such as --model.weight_decay", stacklevel=4)
    return weight_decay


def _common_l2(left_out: Mapping[str, Any], arrays: int) -> float:
    """The L2 penalty that all trained arrays share; 0 if they have none, different ones, or another one as well."""
    penalties = [value for option, value in left_out.items() if option.endswith("_regularizer")]
    factors = {(value.get("config") or {}).get("l2") for value in penalties if _class(value) == "L2"}
    same = len(penalties) == arrays and len(factors) == 1 and all(_class(value) == "L2" for value in penalties)
    activity = any(option.endswith("activity_regularizer") for option in left_out)
    return float(factors.pop() or 0) if same and not activity else 0.0
