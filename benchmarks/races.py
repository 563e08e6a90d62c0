"""The races of ``python -m benchmarks``."""

from functools import partial

from benchmarks.contestants import STEPS
from benchmarks.race import Contestant, Figures, Race, Ratio
from cnn_mnist.runs import tags

_FIT = ("-m", "cnn_mnist", "fit", "--data.data_dir={data}", "--trainer.logger.save_dir={log}")
_TWIN = ("-m", "keras_parity", "--data.data_dir={data}", "--data.train_eval=false", "--trainer.log_dir={log}")
_PUBLISHED = ("-m", "benchmarks.contestants.published_pytorch", "{data}")
_FLOOR = "floor: multiply-adds at a matrix product's rate"
_KERNELS = "convolutions of fit"
FIT, TWIN = "python -m cnn_mnist fit", "python -m keras_parity"
TWO_EPOCHS = "--trainer.max_epochs=2"  # the first warms up
_STEPS = (TWO_EPOCHS, f"--trainer.limit_train_batches={STEPS}")
_NO_TEST = "--trainer.limit_test_batches=0"


def _milliseconds(figures: Figures, steps: int = STEPS) -> float:
    """Milliseconds per step in the last epoch."""
    return 1e3 * figures[tags.EPOCH_SECONDS] / steps


def _over_the_training(figures: Figures) -> float:
    return figures["wall_seconds"] - figures[tags.FIT_SECONDS]


def _per_image(size: int) -> Contestant:
    sized = (f"--data.val_size={60_000 - size}", "--trainer.limit_val_batches=0", TWO_EPOCHS)
    return Contestant(f"{size:,} images", (*_FIT, *sized), lambda figures: 1e6 / figures[tags.IMAGES_PER_SECOND])


STEP = Race(
    title="One step of three_conv, batch 64: the mean of 300 steps after 300 warm-up steps",
    unit="ms",
    contestants=(
        Contestant("published PyTorch loop", (*_PUBLISHED, "0")),
        Contestant("published PyTorch loop, 2 workers", (*_PUBLISHED, "2")),
        Contestant("plain Lightning module", ("-m", "benchmarks.contestants.plain_lightning", "{data}")),
        Contestant("bare torch loop", ("-m", "benchmarks.contestants.bare_torch", "{data}")),
        Contestant("its step in a barebones trainer", ("-m", "benchmarks.contestants.bare_lightning", "{data}")),
        Contestant(FIT, (*_FIT, *_STEPS, _NO_TEST), _milliseconds),
        Contestant(_KERNELS, ("-m", "benchmarks.contestants.kernels", *_FIT, *_STEPS, _NO_TEST)),
        Contestant("published Keras loop", ("-m", "benchmarks.contestants.published_keras", "{data}")),
        Contestant(TWIN, (*_TWIN, *_STEPS), _milliseconds),
        Contestant(_FLOOR, ("-m", "benchmarks.contestants.gemm")),
    ),
    ratios=(
        Ratio(FIT, "published PyTorch loop"),
        Ratio(FIT, "plain Lightning module"),
        Ratio(FIT, "bare torch loop"),
        Ratio("its step in a barebones trainer", "bare torch loop"),
        Ratio(FIT, _FLOOR),
        Ratio(_KERNELS, FIT),
        Ratio(TWIN, "published Keras loop"),
        Ratio(FIT, TWIN),
    ),
)

_EVALUATION = ("-m", "benchmarks.contestants.evaluation")

EVALUATION = Race(
    title="The evaluation after a training, 70,000 images, per image",
    unit="µs",
    contestants=(
        Contestant(FIT, (*_EVALUATION, "cnn_mnist", "{data}"), "microseconds"),
        Contestant(TWIN, (*_EVALUATION, "keras_parity", "{data}"), "microseconds"),
        Contestant(_FLOOR, ("-m", "benchmarks.contestants.gemm"), "microseconds"),
    ),
    ratios=(Ratio(FIT, _FLOOR), Ratio(TWIN, _FLOOR)),
)

_FEW = (TWO_EPOCHS, "--trainer.limit_train_batches=60")
_few = partial(_milliseconds, steps=60)

# A separate race: without bf16 instructions, a CPU computes bf16 ten times more slowly than float32.
BF16 = Race(
    title="One step in bf16",
    unit="ms",
    contestants=(
        Contestant(FIT, (*_FIT, *_FEW, _NO_TEST), _few),
        Contestant(f"{FIT}, bf16", (*_FIT, *_FEW, _NO_TEST, "--trainer.precision=bf16-mixed"), _few),
    ),
    ratios=(Ratio(f"{FIT}, bf16", FIT),),
)

_ENGINES = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
_LOOPS = {backend: (f"published loop on {name}", f"this project on {name}") for backend, name in _ENGINES.items()}

BACKENDS = Race(
    title="One step of three_conv in Keras, batch 64, on each backend: the mean of 60 steps after 60 warm-up steps",
    unit="ms",
    contestants=(
        *(
            contestant
            for backend, (published, ours) in _LOOPS.items()
            for contestant in (
                Contestant(
                    published,
                    ("-m", "benchmarks.contestants.published_keras", "{data}", "60"),
                    environment={"KERAS_BACKEND": backend},
                ),
                Contestant(ours, (*_TWIN, *_FEW, f"--backend={backend}"), _few),
            )
        ),
        Contestant(_FLOOR, ("-m", "benchmarks.contestants.gemm")),
    ),
    ratios=(
        *(Ratio(ours, published) for published, ours in _LOOPS.values()),
        *(Ratio(ours, _FLOOR) for _, ours in _LOOPS.values()),
    ),
)

_LOADS = {"alone": 0, "next to one busy process": 1, "next to two": 2}
_COUNTS = 300_000, 100_000, 30_000, 10_000, 3_000, 1_000
_SPINS = {f"spin count {count:,}": {"GOMP_SPINCOUNT": str(count)} for count in _COUNTS}
_SPINS["passive"] = {"OMP_WAIT_POLICY": "PASSIVE"}
_BEFORE = {"GOMP_SPINCOUNT": "300000"}  # GNU's default
_BARE = ("-m", "benchmarks.contestants.bare_torch", "{data}")

WAITING = Race(
    title="One step, with the default waiting of OpenMP threads (before) and that of this project (after)",
    unit="ms",
    contestants=tuple(
        Contestant(f"{name} {load}, {word}", (*command, *_FEW), _few, environment, busy)
        for load, busy in _LOADS.items()
        for name, command in (("fit", (*_FIT, _NO_TEST)), ("twin", _TWIN))
        for word, environment in (("before", _BEFORE), ("after", {}), ("one thread", {"OMP_NUM_THREADS": "1"}))
        if name == "fit" or word != "one thread"
    ),
    ratios=(
        *(Ratio(f"{name} {load}, after", f"{name} {load}, before") for name in ("fit", "twin") for load in _LOADS),
        *(Ratio(f"fit {load}, one thread", f"fit {load}, before") for load in _LOADS),
    ),
)

SPIN = Race(
    title="One step over spin counts",
    unit="ms",
    contestants=tuple(
        Contestant(f"{spin}, {load}", (*_BARE, "2"), environment=waits, busy=busy)
        for load, busy in _LOADS.items()
        for spin, waits in _SPINS.items()
    ),
)

_SPEEDRUN = Contestant("speedrun", (*_FIT, "--config=speedrun", "--seed_everything={round}"), tags.FIT_SECONDS)


def _to_99(title: str, other: str, module: str, rounds: int | None = None) -> Race:
    """The speedrun against another way to 99%."""
    command = ("-m", f"benchmarks.contestants.{module}", "{data}", "{round}")
    return Race(
        title=title,
        unit="s",
        contestants=(_SPEEDRUN, Contestant(other, command, "seconds")),
        ratios=(Ratio("speedrun", other),),
        rounds=rounds,
        also=("test/acc",),
    )


TO_99 = _to_99("Time to 99%, the training loop alone", "fastest published recipe", "recipe", rounds=20)

FROM_DEFAULT = _to_99(
    "Time to 99%, against the default settings stopped at the first epoch that reaches it",
    "default settings",
    "default_to_99",
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
    title="Peak resident memory of a training in epochs of 300 steps",
    unit="GB",
    contestants=tuple(
        Contestant(
            f"{n} epochs",
            (*_FIT, f"--trainer.limit_train_batches={STEPS}", f"--trainer.max_epochs={n}"),
            lambda figures: figures["peak_bytes"] / 1e9,
        )
        for n in (3, 30)
    ),
    ratios=(Ratio("30 epochs", "3 epochs"),),
    rounds=1,
)

RACES = {
    "step": STEP,
    "backends": BACKENDS,
    "evaluation": EVALUATION,
    "waiting": WAITING,
    "spin": SPIN,
    "bf16": BF16,
    "to_99": TO_99,
    "from_default": FROM_DEFAULT,
    "start": START,
    "size": SIZE,
    "memory": MEMORY,
}
