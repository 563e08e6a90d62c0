"""What Lightning does at every step and need not: redrawing the bar, timing each hook, searching for weights."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.profilers import PassThroughProfiler


class SparingProgressBar(RichProgressBar):
    """Lightning's rich bar, moved every 20 steps and drawn four times a second instead of at every step and a hundred.

    Args:
        every: Steps between two moves.
        **settings: Those of ``RichProgressBar``.
    """

    def __init__(self, every: int = 20, **settings: Any) -> None:
        super().__init__(**({"refresh_rate": 4, "leave": True} | settings))
        self.every = every

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Moves the bar, where it is due."""
        if trainer.is_last_batch or batch_idx % self.every == 0:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)


class NoProfiler(PassThroughProfiler):
    """Lightning's stand-in for a profiler, without a new context manager at each of 60 places of a step."""

    _nothing: AbstractContextManager[None] = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        """Does nothing."""
        return self._nothing


class SparingModule(LightningModule):
    """A LightningModule on which the running hook's name, noted 42 times a step, is set without a search for weights.

    ``nn.Module`` asks of every value that is set whether it is a parameter, a module or a buffer; without that a
    step's Python takes a tenth less.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)
