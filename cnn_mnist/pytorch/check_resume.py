"""``check_resume``: whether anybody's Lightning training that is stopped goes on to the bit."""

import copy
import random
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer, seed_everything

from cnn_mnist.runs.resume_check import RANDOM, ResumeReport, StoppedError, Watch, check_stops

_KEPT = "stopped.ckpt"


class _Watcher(Callback):
    """Shows every step to a watch, and keeps a checkpoint of the one after which it stops."""

    def __init__(self, folder: Path, watch: Watch) -> None:
        self.folder, self.watch = folder, watch

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, place: int
    ) -> None:
        """Shows what a step got, and what it left."""
        optimizers = [optimizer.state_dict() for optimizer in trainer.optimizers]
        try:
            self.watch(
                trainer.fit_loop.epoch_loop.total_batch_idx + 1,
                {
                    "the batch": _at_home(batch),
                    RANDOM: [torch.get_rng_state(), np.random.get_state(), random.getstate()],
                    "the learning rate": [[group["lr"] for group in state["param_groups"]] for state in optimizers],
                    "the weights": _at_home(module.state_dict()),
                    "the optimizer's state": _at_home([state["state"] for state in optimizers]),
                    "the schedule": [config.scheduler.state_dict() for config in trainer.lr_scheduler_configs],
                    "what is logged": _at_home(trainer.logged_metrics),
                },
            )
        except StoppedError:
            trainer.save_checkpoint(self.folder / _KEPT)
            raise


def check_resume(
    module: LightningModule, data: Any, stops: str | Iterable[int] = "every step", *, seed: int = 0, **trainer: Any
) -> ResumeReport:
    """Trains straight, then stops after steps and resumes from a checkpoint; names the first thing that differs.

    Compared after every step, to the bit: the batch, the random state, learning rates, weights, the states of optimizer
    and schedule, and what is logged.

    Args:
        module: Any Lightning module; copies of it are trained.
        data: A data module, which is copied, or a function that makes the training's loader.
        stops: After which steps, from 1; ``"every step"`` for all but the last.
        seed: What each training, and each that is resumed, begins with, as in a process of its own.
        **trainer: Settings of the ``Trainer``; 2 epochs on the CPU by default.

    Returns:
        The report; ``print`` it, or call ``raise_if_broken()`` in a test.

    Raises:
        UserError: There is no step behind a stop.

    Example:
        >>> report = check_resume(module, data, limit_train_batches=5)  # doctest: +SKIP
    """
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    settings: dict[str, Any] = {
        "max_epochs": 2,
        "accelerator": "cpu",
        **quiet,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
    }

    def train(folder: Path, watch: Watch) -> None:
        seed_everything(seed, verbose=False)
        watched = [*(copy.deepcopy(callback) for callback in trainer.get("callbacks") or ()), _Watcher(folder, watch)]
        own = Trainer(**settings | trainer | {"callbacks": watched, "default_root_dir": folder})
        kept = folder / _KEPT
        words: dict[str, Any] = {"ckpt_path": kept if kept.exists() else None, "weights_only": False}
        fed = copy.deepcopy(data) if isinstance(data, LightningDataModule) else data()
        with warnings.catch_warnings(action="ignore"):  # of what the report says
            own.fit(copy.deepcopy(module), fed, **words)

    return check_stops(train, stops)


def _at_home(nest: Any) -> Any:
    """Tensors on the CPU, with those that are no arrays in numpy as bytes."""
    if isinstance(nest, torch.Tensor):
        tensor = nest.detach().cpu()
        return tensor.view(torch.uint8) if tensor.dtype == torch.bfloat16 else tensor
    if isinstance(nest, dict):
        return {key: _at_home(value) for key, value in nest.items()}
    return [_at_home(value) for value in nest] if isinstance(nest, list | tuple) else nest
