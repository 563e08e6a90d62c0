"""Explains a verdict: finds the causes of a difference and the fixes; the verdict judges every fix."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from keras_parity.ladder.capture.attention import split_attention
from keras_parity.ladder.diagnosis.diagnose_inputs import diagnose_batches, diagnose_precision, diagnose_weights
from keras_parity.ladder.diagnosis.diagnose_layers import diagnose_layers, first_difference
from keras_parity.ladder.diagnosis.diagnose_outputs import diagnose_order, diagnose_outputs
from keras_parity.ladder.diagnosis.diagnose_training import diagnose_training, unexplained
from keras_parity.ladder.diagnosis.evidence import Evidence
from keras_parity.ladder.diagnosis.finding import Finding, Fix
from keras_parity.ladder.diagnosis.trials import Trials, applied
from keras_parity.ladder.judge.judge import Judge
from keras_parity.ladder.judge.model_pair import ModelPair
from keras_parity.ladder.judge.nests import slice_samples
from keras_parity.ladder.judge.runs import one_line
from keras_parity.ladder.judge.snapshots import keras_snapshot
from keras_parity.ladder.judge.verdict import StepComparison
from keras_parity.ladder.matching.match_weights import Match
from keras_parity.ladder.rungs.comparison import Copies
from keras_parity.ladder.rungs.port import Port

ROUNDS = 4
"""Rounds of finding fixes and asking for the verdict again."""

MANY = 12
"""Largest group of lines that are also tried one by one, and left out one by one."""

TRIES = 3
"""Lines that may look better after a few steps and then fail, before the search ends."""


def find_match(pair: ModelPair, names: Mapping[str, str]) -> Match:
    """Matches the layers and weights of two models.

    Args:
        pair: The two models.
        names: Keras's layer name by PyTorch's, from the user.
    """
    with _copied(pair, names, "float32") as copies:
        return copies.match


@contextmanager
def _copied(pair: ModelPair, names: Mapping[str, str], dtype: str) -> Iterator[Copies]:
    """Copies both models in one precision, with their layers matched; restores the user's model on exit."""
    torch_batch, keras_batch = ((slice_samples(x, 0, pair.batch_size), None) for x in (pair.torch_images, pair.images))
    in_place = dtype == "float32"  # some models cannot be rebuilt from their configuration
    network = split_attention(pair.torch_model)
    port = Port(network, pair.keras_model, [torch_batch], [keras_batch], match=names, in_place=in_place)
    restore = keras_snapshot(pair.keras_model)
    try:
        yield Copies(port, dtype)
    finally:
        restore()


def explain(judge: Judge, report: Any, names: Mapping[str, str]) -> None:
    """Fills in the findings of a report; never changes its verdict.

    Fixes of the function are applied before the training is diagnosed, round by round, until nothing differs.

    Args:
        judge: The judge of the pair.
        report: The report, with its verdict.
        names: Keras's layer name by PyTorch's, from the user.
    """
    pair, verdict, lines = judge.pair, report.judged, list[str]()
    for _ in range(ROUNDS):
        with applied(pair, lines, report):
            if lines:
                judge = Judge(pair, judge.requested_steps)
                verdict = judge.verdict()
            report.findings = [finding for finding in report.findings if finding.fixes]  # what is left is found again
            function_differs = bool(verdict.comparisons) and _differs(verdict.comparisons[0])
            if not function_differs and verdict.same_training is not False:
                break
            trials = Trials(judge, report, verdict)
            if function_differs:
                report.findings += _explain_function(trials, names)
            else:
                found = _explain_training(trials)
                for finding in found:
                    if lines and finding.where == "the loss":
                        finding.what = f"after the lines above, {finding.what}"
                report.findings += found
                if trials.best == 0:
                    report.notes.append(f"after pasting: same function, same training up to step {judge.steps[-1]}")
                    return
            if not trials.accepted:
                break
        lines += trials.accepted
    if lines:
        report.notes.append(f"after pasting: {verdict.text}")


def _differs(first: StepComparison) -> bool:
    return not first.same and not first.difference <= first.limit


def _explain_function(trials: Trials, names: Mapping[str, str]) -> list[Finding]:
    """Diagnoses outputs that differ before training: the inputs, else weights, layers and the form of the outputs."""
    pair, report = trials.judge.pair, trials.report
    inputs = _try(trials, list(diagnose_batches(pair)))
    if trials.accepted:
        return inputs
    if order := list(diagnose_order(pair)):  # layers would match crosswise
        return [*inputs, *order]
    found, later = [*diagnose_precision(pair), *diagnose_outputs(pair)], list[Finding]()
    ending = any(finding.where == "the output" for finding in found)
    for dtype in ("float64", "float32"):
        try:
            with _copied(pair, names, dtype) as copies:
                layers = [*diagnose_weights(copies), *diagnose_layers(copies)]
                later = list(first_difference(copies))
            found += [layer for layer in layers if not (ending and "to output" in layer.where)]
            break
        except Exception as error:  # raised by a model that cannot be copied, or intercepted, in this precision
            if dtype == "float32":
                report.notes.append(f"layers were not compared one by one: {one_line(error)}")
    known = dict[tuple[str, str], Finding]()
    for finding in found:  # a layer that is called twice differs twice
        known.setdefault((finding.where, finding.what), finding)
    return [*inputs, *(_try(trials, list(known.values())) or later)]


def _explain_training(trials: Trials) -> list[Finding]:
    """Diagnoses trainings that differ."""
    pair, report = trials.judge.pair, trials.report
    try:
        suspects = list(diagnose_training(Evidence(pair, report.match)))
        found = _try(trials, suspects, keep=False)
        if trials.best > 0:
            measured = [finding for finding in suspects if not finding.lines and finding.difference]
            with applied(pair, trials.accepted, report):
                found += measured or [unexplained(Evidence(pair, report.match))]
    except Exception as error:  # raised by a model that cannot be intercepted
        report.notes.append(f"weights were not compared one by one: {one_line(error)}")
        return []
    return found


def _try(trials: Trials, findings: list[Finding], keep: bool = True) -> list[Finding]:
    """Lets the verdict judge candidate lines: the first of each finding together, else the best one, then the next.

    Args:
        trials: Runs the lines.
        findings: The findings; lines that improve the verdict become their fixes.
        keep: Whether to return findings without a fix; they are measured, not guessed.
    """
    first = [finding for finding in findings if finding.lines]
    failed: list[list[str]] = []
    if keep and len(first) > 1:
        failed.append([finding.lines[0] for finding in first])
        _accept(trials, first, failed[0])
    while trials.best > 0:
        rated: list[tuple[float, int]] = []
        candidates = [each for each in _candidates(findings) if each[1] not in failed]
        for place, (_, lines) in enumerate(candidates):
            rated.append((trials.rate(lines), place))
            if rated[-1][0] == 0:  # the best possible
                break
        left_over, place = min(rated, default=(np.inf, 0))
        if left_over == np.inf:
            break
        failed.append(candidates[place][1])
        if not _accept(trials, *candidates[place]) and len(failed) > TRIES:
            break
    return [finding for finding in findings if finding.fixes or keep]


def _candidates(findings: list[Finding]) -> Iterator[tuple[list[Finding], list[str]]]:
    """Yields unfixed findings, each with a line: all findings of one cause together, and, if few, also each alone."""
    causes: dict[object, list[Finding]] = {}
    for finding in findings:
        if finding.lines and not finding.fixes:
            causes.setdefault(finding.cause, []).append(finding)
    for group in causes.values():
        if len(group) > 1:
            yield group, [finding.lines[0] for finding in group]
        if len(group) <= MANY:
            yield from (([finding], [line]) for finding in group for line in finding.lines)


def _accept(trials: Trials, findings: list[Finding], lines: list[str]) -> bool:
    """Accepts a line for each finding if together they improve the verdict; drops the lines that are not needed."""
    if (left := trials.accept(lines)) is None:
        return False
    for finding, line in reversed(list(zip(findings, lines, strict=True))):
        if not 1 < len(lines) <= MANY or trials.needs(line):
            finding.fixes.append(Fix(line, left))
    return True
