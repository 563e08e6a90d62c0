"""Which runs a study trains, and in which order."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from cnn_mnist.errors import expect
from cnn_mnist.runs.folder import PYTORCH
from cnn_mnist.settings import DataSettings, ModelSettings
from keras_parity.compare.sides import TITLES
from keras_parity.frameworks import RUN_NAMES, expect_package
from keras_parity.settings import TrainerSettings
from keras_parity.study.jobs import Job


def read_frameworks(typed: str, aligns: Sequence[str]) -> list[str]:
    """Reads the value of ``--frameworks``.

    Args:
        typed: Names, separated by commas.
        aligns: The values of ``--align``.

    Raises:
        UserError: A name is unknown or repeated, its package is missing, or no framework has two alignments.
    """
    frameworks = typed.split(",")
    right = TITLES.keys() >= set(frameworks) and len(set(frameworks)) == len(frameworks)
    expect("--frameworks", right, f"some of {', '.join(TITLES)}, each once", typed)
    right = len(aligns) == 1 or PYTORCH in frameworks
    expect("--frameworks", right, f"{PYTORCH} too with --align={','.join(aligns)}, which changes only PyTorch", typed)
    packages = {name: backend for backend, name in RUN_NAMES.items()}
    for name in frameworks:
        expect_package(packages.get(name, "torch"), f"--frameworks={name}")
    return frameworks


def plan(
    frameworks: Sequence[str],
    aligns: Sequence[Literal["keras", "native"]],
    seeds: int,
    model: ModelSettings,
    data: DataSettings,
    trainer: TrainerSettings,
) -> list[Job]:
    """Lists the runs seed by seed; the frameworks take turns, so that each goes first equally often.

    Args:
        frameworks: Their names.
        aligns: The values of ``model.align``; Keras trains only the first, because it computes the same with both.
        seeds: Number of seeds, starting at 0.
        model: Settings of every run but ``align`` and ``seed``.
        data: Settings of every run but ``seed``.
        trainer: Settings of every run.
    """
    turns = [(*frameworks[first:], *frameworks[:first]) for first in range(len(frameworks))]
    return [
        Job(framework, replace(model, align=align, seed=seed), replace(data, seed=seed), trainer)
        for seed in range(seeds)
        for align in aligns
        for framework in turns[(seed + 1) % len(frameworks)]
        if framework == PYTORCH or align == aligns[0]
    ]
