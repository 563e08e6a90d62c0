"""What the ladder found, for people and for machines."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from textwrap import wrap
from typing import Any

from cnn_mnist.console.tables import markdown_table
from cnn_mnist.runs.files import write_whole
from keras_parity.ladder.culprit import Culprit
from keras_parity.ladder.match import Match
from keras_parity.ladder.rung import Rung


class BrokenError(AssertionError):
    """Two models are not the same; the text is the report's."""


@dataclass
class Report:
    """The outcome of ``check``.

    Attributes:
        rungs: Every rung that was climbed, in order.
        match: Which layer of the one is which of the other; None where a model could not be run.
        culprits: What is wrong by itself, with the repairs that were tried and mend it.
        notes: The versions, and what was settled on the copies that were compared.
    """

    rungs: list[Rung] = field(default_factory=list)
    match: Match | None = None
    culprits: list[Culprit] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether every rung holds."""
        return bool(self.rungs) and all(rung.holds for rung in self.rungs)

    def raise_if_broken(self) -> None:
        """For tests.

        Raises:
            BrokenError: A rung breaks.
        """
        if not self.holds:
            raise BrokenError(str(self))

    @property
    def verdict(self) -> str:
        """One sentence."""
        if self.holds:
            return f"the same computation: rungs {self.rungs[0].number} to {self.rungs[-1].number} hold"
        first = next(rung for rung in self.rungs if not rung.holds)
        mended = [culprit for culprit in self.culprits if culprit.repairs]
        where = f"rung {first.number} breaks ({first.compared}) at {first.where}"
        if not self.culprits:
            return f"not the same: {where}; usual causes: {first.cause}"
        differ = ", ".join(culprit.where for culprit in self.culprits[:3])
        rest = f" and {len(self.culprits) - 3} more" if len(self.culprits) > 3 else ""
        found = f"made here: {differ}{rest}"
        return f"not the same: {where}; {found}; a repair was tried and holds for {len(mended)} of {len(self.culprits)}"

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield from (line(rung) for rung in self.rungs)
        yield from self.explained()

    def explained(self) -> Iterator[str]:
        """The report without its rungs, line by line."""
        yield ""
        yield from wrap(self.verdict, 80)
        yield from (line for note in self.notes for line in wrap(note, 80))
        yield from _all_told(self.culprits)

    @property
    def to_paste(self) -> list[str]:
        """A line for each culprit that has a repair: the simplest."""
        return [culprit.repairs[0].line for culprit in self.culprits if culprit.repairs]

    def write(self, path: str | Path) -> None:
        """Writes the report.

        Args:
            path: A file that ends in .json, .md or .html.
        """
        path = Path(path)
        if path.suffix == ".json":
            text = json.dumps([asdict(rung) for rung in self.rungs], indent=2)
        elif path.suffix == ".md":
            told = "\n".join(_all_told(self.culprits))
            text = f"{self.verdict}\n\n{markdown_table(table(self.rungs))}\n"
            text += f"\n```\n{told.strip()}\n```" if told else ""
        else:
            head = f'<!doctype html>\n<meta charset="utf-8">\n<title>{escape(self.verdict)}</title>'
            text = f"{head}\n<pre>{escape(str(self))}</pre>"
        write_whole(path, text.rstrip() + "\n")


def line(rung: Rung) -> str:
    """A rung in lines of at most 80 columns."""
    verdict = "holds " if rung.holds else "BREAKS"
    limit = "" if rung.limit is None else f", limit {rung.limit:.1g}"
    ulps = f", {rung.ulps:.2g} ulp" if 0 < rung.difference < 1 and rung.limit else ""
    where = f": {rung.where}" if rung.where else ""
    head, said = f"{rung.number:2d} {verdict} {rung.compared}", f"{rung.difference:.1e}{limit}{ulps}{where}"
    indent = " " * 10
    lines = [
        *wrap(head, 80, subsequent_indent=indent),
        *wrap(said, 80, initial_indent=indent, subsequent_indent=indent),
    ]
    return "\n".join(lines)


def table(rungs: Sequence[Rung]) -> list[list[str]]:
    """The rungs as rows, under a head."""
    rows = [["rung", "compared", "greatest difference", "limit", "ulp", "verdict", "where"]]
    for rung in rungs:
        limit = "" if rung.limit is None else f"{rung.limit:.0e}" if rung.limit else "0"
        verdict = "holds" if rung.holds else "BREAKS"
        ulps = f"{rung.ulps:.2g}" if rung.limit else ""
        rows.append([str(rung.number), rung.compared, f"{rung.difference:.2g}", limit, ulps, verdict, rung.where])
    return rows


def _all_told(culprits: Sequence[Culprit]) -> Iterator[str]:
    """Those that differ in the same way once, with the number of the others."""
    kinds: dict[Any, list[Culprit]] = {}
    for culprit in culprits:
        alike = (culprit.what, tuple((s.name, str(s.ours), str(s.theirs)) for s in culprit.settings))
        kinds.setdefault(alike if culprit.settings else id(culprit), []).append(culprit)
    for first, *others in kinds.values():
        yield ""
        yield from _told(first)
        if others:
            names = ", ".join(culprit.where for culprit in others[:3]) + (", ..." if len(others) > 3 else "")
            text = f"the same  of {len(others)} more: {names}; their lines are in report.to_paste"
            yield from wrap(text, 80, subsequent_indent=" " * 11)


def _told(culprit: Culprit) -> Iterator[str]:
    what = f": {culprit.what}" if culprit.what else ""
    yield from wrap(f"made here  {culprit.where}{what} (by {culprit.difference:.1e})", 80, subsequent_indent=" " * 11)
    if culprit.settings:
        yield f"           {'setting':14} {'PyTorch':20} Keras"
        yield from (f"           {s.name:14} {s.ours!s:20} {s.theirs}" for s in culprit.settings)
    for repair in culprit.repairs[:1]:
        yield f"tried      {repair.left:.1e} is left with"
        yield f"paste      {repair.line}"
    if not culprit.repairs:
        yield "tried      no known repair mends it"
