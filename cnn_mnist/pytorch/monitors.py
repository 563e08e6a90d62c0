"""Makes Lightning's ``EarlyStopping`` and ``ModelCheckpoint`` work with this project's tags."""

import re

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from cnn_mnist.errors import UserError, nearest
from cnn_mnist.pytorch.data_module import MNISTDataModule
from cnn_mnist.runs import tags


def fit_monitors(trainer: Trainer, module: LightningModule) -> None:
    """Checks the tags that callbacks monitor, and replaces the slash of tags in file names.

    Args:
        trainer: The trainer with its callbacks.
        module: The module to train.

    Raises:
        UserError: A callback monitors a tag that a fit does not log. Unchecked with callbacks or modules from other
            packages, which may log their own.
    """
    data = trainer.datamodule  # type: ignore[attr-defined]
    validates = trainer.enable_validation and not (isinstance(data, MNISTDataModule) and data.settings.val_size == 0)
    splits: tuple[tags.SplitName, ...] = ("train", "val") if validates else ("train",)
    known = [tags.tag(split, name) for split in splits for name in tags.METRICS]
    known += [tags.EPOCH_SECONDS, tags.IMAGES_PER_SECOND, "epoch", "step"]
    packages = {type(part).__module__.split(".")[0] for part in (module, *trainer.callbacks)}  # type: ignore[attr-defined]
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        monitor = getattr(callback, "monitor", None)
        if monitor is not None and monitor not in known and packages <= {"lightning", "cnn_mnist"}:
            hint = nearest(monitor, known) if validates else "; val/* needs a --data.val_size over 0"
            raise UserError(f"{type(callback).__name__}: expected a monitor of {', '.join(known)}, got {monitor}{hint}")
        if isinstance(callback, ModelCheckpoint) and callback.auto_insert_metric_name and callback.filename:
            # val_acc={val/acc} for {val/acc}, because Lightning's val/acc= would create a folder
            flat = re.sub(r"\{([^}:]*)", lambda found: f"{found[1].replace('/', '_')}={found[0]}", callback.filename)
            callback.filename, callback.auto_insert_metric_name = flat, False
