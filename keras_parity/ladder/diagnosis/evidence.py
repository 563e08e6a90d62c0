"""What the first step of each side does, measured: the loss, each weight's update, the rates."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_parity.ladder.capture.attention import in_parts
from keras_parity.ladder.capture.keras_calls import variable_names
from keras_parity.ladder.judge.model_pair import ModelPair
from keras_parity.ladder.judge.nests import array_distance
from keras_parity.ladder.matching.match_weights import Match

CLOSE = 1e-5
"""Relative difference of a loss, or of a rate, that counts as none in float32."""

_SCHEDULED = 20
"""How many steps of the schedules are compared."""


class Evidence:
    """What the first step of each side does to each weight, and what it costs.

    Args:
        pair: The two models, the same function.
        match: Of their weights.

    Attributes:
        updates: By PyTorch's name of a matched array, what the step adds to it on both sides, in Keras's layout.
        losses: PyTorch's first loss, and Keras's without what the model adds itself.
        own: What Keras's model adds itself.
        keras_optimizer: The pair's.
        rates: PyTorch's learning rates, where its optimizer shows them.
    """

    def __init__(self, pair: ModelPair, match: Match) -> None:
        self.pair, self.match = pair, match
        self.keras_optimizer: Any = pair.keras_optimizer
        self.rates: list[float] = []
        named = {name: v for v in pair.keras_model.weights if (name := variable_names(pair.keras_model)[id(v)])}
        ours, theirs = pair.torch_runner(), pair.keras_runner()

        def of_torch() -> dict[str, NDArray]:
            tensors = in_parts(pair.torch_model).state_dict().items()
            return match.to_keras({name: tensor.detach().cpu().numpy().copy() for name, tensor in tensors})

        def of_keras() -> dict[str, NDArray]:
            return {name: keras.ops.convert_to_numpy(v.value).copy() for name, v in named.items()}

        try:
            moved, first = [], []
            sides: list[tuple[Any, Callable[[], dict[str, NDArray]]]] = [(ours, of_torch), (theirs, of_keras)]
            for side, read in sides:
                side.reset()
                before = read()
                first.append(side.step(*pair.batch(side.framework, 0)))
                moved.append({name: array - before[name] for name, array in read().items()})
                side.reset()
            names = {array.name: torch_names[0] for array, torch_names in match.arrays}
            self.updates = {t: (moved[0][k], moved[1][k]) for k, t in names.items() if k in moved[0] and k in moved[1]}
            pair.keras_model(pair.keras_inputs(pair.batch_size), training=True)
            added = [keras.ops.convert_to_numpy(keras.ops.sum(loss)) for loss in pair.keras_model.losses]
            theirs.reset()
            self.own = float(sum(added))
            self.losses = first[0], first[1] - self.own
            if pair.optimizer is not None and pair.torch_schedule is not None:
                for step in range(_SCHEDULED):
                    self.rates.append(float(pair.optimizer.param_groups[0]["lr"]))
                    ours.step(*pair.batch("PyTorch", step))
        finally:
            ours.restore()
            theirs.restore()

    def differing(self) -> dict[str, tuple[NDArray, NDArray]]:
        """The weights that the two steps change otherwise, beyond what rounding of the weights explains."""
        sizes = {n: max(float(np.abs(update).max(initial=0.0)) for update in both) for n, both in self.updates.items()}
        nothing = 1e-5 * max(sizes.values(), default=0.0)
        return {n: both for n, both in self.updates.items() if array_distance(*both) > 2e-3 and sizes[n] > nothing}
