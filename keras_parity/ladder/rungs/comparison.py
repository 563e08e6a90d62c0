"""Both sides of a port, with their layers matched, in one precision or in both."""

import numpy as np
from numpy.typing import NDArray

from keras_parity.ladder.capture.calls import Call
from keras_parity.ladder.capture.patched import run_patched
from keras_parity.ladder.judge.nests import Arrays
from keras_parity.ladder.matching.match_layers import match_calls
from keras_parity.ladder.matching.match_weights import Match, match_arrays
from keras_parity.ladder.rungs.keras_side import KerasSide
from keras_parity.ladder.rungs.port import Port
from keras_parity.ladder.rungs.torch_side import TorchSide


class Copies:
    """Copies of both models of a port in one precision, with their layers matched.

    Args:
        port: The port.
        dtype: ``"float32"`` or ``"float64"``.

    Attributes:
        torch: PyTorch's side.
        keras: Keras's side.
        match: The match of both sides' calls for the first batch in inference mode.
    """

    def __init__(self, port: Port, dtype: str) -> None:
        self.port, self.dtype = port, dtype
        self.torch, self.keras = TorchSide(port, dtype), KerasSide(port, dtype)
        batch = port.keras_batches[0]
        torch_calls, keras_calls = self.torch.record(port.torch_batches[0]), self.keras.record(batch)
        for call, (parents, between) in zip(keras_calls, self.keras.paths(batch), strict=True):
            call.parents, call.between = parents, between
        self.match = Match(torch_calls, keras_calls, match_calls(torch_calls, keras_calls, port.match))
        with self.keras.within():
            # Finds the order of flattened features.
            run_patched(self.keras.model, self.match, self.keras.feed(batch[0]))
        match_arrays(self.match)

    def reset(self) -> None:
        """Returns both sides to their initial weights."""
        self.torch.reset()
        self.keras.reset()

    def copy_weights(self) -> None:
        """Copies Keras's weights and statistics to PyTorch."""
        self.torch.load(self.match.to_torch(self.keras.state()))

    def states(self) -> tuple[Arrays, Arrays]:
        """Returns the weights and statistics of both sides, in Keras's layout, by PyTorch's names."""
        return self._named(self.torch.state(), self.keras.state())

    def gradients(self) -> tuple[tuple[float, float], tuple[Arrays, Arrays]]:
        """Returns losses and gradients of the first batch on both sides; layout and names as in ``states``."""
        torch_loss, torch_gradients = self.torch.gradients(self.port.torch_batches[0])
        keras_loss, keras_gradients = self.keras.gradients(self.port.keras_batches[0])
        return (torch_loss, keras_loss), self._named(torch_gradients, keras_gradients)

    def _named(self, from_torch: Arrays, from_keras: Arrays) -> tuple[Arrays, Arrays]:
        """Returns the matched arrays of both sides in Keras's layout, by PyTorch's names."""
        first, second = (
            {torch_name: arrays[name] for name, torch_name in self.match.names.items() if name in arrays}
            for arrays in (self.match.to_keras(from_torch), from_keras)
        )
        return first, second

    def tensors(self, key: str, records: tuple[list[Call], list[Call]] | None = None) -> tuple[Arrays, Arrays]:
        """Returns an attribute of the matched calls on both sides, by PyTorch's names.

        Args:
            key: ``"output"`` or ``"gradient"``.
            records: The calls of both sides; None for those that were matched.
        """
        records = records or (self.match.torch_calls, self.match.keras_calls)
        found: tuple[Arrays, Arrays] = {}, {}
        for pair in self.match.pairs:
            torch_call = records[0][pair.torch]
            from_torch, from_keras = getattr(torch_call, key), getattr(records[1][pair.keras], key)
            name = torch_call.name
            while name in found[0]:
                name += ", again"
            if from_torch is None or from_keras is None:
                continue
            if from_torch.ndim > np.ndim(from_keras):  # an RNN that returns its last step only
                from_torch = from_torch[:, -1]
            elif pair.order is not None and len(pair.order) == from_torch.shape[-1] and torch_call.kind != "Dense":
                from_torch = from_torch[..., pair.order]
            found[0][name], found[1][name] = from_torch, np.asarray(from_keras)
        return found


class Comparison:
    """Both models of a port in float32 and in float64.

    Args:
        port: The port.

    Attributes:
        single: In float32.
        double: In float64.
        losses: Losses of the free training in float64 by framework; rung 9 fills it in.
    """

    def __init__(self, port: Port) -> None:
        self.port, self.single, self.double = port, Copies(port, "float32"), Copies(port, "float64")
        self.losses: dict[str, NDArray] = {}
        self._ignore_idle()

    def reset(self) -> None:
        """Returns both precisions to the initial weights."""
        self.single.reset()
        self.double.reset()

    def _ignore_idle(self) -> None:
        """Sets gradients to 0 that are zero but for rounding, such as that of a bias before a batch norm.

        Adam would turn that rounding into whole steps.
        """
        from_torch, from_keras = self.double.gradients()[1]
        idle = _small(from_torch) & _small(from_keras)
        in_keras = {name for name, torch_name in self.double.match.names.items() if torch_name in idle}
        for copies in (self.single, self.double):
            copies.torch.idle = idle
            copies.keras.ignore(in_keras)
        self.double.reset()


def _small(gradients: Arrays) -> set[str]:
    """Returns the gradients that are negligible next to the largest of their layer."""
    sizes = {name: float(np.abs(gradient).max(initial=0.0)) for name, gradient in gradients.items()}
    largest: dict[str, float] = {}
    for name, size in sizes.items():
        layer = name.rpartition(".")[0]
        largest[layer] = max(largest.get(layer, 0.0), size)
    return {name for name, size in sizes.items() if size <= 1e-11 * largest[name.rpartition(".")[0]]}
