"""Lightning's defaults of a trainer's settings; imports nothing, so that a reader of logs can use them."""

from typing import Any

ALL = "1.0"
"""The fraction 1.0 of the batches: Python's 1.0 equals 1, which is one batch."""

DEFAULTS: dict[str, Any] = {
    **dict.fromkeys(("limit_train_batches", "limit_val_batches", "limit_test_batches", "val_check_interval"), ALL),
    "fast_dev_run": False,
    "max_steps": -1,
    "min_epochs": 0,
    "overfit_batches": 0.0,
    "check_val_every_n_epoch": 1,
    "accumulate_grad_batches": 1,
    "gradient_clip_val": 0,
    "gradient_clip_algorithm": "norm",
    "reload_dataloaders_every_n_epochs": 0,
}
"""Defaults of the settings that change what is computed, besides epochs and precision; None is a default of each."""
