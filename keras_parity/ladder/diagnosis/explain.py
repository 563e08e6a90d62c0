"""Explains a verdict: what differs by itself, where, and which lines mend it; the verdict judges every line."""

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import torch

from keras_parity.ladder.capture.attention import in_parts
from keras_parity.ladder.diagnosis.diagnose_inputs import diagnose_batches, diagnose_weights
from keras_parity.ladder.diagnosis.diagnose_layers import diagnose_layers, first_difference
from keras_parity.ladder.diagnosis.diagnose_outputs import diagnose_outputs
from keras_parity.ladder.diagnosis.diagnose_training import diagnose_training, what_is_left
from keras_parity.ladder.diagnosis.evidence import Evidence
from keras_parity.ladder.diagnosis.finding import Finding, Fix
from keras_parity.ladder.diagnosis.trials import Trials, applied
from keras_parity.ladder.judge.judge import Judge
from keras_parity.ladder.judge.model_pair import ModelPair
from keras_parity.ladder.judge.nests import cut
from keras_parity.ladder.judge.runs import one_line
from keras_parity.ladder.judge.snapshots import keras_snapshot
from keras_parity.ladder.judge.verdict import StepComparison
from keras_parity.ladder.matching.match_weights import Match
from keras_parity.ladder.rungs.comparison import Comparison
from keras_parity.ladder.rungs.port import Port

ROUNDS = 4
"""How often the verdict is asked for anew, with what mended the last."""

MANY = 12
"""Up to how many lines that were accepted together each is tried without, too."""

TRIES = 3
"""How many lines may look better after a few steps and not be so after all."""


def find_match(pair: ModelPair, given: Mapping[str, str] | None) -> Match:
    """Which layer and which weight of one model is which of the other."""
    restore = keras_snapshot(pair.keras_model)
    try:
        return taken_apart(pair, given, "float32").match
    finally:
        restore()


def taken_apart(pair: ModelPair, given: Mapping[str, str] | None, dtype: str) -> Comparison:
    """Copies of both models in one precision, whose layers can be watched."""
    count = min(pair.batch_size, pair.count)
    inputs = cut(pair.torch_images, 0, count), cut(pair.images, 0, count)
    port = Port(
        network=in_parts(pair.torch_model),
        model=pair.keras_model,
        torch_batches=[(inputs[0], None)],
        keras_batches=[(inputs[1], None)],
        test=(inputs[1], None),
        torch_optimizer=lambda parameters: torch.optim.SGD(parameters, 0.01),
        keras_optimizer=lambda: keras.optimizers.SGD(0.01),
        match=given or {},
        in_place=dtype == "float32",  # some models cannot be made again from their configuration
    )
    return Comparison(port, (dtype,))


def explain(judge: Judge, report: Any, given: Mapping[str, str]) -> None:
    """Fills in the findings of a report, whose verdict it never changes.

    What mends the function is applied before the training is looked at, and so on, until nothing differs any more.

    Args:
        judge: Of the pair.
        report: With its verdict.
        given: Names of layers that belong together.
    """
    pair, verdict, lines = judge.pair, report.judged, list[str]()
    for _ in range(ROUNDS):
        with applied(pair, lines, report):
            if lines:
                judge = Judge(pair, judge.asked)
                verdict = judge.verdict()
            trials = Trials(judge, report, verdict)
            if verdict.comparisons and _differs(verdict.comparisons[0]):
                report.findings += _of_function(trials, given)
            elif verdict.same_training is False:
                report.findings += _of_training(trials)
                if trials.best == 0:
                    text = f"same function, same training, compared up to step {judge.steps[-1]}"
                    report.notes.append(f"with what is pasted: {text}")
                    return
            if not trials.accepted:
                break
        lines += trials.accepted
    if lines:
        report.notes.append(f"with what is pasted: {verdict.text}")


def _differs(first: StepComparison) -> bool:
    return not first.same and not first.difference <= first.limit


def _of_function(trials: Trials, given: Mapping[str, str]) -> list[Finding]:
    """What makes the outputs differ before training: the inputs, else weights, layers and the form of the outputs."""
    pair, report = trials.judge.pair, trials.report
    inputs = _try(trials, list(diagnose_batches(pair)))
    if trials.accepted:
        return inputs
    found, comparison = list(diagnose_outputs(pair)), None
    ending = any(finding.where == "the output" for finding in found)
    for dtype in ("float64", "float32"):
        restore = keras_snapshot(pair.keras_model)
        try:
            comparison = taken_apart(pair, given, dtype)
            layers = [*diagnose_weights(comparison), *diagnose_layers(comparison)]
            found += [layer for layer in layers if not (ending and "to output" in layer.where)]
            break
        except Exception as error:  # of a model that cannot be copied, or watched, in this precision
            if dtype == "float32":
                report.notes.append(f"the layers could not be compared one by one: {one_line(error)}")
        finally:
            restore()
    found = _try(trials, found) or (list(first_difference(comparison)) if comparison else [])
    return [*inputs, *found]


def _of_training(trials: Trials) -> list[Finding]:
    """What makes the trainings differ."""
    pair, report = trials.judge.pair, trials.report
    try:
        suspects = list(diagnose_training(Evidence(pair, report.match)))
        found = _try(trials, suspects, keep=False)
        if trials.best > 0:
            measured = [finding for finding in suspects if not finding.lines and finding.difference]
            with applied(pair, trials.accepted, report):
                found += measured or [what_is_left(Evidence(pair, report.match))]
    except Exception as error:  # of a model that cannot be watched
        report.notes.append(f"the weights could not be compared one by one: {one_line(error)}")
        return []
    return found


def _try(trials: Trials, findings: list[Finding], keep: bool = True) -> list[Finding]:
    """Has the verdict judge the lines of findings: all first ones together, else the best, and the best with it, ...

    Args:
        trials: What tries them.
        findings: With their lines; those that make the verdict better become their fixes.
        keep: Whether findings without a fix stay, since they were measured.
    """
    first = [finding for finding in findings if finding.lines]
    if keep and len(first) > 1 and (left := trials.accept([f.lines[0] for f in first])) is not None:
        for finding in first:
            if len(first) > MANY or trials.needs(finding.lines[0]):
                finding.fixes.append(Fix(finding.lines[0], left))
    failed: set[str] = set()
    while trials.best > 0:
        rated: list[tuple[float, int, Finding, str]] = []
        for finding, line in _open(findings):
            if line not in failed:
                rated.append((trials.rate([line]), len(rated), finding, line))
                if rated[-1][0] == 0:  # nothing is better
                    break
        if not rated or min(each[0] for each in rated) == np.inf:
            break
        *_, finding, line = min(rated, key=lambda each: each[:2])
        left = trials.accept([line])
        if left is not None:
            finding.fixes.append(Fix(line, left))
        failed.add(line)
        if left is None and len(failed) > TRIES:
            break
    return [finding for finding in findings if finding.fixes or keep]


def _open(findings: list[Finding]) -> Iterator[tuple[Finding, str]]:
    for finding in findings:
        if not finding.fixes:
            for line in finding.lines:
                yield finding, line
