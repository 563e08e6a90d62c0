"""The rungs of the ladder: what each compares, its limit, and what usually breaks it."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_parity.ladder import trajectories
from keras_parity.ladder.port import KerasSide, Port, TorchSide
from keras_parity.ladder.rung import CAUSES, Arrays, Rung, relative, worst


def climb(port: Port) -> Iterator[Rung]:
    """Climbs rung by rung, and ends with the first that breaks.

    Args:
        port: The model in both frameworks.

    Yields:
        The outcome of each rung.
    """
    for rung in _rungs(port):
        yield rung
        if not rung.holds:
            return


def _rungs(port: Port) -> Iterator[Rung]:
    modules = dict(port.layers) or {
        layer.name: layer.name for layer in port.model.layers if layer.name in dict(port.network.named_modules())
    }
    first_torch, first_keras = port.torch_batches[0], port.keras_batches[0]
    pytorch, keras = TorchSide(port, "float32"), KerasSide(port, "float32")
    yield _architecture(port, modules, pytorch, keras)
    yield _data(port)
    mapped = port.to_pytorch(keras.weights())
    yield _equal_bytes(3, "initial weights, byte for byte", pytorch.weights(), mapped, CAUSES[3])

    ours, theirs = pytorch.activations(first_torch[0], modules), keras.activations(first_keras[0], list(modules))
    yield worst(4, "activations after every layer, float32, relative", 1e-5, ours, theirs)

    losses = pytorch.gradients(first_torch)[0], keras.gradients(first_keras)[0]
    difference = abs(losses[0] - losses[1])
    yield Rung(5, "loss of the first batch, nats", difference, 1e-6, difference <= 1e-6, "loss", CAUSES[5])

    pytorch64, keras64 = TorchSide(port, "float64"), KerasSide(port, "float64")
    for a, b, dtype, limit in ((pytorch64, keras64, "float64", 1e-12), (pytorch, keras, "float32", 1e-5)):
        ours, theirs = a.gradients(first_torch)[1], port.to_pytorch(b.gradients(first_keras)[1])
        yield worst(6, f"gradient of every tensor, {dtype}, relative", limit, ours, theirs)

    pytorch64.step(first_torch)
    keras64.step(first_keras)
    ours, theirs = pytorch64.weights(), port.to_pytorch(keras64.weights())
    yield worst(7, "one optimizer step, float64, relative", 1e-12, ours, theirs)
    # In float32 both optimizers take Keras's gradient: Adam's first step is a gradient over its own size, which
    # enlarges the last bits of one that nearly cancels a hundredfold, and those are rung 6's business.
    gradients = keras.gradients(first_keras)[1]
    pytorch.update(port.to_pytorch(gradients))
    keras.update(gradients)
    ours, theirs = pytorch.weights(), port.to_pytorch(keras.weights())
    yield worst(7, "one optimizer step on one gradient, float32, relative", 1e-5, ours, theirs)

    yield trajectories.given_weights(port, pytorch, keras)
    yield trajectories.free_float64(port, pytorch64, keras64)
    yield trajectories.free_float32(port, pytorch, keras)
    yield _evaluation(port, pytorch, keras)


def _architecture(port: Port, modules: dict[str, Any], pytorch: TorchSide, keras: KerasSide) -> Rung:
    ours = {name: array.shape for name, array in pytorch.activations(port.torch_batches[0][0][:1], modules).items()}
    for name in modules:
        layer, wanted = keras.model.get_layer(name), modules[name]
        module = pytorch.network.get_submodule(wanted[0] if isinstance(wanted, tuple) else wanted)
        shape = tuple(layer.output.shape[1:])
        counts = sum(parameter.numel() for parameter in module.parameters()), layer.count_params()
        if ours[name][1:] != shape or counts[0] != counts[1]:
            mine, theirs = f"{ours[name][1:]} and {counts[0]:,} parameters", f"{shape} and {counts[1]:,}"
            where = f"{name}: shape {mine} in PyTorch, {theirs} in Keras"
            return Rung(1, "shapes and parameters of every layer", float("inf"), 0, False, where, CAUSES[1])
    totals = sum(p.numel() for p in pytorch.network.parameters()), keras.model.count_params()
    where = "" if totals[0] == totals[1] else f"{totals[0]:,} parameters in PyTorch, {totals[1]:,} in Keras"
    return Rung(1, "shapes and parameters of every layer", abs(totals[0] - totals[1]), 0, not where, where, CAUSES[1])


def _data(port: Port) -> Rung:
    counts = len(port.torch_batches), len(port.keras_batches)
    if counts[0] != counts[1]:
        where = f"{counts[0]} batches in PyTorch, {counts[1]} in Keras"
        return Rung(2, "number of batches", abs(counts[0] - counts[1]), 0, False, where, CAUSES[2])
    batches = list(zip(port.torch_batches, port.keras_batches, strict=True))[: trajectories.STEPS_GIVEN]
    for step, ((images, labels), (keras_images, keras_labels)) in enumerate(batches):
        same = images.transpose(0, 2, 3, 1).tobytes() == keras_images.tobytes()
        if not same or labels.tobytes() != keras_labels.tobytes():
            what = "images" if not same else "labels"
            return Rung(2, "batches, byte for byte", float("inf"), 0, False, f"{what} of batch {step}", CAUSES[2])
    return Rung(2, f"first {len(batches)} batches, byte for byte", 0.0, 0, True, cause=CAUSES[2])


def _equal_bytes(number: int, compared: str, ours: Arrays, theirs: Arrays, cause: str) -> Rung:
    for name in sorted(ours.keys() | theirs.keys()):
        if name not in ours or name not in theirs or ours[name].tobytes() != theirs[name].tobytes():
            both = name in ours and name in theirs
            difference = relative(ours[name], theirs[name]) if both else float("inf")
            return Rung(number, compared, difference, 0, False, name, cause)
    return Rung(number, compared, 0.0, 0, True, cause=cause)


def _evaluation(port: Port, pytorch: TorchSide, keras: KerasSide) -> Rung:
    keras.reset()
    for _, batch in trajectories.steps(port, trajectories.STEPS_GIVEN):  # weights that read something
        keras.step(batch)
    pytorch.load(port.to_pytorch(keras.weights()))
    images, labels = port.test
    ours, theirs = pytorch.logits(np.ascontiguousarray(images.transpose(0, 3, 1, 2))), keras.logits(images)
    losses = [_cross_entropy(logits, labels) for logits in (ours, theirs)]
    changed = int((ours.argmax(axis=1) != theirs.argmax(axis=1)).sum())
    difference = abs(losses[0] - losses[1])
    where = f"{changed} of {len(labels):,} images predicted otherwise"
    holds = difference <= 1e-6 and changed == 0
    return Rung(11, "evaluation: loss and predictions of the test set", difference, 1e-6, holds, where, CAUSES[11])


def _cross_entropy(logits: NDArray, labels: NDArray) -> float:
    logits = logits.astype(np.float64)
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_sums = np.log(np.exp(shifted).sum(axis=1))
    return float((log_sums - shifted[np.arange(len(labels)), labels]).mean())
