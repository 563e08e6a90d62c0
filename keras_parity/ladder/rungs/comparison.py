"""Both sides of a port in both precisions, built once, and their layers matched."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from keras_parity.ladder.capture.calls import Call
from keras_parity.ladder.capture.patched import run_patched
from keras_parity.ladder.matching.match_layers import match_calls
from keras_parity.ladder.matching.match_weights import Match, match_arrays
from keras_parity.ladder.rungs.keras_side import KerasSide
from keras_parity.ladder.rungs.port import Arrays, Port
from keras_parity.ladder.rungs.torch_side import TorchSide

Records = dict[str, tuple[list[Call], list[Call]]]


class Comparison:
    """Both sides of a port: ``torch[dtype]`` and ``keras[dtype]``.

    Args:
        port: The port.
        dtypes: float32, and float64 where both models can be computed in it.

    Attributes:
        exact: The finest precision that both can be computed in.
        records: The calls of the first batch in inference, by precision.
        match: The layers that belong together, from these.
        losses: Of a free training in float64, by framework, once there is one.
        idle: Parameters whose gradient is 0 but for rounding, as of a bias before a batch norm, by PyTorch's names. An
            optimizer such as Adam makes whole steps of that rounding, so it is put to 0 on both sides.
    """

    def __init__(self, port: Port, dtypes: Sequence[str] = ("float32", "float64")) -> None:
        self.port, self.exact = port, dtypes[-1]
        self.torch = {dtype: TorchSide(port, dtype) for dtype in dtypes}
        self.keras = {dtype: KerasSide(port, dtype) for dtype in dtypes}
        self.losses: dict[str, NDArray] = {}
        self.records = self._recorded()
        self.match = self._matched()
        self.idle = self._find_idle(self.match)

    def _matched(self) -> Match:
        ours, theirs = self.records[self.exact]
        side, inputs = self.keras[self.exact], self.port.keras_batches[0][0]
        for call, parents in zip(theirs, side.parents(self.port.keras_batches[0]), strict=True):
            call.parents = parents
        match = Match(ours, theirs, match_calls(ours, theirs, self.port.match))
        run_patched(side.model, match, side.feed(inputs))  # finds the order of what is flattened
        match_arrays(match)
        return match

    def _find_idle(self, match: Match) -> set[str]:
        if self.exact != "float64" or self.port.torch_batches[0][1] is None:
            return set()
        ours, theirs = self.torch["float64"], self.keras["float64"]
        gradients = match.to_keras(ours.gradients(self.port.torch_batches[0])[1])
        ours.reset()
        small = _small(gradients)
        small &= _small(theirs.gradients_of(list(gradients), self.port.keras_batches[0])) if small else set()
        theirs.reset()
        names = {array.name: torch_names[0] for array, torch_names in match.arrays}
        for dtype in self.torch:
            self.torch[dtype].idle, self.keras[dtype].idle = {names[name] for name in small}, small
        return {names[name] for name in small}

    def _recorded(self) -> Records:
        torch_batch, keras_batch = self.port.torch_batches[0], self.port.keras_batches[0]
        return {d: (self.torch[d].record(torch_batch), self.keras[d].record(keras_batch)) for d in self.torch}

    def reset(self) -> None:
        """All sides go back to their initial weights."""
        for dtype in self.torch:
            self.torch[dtype].reset()
            self.keras[dtype].reset()

    def copy_weights(self, dtype: str) -> None:
        """PyTorch's side takes the weights and statistics of Keras's."""
        self.torch[dtype].load(self.match.to_torch(self.keras[dtype].state()))

    def states(self, dtype: str) -> tuple[Arrays, Arrays]:
        """Weights and statistics of both sides in Keras's layout, by PyTorch's names."""
        return self.named(self.match.to_keras(self.torch[dtype].state()), self.keras[dtype].state())

    def gradients(self, dtype: str) -> tuple[tuple[float, Arrays], tuple[float, Arrays]]:
        """Loss and gradients of the first batch on both sides, named as ``states``."""
        ours, mine = self.torch[dtype].gradients(self.port.torch_batches[0])
        theirs, other = self.keras[dtype].gradients(self.port.keras_batches[0])
        named = self.named(self.match.to_keras(mine), other)
        return (ours, named[0]), (theirs, named[1])

    def named(self, ours: Arrays, theirs: Arrays) -> tuple[Arrays, Arrays]:
        """Arrays by Keras's names, as far as they are matched, by PyTorch's."""
        names = {array.name: torch_names[0] for array, torch_names in self.match.arrays}
        mine, other = ({names[n]: a for n, a in arrays.items() if n in names} for arrays in (ours, theirs))
        order = [name for name in names.values() if name in mine or name in other]
        return {n: mine[n] for n in order if n in mine}, {n: other[n] for n in order if n in other}

    def tensors(self, records: tuple[list[Call], list[Call]], key: str) -> tuple[Arrays, Arrays]:
        """Of the matched calls what came out, or its gradient, on both sides by PyTorch's names."""
        found: tuple[Arrays, Arrays] = {}, {}
        for pair in self.match.pairs:
            ours, theirs = records[0][pair.torch], records[1][pair.keras]
            one, other = getattr(ours, key), getattr(theirs, key)
            name = ours.name
            while name in found[0]:
                name += ", again"
            if one is None or other is None:
                continue
            if one.ndim > np.ndim(other):  # a recurrent layer that gives its last step alone
                one = one[:, -1]
            elif pair.order is not None and len(pair.order) == one.shape[-1] and ours.kind != "Dense":
                one = one[..., pair.order]
            found[0][name], found[1][name] = one, np.asarray(other)
        return found


def _small(gradients: Arrays) -> set[str]:
    """Those that are nothing beside the greatest of their layer."""
    greatest: dict[str, float] = {}
    for name, gradient in gradients.items():
        layer = name.rpartition("/")[0]
        greatest[layer] = max(greatest.get(layer, 0.0), float(np.abs(gradient).max(initial=0.0)))
    return {n for n, g in gradients.items() if np.abs(g).max(initial=0.0) <= 1e-11 * greatest[n.rpartition("/")[0]]}
