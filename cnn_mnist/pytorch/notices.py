"""What Lightning says unasked, and is kept from saying."""

import logging
import warnings


def quieten_lightning() -> None:
    """Leaves out Lightning's advice on its other products, and its warnings about what is meant here."""
    for module in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed"):
        logging.getLogger(module).setLevel(logging.WARNING)
    for message in (
        ".*smaller than the logging interval",  # an epoch is logged at its end in any case
        "You defined a `validation_step` but have no",  # no validation split, as with the next
        "Total length of `list` across ranks is zero",  # no validation split
        ".*sync_dist=True",  # the metrics are summed over processes already
        "The dirpath has changed",  # a resumed run has a folder of its own
        "Be aware that when using `ckpt_path`",  # an evaluation keeps nothing
        ".*does not have many workers",  # the data lie in memory
        "LightningCLI's args parameter",  # those of a run that goes on
    ):
        warnings.filterwarnings("ignore", message=message)
    warnings.filterwarnings("ignore", category=FutureWarning, module="lightning")  # its own to mend
    warnings.filterwarnings("ignore", category=DeprecationWarning, module="lightning")
