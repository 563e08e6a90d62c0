"""The commands ``fit``, ``validate`` and ``test``, built on LightningCLI."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.trainer import Trainer
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from cnn_mnist.architecture.layers import BatchNormalization
from cnn_mnist.console.results import save_and_print_results, weights_line
from cnn_mnist.errors import UserError, UserNotice, expect, no_gpu, notify
from cnn_mnist.neutral import say
from cnn_mnist.pytorch.checkpoint_callback import ResumableCheckpoint
from cnn_mnist.pytorch.checkpoints import read_checkpoint
from cnn_mnist.pytorch.cli_arguments import Arguments, Parser
from cnn_mnist.pytorch.data_module import MNISTDataModule
from cnn_mnist.pytorch.logger import run_folder, run_logger
from cnn_mnist.pytorch.module import Classifier
from cnn_mnist.pytorch.notices import quieten_lightning
from cnn_mnist.pytorch.processes import is_loss, local_rank, name_parent
from cnn_mnist.runs.files import atomic_write_text, check_writable
from cnn_mnist.runs.folder import CONFIG, PYTORCH, newest_checkpoint
from cnn_mnist.runs.resume import rewind

_INITIAL_STATISTICS = 0.1
"""Share of initial values in a batch norm's moving statistics from which a notice explains the evaluation."""


class SaveConfig(SaveConfigCallback):
    """Writes ``config.yaml`` atomically."""

    def save_config(self, trainer: Trainer, *args: Any) -> None:
        """Writes the file in the first process."""
        folder = run_folder(trainer)
        if folder is None:  # loggers without a folder
            return
        folder.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Lightning passes a deprecated argument
            atomic_write_text(folder / CONFIG, self.parser.dump(self.config, skip_none=False))


class CLI(Arguments):
    """Runs the commands."""

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Builds the trainer; its errors become one line."""
        if self.subcommand != "fit" or self.run_folder or not self._get(self.config_init, "trainer")["logger"]:
            self.save_config_callback = None  # only a training that logs saves config.yaml
        try:
            return super().instantiate_trainer(**kwargs)
        except (ImportError, RuntimeError, TypeError, ValueError, MisconfigurationException) as error:
            if self._get(self.config_init, "trainer")["accelerator"] == "gpu" and not torch.accelerator.is_available():
                raise no_gpu(f"PyTorch {torch.__version__}") from None
            raise UserError(f"--trainer: {' '.join(str(error).split())}") from None

    def before_fit(self) -> None:
        """Checks log folder, data and network before the training starts."""
        some = 0 not in (self.trainer.max_epochs, self.trainer.limit_train_batches)
        expect("fit", some, "something to train", "no epochs or no batches; increase them")
        anyway = "false, because batch norms act on the batch of all processes anyway"
        expect("--trainer.sync_batchnorm", not self._get(self.config, "trainer")["sync_batchnorm"], anyway, "true")
        if every := self._get(self.config, "checkpoint_every"):
            others = " and ".join(type(logger).__name__ for logger in self.trainer.loggers) or "no logger"
            needed = "the default logger, because --resume needs its log"
            expect("--checkpoint_every", run_logger(self.trainer) is not None, needed, f"{others}; omit it")
            self.trainer.callbacks.append(ResumableCheckpoint(every))  # type: ignore[attr-defined]
        for logger in self.trainer.loggers:
            if logger.save_dir is not None:
                check_writable(Path(logger.save_dir, str(logger.name or "")))
            folder = None if getattr(logger, "is_new", False) else getattr(logger, "log_dir", None)
            if folder is not None and self.run_folder is None and Path(folder, CONFIG).exists():
                raise UserError(f"expected a new run folder, got {folder}, which holds a run; choose another version")
        if self.trainer.local_rank == 0:
            self.datamodule.check(self.model, self.trainer.world_size)
        if str(self.trainer.precision).startswith("bf16") and self.trainer.strategy.root_device.type == "cpu":
            self._warn_of_slow_bf16()
        if self.run_folder is not None:
            self._rewind(self.run_folder)
        name_parent()

    def _rewind(self, folder: Path) -> None:
        """Continues from the run's newest checkpoint, and cuts the log back to it."""
        checkpoint, state = newest_checkpoint(folder, PYTORCH), None
        if checkpoint is not None:
            state = read_checkpoint(checkpoint).get("run")
            self.config_init["fit"]["ckpt_path"] = str(checkpoint)
        if self.trainer.is_global_zero:
            rewind(folder, checkpoint, state, self._get(self.config, "trainer")["max_epochs"])

    @staticmethod
    def _warn_of_slow_bf16() -> None:
        can = torch.cpu.get_capabilities()
        if can.get("architecture") == "x86_64" and not (can.get("avx512_bf16") or can.get("amx_bf16")):
            notify("--trainer.precision: this CPU has no bf16 instructions; float32 is ten times faster")

    def after_fit(self) -> None:
        """Evaluates the trained network on the test set and the training set, in the same run."""
        metrics = dict(self.trainer.callback_metrics)
        self.trainer.test(self.model, self.datamodule, verbose=False)
        self._explain_moving_statistics()
        metrics |= self.trainer.callback_metrics
        run, step = run_folder(self.trainer), self.trainer.global_step
        if self.trainer.is_global_zero:
            save_and_print_results({name: float(value) for name, value in metrics.items()}, run, step)

    def _explain_moving_statistics(self) -> None:
        layers = self.model.settings.network.layers
        momentum = max((layer.momentum for layer in layers if isinstance(layer, BatchNormalization)), default=0.0)
        initial = momentum**self.trainer.global_step
        if initial > _INITIAL_STATISTICS:
            notify(
                f"batch norm: after {self.trainer.global_step} steps at momentum {momentum}, its moving statistics are "
                f"still {initial:.0%} initial values, so evaluation is worse than training; train longer"
            )

    def before_validate(self) -> None:
        """Checks that there are a trained network and a validation split."""
        split = not self._get(self.config, "ckpt_path") or self.datamodule.settings.val_size > 0
        came = "one that trained on all images; use test instead, or train with --data.val_size=5000"
        expect("validate", split, "a run with a validation split", came)
        self.before_test()

    def before_test(self) -> None:
        """Checks that there is a trained network, and names its weights."""
        path = self._get(self.config, "ckpt_path")
        if not path:
            raise UserError(f"{self.subcommand}: expected a trained network; name one with --ckpt_path=RUN_FOLDER")
        if self.trainer.is_global_zero:
            say(weights_line(Path(path)))


def main(args: Sequence[str]) -> CLI:
    """Runs ``fit``, ``validate`` or ``test``.

    Args:
        args: The arguments, beginning with the command.

    Returns:
        LightningCLI's object, with ``trainer``, ``model`` and ``datamodule``.

    Raises:
        UserError: A mistake that the user can fix.
        KeyboardInterrupt: The user interrupted a training; its checkpoint is saved.
    """
    quieten_lightning()
    if getattr(rank_zero_only, "rank", 0):
        warnings.simplefilter("ignore", UserNotice)
    try:
        return CLI(
            args,
            model_class=Classifier,
            datamodule_class=MNISTDataModule,
            parser_class=Parser,
            parser_kwargs={"prog": "python -m cnn_mnist"},
            save_config_callback=SaveConfig,
            save_config_kwargs={"save_to_log_dir": False},
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
        )
    except MisconfigurationException as error:
        raise UserError(" ".join(str(error).split())) from None
    except SystemExit as leaving:
        if isinstance(leaving.__context__, KeyboardInterrupt) and not local_rank():  # Lightning exits with 1
            raise leaving.__context__ from None
        raise
    except UserError as error:
        raise (SystemExit(1) if local_rank() and not dist.is_initialized() else error) from None
    except RuntimeError as error:
        if not is_loss(error):
            raise
        raise (UserError(*error.__notes__) if hasattr(error, "__notes__") else SystemExit(1)) from None
