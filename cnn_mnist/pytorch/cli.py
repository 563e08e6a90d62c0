"""``fit``, ``validate`` and ``test`` on the command line, with LightningCLI."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.trainer import Trainer
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from cnn_mnist.console.results import save_and_print_results
from cnn_mnist.errors import UserError, UserNotice
from cnn_mnist.pytorch.checkpoint_callback import ResumableCheckpoint
from cnn_mnist.pytorch.checkpoints import read_checkpoint
from cnn_mnist.pytorch.cli_arguments import Arguments, Parser
from cnn_mnist.pytorch.data_module import MNISTDataModule
from cnn_mnist.pytorch.module import Classifier
from cnn_mnist.pytorch.notices import quieten_lightning
from cnn_mnist.runs.files import atomic_write_text
from cnn_mnist.runs.folder import CONFIG, PYTORCH, check_writable, newest_checkpoint
from cnn_mnist.runs.resume import rewind


class SaveConfig(SaveConfigCallback):
    """Writes ``config.yaml`` whole or not at all."""

    def save_config(self, trainer: Trainer, *args: Any) -> None:
        """Writes it, in the first process alone."""
        folder = Path(next(logger.log_dir for logger in trainer.loggers if logger.log_dir))
        folder.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of the name that Lightning uses, too
            atomic_write_text(folder / CONFIG, self.parser.dump(self.config, skip_none=False))


class CLI(Arguments):
    """What the commands do with what was typed."""

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Builds the trainer; what it refuses is said in one line."""
        if self.subcommand != "fit" or self.run_folder or not self._get(self.config_init, "trainer")["logger"]:
            self.save_config_callback = None  # config.yaml belongs to a training's run folder
        try:
            return super().instantiate_trainer(**kwargs)
        except (ImportError, RuntimeError, TypeError, ValueError, MisconfigurationException) as error:
            if self._get(self.config_init, "trainer")["accelerator"] == "gpu" and not torch.accelerator.is_available():
                raise UserError(
                    "--trainer.accelerator=gpu: expected a GPU that PyTorch "
                    f"{torch.__version__} can use, found none; use --trainer.accelerator=cpu"
                ) from None
            raise UserError(f"--trainer: {' '.join(str(error).split())}") from None

    def before_fit(self) -> None:
        """Refuses a log folder that cannot be written or that holds a run already, before data is touched."""
        if self.trainer.max_epochs == 0 or self.trainer.limit_train_batches == 0:
            raise UserError("fit: expected something to train, got no epochs or no batches; give more of them")
        if every := self._get(self.config, "checkpoint_every"):
            self.trainer.callbacks.append(ResumableCheckpoint(every))  # type: ignore[attr-defined]
        if self.run_folder is not None:
            self._go_on(self.run_folder)
        for logger in self.trainer.loggers:
            if logger.save_dir is not None:
                check_writable(Path(logger.save_dir, str(logger.name or "")))
            folder = None if getattr(logger, "is_new", False) else getattr(logger, "log_dir", None)
            if folder is not None and self.run_folder is None and Path(folder, CONFIG).exists():
                raise UserError(f"expected a new run folder, got {folder}, which holds a run; name another version")
        if self.trainer.is_global_zero:
            self.datamodule.check(self.model)
        if str(self.trainer.precision).startswith("bf16") and self.trainer.strategy.root_device.type == "cpu":
            self._warn_of_slow_bf16()

    def _go_on(self, folder: Path) -> None:
        """Has the trainer go on from the run's newest checkpoint, its log from where that was written."""
        checkpoint, state = newest_checkpoint(folder, PYTORCH), None
        if checkpoint is not None:
            state = read_checkpoint(checkpoint).get("run")
            self.config_init["fit"]["ckpt_path"] = str(checkpoint)
        if self.trainer.is_global_zero:
            rewind(folder, checkpoint, state)

    @staticmethod
    def _warn_of_slow_bf16() -> None:
        can = torch.cpu.get_capabilities()
        if can.get("architecture") == "x86_64" and not (can.get("avx512_bf16") or can.get("amx_bf16")):
            notice = "--trainer.precision: this CPU has no bf16 instructions and is ten times slower than in float32"
            warnings.warn(UserNotice(notice), stacklevel=2)

    def after_fit(self) -> None:
        """Evaluates the trained network on the test set and the whole training set, into the same run."""
        metrics = dict(self.trainer.callback_metrics)
        self.trainer.test(self.model, self.datamodule, verbose=False)
        metrics |= self.trainer.callback_metrics
        self._print_results(metrics, self.trainer.log_dir if self.trainer.logger else None)

    def before_validate(self) -> None:
        """A trained network and a validation split are needed."""
        self.before_test()
        if self.datamodule.settings.val_size == 0:
            raise UserError("validate: expected a validation split, got --data.val_size=0; give the size of the run's")

    def before_test(self) -> None:
        """A trained network is needed."""
        if not self._get(self.config, "ckpt_path"):
            raise UserError(f"{self.subcommand}: expected a trained network; name one with --ckpt_path=FILE.ckpt")

    def after_test(self) -> None:
        """Prints loss and accuracy."""
        self._print_results(self.trainer.callback_metrics)

    after_validate = after_test

    def _print_results(self, metrics: Mapping[str, torch.Tensor], run: str | None = None) -> None:
        if self.trainer.is_global_zero:
            save_and_print_results({name: float(value) for name, value in metrics.items()}, run)


def main(args: Sequence[str]) -> CLI:
    """Runs the command line.

    Args:
        args: What was typed after the program's name, the command first.

    Raises:
        UserError: A mistake that the user can mend.
        KeyboardInterrupt: The user interrupts a training, which Lightning has put in order.
    """
    quieten_lightning()
    try:
        return CLI(
            args,
            model_class=Classifier,
            datamodule_class=MNISTDataModule,
            parser_class=Parser,
            save_config_callback=SaveConfig,
            save_config_kwargs={"save_to_log_dir": False},
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
        )
    except MisconfigurationException as error:
        raise UserError(" ".join(str(error).split())) from None
    except SystemExit as leaving:
        if isinstance(leaving.__context__, KeyboardInterrupt):  # Lightning leaves with 1, as after an error
            raise leaving.__context__ from None
        raise
