"""The report of ``check`` and of the ladder, as text, JSON, Markdown and HTML."""

import json
import math
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from html import escape
from pathlib import Path
from typing import Any

from cnn_mnist.console.tables import markdown_table
from cnn_mnist.runs.files import atomic_write_text
from keras_parity.ladder.diagnosis.finding import Finding
from keras_parity.ladder.diagnosis.paths import torch_path
from keras_parity.ladder.judge.verdict import StepComparison, Verdict
from keras_parity.ladder.matching.match_weights import Match
from keras_parity.ladder.rungs.rung import Rung, line, table

wrap = partial(textwrap.wrap, break_on_hyphens=False)


class BrokenError(AssertionError):
    """Two models differ, or nothing was decided; the text is the report."""


@dataclass
class Report:
    """The result of ``check``, or of the ladder.

    Attributes:
        judged: The verdict with its comparisons; None for a ladder of rungs.
        findings: The causes of a difference, each with the fixes that improve the verdict.
        find_match: Computes ``match``.
        notes: Versions, assumptions, adjustments and gaps, one line each.
        rungs: The rungs in the order in which they ran; empty for ``check``.
    """

    judged: Verdict | None = None
    findings: list[Finding] = field(default_factory=list)
    find_match: Callable[[], Match] | None = field(default=None, repr=False)
    notes: list[str] = field(default_factory=list)
    rungs: list[Rung] = field(default_factory=list)

    @property
    def same_function(self) -> bool | None:
        """Whether the outputs before training agree; None if undecided."""
        return self.judged.same_function if self.judged else None

    @property
    def same_training(self) -> bool | None:
        """Whether the outputs still agree after training steps; None if not compared or undecided."""
        return self.judged.same_training if self.judged else None

    @property
    def differs_from(self) -> int | None:
        """The first compared step after which the outputs differ; None if they never do."""
        return self.judged.differs_from if self.judged else None

    @property
    def comparisons(self) -> list[StepComparison]:
        """The outputs compared before training, then after some steps."""
        return self.judged.comparisons if self.judged else []

    @cached_property
    def match(self) -> Match | None:
        """The matched layers and weights; None for a ladder of rungs. Computed on first access."""
        return self.find_match() if self.find_match is not None else None

    @property
    def holds(self) -> bool:
        """Whether function and training are the same; for a ladder, whether every rung holds."""
        if self.judged is not None:
            return bool(self.same_function and self.same_training)
        return bool(self.rungs) and all(rung.holds for rung in self.rungs)

    @property
    def exit_code(self) -> int:
        """0 if everything is the same, 1 if something differs, 2 if undecided."""
        if self.holds:
            return 0
        return 2 if self.judged and self.same_function is not False and self.same_training is not False else 1

    def raise_if_broken(self, training: bool = True) -> None:
        """Raises unless the models are the same; for tests.

        Args:
            training: Whether the trainings must be the same too, or the functions only.

        Raises:
            BrokenError: Something differs, or is undecided.
        """
        if not (self.holds if training or self.judged is None else self.same_function):
            raise BrokenError(str(self))

    @property
    def verdict(self) -> str:
        """The result in one sentence."""
        if self.judged is not None:
            return self.judged.text
        if self.holds:
            return f"the same computation: rungs {self.rungs[0].number} to {self.rungs[-1].number} hold"
        rung = next(rung for rung in self.rungs if not rung.holds)
        return f"not the same: rung {rung.number} breaks ({rung.compared}) at {rung.where}; common causes: {rung.cause}"

    @property
    def to_paste(self) -> list[str]:
        """The fixes in Python, in an order in which they improve the verdict together."""
        return [finding.fixes[0].line for finding in self.findings if finding.fixes]

    def __str__(self) -> str:
        return "\n".join([*(line(rung) for rung in self.rungs), *self.explained()]).strip()

    def explained(self) -> Iterator[str]:
        """Yields the report without its rungs, line by line: verdict, comparisons, findings, notes."""
        yield from ("", *wrap(self.verdict, 80), *self.details())

    def details(self) -> Iterator[str]:
        """Yields what explains the verdict, line by line: comparisons, findings, notes."""
        yield from (f"  {_comparison_line(each)}" for each in self.comparisons)
        yield from _findings_lines(self.findings)
        yield from (text for note in self.notes for text in wrap(note, 80, initial_indent="- ", subsequent_indent="  "))

    def write(self, path: str | Path) -> None:
        """Writes the report to a file.

        Args:
            path: Ends in .json, .md or .html.
        """
        path = Path(path)
        if path.suffix == ".json":
            text = json.dumps(_finite(self._as_data()), indent=2, allow_nan=False)
        elif path.suffix == ".md":
            text = f"{self.verdict}\n\n```\n" + "\n".join(self.details()).strip() + "\n```\n"
            text += f"\n{markdown_table(table(self.rungs))}\n" if self.rungs else ""
        else:
            head = f'<!doctype html>\n<meta charset="utf-8">\n<title>{escape(self.verdict)}</title>'
            text = f"{head}\n<pre>{escape(str(self))}</pre>"
        atomic_write_text(path, text.rstrip() + "\n")

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"

    def _as_data(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "same_function": self.same_function,
            "same_training": self.same_training,
            "differs_from": self.differs_from,
            "comparisons": [asdict(each) for each in self.comparisons],
            "findings": [asdict(finding) for finding in self.findings],
            "to_paste": self.to_paste,
            "match": self.match.rows()[1:] if self.match else None,
            "only_torch": self.match.only_torch if self.match else [],
            "only_keras": self.match.only_keras if self.match else [],
            "notes": self.notes,
            "rungs": [asdict(rung) for rung in self.rungs],
        }


def _finite(data: Any) -> Any:
    """Converts infinities, NaN, tuples and array types to values that JSON has."""
    if isinstance(data, dict):
        return {str(name): _finite(value) for name, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(value) for value in data]
    if isinstance(data, float):
        return data if math.isfinite(data) else str(data)
    return data if data is None or isinstance(data, (bool, int, str)) else str(data)


def _comparison_line(each: StepComparison) -> str:
    word = {True: "same", False: "DIFFERENT", None: "not decided"}[each.same]
    return f"{each.when:16} difference {each.difference:.1e}, limit {each.limit:.1e}, {each.precision}: {word}"


def _findings_lines(findings: Sequence[Finding]) -> Iterator[str]:
    """Formats findings with equal settings once, with the names of the others."""
    causes: dict[object, list[Finding]] = {}
    for finding in findings:
        causes.setdefault(finding.cause, []).append(finding)
    for first, *others in causes.values():
        yield ""
        yield from _finding_lines(first)
        if others:
            names = ", ".join(finding.where for finding in others[:3]) + (", ..." if len(others) > 3 else "")
            text = f"also       {len(others)} more with this cause: {names}; their fixes are in report.to_paste"
            yield from wrap(text, 80, subsequent_indent=" " * 11)
    if findings:
        yield ""


def _finding_lines(finding: Finding) -> Iterator[str]:
    what = f": {finding.what}" if finding.what else ""
    size = f" (by {finding.difference:.1e})" if 0 < finding.difference < math.inf else ""
    unnamed = re.fullmatch(r"\d[\w.]*", finding.where)  # a module of a Sequential, or its weight
    where = torch_path(finding.where) if unnamed else finding.where
    yield from wrap(f"cause      {where}{what}{size}", 80, subsequent_indent=" " * 11)
    if finding.settings:
        yield f"           {'setting':14} {'PyTorch':20} Keras"
        yield from (f"           {s.name:14} {s.ours!s:20} {s.theirs}" for s in finding.settings)
    for fix in finding.fixes[:1]:
        yield f"paste      {fix.line}"
        left = fix.left
        size = f"difference {left.difference:.1e} {left.when}, limit {left.limit:.1e}, {left.precision}"
        yield f"verified   with it, {size}"
    if not finding.fixes:
        yield "paste      nothing: no known fix improves the verdict"
