"""``python -m keras_parity convert SOURCE TARGET``: converts weights, and checks the written file."""

import keras_parity.both_frameworks  # isort: skip # noqa: F401 - first, see there

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnn_mnist.architecture.descriptions import Description, read_network
from cnn_mnist.architecture.network import Network
from cnn_mnist.console import predict_input
from cnn_mnist.console.arguments import OneLineErrors
from cnn_mnist.data import mnist
from cnn_mnist.errors import UserError, expect, notify
from cnn_mnist.neutral import say
from cnn_mnist.runs.files import atomic_write
from cnn_mnist.runs.folder import ENDINGS, KERAS, PYTORCH, find_checkpoint
from cnn_mnist.settings import DataSettings
from keras_parity.convert import keras_files, pytorch_files, state_dicts
from keras_parity.convert.portable import Portable, Read
from keras_parity.frameworks import chosen_backend, keep_out

GREATEST_DIFFERENCE = 1e-4
"""Largest difference allowed between the two frameworks' logits of an image."""


class _Format(NamedTuple):
    read: Read
    write: Callable[[Portable, Path], None]
    load: str  # the command or line that loads the written file
    optimizer: bool = False


_CKPT = state_dicts.read_lightning, pytorch_files.write_ckpt
_STATE_DICT = state_dicts.read_state_dict, pytorch_files.write_state_dict
_TORCH = _Format(*_STATE_DICT, 'network.load_state_dict(torch.load("{}", weights_only=True))')
FORMATS: dict[str, _Format] = {
    ".ckpt": _Format(*_CKPT, "python -m cnn_mnist test --ckpt_path={}", optimizer=True),
    ".pt": _TORCH,
    ".pth": _TORCH,
    ".safetensors": _Format(*_STATE_DICT, 'network.load_state_dict(safetensors.torch.load_file("{}"))'),
    ".keras": _Format(keras_files.read_keras, keras_files.write_keras, 'keras.models.load_model("{}")', optimizer=True),
    ".weights.h5": _Format(keras_files.read_h5, keras_files.write_h5, 'model.load_weights("{}")'),
}


class Agreement(NamedTuple):
    """How well the outputs of a target agree with those of its source.

    Attributes:
        images: Number and kind of the images, such as "10,000 test images".
        difference: Largest absolute difference of a logit.
        changed: Number of images with another prediction.
        doubt: Why the source may not be the network that was trained, in one line; empty if it is.
    """

    images: str
    difference: float
    changed: int
    doubt: str = ""

    def __str__(self) -> str:
        if self.doubt:
            return f"{self.images}, but not with your own module: {self.doubt}; --source=FILE.py:CLASS does that"
        return f"{self.images}: largest difference of a logit {self.difference:.2g}, {self.changed} changed predictions"


def convert_weights(
    source: str | Path,
    target: str | Path,
    images: NDArray[np.floating] | None = None,
    with_optimizer: bool = False,
    architecture: Description | Network | None = None,
    overwrite: bool = False,
    module: str | None = None,
) -> Agreement:
    """Converts a network from one file to another, loads both files, and compares their outputs.

    Args:
        source: A ``.ckpt``, ``.pt``, ``.pth``, ``.safetensors``, ``.keras`` or ``.weights.h5`` file, or a run folder.
        target: The file to write; its ending chooses the format. It is written only if it agrees with the source.
        images: The images to compare on, [n, height, width, channels] in [0, 1]; noise if None, or if the network takes
            other images.
        with_optimizer: Whether to convert the optimizer's state as well.
        architecture: The network, if the source does not describe it.
        overwrite: Whether to replace an existing target.
        module: The user's own PyTorch module, as ``FILE.py:CLASS``, which runs as the source.

    Returns:
        How well the target agrees with the source.

    Raises:
        UserError: A file does not have the format of its ending, the network is unknown, the optimizer's state is
            missing, the outputs disagree, or the target cannot be written.
    """
    target = Path(target)
    source = find_checkpoint(source, KERAS if target.suffix == ENDINGS[PYTORCH] else PYTORCH)
    reads, writes = _format(source), _format(target)
    if not source.is_file():
        raise UserError(f"expected a file to convert, got {source}, which does not exist")
    if not target.parent.is_dir():
        raise UserError(f"expected an existing folder for {target.name}, got {target.parent}; create it first")
    if target.exists() and target.samefile(source):
        raise UserError(f"expected another target than the source, got {source} for both")
    if target.exists() and not overwrite:
        raise UserError(f"expected a new file as target, got {target}, which exists; --overwrite replaces it")
    expect("--with_optimizer", writes.optimizer or not with_optimizer, "a .ckpt or .keras file as target", target)
    network, read = None if architecture is None else read_network(architecture), reads.read
    if module is not None:
        expect("--source", source.suffix not in (".keras", ".h5"), f"a PyTorch file to load into {module}", source)
        read = partial(state_dicts.read_state_dict, source=module)
    portable, before = read(source, network)
    if with_optimizer and portable.slots is None:
        reason = portable.untold or f"{source} has no optimizer with Keras's formula"
        raise UserError(f"--with_optimizer: {reason}")
    if with_optimizer and (portable.settings.schedule != "constant" or portable.settings.warmup):
        raise UserError(f"--with_optimizer: expected a constant learning rate, got {source} with a schedule")
    if portable.untold:
        notify(f"{portable.untold}; only the weights are converted")
    if not with_optimizer:
        portable = replace(portable, slots=None, iterations=0)
    for said in filter(None, (*portable.notes, portable.doubt)):
        notify(f"{source}: {said}")
    shape = portable.network.input_shape
    kind = "test images"
    if images is None or images.shape[1:] != shape:
        images, kind = np.random.default_rng(0).random((1000, *shape), np.float32), "noise images"
    with atomic_write(target) as aside:
        writes.write(portable, aside)
        agreement = _compare(before(images), writes.read(aside, portable.network)[1](images), f"{len(images):,} {kind}")
        if not agreement.difference <= GREATEST_DIFFERENCE or agreement.changed:
            raise UserError(f"{target} would not agree with {source}: {agreement}; it was not written")
    return agreement._replace(doubt=portable.doubt)


def main(args: list[str]) -> None:
    """Converts a file, and prints how well the result agrees.

    Args:
        args: The arguments after ``convert``.

    Raises:
        UserError: The arguments are wrong, or the file cannot be converted.
    """
    purpose = "Converts a trained network to the other framework, and checks the result on the test images."
    parser = OneLineErrors(prog="python -m keras_parity convert", description=purpose)
    source = f"Run folder, or file with one of the endings {', '.join(FORMATS)}."
    parser.add_argument("file", metavar="SOURCE", type=str, help=source)
    parser.add_argument("target", type=str, help="File to write; its ending chooses the format.")
    parser.add_switch("--with_optimizer", help="Convert the optimizer's state as well (.ckpt, .keras).")
    parser.add_argument("--source", type=str | None, default=None, help=predict_input.SOURCE)
    parser.add_switch("--overwrite", help="Replace an existing TARGET.")
    network = "The network, if SOURCE does not describe it."
    parser.add_argument("--model.architecture", type=Description | None, default=None, help=network)
    parser.add_some(DataSettings, "data", "data_dir")
    config = parser.parse_args(args)
    if chosen_backend() != "tensorflow":
        keep_out("tensorflow")  # Keras would import it
    images = mnist.scale(mnist.load_mnist(config.data.data_dir).test_images)[..., None]
    agreement = convert_weights(
        config.file, config.target, images, bool(config.with_optimizer), config.model.architecture,
        bool(config.overwrite), config.source,
    )  # fmt: skip
    say(f"wrote {config.target} from {config.file}, compared on {agreement}")
    say(f"next: {_format(Path(config.target)).load.format(config.target)}")


def _format(path: Path) -> _Format:
    for ending, form in FORMATS.items():
        if path.name.endswith(ending):
            return form
    raise UserError(f"expected a file with one of the endings {', '.join(FORMATS)}, got {path}")


def _compare(before: NDArray, after: NDArray, images: str) -> Agreement:
    changed = int((before.argmax(axis=1) != after.argmax(axis=1)).sum())
    # Logarithms of probabilities differ from logits by a constant for each image.
    before, after = (logits - logits.max(axis=1, keepdims=True) for logits in (before, after))
    return Agreement(images, float(np.abs(before - after).max()), changed)
