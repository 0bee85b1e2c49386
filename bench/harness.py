"""Measures of ours against peers, timed alternately in one run, with the spread of the ratios.

A machine's speed drifts by more than most gains are worth, so every round times every contender once, a ratio
is taken within a round, and the middle one of all rounds counts. Rounds start with different contenders: none always
runs on what another left in the caches.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TypeAlias

from rich.console import Console
from rich.table import Table

# Name -> what to run, and how much work (texts, users, operations) that is.
Contenders: TypeAlias = dict[str, tuple[Callable[[], object], float]]

RESULTS = Path(__file__).parent / "results.json"


class GateError(Exception):
    """A figure that must not be reported: what was compared, its value, and the expected value."""


@dataclass(frozen=True)
class Row:
    """One measure. `ratio` above 1: ours is faster; `spread`: its largest minus its smallest value of all rounds.

    `value` and `peer_value` are medians in `unit`; `met` is None where nothing was targeted.
    """

    measure: str
    device: str
    value: float
    peer_value: float
    unit: str
    ratio: float
    spread: float
    target: float | None
    met: bool | None


@dataclass(frozen=True)
class Timing:
    """Seconds of a contender in each round, and the work (texts, users, operations) of a round."""

    seconds: tuple[float, ...]
    work: float = 1.0

    def rates(self) -> list[float]:
        """Work per second, round by round."""
        return [self.work / seconds for seconds in self.seconds]

    def value(self, unit: str) -> float:
        """The median in `unit`: seconds if it is "s", else work per second."""
        return median(self.seconds if unit == "s" else self.rates())


def alternate(contenders: Contenders, repeats: int = 3, clock: Callable[[], float] = perf_counter) -> dict[str, Timing]:
    """One Timing per contender, from `repeats` rounds in which each runs once, in turn."""
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1; it is {repeats}")
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(repeats):
        first = number % len(names) if names else 0
        for name in names[first:] + names[:first]:
            started = clock()
            contenders[name][0]()
            seconds[name].append(clock() - started)
    return {name: Timing(tuple(seconds[name]), work) for name, (_, work) in contenders.items()}


def compare(
    measure: str, device: str, ours: Timing, peer: Timing, unit: str, target: float | None = None, scale: float = 1.0
) -> Row:
    """One row; `scale` multiplies both values, for a unit such as TFLOP/s."""
    ratios = [mine / theirs for mine, theirs in zip(ours.rates(), peer.rates(), strict=True)]
    ratio = median(ratios)
    return Row(
        measure,
        device,
        ours.value(unit) * scale,
        peer.value(unit) * scale,
        unit,
        ratio,
        max(ratios) - min(ratios),
        target,
        None if target is None else ratio >= target,
    )


def gate(what: str, actual: float, at_least: float) -> str:
    """A line with a measure of correctness of results. Raises GateError below `at_least`, and for NaN."""
    line = f"{what} {actual:.5f}, at least {at_least:g} expected"
    if not actual >= at_least:
        raise GateError(f"{line}: the figures beside it count for nothing")
    return line


def report(rows: Sequence[Row], path: Path = RESULTS) -> None:
    """Print the rows as a table, and append them to the JSON list at `path`."""
    table = Table("measure", "device", "ours", "peer", "unit", "ratio", "spread", "target", "met")
    for row in rows:
        met = {None: "", True: "yes", False: "no"}[row.met]
        target = "" if row.target is None else f"{row.target:g}"
        numbers = [f"{number:,.3g}" if number < 100 else f"{number:,.0f}" for number in (row.value, row.peer_value)]
        table.add_row(row.measure, row.device, *numbers, row.unit, f"{row.ratio:.2f}", f"{row.spread:.2f}", target, met)
    console().print(table)
    earlier = json.loads(path.read_text("utf-8")) if path.is_file() else []
    path.write_text(json.dumps(earlier + [asdict(row) for row in rows], indent=1) + "\n", "utf-8")


def on_cpu(threads: int) -> str:
    """The device of a row, in words."""
    return f"cpu, {threads} thread{'s' if threads > 1 else ''}"


def console() -> Console:
    """Where a bench prints: the terminal, or 120 columns in a file."""
    return Console(highlight=False, width=None if Console().is_terminal else 120)
