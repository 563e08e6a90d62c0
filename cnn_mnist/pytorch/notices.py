"""Silences Lightning's messages that do not help the user."""

import logging
import warnings


def quieten_lightning() -> None:
    """Silences Lightning's advertisements and its warnings about intended behaviour."""
    for module in (
        "pytorch.utilities.rank_zero",
        "pytorch.trainer.connectors.signal_connector",
        "fabric.utilities.seed",
        "fabric.utilities.distributed",
    ):
        logging.getLogger(f"lightning.{module}").setLevel(logging.WARNING)
    for message in (
        ".*smaller than the logging interval",  # an epoch is always logged at its end
        "You defined a `validation_step` but have no",  # no validation split
        "Total length of `list` across ranks is zero",  # no validation split
        ".*sync_dist=True",  # the metrics already sum over processes
        "The dirpath has changed",  # a resumed run may have another folder
        "Be aware that when using `ckpt_path`",  # an evaluation saves nothing
        ".*does not have many workers",  # the data are in memory
        "LightningCLI's args parameter",  # arguments of a resumed run
    ):
        warnings.filterwarnings("ignore", message=message)
    warnings.filterwarnings("ignore", category=FutureWarning, module="lightning")  # for Lightning to fix
    warnings.filterwarnings("ignore", category=DeprecationWarning, module="lightning")
