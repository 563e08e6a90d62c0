"""Measures the first training step of each side: its loss, every weight's update, the learning rates."""

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_parity.ladder.judge.model_pair import ModelPair
from keras_parity.ladder.judge.nests import Arrays, array_distance, distance, slice_samples, to_arrays, to_keras_inputs
from keras_parity.ladder.matching.arrays import keras_state
from keras_parity.ladder.matching.match_weights import Match, torch_state

CLOSE = 1e-5
"""Relative difference up to which two losses or rates count as equal in float32."""

MODES_CLOSE = 1e-4
"""Relative difference up to which outputs in training mode count as equal: batch norms magnify rounding."""

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
        outputs_off: Relative difference of the outputs in training mode, at the same weights.
        keras_optimizer: The pair's optimizer.
        rates: PyTorch's learning rates of the first steps; none if its optimizer is not known.
    """

    def __init__(self, pair: ModelPair, match: Match) -> None:
        self.pair, self.match = pair, match
        self.keras_optimizer: Any = pair.keras_optimizer
        self.rates: list[float] = []
        torch_runner, keras_runner = pair.torch_runner(), pair.keras_runner()
        pair.keras_model.run_eagerly = True  # tracing takes longer than the one step; the runner restores it
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
            inputs = to_keras_inputs(slice_samples(pair.images, 0, pair.batch_size))
            from_keras = to_arrays(pair.keras_model(inputs, training=True))
            added = [keras.ops.convert_to_numpy(keras.ops.sum(loss)) for loss in pair.keras_model.losses]
            keras_runner.reset()
            from_torch = torch_runner.outputs(pair.batch("PyTorch", 0)[0], pair.keras_structure, training=True)
            torch_runner.reset()
            self.outputs_off = distance(from_torch, from_keras, pair.layouts)
            self.added_loss = float(sum(added))
            self.losses = losses[0], losses[1] - self.added_loss
            training: Any = torch_runner.training
            for optimizer in training.optimizers[:1]:
                for step in range(_SCHEDULED):
                    self.rates.append(float(optimizer.param_groups[0]["lr"]))
                    if training.schedules:
                        torch_runner.step(*pair.batch("PyTorch", step))
        finally:
            torch_runner.restore()
            keras_runner.restore()

    @property
    def modes_differ(self) -> bool:
        """Whether the outputs differ in training mode although they agree in inference mode."""
        return not self.outputs_off <= MODES_CLOSE

    def differing_updates(self) -> dict[str, tuple[NDArray, NDArray]]:
        """Returns the updates that differ beyond what rounding of the weights explains."""
        sizes = {n: max(float(np.abs(update).max(initial=0.0)) for update in both) for n, both in self.updates.items()}
        negligible = 1e-5 * max(sizes.values(), default=0.0)
        return {n: both for n, both in self.updates.items() if array_distance(*both) > 2e-3 and sizes[n] > negligible}
