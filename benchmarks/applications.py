"""``python -m benchmarks.applications``: checks ``keras.applications`` against ``torchvision.models``.

Both start from PyTorch's random weights, with small images and few steps. ``python -m benchmarks.applications VGG16``
checks one pair.
"""

import keras_parity.both_frameworks  # isort: skip # noqa: F401 - must come first, see there

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
import torch
from torch import nn
from torchvision import models

from cnn_mnist.console.tables import markdown_table
from keras_parity.ladder.check import check
from keras_parity.ladder.report import Report

IMAGES, CLASSES = 8, 10


def _vgg(make: Callable[..., nn.Module]) -> nn.Module:
    """Removes the pooling to 7 x 7 before the classifier, which Keras's VGG does not have."""
    model: Any = make(num_classes=CLASSES)
    model.avgpool, model.classifier[0] = nn.Identity(), nn.Linear(512 * 2 * 2, 4096)
    return model


def _plain(make: Callable[..., nn.Module], **words: Any) -> Callable[[], nn.Module]:
    return partial(make, num_classes=CLASSES, **words)


_bare = {"include_preprocessing": False}
PAIRS: dict[str, tuple[dict[str, Any], Callable[[], nn.Module], int]] = {
    "VGG16": ({}, partial(_vgg, models.vgg16), 64),
    "VGG19": ({}, partial(_vgg, models.vgg19), 64),
    "ConvNeXtTiny": (_bare, _plain(models.convnext_tiny), 32),
    "ResNet50": ({}, _plain(models.resnet50), 32),
    "DenseNet121": ({}, _plain(models.densenet121), 32),
    "MobileNetV2": ({}, _plain(models.mobilenet_v2), 32),
    "MobileNetV3Small": (_bare, _plain(models.mobilenet_v3_small), 32),
    "EfficientNetB0": ({}, _plain(models.efficientnet_b0), 32),
    "InceptionV3": ({}, _plain(models.inception_v3, aux_logits=False, init_weights=False), 139),
}
"""By Keras's name: arguments of the Keras model, torchvision's model, height and width of the images."""


def compare(name: str, steps: int = 4) -> tuple[Report, float, float]:
    """Checks one pair; returns the report, the seconds to its verdict and to its end."""
    words, make, size = PAIRS[name]
    keras.utils.clear_session()
    torch.manual_seed(0)
    words = words | {"weights": None, "input_shape": (size, size, 3), "classes": CLASSES, "classifier_activation": None}
    model = getattr(keras.applications, name)(**words)
    random = np.random.default_rng(0)
    images, labels = random.random((IMAGES, size, size, 3), np.float32), random.integers(0, CLASSES, IMAGES)
    began, judged = time.perf_counter(), list[float]()
    report = check(
        *(make(), model, images, labels), weights="torch", batch_size=4, steps=steps,
        judged=lambda _: judged.append(time.perf_counter() - began),
    )  # fmt: skip
    return report, judged[0], time.perf_counter() - began


def row(name: str, report: Report, judged: float, seconds: float) -> list[str]:
    """The cells of a row: pair, matched arrays, verdict, differences, fixes, times."""
    assert report.match is not None
    alone = len(report.match.only_torch) + len(report.match.only_keras)
    differing: dict[str, int] = {}
    for finding in report.findings:
        for what in [setting.name for setting in finding.settings] or [finding.what or "between layers"]:
            differing[what] = differing.get(what, 0) + 1
    mended = sum(bool(finding.fixes) for finding in report.findings)
    return [
        name,
        f"{len(report.match.arrays)}, {alone} left over",
        report.verdict.partition(":")[0],
        ", ".join(f"{what} ({count})" for what, count in differing.items()),
        f"{mended} of {len(report.findings)}" if report.findings else "",
        f"{judged:.0f}, {seconds:.0f}",
    ]


if __name__ == "__main__":
    rows = [["pair", "arrays matched", "verdict", "differs by itself", "fixes that hold", "seconds: verdict, all"]]
    for pair in sys.argv[1:] or PAIRS:
        rows.append(row(pair, *compare(pair)))
        print(markdown_table([rows[0], rows[-1]]), flush=True)
    print(markdown_table(rows))
