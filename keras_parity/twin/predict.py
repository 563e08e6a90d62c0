"""``python -m keras_parity predict [IMAGE...]``: the user's own digits, or the test set, in Keras and in PyTorch."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from jsonargparse import Namespace
from numpy.typing import NDArray

from cnn_mnist.architecture.descriptions import read_network
from cnn_mnist.console import predictions
from cnn_mnist.console.predictions import Prediction, check_input
from cnn_mnist.data import mnist
from cnn_mnist.data.splits import evaluation_batch_size
from cnn_mnist.errors import UserError
from cnn_mnist.runs.folder import ENDINGS, KERAS, PYTORCH, find_checkpoint
from cnn_mnist.settings import DataSettings
from keras_parity.frameworks import importing_tensorflow

DESCRIPTION = """Predicts your own digits, or the test set, with a trained network.
Two --ckpt_path, one of each framework, set their predictions side by side."""


def main(args: list[str]) -> None:
    """Predicts the images that the arguments after ``predict`` name, and prints or writes the predictions.

    Raises:
        UserError: A mistake that the user can mend.
    """
    config = predictions.build_parser("python -m keras_parity", DESCRIPTION).parse_args(args)
    checkpoints = _by_framework([find_checkpoint(path, KERAS) for path in config.ckpt_path])
    first = next(iter(checkpoints.values()))
    data = predictions.data_of(first, config)
    digits, classes = predictions.load_digits(read_network(str(first)).input_shape, config, data)
    found = {}
    for framework, path in checkpoints.items():
        if framework == KERAS:
            found[framework] = predictions.from_logits(compute_logits(path, digits.images), classes)
        else:
            found[framework] = _predict_in_pytorch(path, config, data)
    predictions.put_out(digits, found, config)


def compute_logits(path: Path, images: NDArray[np.uint8]) -> NDArray[np.floating]:
    """The logits [n, classes] of images uint8 [n, height, width, channels], by the network of a ``.keras`` file.

    Raises:
        UserError: The file holds no such network.
    """
    with importing_tensorflow():
        from keras_parity.twin.checkpoints import read_model

    check_input(path, read_network(str(path)), images.shape[1:])
    return logits_of(read_model(path), mnist.scale(images))


def logits_of(model: Any, images: NDArray[np.floating]) -> NDArray[np.floating]:
    """What a loaded model computes of images [n, height, width, channels]; probabilities as their logarithms."""
    outputs = model.predict(images, batch_size=evaluation_batch_size(images.shape[1:]), verbose=0)
    last = model.layers[-1]
    kind = getattr(getattr(last, "activation", None), "__name__", type(last).__name__)
    return np.log(np.maximum(outputs, np.finfo(outputs.dtype).tiny)) if kind.lower() == "softmax" else outputs


def _by_framework(paths: list[Path]) -> dict[str, Path]:
    """The files by framework, in their order."""
    of_ending = {ending: framework for framework, ending in ENDINGS.items()}
    found = {of_ending.get(path.suffix, str(path)): path for path in paths}
    if not found or found.keys() - ENDINGS.keys() or len(found) < len(paths):
        came = " and ".join(map(str, paths)) or "none"
        raise UserError(f"--ckpt_path: expected a {ENDINGS[KERAS]} file, a {ENDINGS[PYTORCH]} file or both, got {came}")
    return found


def _predict_in_pytorch(path: Path, config: Namespace, data: DataSettings) -> list[Prediction]:
    """What ``python -m cnn_mnist predict`` makes of the same arguments."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "predictions.json")
        flags = [f"--ckpt_path={path}", f"--output={output}", f"--data.data_dir={data.data_dir}"]
        flags.append(f"--data.dataset={data.dataset}" if data.file is None else f"--data.file={data.file}")
        invert = [] if config.invert is None else [f"--invert={json.dumps(config.invert)}"]
        command = [sys.executable, "-m", "cnn_mnist", "predict", *flags, *invert, *config.images]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode != 0:
            reason = (answer.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise UserError(reason.removeprefix("python -m cnn_mnist: error: "))
        records = json.loads(output.read_text())
        fields = Prediction._fields
        return [Prediction(**{name: entry[name] for name in fields if name in entry}) for entry in records]
