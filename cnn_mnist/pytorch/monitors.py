"""Lightning's own early stopping and best checkpoint on this project's tags."""

import re

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from cnn_mnist.errors import UserError, nearest
from cnn_mnist.pytorch.data_module import MNISTDataModule
from cnn_mnist.runs import tags


def fit_monitors(trainer: Trainer, module: LightningModule) -> None:
    """Has callbacks find the tags that they monitor, and write those into a file's name without a slash.

    Args:
        trainer: With its callbacks.
        module: What it trains.

    Raises:
        UserError: One monitors what a fit does not log; what somebody else's callback or subclass may log is let by.
    """
    data = trainer.datamodule  # type: ignore[attr-defined]
    validates = trainer.enable_validation and not (isinstance(data, MNISTDataModule) and data.settings.val_size == 0)
    splits: tuple[tags.SplitName, ...] = ("train", "val") if validates else ("train",)
    known = [tags.tag(split, name) for split in splits for name in tags.METRICS]
    known += [tags.EPOCH_SECONDS, tags.IMAGES_PER_SECOND, "epoch", "step"]
    authors = {type(part).__module__.split(".")[0] for part in (module, *trainer.callbacks)}  # type: ignore[attr-defined]
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        monitor = getattr(callback, "monitor", None)
        if monitor is not None and monitor not in known and authors <= {"lightning", "cnn_mnist"}:
            hint = nearest(monitor, known) if validates else "; val/* needs a --data.val_size over 0"
            raise UserError(f"{type(callback).__name__}: expected a monitor of {', '.join(known)}, got {monitor}{hint}")
        if isinstance(callback, ModelCheckpoint) and callback.auto_insert_metric_name and callback.filename:
            # {val/acc} as val_acc={val/acc}: Lightning's val/acc= would begin a folder
            flat = re.sub(r"\{([^}:]*)", lambda found: f"{found[1].replace('/', '_')}={found[0]}", callback.filename)
            callback.filename, callback.auto_insert_metric_name = flat, False
