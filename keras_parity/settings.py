"""The settings of the twin's training, and how a Lightning run's ``config.yaml`` is taken over."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from cnn_mnist.errors import UserError
from cnn_mnist.runs.folder import CONFIG, LOG_DIR, read_config
from cnn_mnist.settings import MAX_EPOCHS, SEED, DataSettings, ModelSettings, names, setting

DTYPE_POLICIES = {
    "32-true": "float32",
    "64-true": "float64",
    "bf16-mixed": "mixed_bfloat16",
    "bf16-true": "bfloat16",
}
"""Lightning's precisions as Keras's; float16 is left out, since the two scale its loss differently."""

_ALIASES = {"32": "32-true", "64": "64-true", "bf16": "bf16-mixed", "None": "32-true"}


@dataclass(frozen=True, kw_only=True)
class TrainerSettings:
    """How the twin is trained; the flags mean what they mean in Lightning.

    Args:
        max_epochs: Epochs to train.
        accelerator: "cpu", "gpu" or "auto", which takes a GPU where there is one.
        precision: 32-true, 64-true, bf16-mixed or bf16-true.
        limit_train_batches: Batches of an epoch that are trained on: a number of them, or a part in [0, 1]; None for
            all.
        gradient_clip_val: Greatest norm of all gradients as one vector; None or 0 for any.
        log_every_n_steps: Steps between two points of train/loss and train/acc within an epoch; 0 for its end alone.
            One with a divisor just under 32 costs least.
        enable_progress_bar: Whether a bar is drawn for every epoch.
        enable_model_summary: Whether the layers are printed.
        enable_checkpointing: Whether the trained network is kept in the run folder.
        log_dir: Folder that gets keras/version_N.

    Raises:
        UserError: A value is out of its range.
    """

    max_epochs: int = setting("training", MAX_EPOCHS)
    accelerator: Literal["auto", "cpu", "gpu"] = setting("surroundings", "auto")
    precision: str | int | None = setting("training", "32-true")
    limit_train_batches: int | float | None = setting("training", None)
    gradient_clip_val: float | None = setting("training", None)
    log_every_n_steps: int = setting("surroundings", 50)
    enable_progress_bar: bool = setting("surroundings", True)
    enable_model_summary: bool = setting("surroundings", True)
    enable_checkpointing: bool = setting("surroundings", True)
    log_dir: str = setting("surroundings", LOG_DIR)

    def __post_init__(self) -> None:
        if self.max_epochs < 1:
            raise UserError(f"max_epochs: expected 1 or more epochs, got {self.max_epochs}")
        if self.log_every_n_steps < 0:
            raise UserError(f"log_every_n_steps: expected 0 or more steps, got {self.log_every_n_steps}")
        if self.lightning_precision not in DTYPE_POLICIES:
            known = ", ".join(DTYPE_POLICIES)
            raise UserError(f"precision: expected one that Keras has too, of {known}, got {self.precision}")

    def batches_per_epoch(self, n: int) -> int:
        """How many of an epoch's batches are trained on, counted as Lightning does.

        Raises:
            UserError: It is none.
        """
        limit = 1.0 if self.limit_train_batches is None else self.limit_train_batches
        part = isinstance(limit, float) and limit <= 1
        count = int(limit * n) if part else min(int(limit), n)
        if count < 1 or not (part or limit == int(limit)):
            raise UserError(f"limit_train_batches: expected 1 batch or more of {n}, or a part, got {limit}")
        return count

    @property
    def lightning_precision(self) -> str:
        """Lightning's full name of the precision."""
        return _ALIASES.get(str(self.precision), str(self.precision))


GROUPS = {"model": ModelSettings, "data": DataSettings, "trainer": TrainerSettings}
"""The settings of a run, by the group of their flags and in its ``config.yaml``."""

# What a Lightning run may have set without being another computation: what it prints, where it logs, what it runs on.
_HARMLESS = {
    *("logger", "callbacks", "default_root_dir", "profiler", "detect_anomaly", "benchmark", "model_registry"),
    *("deterministic", "inference_mode", "num_sanity_val_steps", "use_distributed_sampler", "barebones"),
    *("enable_autolog_hparams", "strategy", "devices", "num_nodes", "sync_batchnorm"),
    *names(TrainerSettings, "surroundings"),
}
# Lightning's defaults of the rest; None is one for every setting.
_NEUTRAL = {
    "fast_dev_run": False,
    "max_steps": -1,
    "overfit_batches": 0.0,
    "check_val_every_n_epoch": 1,
    "accumulate_grad_batches": 1,
    "gradient_clip_val": 0,
    "gradient_clip_algorithm": "norm",
    "reload_dataloaders_every_n_epochs": 0,
}
_HARMLESS_CALLBACKS = {"RichProgressBar", "TQDMProgressBar", "RichModelSummary", "ModelSummary", "ModelCheckpoint"}
_TAKEN = {entry.name for entry in fields(TrainerSettings)}


def twin_settings(run: str | Path) -> dict[str, Any]:
    """Reads a Lightning run's settings as those of its twin.

    Args:
        run: The run folder, with its ``config.yaml``.

    Returns:
        Defaults for the twin's command line, by flag.

    Raises:
        UserError: There is no such run, or it has a setting that Keras cannot honour.
    """
    path = Path(run, CONFIG)
    config = read_config(run)
    if config is None:
        raise UserError(f"--twin_of: expected the folder of a Lightning run with its {path.name}, got {run}")
    trainer = config.get("trainer") or {}
    if "log_dir" in trainer:
        raise UserError(f"--twin_of: expected the folder of a Lightning run, got {run}, which is one of Keras")
    computed = taken_over(trainer, f"--twin_of: {path}")
    taken = flags(config, "model", "data")
    return taken | {f"trainer.{n}": v for n, v in computed.items() if n == "accelerator" or n not in _HARMLESS}


def flags(config: Mapping[str, Any], *groups: str) -> dict[str, Any]:
    """The seed of a ``config.yaml`` and the settings of some of its groups, by flag."""
    found = {f"{group}.{name}": value for group in groups for name, value in (config.get(group) or {}).items()}
    return {"seed_everything": config.get("seed_everything", SEED)} | found


def taken_over(trainer: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A Lightning trainer's settings as far as the twin has them.

    Args:
        trainer: The settings by name.
        where: What set them, for the message.

    Raises:
        UserError: One that the twin does not have changes the computation.
    """
    for name, value in _non_defaults(trainer).items():
        if name not in _TAKEN:
            raise UserError(f"{where} sets trainer.{name}={value}, which the Keras twin cannot honour")
    for callback in trainer.get("callbacks") or []:
        entry = callback if isinstance(callback, dict) else {"class_path": callback}
        name = str(entry["class_path"]).rsplit(".", 1)[-1]
        if name not in _HARMLESS_CALLBACKS or (entry.get("init_args") or {}).get("monitor"):
            raise UserError(f"{where} has the callback {name}, which the Keras twin cannot honour")
    return {name: value for name, value in trainer.items() if name in _TAKEN and value is not None}


def settings_that_matter(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run that make it another experiment, by flag, from either framework's ``config.yaml``.

    Left out are the seed, which runs that are averaged differ in, and what changes no number: the device, what is
    printed, where data and logs are saved, what else is evaluated. A setting that the file leaves out has its default.
    """
    trainer: Mapping[str, Any] = config.get("trainer") or {}
    precision = str(trainer.get("precision"))
    matter = dict[str, Any]()
    for group in ("model", "data"):
        free = names(GROUPS[group], "seed", "surroundings")
        defaults = {entry.name: entry.default for entry in fields(GROUPS[group])}
        values = defaults | config[group] if config.get(group) else {}
        matter |= {f"{group}.{name}": value for name, value in values.items() if name not in free}
    if config.get("ckpt_path"):
        matter["ckpt_path"] = config["ckpt_path"]  # a resumed run has trained a part of it only
    told = {"max_epochs": trainer.get("max_epochs"), "precision": _ALIASES.get(precision, precision)}
    return matter | {f"trainer.{name}": value for name, value in (_non_defaults(trainer) | told).items()}


def _non_defaults(trainer: Mapping[str, Any]) -> dict[str, Any]:
    """What of a Lightning trainer's settings is no default and changes what is computed."""
    return {
        name: value
        for name, value in trainer.items()
        if name not in _HARMLESS and value is not None and value != _NEUTRAL.get(name)
    }
