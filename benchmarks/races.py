"""Which races there are."""

from benchmarks.race import Contestant, Figures, Race, Ratio
from cnn_mnist.runs import tags

_FIT = ("-m", "cnn_mnist", "fit", "--data.data_dir={data}", "--trainer.logger.save_dir={log}")
_TWIN = ("-m", "keras_parity", "--data.data_dir={data}", "--trainer.log_dir={log}")
_PUBLISHED = ("-m", "benchmarks.contestants.published_pytorch", "{data}")
FIT, TWIN = "python -m cnn_mnist fit", "python -m keras_parity"
TWO_EPOCHS = "--trainer.max_epochs=2"  # the first warms up


def _over_the_training(figures: Figures) -> float:
    return figures["wall_seconds"] - figures[tags.FIT_SECONDS]


def _per_image(size: int) -> Contestant:
    sized = (f"--data.val_size={60_000 - size}", "--trainer.limit_val_batches=0", TWO_EPOCHS)
    return Contestant(f"{size:,} images", (*_FIT, *sized), lambda figures: 1e6 / figures[tags.IMAGES_PER_SECOND])


EPOCH = Race(
    title="One epoch of three_conv, batch 64",
    unit="s",
    contestants=(
        Contestant("published PyTorch loop", (*_PUBLISHED, "0")),
        Contestant("published PyTorch loop, 2 workers", (*_PUBLISHED, "2")),
        Contestant("plain Lightning module", ("-m", "benchmarks.contestants.plain_lightning", "{data}")),
        Contestant("bare torch loop", ("-m", "benchmarks.contestants.bare_torch", "{data}")),
        Contestant(FIT, (*_FIT, TWO_EPOCHS), tags.EPOCH_SECONDS),
        Contestant("published Keras loop", ("-m", "benchmarks.contestants.published_keras", "{data}")),
        Contestant(TWIN, (*_TWIN, TWO_EPOCHS), tags.EPOCH_SECONDS),
        Contestant("floor: multiply-adds at a matrix product's rate", ("-m", "benchmarks.contestants.gemm")),
    ),
    ratios=(
        Ratio(FIT, "published PyTorch loop"),
        Ratio(FIT, "plain Lightning module"),
        Ratio(FIT, "bare torch loop"),
        Ratio(FIT, "floor: multiply-adds at a matrix product's rate"),
        Ratio(TWIN, "published Keras loop"),
        Ratio(FIT, TWIN),
    ),
)

# Apart from the race above: without instructions for it, a CPU computes bf16 ten times more slowly than float32.
BF16 = Race(
    title="One epoch in bf16",
    unit="s",
    contestants=(
        Contestant(FIT, (*_FIT, TWO_EPOCHS), tags.EPOCH_SECONDS),
        Contestant(f"{FIT}, bf16", (*_FIT, TWO_EPOCHS, "--trainer.precision=bf16-mixed"), tags.EPOCH_SECONDS),
    ),
    ratios=(Ratio(f"{FIT}, bf16", FIT),),
)

_SPEEDRUN = Contestant("speedrun", (*_FIT, "--config=speedrun", "--seed_everything={round}"), tags.FIT_SECONDS)

TO_99 = Race(
    title="Time to 99%, the training loop alone",
    unit="s",
    contestants=(
        _SPEEDRUN,
        Contestant("fastest published recipe", ("-m", "benchmarks.contestants.recipe", "{data}", "{round}")),
    ),
    ratios=(Ratio("speedrun", "fastest published recipe"),),
    rounds=20,
    also=("test/acc",),
)

FROM_DEFAULT = Race(
    title="Time to 99%, against the default settings stopped at the first epoch that reaches it",
    unit="s",
    contestants=(
        _SPEEDRUN,
        Contestant("default settings", ("-m", "benchmarks.contestants.default_to_99", "{data}", "{round}")),
    ),
    ratios=(Ratio("speedrun", "default settings"),),
    also=("test/acc",),
)

_FLAGS = "import jsonargparse, docstring_parser"  # flags, and their help from docstrings

START = Race(
    title="Start-up",
    unit="s",
    contestants=(
        Contestant(f"{FIT}, 1 epoch, without the epoch", (*_FIT, "--trainer.max_epochs=1"), _over_the_training),
        Contestant("python -m cnn_mnist --help", ("-m", "cnn_mnist", "--help"), "wall_seconds"),
        Contestant("import lightning.pytorch.cli", ("-c", "import lightning.pytorch.cli"), "wall_seconds"),
        Contestant("python -m keras_parity --help", ("-m", "keras_parity", "--help"), "wall_seconds"),
        Contestant(_FLAGS, ("-c", _FLAGS), "wall_seconds"),
    ),
    ratios=(
        Ratio("python -m cnn_mnist --help", "import lightning.pytorch.cli"),
        Ratio("python -m keras_parity --help", _FLAGS),
    ),
)

SIZE = Race(
    title="An epoch of more images, per image",
    unit="µs",
    contestants=tuple(_per_image(size) for size in (7_500, 15_000, 30_000, 60_000)),
    ratios=(
        Ratio("30,000 images", "15,000 images"),
        Ratio("60,000 images", "15,000 images"),
        Ratio("60,000 images", "30,000 images"),
    ),
)

MEMORY = Race(
    title="Peak resident memory",
    unit="GB",
    contestants=tuple(
        Contestant(f"{n} epochs", (*_FIT, f"--trainer.max_epochs={n}"), lambda figures: figures["peak_bytes"] / 1e9)
        for n in (3, 30)
    ),
    ratios=(Ratio("30 epochs", "3 epochs"),),
    rounds=1,
)

RACES = {
    "epoch": EPOCH,
    "bf16": BF16,
    "to_99": TO_99,
    "from_default": FROM_DEFAULT,
    "start": START,
    "size": SIZE,
    "memory": MEMORY,
}
