"""Medians, and ratios within each round, as Markdown."""

from statistics import mean, quantiles
from typing import Any

from benchmarks.race import Figures, Race
from cnn_mnist.console.tables import markdown_table
from cnn_mnist.runs.environment import environment

Rounds = list[dict[str, Figures]]
"""The figures of each round by contestant."""


def machine() -> str:
    """The machine and the versions, in one line."""
    found = environment(device="cpu", threads=None, precision=None)
    names = ("torch", "lightning", "keras", "tensorflow")
    versions = ", ".join(f"{name} {found['packages'][name]}" for name in names)
    return f"{found['cpu']}, {found['cores']} cores; Python {found['python']}, {versions}"


def summarize(race: Race, rounds: Rounds) -> dict[str, Any]:
    """Summarizes the rounds of a race.

    Args:
        race: The race.
        rounds: At least one.

    Returns:
        ``figures``: by contestant, quartiles, number of rounds, and the means of the race's other figures;
        ``ratios``: quartiles and number of rounds of each ratio.
    """
    values = {c.name: [c.value(figures[c.name]) for figures in rounds] for c in race.contestants}
    figures = {
        name: _spread(series)
        | {other: mean(f[name][other] for f in rounds) for other in race.also if other in rounds[0][name]}
        for name, series in values.items()
    }
    ratios = []
    for ratio in race.ratios:
        series = [a / b for a, b in zip(values[ratio.name], values[ratio.over], strict=True)]
        ratios.append({"name": ratio.name, "over": ratio.over} | _spread(series))
    return {"title": race.title, "unit": race.unit, "figures": figures, "ratios": ratios}


def markdown(summary: dict[str, Any]) -> str:
    """The two tables of a race."""
    also = [key for key in next(iter(summary["figures"].values())) if key not in _spread([1.0])]
    head = ["", f"median ({summary['unit']})", "quartiles", *(f"mean {key}" for key in also), "n"]
    rows = [head]
    for name, spread in summary["figures"].items():
        others = [f"{spread[key]:.4f}" for key in also]
        rows.append([name, _number(spread["median"]), _range(spread), *others, str(spread["n"])])
    text = f"{summary['title']}\n\n{markdown_table(rows)}"
    if summary["ratios"]:
        rows = [["ratio, in the same round", "median", "quartiles", "n"]]
        for ratio in summary["ratios"]:
            rows.append(
                [f"{ratio['name']} / {ratio['over']}", f"{ratio['median']:.2f}", _range(ratio), str(ratio["n"])]
            )
        text += f"\n\n{markdown_table(rows)}"
    return text


def _spread(series: list[float]) -> dict[str, Any]:
    lower, median, upper = quantiles(series, method="inclusive") if len(series) > 1 else series * 3
    return {"lower": lower, "median": median, "upper": upper, "n": len(series)}


def _range(spread: dict[str, Any]) -> str:
    return f"{_number(spread['lower'])} to {_number(spread['upper'])}"


def _number(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"
