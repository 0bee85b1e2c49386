"""Page of an evaluation, built from plain rows alone, in one file that needs no other."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from jobs.offline.measures import (
    EVERYONE,
    LEAD,
    TUNING,
    WORTH,
    ImportanceRow,
    MeasureRow,
    ParameterRow,
    ReliabilityRow,
)
from jobs.reports.figures import Reliability, bars, dots, reliability
from jobs.reports.page import Cell, Row, Table, interval, number, render

# Names that the page looks for in the rows. Every row is shown, whatever its names: see `_Shown`.
ALL = "all"  # the slice of all users
NDCG = "ndcg@10"
HEAD_METRICS = (
    *(NDCG, LEAD, "recall@10", "precision@10", "hit_rate@10", "coverage"),
    *(EVERYONE, "novelty", "diversity", "personalisation"),
)
SHARES = (LEAD, WORTH, TUNING)  # shown as percentages
GENERATORS = "recall@200"
CALIBRATION = "calibration_error"
COUNTRY = "country: "  # a slice's name begins with it
FEWEST_USERS = 10  # of a country that may be called the worst


@dataclass(frozen=True)
class Evaluation:
    """All that the page shows, as rows.

    leader: the contender whose lead over each other one the rows `lead_ndcg@10` give; variants: the leader's lists
    under other rules, no peers of it; ablations: contenders that are the leader less a part, shown apart; tasks: in
    words, what each task is, in the page's order.
    """

    shop: str
    cut_date: dt.date
    protocol: str
    leader: str
    tasks: dict[str, str]
    measures: Sequence[MeasureRow]
    variants: Sequence[str] = ()
    ablations: Sequence[str] = ()
    reliability: Sequence[ReliabilityRow] = ()
    importances: Sequence[ImportanceRow] = ()
    parameters: Sequence[ParameterRow] = ()


@dataclass(frozen=True)
class Lead:
    """The lead over a peer, and whether it is beyond chance."""

    over: str
    worth: Cell
    verdict: str


@dataclass(frozen=True)
class Countries:
    """A figure of each country from the worst; `worst` is empty where there is no mean to compare with."""

    contender: str
    metric: str
    table: Table
    worst: str
    user_count: int
    value: Cell
    gap: str
    fewest: int = FEWEST_USERS


@dataclass(frozen=True)
class Task:
    """The sections of one task."""

    name: str
    words: str
    lead: Lead | None
    contenders: Table
    dots: Markup
    ablations: Table | None
    ablation_dots: Markup
    tuning: Sequence[Lead]
    generators: Table | None
    generator_dots: Markup
    slices: Table | None
    countries: Sequence[Countries]
    reliability: Reliability | None
    errors: Sequence[tuple[str, Cell]]


def evaluation_page(evaluation: Evaluation) -> str:
    """The page as HTML: tables, and plots as SVG within it. ValueError where rows contradict each other."""
    _check(evaluation)
    shown: set[MeasureRow] = set()
    tasks = [_TaskRows(evaluation, task, shown).sections(words) for task, words in evaluation.tasks.items()]
    importances = sorted(evaluation.importances, key=lambda row: (-row.importance, row.feature))
    lengths = [(row.feature, row.importance) for row in importances]
    return render(
        "evaluation_page.html.j2",
        title=f"Evaluation of {evaluation.shop}, cut {evaluation.cut_date}",
        evaluation=evaluation,
        users={task: _users(evaluation, task) for task in evaluation.tasks},
        tasks=tasks,
        importance_bars=bars("importance of each feature", lengths) if lengths else Markup(),
        importances=_importances(importances),
        parameters=_parameters(evaluation),
        rest=_unshown(evaluation, shown),
    )


def _check(evaluation: Evaluation) -> None:
    keys: set[tuple[str, str, str, str]] = set()
    for row in evaluation.measures:
        key = row.task, row.contender, row.metric, row.slice
        if row.cut_date != evaluation.cut_date or row.task not in evaluation.tasks:
            wanted = f"cut {evaluation.cut_date}, tasks {', '.join(evaluation.tasks)} expected"
            raise ValueError(f"a figure of cut {row.cut_date}, task {row.task}; {wanted}")
        if key in keys:
            raise ValueError(f"two figures of {', '.join(key)}")
        keys.add(key)


def _users(evaluation: Evaluation, task: str) -> int:
    counts = (row.user_count for row in evaluation.measures if (row.task, row.slice, row.metric) == (task, ALL, NDCG))
    return max(counts, default=0)


@dataclass
class _TaskRows:
    """The rows of one task; rows that its sections show are added to `shown`."""

    found: Evaluation
    task: str
    shown: set[MeasureRow]
    rows: list[MeasureRow] = field(init=False)
    plain: dict[tuple[str, str], MeasureRow] = field(init=False)  # rows of all users, by contender and metric

    def __post_init__(self) -> None:
        self.rows = [row for row in self.found.measures if row.task == self.task]
        self.plain = {(row.contender, row.metric): row for row in self.rows if row.slice == ALL}

    def sections(self, words: str) -> Task:
        """All sections of the task."""
        names = self._names()
        metrics = [metric for metric in HEAD_METRICS if any((name, metric) in self.plain for name in names)]
        self.shown |= {self.plain[key] for name in names for metric in metrics if (key := (name, metric)) in self.plain}
        peers = [name for name in names if name not in self.found.ablations]
        rivals = [
            name
            for name in peers
            if name not in (self.found.leader, *self.found.variants) and (name, NDCG) in self.plain
        ]
        best = rivals[0] if rivals else None
        apart = [name for name in names if name in self.found.ablations]
        beside = [name for name in (self.found.leader, *apart) if name in names] if apart else []
        generators = sorted(self._take(GENERATORS), key=lambda row: -row.value)
        sliced = [row for row in self.rows if row.slice != ALL]
        self.shown |= set(sliced)
        lead = self.plain.get((best, LEAD)) if best else None
        return Task(
            name=self.task,
            words=words,
            lead=_lead(lead) if lead else None,
            contenders=self._contenders(peers, metrics, best),
            dots=self._ndcg_dots("contender", peers),
            ablations=self._contenders(beside, metrics, None) if apart else None,
            ablation_dots=self._ndcg_dots("ablation", beside),
            tuning=[_lead(row) for row in self._take(TUNING)],
            generators=_figures_of(generators, "generator", GENERATORS) if generators else None,
            generator_dots=_dots(f"{GENERATORS} of each generator, task {self.task}", generators),
            slices=_slices([row for row in sliced if not row.slice.startswith(COUNTRY)]),
            countries=list(_countries([row for row in sliced if row.slice.startswith(COUNTRY)], self.plain)),
            reliability=reliability(
                f"reliability, task {self.task}", [row for row in self.found.reliability if row.task == self.task]
            ),
            errors=[(row.contender, _cell(row, stacked=False)) for row in self._take(CALIBRATION)],
        )

    def _names(self) -> list[str]:
        """The contenders with a metric of HEAD_METRICS, best first."""
        names = list(dict.fromkeys(name for name, metric in self.plain if metric in HEAD_METRICS))
        return sorted(names, key=lambda name: -self.plain[name, NDCG].value if (name, NDCG) in self.plain else math.inf)

    def _take(self, metric: str) -> list[MeasureRow]:
        """The rows of a metric for all users, marked as shown."""
        taken = [row for row in self.plain.values() if row.metric == metric]
        self.shown |= set(taken)
        return taken

    def _contenders(self, names: Sequence[str], metrics: Sequence[str], best: str | None) -> Table:
        leader = self.found.leader
        titles = [f"lead of {leader}" if metric == LEAD else metric for metric in metrics]
        cells, marks = [], []
        for name in names:
            title = Cell(name, "best peer" if name == best else "", stacked=False)
            cells.append([title, *(_cell(self.plain.get((name, metric))) for metric in metrics)])
            marks.append("leader" if name == leader else "best" if name == best else "")
        return Table(["contender", *titles], cells, marks)

    def _ndcg_dots(self, kind: str, names: Sequence[str]) -> Markup:
        rows = [self.plain[name, NDCG] for name in names if (name, NDCG) in self.plain]
        return _dots(f"{NDCG} of each {kind}, task {self.task}", rows)


def _lead(row: MeasureRow) -> Lead:
    verdict = ""
    if row.low is not None and row.high is not None:
        chance = ", worse beyond chance" if row.high < 0 else ", within chance"
        verdict = ", better beyond chance" if row.low > 0 else chance
    return Lead(row.contender, _cell(row, stacked=False), verdict)


def _figures_of(rows: Sequence[MeasureRow], kind: str, metric: str) -> Table:
    return Table([kind, metric], [[row.contender, _cell(row)] for row in rows])


def _slices(rows: Sequence[MeasureRow]) -> Table | None:
    if not rows:
        return None
    names = list(dict.fromkeys(row.contender for row in rows))
    by_place = {(row.slice, row.metric, row.contender): row for row in rows}
    cells: list[Row] = []
    for part, metric in dict.fromkeys((row.slice, row.metric) for row in rows):
        here = [by_place.get((part, metric, name)) for name in names]
        count = max(row.user_count for row in here if row)
        cells.append([part, metric, f"{count:,}", *map(_cell, here)])
    return Table(["slice", "metric", "users", *names], cells, words=2)


def _countries(rows: Sequence[MeasureRow], plain: dict[tuple[str, str], MeasureRow]) -> Iterator[Countries]:
    """A table per contender and metric: the mean, then every country from the worst, with the gap of the worst."""
    for name, metric in dict.fromkeys((row.contender, row.metric) for row in rows):
        here = sorted((row for row in rows if (row.contender, row.metric) == (name, metric)), key=lambda row: row.value)
        mean = plain.get((name, metric))
        worst = next((row for row in here if row.user_count >= FEWEST_USERS), here[0])
        gap = f"{worst.value / mean.value - 1:+.0%} against the mean" if mean and mean.value else "the mean is 0"
        cells: list[Row] = [["mean of all", f"{mean.user_count:,}", _cell(mean)]] if mean else []
        cells += [[row.slice.removeprefix(COUNTRY), f"{row.user_count:,}", _cell(row)] for row in here]
        yield Countries(
            name,
            metric,
            Table(["country", "users", metric], cells, ["leader"] if mean else []),
            worst=worst.slice.removeprefix(COUNTRY) if mean else "",
            user_count=worst.user_count,
            value=_cell(worst, stacked=False),
            gap=gap,
        )


def _importances(rows: Sequence[ImportanceRow]) -> Table | None:
    cells: list[Row] = [[row.feature, number(row.importance), row.description] for row in rows]
    return Table(["feature", "importance", "what it is"], cells, last_words=True) if rows else None


def _parameters(evaluation: Evaluation) -> Table | None:
    if not evaluation.parameters:
        return None
    cells: list[Row] = [
        [row.task, row.contender, Cell(row.parameters, code=True), number(row.value)] for row in evaluation.parameters
    ]
    return Table(["task", "contender", "parameters", "validation NDCG@10"], cells, words=3)


def _unshown(evaluation: Evaluation, shown: set[MeasureRow]) -> Table | None:
    """Table of the rows that no section shows, so that every measure is on the page."""
    unshown = [row for row in evaluation.measures if row not in shown]
    cells: list[Row] = [[row.task, row.contender, row.metric, row.slice, _cell(row)] for row in unshown]
    return Table(["task", "contender", "metric", "slice", "value"], cells, words=4) if unshown else None


def _cell(row: MeasureRow | None, stacked: bool = True) -> Cell:
    """The figure, and its interval in small type."""
    if row is None:
        return Cell("")
    return interval(row.value, row.low, row.high, as_share=row.metric in SHARES, stacked=stacked)


def _dots(title: str, rows: Sequence[MeasureRow]) -> Markup:
    """A dot with its interval per row."""
    return dots(title, rows[0].metric, [(row.contender, row) for row in rows]) if rows else Markup()
