"""The settings of the twin's training, and how they are read from a Lightning run's ``config.yaml``."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from cnn_mnist.errors import UserError, expect
from cnn_mnist.lightning_defaults import ALL, DEFAULTS
from cnn_mnist.runs.folder import CONFIG, LOG_DIR, read_settings
from cnn_mnist.setting_checks import at_least
from cnn_mnist.settings import MAX_EPOCHS, SEED, DataSettings, ModelSettings, Settings, names, setting

DTYPE_POLICIES = {
    "32-true": "float32",
    "64-true": "float64",
    "bf16-mixed": "mixed_bfloat16",
    "bf16-true": "bfloat16",
}
"""Keras's policy for each of Lightning's precisions; float16 is missing: the two scale its loss differently."""

_ALIASES = {"32": "32-true", "64": "64-true", "bf16": "bf16-mixed", "None": "32-true"}


@dataclass(frozen=True, kw_only=True)
class TrainerSettings(Settings):
    """Epochs, device, precision and logs; flags have the same names as in Lightning.

    Args:
        max_epochs: Epochs to train.
        accelerator: "cpu", "gpu" or "auto", which uses a GPU if there is one.
        devices: Number of devices that share each batch; more than one with ``--backend=jax``.
        precision: 32-true, 64-true, bf16-mixed or bf16-true.
        limit_train_batches: Train on this many batches of each epoch, or on this fraction in [0, 1]; None for all.
        gradient_clip_val: Maximum global norm of the gradients; None or 0 for no clipping.
        log_every_n_steps: Steps between two points of train/loss and train/acc within an epoch; 0 logs only its end.
            A number with a divisor just under 32 costs least.
        enable_progress_bar: Draw a bar for every epoch.
        enable_model_summary: Print the layers.
        enable_checkpointing: Save the trained network in the run folder.
        log_dir: Folder of the logs; runs are saved in LOG_DIR/FRAMEWORK/version_N.

    Raises:
        UserError: A value is out of its range.
    """

    max_epochs: int = setting("training", MAX_EPOCHS, at_least(1, "epochs"))
    accelerator: Literal["auto", "cpu", "gpu"] = setting("surroundings", "auto")
    devices: int = setting("surroundings", 1, at_least(1, "devices"))
    precision: str | int | None = setting("training", "32-true")
    limit_train_batches: int | float | None = setting("training", None)
    gradient_clip_val: float | None = setting("training", None)
    log_every_n_steps: int = setting("surroundings", 50, at_least(0, "steps"))
    enable_progress_bar: bool = setting("surroundings", True)
    enable_model_summary: bool = setting("surroundings", True)
    enable_checkpointing: bool = setting("surroundings", True)
    log_dir: str = setting("surroundings", LOG_DIR)

    def __post_init__(self) -> None:
        super().__post_init__()
        known = self.lightning_precision in DTYPE_POLICIES
        expect("precision", known, f"a precision that Keras has too ({', '.join(DTYPE_POLICIES)})", self.precision)

    def batches_per_epoch(self, available: int) -> int:
        """The number of batches to train on in each epoch, counted as Lightning counts them.

        Args:
            available: Batches in the training set.

        Raises:
            UserError: ``limit_train_batches`` leaves none, or is neither a number of batches nor a fraction.
        """
        limit = 1.0 if self.limit_train_batches is None else self.limit_train_batches
        fraction = isinstance(limit, float) and limit <= 1
        count = int(limit * available) if fraction else min(int(limit), available)
        right = count >= 1 and (fraction or limit == int(limit))
        expect("limit_train_batches", right, f"1 to {available} batches, or a fraction of at least one", limit)
        return count

    @property
    def lightning_precision(self) -> str:
        """Lightning's full name of the precision."""
        return _ALIASES.get(str(self.precision), str(self.precision))


GROUPS = {"model": ModelSettings, "data": DataSettings, "trainer": TrainerSettings}
"""The settings of a run, by their group in flags and in ``config.yaml``."""

# Settings of a Lightning run that change no result: what it prints, where it logs, the device.
_HARMLESS = {
    *("logger", "callbacks", "default_root_dir", "profiler", "detect_anomaly", "benchmark", "model_registry"),
    *("deterministic", "inference_mode", "num_sanity_val_steps", "use_distributed_sampler", "barebones"),
    *("enable_autolog_hparams", "strategy", "devices", "num_nodes", "sync_batchnorm"),
    *names(TrainerSettings, "surroundings"),
}
_HARMLESS_CALLBACKS = {"RichProgressBar", "TQDMProgressBar", "RichModelSummary", "ModelSummary", "ModelCheckpoint"}
_TAKEN = {entry.name for entry in fields(TrainerSettings)}


def twin_settings(run: str | Path) -> dict[str, Any]:
    """Reads the settings of a Lightning run for its twin.

    Args:
        run: The run folder, with its ``config.yaml``.

    Returns:
        Defaults for the twin's command line, by flag.

    Raises:
        UserError: There is no such run, or Keras cannot honour one of its settings.
    """
    path = Path(run, CONFIG)
    config = read_settings(run)
    if config is None:
        raise UserError(f"--twin_of: expected the folder of a Lightning run with its {path.name}, got {run}")
    trainer = config.get("trainer") or {}
    expect("--twin_of", "log_dir" not in trainer, "the folder of a Lightning run", f"{run}, which is a Keras run")
    computed = taken_over(trainer, f"--twin_of: {path}")
    taken = flags(config, "model", "data")
    return taken | {f"trainer.{n}": v for n, v in computed.items() if n == "accelerator" or n not in _HARMLESS}


def flags(config: Mapping[str, Any], *groups: str) -> dict[str, Any]:
    """The seed and the settings of some groups of a ``config.yaml``, by flag."""
    found = {f"{group}.{name}": value for group in groups for name, value in (config.get(group) or {}).items()}
    return {"seed_everything": config.get("seed_everything", SEED)} | found


def taken_over(trainer: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Selects the settings of a Lightning trainer that the twin has.

    Args:
        trainer: The settings by name.
        where: The flag or file that they come from, for the message.

    Returns:
        Those settings, by name.

    Raises:
        UserError: A setting or a callback changes the computation, and the twin does not have it.
    """
    for name, value in _non_defaults(trainer).items():
        if name not in _TAKEN:
            raise UserError(f"{where} sets trainer.{name}={value}, which the Keras twin cannot honour")
    for entry in _callbacks(trainer):
        name = _name(entry)
        if name not in _HARMLESS_CALLBACKS or (entry.get("init_args") or {}).get("monitor"):
            raise UserError(f"{where} has the callback {name}, which the Keras twin cannot honour")
    return {name: value for name, value in trainer.items() if name in _TAKEN and value not in (None, "auto")}


def settings_that_matter(config: Mapping[str, Any], data_hash: str | None = None) -> dict[str, Any]:
    """The settings that define a run's experiment, by flag, from either framework's ``config.yaml``.

    Runs on different data are different experiments, so the hash of the user's data file is included.

    The seed is left out, because runs of one experiment differ in it, and so is all that changes no result: the
    device, the output, the folders, further evaluations. A setting that is not in the file has its default.
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
        matter["ckpt_path"] = config["ckpt_path"]  # this run trained only the rest
    always = {"max_epochs": trainer.get("max_epochs"), "precision": _ALIASES.get(precision, precision)}
    changing = [entry for entry in _callbacks(trainer) if _name(entry) not in _HARMLESS_CALLBACKS]
    if changing:
        always["callbacks"] = ", ".join(f"{_name(entry)}({_arguments(entry)})" for entry in changing)
    matter |= {f"trainer.{name}": value for name, value in (_non_defaults(trainer) | always).items()}
    return matter | ({"data.sha256": data_hash} if data_hash else {})


def _non_defaults(trainer: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a Lightning trainer that change the computation and differ from their defaults."""
    shares = {name for name in trainer if name.endswith(("_batches", "_interval"))}
    values = {name: ALL if name in shares and str(value) == ALL else value for name, value in trainer.items()}
    given = {name: value for name, value in values.items() if name not in _HARMLESS and value is not None}
    return {name: value for name, value in given.items() if value != DEFAULTS.get(name)}


def _callbacks(trainer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The callbacks of a Lightning trainer, in LightningCLI's form."""
    given = trainer.get("callbacks") or []
    entries = given if isinstance(given, list) else [given]
    whole = (isinstance(entry, dict) and isinstance(entry.get("init_args") or {}, dict) for entry in entries)
    return [entry if is_whole else {"class_path": entry} for entry, is_whole in zip(entries, whole, strict=True)]


def _name(callback: Mapping[str, Any]) -> str:
    return str(callback.get("class_path")).rpartition(".")[2]


def _arguments(callback: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in (callback.get("init_args") or {}).items())
