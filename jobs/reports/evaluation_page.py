"""One result is a page: what an evaluation found, made from plain rows alone, in one file that needs no other."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jobs.offline.measures import ImportanceRow, MeasureRow, ParameterRow, ReliabilityRow
from jobs.reports.page import ACCENT, QUIET, interval, number, page, reliability_figure, svg, table, text

# Names that the page looks for in the rows. Every row is shown, whatever its names: see `_rest`.
ALL = "all"  # the slice that leaves nobody out
NDCG = "ndcg@10"
LEAD = "lead_ndcg@10"  # mean of the leader / mean of the contender that the row names - 1, paired
EVERYONE = "coverage_everyone"  # the share of the catalogue in the lists of all users, also of those not judged
HEAD_METRICS = (
    NDCG,
    LEAD,
    "recall@10",
    "precision@10",
    "hit_rate@10",
    "coverage",
    EVERYONE,
    "novelty",
    "diversity",
    "personalisation",
)
WORTH = "worth_ndcg@10"  # mean of the whole fusion / mean of the one without the part that the row names - 1, paired
TUNING = "tuning_worth_ndcg@10"  # mean of the fine-tuned BERT / mean of the frozen one that the row names - 1, paired
SHARES = (LEAD, WORTH, TUNING)  # shown as percentages
GENERATORS = "recall@200"
CALIBRATION = "calibration_error"
COUNTRY = "country: "  # a slice's name begins with it
FEWEST_USERS = 10  # a country is called the worst only with this many


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


def evaluation_page(found: Evaluation) -> str:
    """The whole page as HTML: tables, and plots as SVG within it. ValueError where rows contradict each other."""
    _check(found)
    shown: set[MeasureRow] = set()
    parts = [f"<h1>{text(found.shop)}: what the lists were worth</h1>", _protocol(found)]
    for task, words in found.tasks.items():
        parts += [f"<section><h2>{text(task)}: {text(words)}</h2>", *_task(found, task, shown), "</section>"]
    parts += [_importances(found), _parameters(found), _rest(found, shown)]
    return page(f"Evaluation of {found.shop}, cut {found.cut_date}", parts)


def _check(found: Evaluation) -> None:
    keys: set[tuple[str, str, str, str]] = set()
    for row in found.measures:
        key = row.task, row.contender, row.metric, row.slice
        if row.cut_date != found.cut_date or row.task not in found.tasks:
            wanted = f"cut {found.cut_date}, tasks {', '.join(found.tasks)} expected"
            raise ValueError(f"a figure of cut {row.cut_date}, task {row.task}; {wanted}")
        if key in keys:
            raise ValueError(f"two figures of {', '.join(key)}")
        keys.add(key)


def _protocol(found: Evaluation) -> str:
    users = {task: _users(found, task) for task in found.tasks}
    counts = ", ".join(f"{count:,} on {text(task)}" for task, count in users.items())
    return (
        f"<p>Cut {found.cut_date}; users: {counts}. {text(found.protocol)}</p>"
        '<p class="quiet">Intervals are 95 %, by bootstrap over users; a lead is paired, user by user.</p>'
    )


def _users(found: Evaluation, task: str) -> int:
    told = (row.user_count for row in found.measures if (row.task, row.slice, row.metric) == (task, ALL, NDCG))
    return max(told, default=0)


def _task(found: Evaluation, task: str, shown: set[MeasureRow]) -> Iterable[str]:
    """The sections of one task; what they show is added to `shown`."""
    mine = [row for row in found.measures if row.task == task]
    plain = {(row.contender, row.metric): row for row in mine if row.slice == ALL}
    names = list(dict.fromkeys(row.contender for row in mine if row.slice == ALL and row.metric in HEAD_METRICS))
    names.sort(key=lambda name: -plain[name, NDCG].value if (name, NDCG) in plain else math.inf)
    peers = [name for name in names if name not in found.ablations]
    rivals = [name for name in peers if name not in (found.leader, *found.variants) and (name, NDCG) in plain]
    metrics = [metric for metric in HEAD_METRICS if any((name, metric) in plain for name in names)]
    best = rivals[0] if rivals else None
    if best and (best, LEAD) in plain:
        lead = plain[best, LEAD]
        yield (
            f'<p class="lead">{text(found.leader)} over {text(best)}, the best peer: '
            f"<b>{_cell(lead, ' ')}</b> NDCG@10{_verdict(lead)}.</p>"
        )
    yield _contenders(peers, metrics, plain, found.leader, best)
    yield _dots(
        f"{NDCG} of each contender, task {task}", [plain[name, NDCG] for name in peers if (name, NDCG) in plain]
    )
    apart = [name for name in names if name in found.ablations]
    if apart:
        yield "<h3>Ablations: the leader less one part</h3>"
        yield _contenders(
            [name for name in (found.leader, *apart) if name in names], metrics, plain, found.leader, None
        )
        yield _dots(
            f"{NDCG} of each ablation, task {task}",
            [plain[name, NDCG] for name in (found.leader, *apart) if (name, NDCG) in plain],
        )
    shown |= {plain[name, metric] for name in names for metric in metrics if (name, metric) in plain}
    tuning = [row for row in plain.values() if row.metric == TUNING]
    if tuning:
        yield "<h3>What fine-tuning is worth</h3>"
        yield from (
            f"<p>Over {text(row.contender)}: <b>{_cell(row, ' ')}</b> NDCG@10{_verdict(row)}.</p>" for row in tuning
        )
        shown |= set(tuning)
    generators = sorted((row for row in plain.values() if row.metric == GENERATORS), key=lambda row: -row.value)
    if generators:
        yield "<h3>Generators: share of true purchases within 200 candidates</h3>"
        rows = [[text(row.contender), _cell(row)] for row in generators]
        yield table(["generator", GENERATORS], rows) + _dots(f"{GENERATORS} of each generator, task {task}", generators)
        shown |= set(generators)
    sliced = [row for row in mine if row.slice != ALL]
    countries = [row for row in sliced if row.slice.startswith(COUNTRY)]
    yield _slices([row for row in sliced if row not in set(countries)])
    yield from _countries(countries, plain)
    shown |= set(sliced)
    bins = [row for row in found.reliability if row.task == task]
    errors = [row for row in plain.values() if row.metric == CALIBRATION]
    if bins or errors:
        yield "<h3>Is the score a probability?</h3>"
        told = "; ".join(f"{text(row.contender)} {_cell(row, ' ')}" for row in errors)
        yield f"<p>Expected calibration error: {told or 'not measured'}.</p>" + reliability_figure(
            f"reliability, task {task}", bins
        )
        shown |= set(errors)


def _contenders(
    names: Sequence[str],
    metrics: Sequence[str],
    rows: dict[tuple[str, str], MeasureRow],
    leader: str,
    best: str | None,
) -> str:
    titles = [f"lead of {leader}" if metric == LEAD else metric for metric in metrics]
    cells, marks = [], []
    for name in names:
        note = " <small>best peer</small>" if name == best else ""
        cells.append([text(name) + note, *(_cell(rows.get((name, metric))) for metric in metrics)])
        marks.append("leader" if name == leader else "best" if name == best else "")
    return table(["contender", *titles], cells, marks)


def _slices(rows: Sequence[MeasureRow]) -> str:
    if not rows:
        return ""
    names = list(dict.fromkeys(row.contender for row in rows))
    by_place = {(row.slice, row.metric, row.contender): row for row in rows}
    cells = []
    for part, metric in dict.fromkeys((row.slice, row.metric) for row in rows):
        here = [by_place.get((part, metric, name)) for name in names]
        count = max(row.user_count for row in here if row)
        cells.append([text(part), text(metric), f"{count:,}", *map(_cell, here)])
    return "<h3>Slices</h3>" + table(["slice", "metric", "users", *names], cells, words=2)


def _countries(rows: Sequence[MeasureRow], plain: dict[tuple[str, str], MeasureRow]) -> Iterable[str]:
    """One table per contender and metric: the mean, then every country from the worst; a line says how far it falls."""
    for name, metric in dict.fromkeys((row.contender, row.metric) for row in rows):
        here = sorted((row for row in rows if (row.contender, row.metric) == (name, metric)), key=lambda row: row.value)
        mean = plain.get((name, metric))
        yield f"<h3>Countries: {text(name)}, {text(metric)}</h3>"
        if mean:
            worst = next((row for row in here if row.user_count >= FEWEST_USERS), here[0])
            gap = f"{worst.value / mean.value - 1:+.0%} against the mean" if mean.value else "the mean is 0"
            place = f"{text(worst.slice.removeprefix(COUNTRY))}, {worst.user_count:,} users"
            yield f"<p>Worst of at least {FEWEST_USERS} users: {place}, {_cell(worst, ' ')}; {gap}.</p>"
        cells = [["mean of all", f"{mean.user_count:,}", _cell(mean)]] if mean else []
        cells += [[text(row.slice.removeprefix(COUNTRY)), f"{row.user_count:,}", _cell(row)] for row in here]
        yield table(["country", "users", metric], cells, ["leader"] if mean else [])


def _importances(found: Evaluation) -> str:
    rows = sorted(found.importances, key=lambda row: (-row.importance, row.feature))
    if not rows:
        return ""
    cells = [[text(row.feature), number(row.importance), text(row.description)] for row in rows]
    listed = table(["feature", "importance", "what it is"], cells, words=1, last_words=True)
    figure, axes = _axes(len(rows))
    axes.barh(range(len(rows)), [row.importance for row in rows], color=ACCENT, height=0.6)
    _names(axes, [row.feature for row in rows])
    return f"<section><h2>What moves the score</h2>{svg(figure, 'importance of each feature')}{listed}</section>"


def _parameters(found: Evaluation) -> str:
    if not found.parameters:
        return ""
    cells = [
        [text(row.task), text(row.contender), f"<code>{text(row.parameters)}</code>", number(row.value)]
        for row in found.parameters
    ]
    head = ["task", "contender", "parameters", "validation NDCG@10"]
    return f"<section><h2>What tuning chose, on the validation cut</h2>{table(head, cells, words=3)}</section>"


def _rest(found: Evaluation, shown: set[MeasureRow]) -> str:
    """Rows that no section above knows: nothing that was measured is left out."""
    rest = [row for row in found.measures if row not in shown]
    if not rest:
        return ""
    cells = [[*map(text, (row.task, row.contender, row.metric, row.slice)), _cell(row)] for row in rest]
    listed = table(["task", "contender", "metric", "slice", "value"], cells, words=4)
    return f"<section><h2>Further figures</h2>{listed}</section>"


def _verdict(lead: MeasureRow) -> str:
    if lead.low is None or lead.high is None:
        return ""
    if lead.low > 0:
        return ", better beyond chance"
    return ", worse beyond chance" if lead.high < 0 else ", within chance"


def _cell(row: MeasureRow | None, before: str = "<br>") -> str:
    """The figure, and its interval in small type; `before` parts the two."""
    if row is None:
        return ""
    share = row.metric in SHARES
    return interval(row.value, row.low, row.high, as_share=share, before=before)


def _axes(lines: int) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7.2, 0.6 + 0.26 * lines), layout="constrained")
    return figure, figure.add_subplot()


def _names(axes: Axes, names: Sequence[str]) -> None:
    # A dollar sign would begin a formula.
    axes.set_yticks(range(len(names)), [name.replace("$", r"\$") for name in names])
    axes.invert_yaxis()


def _dots(title: str, rows: Sequence[MeasureRow]) -> str:
    """A dot with its interval per row."""
    if not rows:
        return ""
    figure, axes = _axes(len(rows))
    for place, row in enumerate(rows):
        if row.low is not None and row.high is not None:
            axes.plot([row.low, row.high], [place, place], color=QUIET, linewidth=2, solid_capstyle="round")
        axes.plot([row.value], [place], "o", color=ACCENT, markersize=6)
    _names(axes, [row.contender for row in rows])
    axes.set_xlabel(rows[0].metric)
    return svg(figure, title)
