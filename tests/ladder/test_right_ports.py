"""``check`` accepts right ports of every kind, and names the fault in ports with one.

The slow tests run in slices: ``PORTS=0:25`` selects seeds of right ports, ``FAULTS=gate`` faults by a pattern of their
names, ``FAULT_SEEDS=0:3`` the ports of each fault. Failures are collected and printed with the table at the end.
"""

import os
import re
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import keras_parity as kp
from tests.ladder.port_faults import FAULTS, faulty_port
from tests.ladder.port_recipes import BASES, TRAININGS
from tests.ladder.right_ports import Port, distance, draw, right_port

FUNCTION, TRAINED, STEPS = 1e-5, 1e-4, 3


def _slice(name: str, default: str) -> range:
    return range(*map(int, os.environ.get(name, default).split(":")))


PORTS, FAULT_SEEDS = _slice("PORTS", "0:300"), _slice("FAULT_SEEDS", "0:3")


def _off_by_hand(port: Port) -> float:
    """Returns the largest difference of either framework from the forward pass in float64."""
    by_hand = port.reference(port.inputs)
    return max(distance(port.torch_outputs(), by_hand), distance(port.keras_outputs(), by_hand))


def _check(port: Port) -> Any:
    return kp.check(port.torch_model, port.keras_model, port.inputs, port.labels, **port.words)


def _collect(cases: Iterator[tuple[Any, Callable[[], Any]]]) -> Iterator[tuple[Any, Any, float]]:
    """Runs each case; a case that raises yields its error, and the others still run."""
    for case, run in cases:
        began = time.perf_counter()
        try:
            outcome = run()
        except Exception as error:  # raised by one port
            outcome = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            traceback.print_exc()
        yield case, outcome, time.perf_counter() - began


def _table(rows: dict[str, Counter[str]]) -> str:
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    lines = [f"{'':34}" + "".join(f"{column:>14}" for column in columns)]
    total: Counter[str] = sum(rows.values(), Counter())
    for name, row in [*sorted(rows.items()), ("all", total)]:
        lines.append(f"{name:34}" + "".join(f"{row[column] or '':>14}" for column in columns))
    return "\n".join(lines)


@pytest.mark.parametrize("seed", [3, 7, 8, 19, 20, 22, 24, 45])
def test_both_frameworks_compute_what_is_computed_by_hand(seed):
    assert _off_by_hand(right_port(seed)) < FUNCTION


@pytest.mark.parametrize("seed", [12, 43])
def test_a_port_trains_the_same_in_plain_loops(seed):
    assert right_port(seed).train_plainly(STEPS) < TRAINED


def test_every_kind_is_drawn():
    drawn = [draw(seed) for seed in range(300)]
    assert {port.base for port in drawn} == set(BASES)
    assert {port.trained for port in drawn} == set(TRAININGS)


@pytest.mark.slow
def test_every_right_port_is_right_by_hand_and_trains_so_in_plain_loops():
    def run(seed: int) -> str:
        port = right_port(seed)
        if _off_by_hand(port) > FUNCTION:
            return "another function"
        apart = port.train_plainly(STEPS)
        return "as told" if (apart < TRAINED) == port.same_training else f"{apart:.1e} apart"

    wrong = []
    for seed, outcome, _ in _collect((s, lambda s=s: run(s)) for s in PORTS):
        if outcome != "as told":
            wrong.append((seed, outcome))
            print(f"seed {seed}: {outcome}", flush=True)
    assert wrong == []


@pytest.mark.slow
def test_no_right_port_is_called_different():
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    seconds, wrong, undecided = [], [], []

    def run(seed: int) -> tuple[Port, Any]:
        port = right_port(seed)
        return port, _check(port)

    for seed, outcome, took in _collect((s, lambda s=s: run(s)) for s in PORTS):
        drawn = draw(seed)
        seconds.append(took)
        if isinstance(outcome, str):
            said, verdict = "raised", outcome
        else:
            port, report = outcome
            verdict = report.verdict
            pairs = [(report.same_function, port.same_function), (report.same_training, port.same_training)]
            unknown = any(got is None for got, _ in pairs)
            said = "wrong" if any(got is (not right) for got, right in pairs) else "undecided" if unknown else "right"
        for name in (drawn.base, f"trained: {drawn.trained}"):
            rows[name][said] += 1
        if said != "right":
            (undecided if said == "undecided" else wrong).append((seed, drawn.base, drawn.trained, verdict))
            print(f"{said}: seed {seed}, {drawn.base}, {drawn.trained}: {verdict}", flush=True)
    print(_table(rows))
    print(f"{len(seconds)} ports, {sum(seconds):.0f} s; each counts by its network and by its training")
    assert wrong == []
    assert len(undecided) <= 3


@pytest.mark.slow
def test_every_fault_is_caught_and_nearly_always_named_and_mended(row):
    rows: dict[str, Counter[str]] = {}
    missed, total = [], Counter[str]()
    kinds = [kind for kind in FAULTS.values() if re.search(os.environ.get("FAULTS", ""), kind.name)]

    def run(name: str, seed: int) -> Any:
        faulty = faulty_port(FAULTS[name], seed)
        return faulty, _check(faulty.port)

    cases = [(kind.name, seed) for kind in kinds for seed in FAULT_SEEDS]
    for (name, seed), outcome, _ in _collect((case, lambda case=case: run(*case)) for case in cases):
        counts = rows.setdefault(name, Counter())
        counts["ports"] += 1
        if isinstance(outcome, str):
            counts["raised"] += 1
            missed.append((name, seed, outcome))
            continue
        faulty, report = outcome
        verdict = report.same_training if FAULTS[name].training else report.same_function
        named = [f for f in report.findings if re.search(faulty.place, f"{f.where}\n{f.what}", re.IGNORECASE)]
        found = {
            "caught": verdict is False, "undecided": verdict is None, "named": bool(named),
            "mended": any(finding.fixes for finding in named),
        }  # fmt: skip
        counts.update({word: 1 for word, holds in found.items() if holds})
        rows[name] = counts
        if verdict is True:
            missed.append((name, seed, report.verdict))
        if not (found["named"] and found["caught"]):
            print(
                f"{name}, seed {seed}, {faulty.side}, {faulty.port.kinds}, {faulty.apart:.1e} apart: {report.verdict}"
            )
            print(f"    wanted {faulty.place}; named {[(f.where, f.what[:80]) for f in report.findings]}", flush=True)
    print(_table(rows))
    total = sum(rows.values(), Counter())
    row("faults of ports", ", ".join(f"{word} {count}" for word, count in total.items()))
    assert missed == []
    assert total["named"] >= 0.9 * total["ports"]
    assert total["mended"] >= 0.6 * total["ports"]
