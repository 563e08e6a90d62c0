"""Trains the Keras twin and writes its run folder."""

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import keras

from cnn_mnist.architecture.initial_weights import initial_weights
from cnn_mnist.console.predictions import softmax
from cnn_mnist.console.summary import summarize
from cnn_mnist.data.order import batch_count
from cnn_mnist.data.splits import check_network, load_splits
from cnn_mnist.errors import UserError, expect
from cnn_mnist.runs import hparams, tags
from cnn_mnist.runs.environment import write_environment
from cnn_mnist.runs.files import atomic_write, lock_folder
from cnn_mnist.runs.folder import CHECKPOINTS, CONFIG, new_run_folder, newest_checkpoint
from cnn_mnist.runs.resume import rewind
from cnn_mnist.runs.signals import resume_hint
from cnn_mnist.settings import DataSettings, ModelSettings
from keras_parity.frameworks import RUN_NAMES
from keras_parity.settings import DTYPE_POLICIES, TrainerSettings
from keras_parity.twin.callbacks import EpochLog, ProgressBar, RunLog
from keras_parity.twin.checkpoints import read_state, restore, save
from keras_parity.twin.dtypes import in_dtype
from keras_parity.twin.engines import ENGINE
from keras_parity.twin.evaluation import evaluate
from keras_parity.twin.keeper import Keeper
from keras_parity.twin.losses import cross_entropy, make_loss
from keras_parity.twin.network import build_twin, load_weights
from keras_parity.twin.optimizers import copy_trained, make_optimizer
from keras_parity.twin.processes import process_count


def compile_twin(settings: ModelSettings, steps: int, clip_norm: float | None = None) -> keras.Sequential:
    """Builds and compiles the twin, in the current dtype policy.

    Args:
        settings: The settings of the Lightning module; ``align`` has no effect, because Keras is the reference.
        steps: Optimizer updates in the whole training.
        clip_norm: Maximum global norm of the gradients; None for no clipping.

    Returns:
        The compiled model with its initial weights, from images [batch, height, width, channels] to logits
        [batch, classes].
    """
    model = build_twin(settings.network, settings.seed)
    load_weights(model, initial_weights(settings.network, "keras", settings.seed))
    model.compile(
        make_optimizer(settings, steps, clip_norm),
        loss=make_loss(settings),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="acc")],
        steps_per_execution=ENGINE.steps_per_execution,
        jit_compile=ENGINE.jit_compile,
    )
    model.optimizer.build(model.trainable_variables)  # in ``fit``, TensorFlow would trace the step a second time
    return model


@contextmanager
def on_devices(trainer: TrainerSettings, data: DataSettings) -> Iterator[dict[str, Any]]:
    """Lets Keras compute on the devices and in the precision of the settings.

    Args:
        trainer: Device and precision.
        data: Batch size.

    Yields:
        What ``environment.yaml`` records of the devices, by name.

    Raises:
        UserError: There is no GPU although one is required, or the devices cannot share a batch equally.
    """
    processes = process_count()
    devices = trainer.devices * processes
    expect("--data.batch_size", data.batch_size % devices == 0, f"a multiple of the {devices} devices", data.batch_size)
    policy = DTYPE_POLICIES[trainer.lightning_precision]
    with ENGINE.device(trainer.accelerator, trainer.devices, processes) as (device, threads), in_dtype(policy):
        yield {"device": device, "devices": devices, "threads": threads}


def train(
    trainer: TrainerSettings,
    model_settings: ModelSettings,
    data: DataSettings,
    write_config: Callable[[Path], None],
    ckpt_path: str | None,
    every: int,
    folder: Path | None,
    hardware: dict[str, Any],
) -> RunLog:
    """Trains the twin, evaluates it with the final weights, and writes its run folder; call it in ``on_devices``.

    Args:
        trainer: Epochs, device, precision, folder.
        model_settings: Network, optimizer and loss.
        data: Data set and batches.
        write_config: Writes ``config.yaml`` to a path.
        ckpt_path: A ``.keras`` file of this project to continue from, at the end of an epoch.
        every: Steps between two checkpoints within an epoch; 0 for none.
        folder: Run folder to resume; None for a new run.
        hardware: What ``on_devices`` yields.

    Returns:
        The log, with the last value of each tag and the run folder.

    Raises:
        UserError: The data are missing, the checkpoint does not fit, the folder cannot be written, or the loss is not
            finite.
    """
    framework, dtype = RUN_NAMES[keras.config.backend()], keras.config.floatx()
    # Keras warns about a validation shorter than one execution of several steps; no batch is lost.
    warnings.filterwarnings("ignore", message="Your input ran out of data")

    splits = load_splits(data)
    check_network(splits["train"], model_settings.network.input_shape, model_settings.network.classes)
    images = len(splits["train"].labels)
    steps = trainer.batches_per_epoch(batch_count(images, data.batch_size))
    model = compile_twin(model_settings, steps * trainer.max_epochs, trainer.gradient_clip_val)
    epoch, first, state = 0, 0, None
    if returns := math.gcd(trainer.log_every_n_steps, every):  # a point or checkpoint needs a return to Python
        model.steps_per_execution = max(n for n in range(1, ENGINE.steps_per_execution + 1) if returns % n == 0)
    kept = None if folder is None else newest_checkpoint(folder, framework)
    if kept is not None:
        epoch, first = restore(model, str(kept), model_settings, steps, own=True)
        state = read_state(kept)
    elif ckpt_path is not None:
        epoch, first = restore(model, ckpt_path, model_settings, steps)
        came = f"{ckpt_path} at update {first}; use its batch size and validation split, or --resume its run"
        expect("--ckpt_path", not first, f"a checkpoint at the end of an epoch ({steps} updates)", came)
        if epoch >= trainer.max_epochs:
            raise UserError(f"{ckpt_path} has already trained {epoch} epochs; set a larger --trainer.max_epochs")
    batches = ENGINE.TrainingBatches(splits["train"], data, dtype, steps)
    validation = ENGINE.evaluation_batches(splits["val"], dtype) if data.val_size else None

    if folder is None:
        folder = new_run_folder(trainer.log_dir, framework)
        with atomic_write(folder / CONFIG) as aside:
            write_config(aside)
    else:
        rewind(folder, kept, state, trainer.max_epochs)
    log = RunLog(folder)
    epochs = EpochLog(log, batches, min(images, steps * data.batch_size), trainer.log_every_n_steps)
    epochs.set_model(model)  # Keras does this too, but not if there is nothing to train
    if state is None:
        write_environment(folder, precision=trainer.lightning_precision, data_file=data.file, **hardware)
        run = framework, model_settings, data, trainer.max_epochs, trainer.lightning_precision, folder.name
        log.start(model_settings.network, hparams.summaries(*run), splits["train"])
    else:
        epochs.go_on(first, state)

    if trainer.enable_model_summary:
        summarize(model_settings.network, "keras")

    def keep(path: Path, state: dict[str, Any]) -> None:
        optimizer = make_optimizer(model_settings, steps * trainer.max_epochs, trainer.gradient_clip_val)
        copy_trained(model, optimizer, model_settings)
        save(path, state, model, optimizer, cross_entropy())

    bar, keeper = ProgressBar(trainer.enable_progress_bar), Keeper(epochs, folder / CHECKPOINTS, every, keep)
    with closing(bar), _saying_how(epochs), closing(keeper), lock_folder(folder):
        bar.batches = len(validation) if validation else 0
        whole_from = epoch + bool(first)  # Keras's epochs are equally long, so the rest of one is a separate fit
        parts = (batches.rest(first), epoch, whole_from), (batches.rest(0), whole_from, trainer.max_epochs)
        for dataset, start, end in parts:
            if start < end:
                model.fit(
                    dataset,
                    epochs=end,
                    initial_epoch=start,
                    validation_data=validation,
                    callbacks=[epochs, bar, *[keeper] * trainer.enable_checkpointing],
                    shuffle=False,  # the batches are already in order
                    verbose=0,
                )
        keeper.finish()
        step = epochs.step
        log.scalars(epochs.stopwatch.fit_done(), step)
        if keras.distribution.distribution() is not None:  # each process evaluates all images, on one device
            weights = model.get_weights()
            keras.distribution.set_distribution(None)
            model = compile_twin(model_settings, steps)
            model.set_weights(weights)

        values, logits = dict[str, float](), dict[str, Any]()
        for name in tags.EVALUATED if data.train_eval else tags.EVALUATED[:1]:
            part = splits["test" if name == "test" else "train"]
            images_of = ENGINE.evaluation_batches(part, dtype)
            figures, logits[name] = evaluate(model, model_settings, images_of, part.labels, bar)
            values |= {tags.tag(name, metric): value for metric, value in figures.items()}
        log.end(splits["test"], softmax(logits["test"]), values, step)
    return log


@contextmanager
def _saying_how(epochs: EpochLog) -> Iterator[None]:
    """Adds the command that resumes the run to an interrupt."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        interrupt.args = (resume_hint("python -m keras_parity", epochs.log.folder, epochs.step),)
        raise
