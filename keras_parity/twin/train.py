"""Trains the Keras twin and writes its run folder."""

import os
import warnings
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from cnn_mnist.architecture.initial_weights import initial_weights
from cnn_mnist.console.predictions import softmax
from cnn_mnist.console.summary import summarize
from cnn_mnist.data.order import batch_count
from cnn_mnist.data.splits import EVALUATION_BATCH_SIZE, check_network, load_splits
from cnn_mnist.errors import UserError
from cnn_mnist.runs import hparams, tags
from cnn_mnist.runs.files import whole
from cnn_mnist.runs.folder import CHECKPOINTS, CONFIG, KERAS, new_run_folder, write_environment
from cnn_mnist.settings import DataSettings, ModelSettings
from keras_parity.frameworks import gpu_messages
from keras_parity.settings import DTYPE_POLICIES, TrainerSettings
from keras_parity.twin.callbacks import EpochLog, ProgressBar, RunLog
from keras_parity.twin.checkpoints import restore
from keras_parity.twin.loader import TrainingBatches, evaluation_batches
from keras_parity.twin.network import build_twin, load_weights
from keras_parity.twin.optimizers import keep_rate, make_optimizer

STEPS_PER_EXECUTION = 32
"""Most steps that TensorFlow runs between two returns to Python; an epoch's rest is run without a new trace."""


def compile_twin(settings: ModelSettings, steps: int, clip_norm: float | None = None) -> keras.Sequential:
    """The twin with its initial weights, loss and optimizer, in the dtype policy that is in force.

    Args:
        settings: Those of the Lightning module. ``align`` changes nothing here: Keras as it comes is the measure.
        steps: Updates in the whole training.
        clip_norm: Greatest norm of all gradients as one vector; None for any.
    """
    model = build_twin(settings.network, settings.seed)
    load_weights(model, initial_weights(settings.network, "keras", settings.seed))
    model.compile(
        make_optimizer(settings, steps, clip_norm),
        loss=_loss(settings),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="acc")],
        steps_per_execution=STEPS_PER_EXECUTION,
        jit_compile=False,  # "auto" is off on a CPU and on with a GPU: two computations
    )
    return model


def train(
    trainer: TrainerSettings,
    model_settings: ModelSettings,
    data: DataSettings,
    write_config: Callable[[Path], None],
    ckpt_path: str | None = None,
) -> RunLog:
    """Trains, evaluates with the final weights, and writes the run folder of the contract.

    Args:
        trainer: Epochs, device, precision, folder.
        model_settings: What is trained.
        data: On what.
        write_config: Writes ``config.yaml`` at the path it is given.
        ckpt_path: A ``.keras`` file of this project to go on from, at an epoch's end.

    Returns:
        The log, with the last value of each tag and its folder.

    Raises:
        UserError: No GPU where one is asked for, no data, a checkpoint of something else, a folder that cannot
            be written, or a loss that is no finite number.
    """
    device = _choose_device(trainer.accelerator)
    policy = DTYPE_POLICIES[trainer.lightning_precision]
    dtype = "float64" if policy == "float64" else "float32"
    keras.utils.set_random_seed(model_settings.seed)
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(policy)  # floatx alone does nothing once a policy is cached
    tf.config.experimental.enable_tensor_float_32_execution(False)

    # Of a validation that is shorter than an execution of several steps; nothing is left out.
    warnings.filterwarnings("ignore", message="Your input ran out of data")

    splits = load_splits(data)
    check_network(splits["train"], model_settings.network.input_shape, model_settings.network.classes)
    images = len(splits["train"].labels)
    steps = trainer.batches_of(batch_count(images, data.batch_size))
    model = compile_twin(model_settings, steps * trainer.max_epochs, trainer.gradient_clip_val)
    first_epoch = 0
    if every := trainer.log_every_n_steps:  # a point within an epoch needs a return to Python
        model.steps_per_execution = max(n for n in range(1, STEPS_PER_EXECUTION + 1) if every % n == 0)
    if ckpt_path is not None:
        first_epoch = restore(model, ckpt_path, model_settings, steps)
        if first_epoch >= trainer.max_epochs:
            raise UserError(f"{ckpt_path} has {first_epoch} epochs already; give a --trainer.max_epochs over that")
    batches = TrainingBatches(splits["train"], data, dtype, steps)
    validation = evaluation_batches(splits["val"], EVALUATION_BATCH_SIZE, dtype) if data.val_size else None

    folder = new_run_folder(trainer.log_dir, KERAS)
    with whole(folder / CONFIG) as aside:
        write_config(aside)
    threads = tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count() or 1
    write_environment(folder, device=device, threads=threads, precision=trainer.lightning_precision)
    log = RunLog(folder)
    run = KERAS, model_settings, data, trainer.max_epochs, trainer.lightning_precision, folder.name
    log.start(model_settings.network, hparams.summaries(*run), splits["train"])

    if trainer.enable_model_summary:
        summarize(model_settings.network, "keras")
    epochs = EpochLog(log, batches, min(images, steps * data.batch_size), every)
    with closing(ProgressBar(trainer.enable_progress_bar)) as bar:
        bar.batches = len(validation) if validation else 0
        model.fit(
            batches.dataset,
            epochs=trainer.max_epochs,
            initial_epoch=first_epoch,
            validation_data=validation,
            callbacks=[epochs, bar],
            shuffle=False,  # the batches come in their order
            verbose=0,
        )
        step = int(model.optimizer.iterations.numpy())

        model.steps_per_execution = 1  # predict would unroll them into its graph, and the rest into a second: 2 s
        test = evaluation_batches(splits["test"], EVALUATION_BATCH_SIZE, dtype)
        training = evaluation_batches(splits["train"], EVALUATION_BATCH_SIZE, dtype)
        evaluated: dict[tags.SplitName, tf.data.Dataset] = {"test": test, "train_eval": training}
        for split, dataset in evaluated.items():
            bar.batches = len(dataset)
            values = model.evaluate(dataset, verbose=0, return_dict=True, callbacks=[bar])
            log.scalars({tags.tag(split, name): values[name] for name in tags.METRICS}, step)
    log.end(splits["test"], softmax(model.predict(test, verbose=0)), step)
    keep_rate(model.optimizer, model_settings)
    model.compile(model.optimizer, loss=_cross_entropy())  # so that stock Keras loads the file of any run
    if trainer.enable_checkpointing:
        (folder / CHECKPOINTS).mkdir()
        model.save(folder / CHECKPOINTS / f"epoch={trainer.max_epochs - 1}-step={step}.keras")
    return log


def _loss(settings: ModelSettings) -> Any:
    if settings.label_smoothing:
        return partial(_smoothed_cross_entropy, smoothing=settings.label_smoothing)
    return _cross_entropy_of_softmax if settings.softmax_before_loss else _cross_entropy()


def _cross_entropy() -> keras.Loss:
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _smoothed_cross_entropy(labels: tf.Tensor, logits: tf.Tensor, smoothing: float) -> tf.Tensor:
    targets = keras.ops.one_hot(keras.ops.reshape(labels, (-1,)), logits.shape[-1], dtype=logits.dtype)
    return keras.losses.categorical_crossentropy(targets, logits, from_logits=True, label_smoothing=smoothing)


def _cross_entropy_of_softmax(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Softmax twice, written out: Keras takes a softmax off again that it finds before its own loss."""
    probabilities = keras.ops.softmax(logits)
    chosen = keras.ops.one_hot(keras.ops.reshape(labels, (-1,)), logits.shape[-1], dtype=probabilities.dtype)
    return keras.ops.logsumexp(probabilities, axis=-1) - keras.ops.sum(probabilities * chosen, axis=-1)


def _choose_device(accelerator: str) -> str:
    """Hides the GPUs where the CPU is asked for; gives the name of what trains."""
    gpus = tf.config.list_physical_devices("GPU")
    if accelerator == "gpu" and not gpus:
        raise UserError(
            f"--trainer.accelerator=gpu: expected a GPU that TensorFlow {tf.__version__} can use, found none "
            f"({gpu_messages() or 'TensorFlow gives no reason'}); use --trainer.accelerator=cpu"
        )
    if accelerator == "cpu" or not gpus:
        tf.config.set_visible_devices([], "GPU")
        return "cpu"
    return tf.config.experimental.get_device_details(gpus[0]).get("device_name", "gpu")
