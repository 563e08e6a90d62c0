"""Both sides of a port in each precision, with their layers matched."""

from collections.abc import Sequence

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


class Comparison:
    """Both sides of a port, ``torch[dtype]`` and ``keras[dtype]``.

    Args:
        port: The port.
        dtypes: ``"float32"``, then ``"float64"`` if both models can compute in it.

    Attributes:
        exact: The last, finest precision.
        records: Both sides' calls for the first batch in inference mode, by precision.
        match: The match of these calls.
        losses: Losses of the free training in float64 by framework; rung 9 fills it in.
        idle: PyTorch's names of parameters whose gradient is zero but for rounding, such as a bias before a batch norm.
            Adam would turn that rounding into whole steps, so both sides set these gradients to 0.
    """

    def __init__(self, port: Port, dtypes: Sequence[str] = ("float32", "float64")) -> None:
        self.port, self.exact = port, dtypes[-1]
        self.torch = {dtype: TorchSide(port, dtype) for dtype in dtypes}
        self.keras = {dtype: KerasSide(port, dtype) for dtype in dtypes}
        self.losses: dict[str, NDArray] = {}
        torch_batch, keras_batch = port.torch_batches[0], port.keras_batches[0]
        self.records = {d: (self.torch[d].record(torch_batch), self.keras[d].record(keras_batch)) for d in dtypes}
        self.match = self._match()
        self.idle = self._find_idle()

    def _match(self) -> Match:
        torch_calls, keras_calls = self.records[self.exact]
        side, batch = self.keras[self.exact], self.port.keras_batches[0]
        for call, parents in zip(keras_calls, side.parents(batch), strict=True):
            call.parents = parents
        match = Match(torch_calls, keras_calls, match_calls(torch_calls, keras_calls, self.port.match))
        run_patched(side.model, match, side.feed(batch[0]))  # finds the order of flattened features
        match_arrays(match)
        return match

    def _find_idle(self) -> set[str]:
        if self.exact != "float64" or self.port.torch_batches[0][1] is None:
            return set()
        torch_side, keras_side = self.torch["float64"], self.keras["float64"]
        gradients = self.match.to_keras(torch_side.gradients(self.port.torch_batches[0])[1])
        torch_side.reset()
        small = _small(gradients)
        small &= _small(keras_side.gradients_of(list(gradients), self.port.keras_batches[0])) if small else set()
        keras_side.reset()
        idle = {self.match.torch_name(name) for name in small}
        for dtype in self.torch:
            self.torch[dtype].idle, self.keras[dtype].idle = idle, small
        return idle

    def reset(self) -> None:
        """Returns both sides to their initial weights."""
        for dtype in self.torch:
            self.torch[dtype].reset()
            self.keras[dtype].reset()

    def copy_weights(self, dtype: str) -> None:
        """Copies Keras's weights and statistics to PyTorch."""
        self.torch[dtype].load(self.match.to_torch(self.keras[dtype].state()))

    def states(self, dtype: str) -> tuple[Arrays, Arrays]:
        """Returns the weights and statistics of both sides, in Keras's layout, by PyTorch's names."""
        return self.named(self.match.to_keras(self.torch[dtype].state()), self.keras[dtype].state())

    def gradients(self, dtype: str) -> tuple[tuple[float, Arrays], tuple[float, Arrays]]:
        """Returns loss and gradients of the first batch on both sides; layout and names as in ``states``."""
        torch_loss, torch_gradients = self.torch[dtype].gradients(self.port.torch_batches[0])
        keras_loss, keras_gradients = self.keras[dtype].gradients(self.port.keras_batches[0])
        from_torch, from_keras = self.named(self.match.to_keras(torch_gradients), keras_gradients)
        return (torch_loss, from_torch), (keras_loss, from_keras)

    def named(self, from_torch: Arrays, from_keras: Arrays) -> tuple[Arrays, Arrays]:
        """Renames matched arrays from Keras's names to PyTorch's; leaves out the others."""
        names = {array.name: torch_names[0] for array, torch_names in self.match.arrays}
        first, second = (
            {torch_name: arrays[name] for name, torch_name in names.items() if name in arrays}
            for arrays in (from_torch, from_keras)
        )
        return first, second

    def tensors(self, records: tuple[list[Call], list[Call]], key: str) -> tuple[Arrays, Arrays]:
        """Returns an attribute of the matched calls on both sides, by PyTorch's names.

        Args:
            records: The calls of both sides.
            key: ``"output"`` or ``"gradient"``.
        """
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


def _small(gradients: Arrays) -> set[str]:
    """Returns the gradients that are negligible next to the largest of their layer."""
    largest: dict[str, float] = {}
    for name, gradient in gradients.items():
        layer = name.rpartition("/")[0]
        largest[layer] = max(largest.get(layer, 0.0), float(np.abs(gradient).max(initial=0.0)))
    return {n for n, g in gradients.items() if np.abs(g).max(initial=0.0) <= 1e-11 * largest[n.rpartition("/")[0]]}
