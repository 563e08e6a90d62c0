"""Both sides of a port in both precisions, built once, and their layers matched."""

from functools import cached_property
from typing import Any

import numpy as np

from keras_parity.ladder.keras_side import KerasSide
from keras_parity.ladder.match import Match, match_arrays, match_calls
from keras_parity.ladder.port import Arrays, Port
from keras_parity.ladder.record import OUTPUT, Call
from keras_parity.ladder.torch_side import TorchSide


class Pair:
    """Both sides of a port: ``torch[dtype]`` and ``keras[dtype]``.

    Args:
        port: The port.
    """

    def __init__(self, port: Port) -> None:
        self.port = port
        self.torch = {dtype: TorchSide(port, dtype) for dtype in ("float32", "float64")}
        self.keras = {dtype: KerasSide(port, dtype) for dtype in ("float32", "float64")}

    @cached_property
    def match(self) -> Match:
        """The layers that belong together, from one run of each side in float64, in inference."""
        ours, theirs = self.records["float64"]
        for call, parents in zip(theirs, self.keras["float64"].parents(self.port.keras_batches[0]), strict=True):
            call.parents = parents
        match = Match(ours, theirs, match_calls(ours, theirs, self.port.match))
        match_arrays(match)
        return match

    @cached_property
    def records(self) -> dict[str, tuple[list[Call], list[Call]]]:
        """The calls of the first batch in inference, by precision."""
        torch_batch, keras_batch = self.port.torch_batches[0], self.port.keras_batches[0]
        return {d: (self.torch[d].record(torch_batch), self.keras[d].record(keras_batch)) for d in self.torch}

    def reset(self) -> None:
        """All sides go back to their initial weights."""
        for side in (*self.torch.values(), *self.keras.values()):
            side.reset()

    def share(self, dtype: str) -> None:
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
            calls: tuple[Any, Any] = records[0][pair.torch], records[1][pair.keras]
            name = calls[0].name
            while name in found[0] or name in found[1]:
                name += ", again"
            for arrays, call in zip(found, calls, strict=True):
                if getattr(call, key) is not None:
                    arrays[name] = np.asarray(getattr(call, key))
            if key == "gradient" and (calls[0].name == OUTPUT or not (name in found[0] and name in found[1])):
                [arrays.pop(name, None) for arrays in found]
        return found
