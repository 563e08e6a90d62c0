"""``python -m keras_parity convert SOURCE TARGET``: weights that travel both ways, checked on arrival."""

import keras_parity.both_frameworks  # isort: skip # noqa: F401 - first, see there

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnn_mnist.architecture.descriptions import Description, read_network
from cnn_mnist.architecture.network import Network
from cnn_mnist.console.arguments import OneLineErrors
from cnn_mnist.data import mnist
from cnn_mnist.errors import UserError, UserNotice
from cnn_mnist.runs.files import atomic_write
from cnn_mnist.runs.folder import ENDINGS, KERAS, PYTORCH, find_checkpoint
from cnn_mnist.settings import DataSettings
from keras_parity.convert import keras_files, pytorch_files
from keras_parity.convert.portable import Logits, Portable

GREATEST_DIFFERENCE = 1e-4
"""Of two logits of the same image, in the two frameworks."""


class _Format(NamedTuple):
    read: Callable[[Path, Network | None], tuple[Portable, Logits]]
    write: Callable[[Portable, Path], None]
    optimizer: bool = False


FORMATS: dict[str, _Format] = {
    ".ckpt": _Format(pytorch_files.read_ckpt, pytorch_files.write_ckpt, optimizer=True),
    ".pt": _Format(pytorch_files.read_state_dict, pytorch_files.write_state_dict),
    ".pth": _Format(pytorch_files.read_state_dict, pytorch_files.write_state_dict),
    ".safetensors": _Format(pytorch_files.read_state_dict, pytorch_files.write_state_dict),
    ".keras": _Format(keras_files.read_keras, keras_files.write_keras, optimizer=True),
    ".weights.h5": _Format(keras_files.read_h5, keras_files.write_h5),
}


class Agreement(NamedTuple):
    """How a target computes beside its source.

    Attributes:
        images: On what: how many, and of which kind.
        difference: Greatest absolute difference of a logit.
        changed: Number of images that are predicted otherwise.
    """

    images: str
    difference: float
    changed: int

    def __str__(self) -> str:
        return (
            f"{self.images}, greatest difference of a logit {self.difference:.2g}, {self.changed} changed predictions"
        )


def convert_weights(
    source: str | Path,
    target: str | Path,
    images: NDArray[np.floating] | None = None,
    with_optimizer: bool = False,
    architecture: Description | Network | None = None,
    overwrite: bool = False,
) -> Agreement:
    """Reads a network from one file, writes it to another, and compares what the two, as they are loaded, compute.

    Args:
        source: A ``.ckpt``, ``.pt``, ``.safetensors``, ``.keras`` or ``.weights.h5`` file, or a run folder.
        target: Another; its ending is its format. It is written aside and takes its place once it agrees.
        images: What the two are compared on, [n, height, width, channels] in [0, 1]; noise where it is None or the
            network takes other images.
        with_optimizer: Whether the optimizer's state travels too.
        architecture: The network, where the source does not describe it.
        overwrite: Whether a target that exists is replaced.

    Raises:
        UserError: A file is not what its ending says, the architecture is not known, the optimizer's state is asked
            for and not there, the two do not agree, or the target cannot be written.
    """
    target = Path(target)
    source = find_checkpoint(source, KERAS if target.suffix == ENDINGS[PYTORCH] else PYTORCH)
    reads, writes = _format(source), _format(target)
    if not source.is_file():
        raise UserError(f"expected a file to convert, got {source}, which is no file")
    if not target.parent.is_dir():
        raise UserError(f"expected a folder that exists, got {target.parent}, for {target.name}; make it first")
    if target.exists() and target.samefile(source):
        raise UserError(f"expected another file to write than {source} itself; name another")
    if target.exists() and not overwrite:
        raise UserError(f"expected a file to write that does not exist yet, got {target}; --overwrite replaces it")
    if with_optimizer and not writes.optimizer:
        raise UserError(f"--with_optimizer: expected a .ckpt or .keras file to hold it, got {target}")
    portable, before = reads.read(source, None if architecture is None else read_network(architecture))
    if with_optimizer and portable.slots is None:
        reason = portable.untold or f"{source} holds no optimizer with Keras's formula"
        raise UserError(f"--with_optimizer: {reason}")
    if with_optimizer and (portable.settings.schedule != "constant" or portable.settings.warmup):
        raise UserError(f"--with_optimizer: expected a constant learning rate, got {source} with a schedule half done")
    if portable.untold:
        warnings.warn(UserNotice(f"{portable.untold}; the weights alone are converted"), stacklevel=2)
    if not with_optimizer:
        portable = replace(portable, slots=None, iterations=0)
    if portable.matched:
        warnings.warn(UserNotice(f"{source}: matched by order and shape, {portable.matched}"), stacklevel=2)
    shape = portable.network.input_shape
    kind = "test images"
    if images is None or images.shape[1:] != shape:
        images, kind = np.random.default_rng(0).random((1000, *shape), np.float32), "images of noise"
    with atomic_write(target) as aside:
        writes.write(portable, aside)
        agreement = _compare(before(images), writes.read(aside, portable.network)[1](images), f"{len(images):,} {kind}")
        if not agreement.difference <= GREATEST_DIFFERENCE or agreement.changed:
            raise UserError(f"{target} would not compute what {source} does: {agreement}; it was not written")
    return agreement


def main(args: list[str]) -> None:
    """Reads the arguments after ``convert``, converts and prints the agreement."""
    parser = OneLineErrors(
        prog="python -m keras_parity convert",
        description="Converts a trained network from one framework to the other and checks it on the test images.",
    )
    parser.add_argument("source", type=str, help=f"Run folder, or file that ends in one of {', '.join(FORMATS)}.")
    parser.add_argument("target", type=str, help="File to write; its ending is its format.")
    parser.add_switch("--with_optimizer", help="Whether the optimizer's state travels too (.ckpt, .keras).")
    parser.add_switch("--overwrite", help="Replaces TARGET where it exists.")
    parser.add_argument(
        "--model.architecture", type=Description | None, default=None, help="The network, where SOURCE describes none."
    )
    parser.add_some(DataSettings, "data", "data_dir")
    config = parser.parse_args(args)
    images = mnist.scale(mnist.load_mnist(config.data.data_dir).test_images)[..., None]
    agreement = convert_weights(
        config.source, config.target, images, bool(config.with_optimizer), config.model.architecture,
        bool(config.overwrite),
    )  # fmt: skip
    print(f"wrote {config.target} from {config.source}: on {agreement}")
    print(f"next: {_how_to_load(config.target)}")


def _how_to_load(target: str) -> str:
    """How the written file is used."""
    ways = {
        ".ckpt": "python -m cnn_mnist test --ckpt_path={}",
        ".keras": 'keras.models.load_model("{}")',
        ".weights.h5": 'model.load_weights("{}")',
        ".safetensors": 'network.load_state_dict(safetensors.torch.load_file("{}"))',
    }
    state = 'network.load_state_dict(torch.load("{}", weights_only=True))'
    return next((way for ending, way in ways.items() if target.endswith(ending)), state).format(target)


def _format(path: Path) -> _Format:
    for ending, form in FORMATS.items():
        if path.name.endswith(ending):
            return form
    raise UserError(f"expected a file that ends in one of {', '.join(FORMATS)}, got {path}")


def _compare(before: NDArray, after: NDArray, images: str) -> Agreement:
    changed = int((before.argmax(axis=1) != after.argmax(axis=1)).sum())
    # What gives probabilities has its logits but for a constant of each image.
    before, after = (logits - logits.max(axis=1, keepdims=True) for logits in (before, after))
    return Agreement(images, float(np.abs(before - after).max()), changed)
