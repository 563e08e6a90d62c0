"""A float64 copy of the Keras model and its training; the judge uses it only if it agrees with the original."""

from functools import partial
from typing import Any

import keras

from keras_parity.ladder.judge.build_pair import copy_optimizer
from keras_parity.ladder.judge.keras_runner import KerasRunner
from keras_parity.ladder.judge.model_pair import ModelPair
from keras_parity.ladder.judge.nests import map_nest, slice_samples, to_keras_inputs
from keras_parity.twin.dtypes import copy_in, in_dtype

within = partial(in_dtype, "float64")


def copied_runner(pair: ModelPair) -> KerasRunner:
    """Returns a runner of a float64 copy of a pair's Keras model, with its optimizer's state."""
    original, model = pair.keras_optimizer, pair.keras_model
    inputs = slice_samples(pair.images, 0, pair.batch_size)
    with within():
        inputs = map_nest(lambda a: a.astype("float64") if a.dtype.kind == "f" else a, inputs)
        copy = copy_in(model, "float64", to_keras_inputs(inputs))
        training = pair.keras_training(copy_optimizer(original, model, copy)) if original is not None else None
        if training is not None:
            training.loss = map_nest(_copied_loss, training.loss)
    runner = KerasRunner(copy, training, inputs, within)
    if training is not None and original is not None and original.built:
        with within():
            for variable, source in zip(training.optimizer.variables, original.variables, strict=True):
                variable.assign(source)
        runner.save()
    return runner


def _copied_loss(loss: Any) -> Any:
    """A loss object computes in the precision of its creation; the configurations of some lack settings."""
    if not isinstance(loss, keras.losses.Loss):
        return loss
    copy = object.__new__(type(loss))
    policy = keras.dtype_policies.get("float64")
    vars(copy).update(vars(loss) | {"_dtype_policy": policy, "_dtype": policy.compute_dtype})
    return copy
