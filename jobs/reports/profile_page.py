"""Page of an evaluation of profiles: each contender's measures at past cuts, and whether chances come true."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jobs.offline.profiles_judged import LEAD, ProfileFigure
from jobs.reports.figures import Bin, Reliability, reliability
from jobs.reports.page import Cell, Row, Table, interval, number, render
from udfs.users.evaluation import OURS


@dataclass(frozen=True)
class Section:
    """One cut and horizon: its measures, and for the newest of its horizon the chances beside what came true."""

    title: str
    table: Table
    reliability: Reliability | None


def profile_page(
    deployment: str, run_date: dt.date, figures: Sequence[ProfileFigure], bins: Mapping[int, Sequence[Bin]]
) -> str:
    """The page as HTML, the newest cut of each horizon first, then earlier ones."""
    cuts = list(dict.fromkeys((each.cut_date, each.horizon) for each in figures))
    newest = {horizon: max(cut for cut, of in cuts if of == horizon) for _, horizon in cuts}
    cuts.sort(key=lambda pair: (newest[pair[1]] != pair[0], pair[1], -pair[0].toordinal()))
    sections = []
    for cut, horizon in cuts:
        of = [each for each in figures if (each.cut_date, each.horizon) == (cut, horizon)]
        title = f"{horizon} days after {cut}: {of[0].users:,} users"
        drawn = reliability(f"Bought within {horizon} days", bins[horizon]) if newest[horizon] == cut else None
        sections.append(Section(title, _measures(of), drawn))
    return render("profile_page.html.j2", title=f"Profiles of {deployment}, {run_date}", sections=sections)


def _measures(figures: Sequence[ProfileFigure]) -> Table:
    by_name = {(each.contender, each.metric): each for each in figures}
    names = [*dict.fromkeys(each.contender for each in figures if each.contender != OURS), OURS]
    metrics = list(dict.fromkeys(each.metric for each in figures if not each.metric.startswith(LEAD)))
    rows: list[Row] = []
    for metric in metrics:
        cells: list[str | Cell] = [metric]
        cells += [number(by_name[name, metric].value) if (name, metric) in by_name else "" for name in names]
        lead = by_name.get((OURS, f"{LEAD}{metric}"))
        rows.append([*cells, interval(lead.value, lead.low, lead.high) if lead else ""])
    return Table(["measure", *names, "lead over MBG/NBD"], rows)
