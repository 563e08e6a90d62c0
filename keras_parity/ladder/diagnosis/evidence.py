"""Measures the first training step of each side: its loss, every weight's update, the learning rates."""

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_parity.ladder.judge.model_pair import ModelPair
from keras_parity.ladder.judge.nests import Arrays, array_distance, slice_samples, to_keras_inputs
from keras_parity.ladder.matching.arrays import keras_state
from keras_parity.ladder.matching.match_weights import Match, torch_state

CLOSE = 1e-5
"""Relative difference of a loss or a rate that counts as none in float32."""

_SCHEDULED = 20
"""Steps of the schedules to compare."""


class Evidence:
    """What the first step of each side changes.

    Args:
        pair: Two models of the same function.
        match: The match of their weights.

    Attributes:
        updates: The change of each matched array on both sides, in Keras's layout, by PyTorch's name.
        losses: PyTorch's first loss, and Keras's without ``added_loss``.
        added_loss: The losses that Keras's model adds itself.
        keras_optimizer: The pair's optimizer.
        rates: PyTorch's learning rates by step, if its optimizer shows them.
    """

    def __init__(self, pair: ModelPair, match: Match) -> None:
        self.pair, self.match = pair, match
        self.keras_optimizer: Any = pair.keras_optimizer
        self.rates: list[float] = []
        torch_runner, keras_runner = pair.torch_runner(), pair.keras_runner()
        sides: list[Any] = [
            (torch_runner, lambda: match.to_keras(torch_state(pair.torch_model))),
            (keras_runner, lambda: keras_state(pair.keras_model)),
        ]
        updates, losses = list[Arrays](), list[float]()
        try:
            for side, state in sides:
                side.reset()
                before = state()
                losses.append(side.step(*pair.batch(side.framework, 0)))
                updates.append({name: array - before[name] for name, array in state().items()})
                side.reset()
            in_torch, in_keras = updates
            self.updates = {
                name: (in_torch[k], in_keras[k]) for k, name in match.names.items() if k in in_torch and k in in_keras
            }
            pair.keras_model(to_keras_inputs(slice_samples(pair.images, 0, pair.batch_size)), training=True)
            added = [keras.ops.convert_to_numpy(keras.ops.sum(loss)) for loss in pair.keras_model.losses]
            keras_runner.reset()
            self.added_loss = float(sum(added))
            self.losses = losses[0], losses[1] - self.added_loss
            if pair.optimizer is not None and pair.torch_schedule is not None:
                for step in range(_SCHEDULED):
                    self.rates.append(float(pair.optimizer.param_groups[0]["lr"]))
                    torch_runner.step(*pair.batch("PyTorch", step))
        finally:
            torch_runner.restore()
            keras_runner.restore()

    def differing_updates(self) -> dict[str, tuple[NDArray, NDArray]]:
        """Returns the updates that differ beyond what rounding of the weights explains."""
        sizes = {n: max(float(np.abs(update).max(initial=0.0)) for update in both) for n, both in self.updates.items()}
        negligible = 1e-5 * max(sizes.values(), default=0.0)
        return {n: both for n, both in self.updates.items() if array_distance(*both) > 2e-3 and sizes[n] > negligible}
