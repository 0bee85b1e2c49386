"""Sections of a run's page that show what it wrote: forecast, stock, trends, lists; each with the SQL that gives it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from markupsafe import Markup
from matplotlib.figure import Figure

from jobs.reports.figures import ACCENT, QUIET, svg
from jobs.reports.page import Row, Table, render

Records: TypeAlias = Sequence[Mapping[str, Any]]

PAST_WEEKS, MOST_ROWS, SHOWN_USERS, SHOWN_ITEMS, SHOWN_PURCHASES = 8, 15, 3, 10, 5

# Spark SQL over tables by <layer>.<table>; {day} is the run_date. What a section shows are the rows of its query.
EXPECTED = """SELECT target_week, sum(expected_units) AS units
FROM gold.demand_forecast WHERE run_date = DATE'{day}' GROUP BY target_week ORDER BY target_week"""
SOLD = f"""SELECT date_sub(DATE'{{day}}', CAST(7 * (datediff(DATE'{{day}}', event_date) DIV 7) + 6 AS INT)) AS week,
       sum(quantity) AS units
FROM silver.events
WHERE event_type = 'purchase' AND event_date > date_sub(DATE'{{day}}', {7 * PAST_WEEKS}) AND run_date <= DATE'{{day}}'
GROUP BY week ORDER BY week"""
ACTIONS = """SELECT action, count(*) AS rows, sum(quantity) AS units
FROM gold.inventory_actions WHERE run_date = DATE'{day}' GROUP BY action ORDER BY action"""
URGENT = f"""SELECT location_id, item_id, action, quantity, stockout_probability, reason
FROM gold.inventory_actions WHERE run_date = DATE'{{day}}' AND action <> 'ok'
ORDER BY stockout_probability DESC NULLS LAST, location_id, item_id, action LIMIT {MOST_ROWS}"""
TRENDS = f"""SELECT kind, key, direction, count, ratio, low, high, reason
FROM gold.search_trends WHERE run_date = DATE'{{day}}' ORDER BY q_value, kind, key LIMIT {MOST_ROWS}"""
LISTED = f"""SELECT l.item_id, any_value(i.title) AS title, count(*) AS lists, avg(l.score) AS score
FROM gold.recommendations l LEFT JOIN silver.items i ON i.item_id = l.item_id AND i.run_date = l.run_date
WHERE l.run_date = DATE'{{day}}' GROUP BY l.item_id ORDER BY lists DESC, l.item_id LIMIT {SHOWN_ITEMS}"""
# Of the three users that come first by a hash: their lists, and what they last bought.
CHOSEN = f"""WITH chosen AS (SELECT user_id FROM gold.recommendations WHERE run_date = DATE'{{day}}'
  GROUP BY user_id ORDER BY xxhash64(user_id), user_id LIMIT {SHOWN_USERS})"""
LISTS = f"""{CHOSEN}
SELECT l.user_id, l.rank, l.item_id, i.title, l.score, l.reason
FROM gold.recommendations l JOIN chosen USING (user_id)
LEFT JOIN silver.items i ON i.item_id = l.item_id AND i.run_date = l.run_date
WHERE l.run_date = DATE'{{day}}' AND l.rank <= {SHOWN_ITEMS} ORDER BY l.user_id, l.rank"""
BOUGHT = f"""{CHOSEN}
SELECT user_id, event_date, item_id, title FROM (
  SELECT e.user_id, e.event_date, e.item_id, i.title,
         row_number() OVER (PARTITION BY e.user_id ORDER BY e.occurred_at DESC, e.item_id, e.event_id) AS place
  FROM silver.events e JOIN chosen USING (user_id)
  LEFT JOIN silver.items i ON i.item_id = e.item_id AND i.run_date = DATE'{{day}}'
  WHERE e.event_type = 'purchase' AND e.run_date <= DATE'{{day}}')
WHERE place <= {SHOWN_PURCHASES} ORDER BY user_id, place"""

QUERIES = (EXPECTED, SOLD, ACTIONS, URGENT, TRENDS, LISTED, LISTS, BOUGHT)  # what the command `page` runs
# Of records that every run writes: what the other sections of the page show.
OF_RECORDS = {
    "Event records": "SELECT run_date, rows_in, rows_kept, rows_rejected, reasons FROM silver.cleaned_days "
    "WHERE run_date <= DATE'{day}' ORDER BY run_date DESC LIMIT 56",
    "Checks": "SELECT table_name, check_name, severity, passed, reason FROM ops.checks WHERE run_date = DATE'{day}' "
    "ORDER BY table_name, check_name",
    "Beside the nights before": "SELECT run_date, table_name, figure, value, usual, low, high FROM ops.figures "
    "WHERE run_date <= DATE'{day}' ORDER BY table_name, figure, run_date",
    "Costs": "SELECT job, seconds, cpu_seconds, peak_bytes, bytes_read, bytes_shuffled, bytes_written, price "
    "FROM ops.runs "
    "WHERE run_date = DATE'{day}' AND status = 'done' ORDER BY started_at",
}


@dataclass(frozen=True)
class Section:
    """A heading, plots and tables, and the queries that give them."""

    title: str
    body: Markup
    queries: Sequence[str]


def of_shop(day: dt.date, rows: Mapping[str, Records]) -> list[Section]:
    """Sections without persons, from the rows of EXPECTED, SOLD, ACTIONS, URGENT, TRENDS and LISTED by query."""
    return [
        section
        for section in (
            _section("Demand", day, _demand(rows.get(SOLD, ()), rows.get(EXPECTED, ())), SOLD, EXPECTED),
            _section("Stock", day, _stock(rows.get(ACTIONS, ()), rows.get(URGENT, ())), ACTIONS, URGENT),
            _section("Trends", day, _trends(rows.get(TRENDS, ())), TRENDS),
            _section("Most recommended items", day, _listed(rows.get(LISTED, ())), LISTED),
        )
        if section
    ]


def of_users(day: dt.date, lists: Records, bought: Records) -> Markup:
    """The page of three users: what each last bought and is recommended, with the reasons. Personal."""
    sections = []
    for user in dict.fromkeys(row["user_id"] for row in lists):
        last = "; ".join(f"{row['event_date']} {_name(row)}" for row in bought if row["user_id"] == user)
        cells: list[Row] = [
            [str(row["rank"]), row["item_id"], _name(row), f"{row['score']:.3f}", row["reason"]]
            for row in lists
            if row["user_id"] == user
        ]
        table = Table(["rank", "item", "title", "score", "reason"], cells, words=3, last_words=True)
        body = render("user_section.html.j2", last=last, lists=table)
        sections.append(Section(user, body, ()))
    queries = [query.format(day=day) for query in (LISTS, BOUGHT)]
    return render("users_page.html.j2", title=f"Three users, night of {day}", sections=sections, queries=queries)


def _section(title: str, day: dt.date, body: Markup, *queries: str) -> Section | None:
    return Section(title, body, [query.format(day=day) for query in queries]) if body else None


def _demand(sold: Records, expected: Records) -> Markup:
    """Units sold in past weeks and expected in those to come, as bars by the week's first day."""
    if not expected:
        return Markup()
    figure = Figure(figsize=(9.6, 2.6), layout="constrained")
    axes = figure.add_subplot()
    for rows, column, colour, label in ((sold, "week", QUIET, "sold"), (expected, "target_week", ACCENT, "expected")):
        if rows:
            axes.bar(
                [row[column] for row in rows], [float(row["units"] or 0) for row in rows], 5, color=colour, label=label
            )
    axes.set_ylabel("units a week")
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="lower left", bbox_to_anchor=(0, 1))
    cells: list[Row] = [[str(row["target_week"]), f"{row['units']:,.0f}"] for row in expected]
    table = render("tables.html.j2", tables=[Table(["week from", "expected units"], cells)])
    return svg(figure, "Units sold and expected, by week") + table


def _stock(actions: Records, urgent: Records) -> Markup:
    if not actions:
        return Markup()
    counts: list[Row] = [[row["action"], f"{row['rows']:,}", f"{row['units']:,.0f}"] for row in actions]
    cells: list[Row] = [
        [
            *(row["location_id"], row["item_id"], row["action"], f"{row['quantity']:,.0f}"),
            *("" if row["stockout_probability"] is None else f"{row['stockout_probability']:.0%}", row["reason"]),
        ]
        for row in urgent
    ]
    head = ["location", "item", "action", "units", "stock-out", "reason"]
    tables = [Table(["action", "rows", "units"], counts), Table(head, cells, words=3, last_words=True)]
    return render("tables.html.j2", tables=[table for table in tables if table.rows])


def _trends(trends: Records) -> Markup:
    """The ratio of each trend with its interval as a plot, and a table with the reasons."""
    if not trends:
        return Markup()
    figure = Figure(figsize=(9.6, 0.7 + 0.26 * len(trends)), layout="constrained")
    axes = figure.add_subplot()
    for place, row in enumerate(trends):
        axes.plot([row["low"], row["high"]], [place, place], color=QUIET, linewidth=2, solid_capstyle="round")
        axes.plot([row["ratio"]], [place], "o", color=ACCENT, markersize=5)
    axes.set_yticks(range(len(trends)), [f"{row['kind']} {row['key']}".replace("$", r"\$")[:60] for row in trends])
    axes.invert_yaxis()
    axes.axvline(1, color=QUIET, linewidth=1, linestyle=(0, (4, 4)))
    axes.set_xlabel("count over what its own past explains")
    cells: list[Row] = [
        [row["kind"], row["key"], row["direction"], f"{row['count']:,}", f"{row['ratio']:.2f}", row["reason"]]
        for row in trends
    ]
    head = ["kind", "key", "direction", "count", "ratio", "reason"]
    return svg(figure, "Trends: how far each count is from its past") + render(
        "tables.html.j2", tables=[Table(head, cells, words=3, last_words=True)]
    )


def _listed(listed: Records) -> Markup:
    cells: list[Row] = [[row["item_id"], _name(row), f"{row['lists']:,}", f"{row['score']:.3f}"] for row in listed]
    if not cells:
        return Markup()
    return render("tables.html.j2", tables=[Table(["item", "title", "lists", "mean score"], cells, words=2)])


def _name(row: Mapping[str, Any]) -> str:
    return str(row["title"] or row["item_id"])
