"""This project's own network in both frameworks, for the ladder."""

import numpy as np
import torch

from cnn_mnist.architecture.initial_weights import initial_weights
from cnn_mnist.data.augmentation import augmentation
from cnn_mnist.data.mnist import scale
from cnn_mnist.data.order import batch_count
from cnn_mnist.data.splits import Split, load_splits
from cnn_mnist.pytorch.loader import Loader, to_tensor
from cnn_mnist.pytorch.network import build_network, load_weights
from cnn_mnist.pytorch.optimizers import make_optimizer
from cnn_mnist.settings import DataSettings, ModelSettings
from keras_parity.ladder.rungs.port import Port
from keras_parity.ladder.rungs.trajectories import Steps
from keras_parity.twin import network as twin
from keras_parity.twin import optimizers
from keras_parity.twin.engines import ENGINE


def project_port(model: ModelSettings, data: DataSettings) -> Port:
    """Builds this project's network in both frameworks, each with its own weights, batches and optimizer.

    Args:
        model: The network and its optimizer.
        data: The batches.

    Returns:
        The port.
    """
    described = model.network
    weights = initial_weights(described, "keras", model.seed)
    network, keras_model = build_network(described, seed=model.seed), twin.build_twin(described, model.seed)
    load_weights(network, weights, described)
    twin.load_weights(keras_model, weights)
    splits = load_splits(data)
    return Port(
        network=network,
        model=keras_model,
        torch_batches=_torch_batches(splits["train"], data),
        keras_batches=_keras_batches(splits["train"], data),
        test=(scale(splits["test"].images), splits["test"].labels.astype(np.int64)),
        torch_optimizer=lambda params: make_optimizer(params, model),
        keras_optimizer=lambda: optimizers.make_optimizer(model),
    )


def _torch_batches(split: Split, data: DataSettings) -> list[tuple[np.ndarray, np.ndarray]]:
    labels, moved = torch.from_numpy(split.labels.astype(np.int64)), augmentation(split, data)
    loader = Loader(to_tensor(split.images), labels, data.batch_size, data.seed, augmentation=moved)
    batches = zip(range(Steps.free), loader, strict=False)
    return [(images.numpy(), labels.numpy()) for _, (images, labels) in batches]


def _keras_batches(split: Split, data: DataSettings) -> list[tuple[np.ndarray, np.ndarray]]:
    count = min(Steps.free, batch_count(len(split.labels), data.batch_size))
    batches = ENGINE.TrainingBatches(split, data, "float32", count).rest(0)
    return [(np.array(images), np.array(labels)) for _, (images, labels) in zip(range(count), batches, strict=False)]
