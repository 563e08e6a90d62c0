"""The Keras model and its training in float64: a copy, which counts only where it gives what the original gives."""

from functools import partial
from typing import Any

import keras

from keras_parity.ladder.judge.given import copy_optimizer
from keras_parity.ladder.judge.keras_runner import KerasRunner, as_given
from keras_parity.ladder.judge.model_pair import ModelPair
from keras_parity.ladder.judge.nests import cut, map_nest
from keras_parity.twin.dtypes import copy_in, in_dtype

within = partial(in_dtype, "float64")


def copied_runner(pair: ModelPair) -> KerasRunner:
    """A runner of a copy of a pair's Keras model, with its optimizer's state."""
    original, model = pair.keras_optimizer, pair.keras_model
    inputs = cut(pair.images, 0, min(pair.batch_size, pair.count))
    with within():
        given = map_nest(lambda a: a.astype("float64") if a.dtype.kind == "f" else a, inputs)
        copy = copy_in(model, "float64", as_given(given))
        training = pair.keras_training(copy_optimizer(original, model, copy)) if original is not None else None
        if training is not None:
            training.loss = map_nest(_copied_loss, training.loss)
    runner = KerasRunner(copy, training, given, within)
    if training is not None and original is not None and original.built:
        for ours, theirs in zip(training.optimizer.variables, original.variables, strict=True):
            ours.assign(theirs)
        runner.save()
    return runner


def _copied_loss(loss: Any) -> Any:
    """A loss object computes in the precision that it was made in."""
    return type(loss).from_config(loss.get_config()) if isinstance(loss, keras.losses.Loss) else loss
