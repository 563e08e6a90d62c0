"""``python -m keras_parity convert SOURCE TARGET``: weights that travel both ways, checked on arrival."""

import keras_parity.both_frameworks  # isort: skip # noqa: F401 - first, see there

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from cnn_mnist.architecture.layers import Layer
from cnn_mnist.console.arguments import OneLineErrors
from cnn_mnist.data import mnist
from cnn_mnist.data.splits import EVALUATION_BATCH_SIZE
from cnn_mnist.errors import UserError
from cnn_mnist.settings import DataSettings
from keras_parity.convert import keras_files, pytorch_files
from keras_parity.convert.keras_files import dtype_of, make_keras_model
from keras_parity.convert.portable import Portable
from keras_parity.convert.pytorch_files import make_torch_optimizer

GREATEST_DIFFERENCE = 1e-4
"""Of two logits of the same image, in the two frameworks."""

_Reader = Callable[[Path, Sequence[Layer] | None], Portable]
_Writer = Callable[[Portable, Path], None]


class _Format(NamedTuple):
    read: _Reader
    write: _Writer
    keras: bool
    optimizer: bool


FORMATS: dict[str, _Format] = {
    ".ckpt": _Format(lambda path, _: pytorch_files.read_ckpt(path), pytorch_files.write_ckpt, False, True),
    ".pt": _Format(pytorch_files.read_state_dict, pytorch_files.write_state_dict, False, False),
    ".safetensors": _Format(pytorch_files.read_state_dict, pytorch_files.write_state_dict, False, False),
    ".keras": _Format(keras_files.read_keras, keras_files.write_keras, True, True),
    ".weights.h5": _Format(keras_files.read_h5, keras_files.write_h5, True, False),
}


class Agreement(NamedTuple):
    """How a target computes beside its source.

    Attributes:
        difference: Greatest absolute difference of a logit.
        changed: Number of images that are read otherwise.
    """

    difference: float
    changed: int


def convert(
    source: str | Path,
    target: str | Path,
    images: NDArray[np.float32],
    with_optimizer: bool = False,
    layers: Sequence[Layer] | None = None,
) -> Agreement:
    """Reads a network from one file, writes it to another, and compares the two as they lie on the disk.

    Args:
        source: A ``.ckpt``, ``.pt``, ``.safetensors``, ``.keras`` or ``.weights.h5`` file.
        target: Another; its ending is its format.
        images: What the two are compared on, float32 [n, 28, 28] in [0, 1].
        with_optimizer: Whether the optimizer's state travels too.
        layers: The architecture, where it is not a named one.

    Raises:
        UserError: A file is not what its ending says, the optimizer's state is asked for and not there, or the
            two do not agree; the target is then taken away.
    """
    source, target = Path(source), Path(target)
    reads, writes = _format(source), _format(target)
    if not target.parent.is_dir():
        raise UserError(f"expected a folder that exists, got {target.parent}, for {target.name}; make it first")
    network = reads.read(source, layers)
    if with_optimizer and not writes.optimizer:
        raise UserError(f"--with_optimizer: expected a .ckpt or .keras file to hold it, got {target}")
    if with_optimizer and network.slots is None:
        raise UserError(f"--with_optimizer: {source} holds no optimizer with Keras's formula")
    if with_optimizer and network.settings.schedule != "constant":
        raise UserError(f"--with_optimizer: expected a constant learning rate, got {source} with a schedule half done")
    if not with_optimizer:
        network = replace(network, slots=None, iterations=0)
    writes.write(network, target)
    arrived = writes.read(target, layers)
    before, after = _logits(network, images, reads.keras), _logits(arrived, images, writes.keras)
    agreement = Agreement(
        float(np.abs(before - after).max()), int((before.argmax(axis=1) != after.argmax(axis=1)).sum())
    )
    if not agreement.difference <= GREATEST_DIFFERENCE or agreement.changed:
        target.unlink()
        raise UserError(f"{target} does not compute what {source} does: {_words(agreement)}; it was taken away")
    return agreement


def main(args: list[str]) -> None:
    """Reads the arguments after ``convert``, converts and prints the agreement."""
    parser = OneLineErrors(
        prog="python -m keras_parity convert",
        description="Converts a trained network from one framework to the other and checks it on the test images.",
    )
    endings = ", ".join(FORMATS)
    parser.add_argument("source", type=str, help=f"File that ends in one of {endings}.")
    parser.add_argument("target", type=str, help="File to write; its ending is its format.")
    parser.add_argument(
        "--with_optimizer", type=bool, default=False, help="Whether the optimizer's state travels too (.ckpt, .keras)."
    )
    parser.add_argument("--data.data_dir", type=str, default=DataSettings().data_dir, help="Folder of the MNIST files.")
    config = parser.parse_args(args)
    images = mnist.scale(mnist.load(config.data.data_dir).test_images)
    agreement = convert(config.source, config.target, images, config.with_optimizer)
    print(f"{config.source} -> {config.target}: on {len(images):,} test images, {_words(agreement)}")


def _words(agreement: Agreement) -> str:
    return f"greatest difference of a logit {agreement.difference:.2g}, {agreement.changed} changed predictions"


def _format(path: Path) -> _Format:
    for ending, form in FORMATS.items():
        if path.name.endswith(ending):
            return form
    raise UserError(f"expected a file that ends in one of {', '.join(FORMATS)}, got {path}")


def _logits(network: Portable, images: NDArray[np.float32], in_keras: bool) -> NDArray[np.floating]:
    """The logits [n, 10] of the network in one framework, in the dtype of its weights."""
    if in_keras:
        with dtype_of(network.weights) as dtype:
            model = make_keras_model(network)
            return model.predict(images[..., None].astype(dtype), batch_size=EVALUATION_BATCH_SIZE, verbose=0)
    module, _ = make_torch_optimizer(network)
    with torch.inference_mode():
        tensor = torch.from_numpy(images).unsqueeze(1).to(next(module.parameters()).dtype)
        batches = tensor.split(EVALUATION_BATCH_SIZE)
        return torch.cat([module(batch) for batch in batches]).numpy()
