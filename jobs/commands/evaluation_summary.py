"""Results of an evaluation or a backtest on the terminal: a table, and the path of the page."""

from __future__ import annotations

import datetime as dt
from itertools import groupby

from rich.console import Console
from rich.table import Table

from jobs.runner.lake import Lake
from udfs.horizon import HORIZON_DAYS


def show_evaluation(lake: Lake, run_date: dt.date) -> None:
    """Print the results of an evaluation: NDCG@10 of every contender with its interval, and the path of the page."""
    console = Console(highlight=False, width=None if Console().is_terminal else 120)
    rows = lake.rows("ops.metrics", of=run_date)
    by_key = {(row["task"], row["contender"], row["metric"]): row for row in rows if row["slice"] == "all"}
    for task in sorted({task for task, _, _ in by_key}):
        table = Table("contender", "ndcg@10", "95 %", "coverage", "lead of nightshelf", title=f"task {task}")
        of_task = [row for (of, _, metric), row in by_key.items() if of == task and metric == "ndcg@10"]
        for row in sorted(of_task, key=lambda row: -row["value"]):
            cover = by_key.get((task, row["contender"], "coverage"))
            lead = by_key.get((task, row["contender"], "lead_ndcg@10"))
            table.add_row(
                row["contender"],
                f"{row['value']:.4f}",
                f"{row['low']:.4f} to {row['high']:.4f}",
                f"{cover['value']:.3f}" if cover else "",
                f"{lead['value']:+.1%} ({lead['low']:+.1%} to {lead['high']:+.1%})" if lead else "",
            )
        console.print(table)
    cut = run_date - dt.timedelta(days=HORIZON_DAYS - 1)
    console.print(f"page: {lake.deployment.public_lake}/evaluation/{cut}.html", markup=False, soft_wrap=True)


def show_searches(lake: Lake, run_date: dt.date) -> None:
    """Print the figures of judged queries, and the path of the page."""
    console = Console(highlight=False, width=None if Console().is_terminal else 120)
    table = Table("ranking", "metric", "value", "95 %", "queries", title="judged queries", title_justify="left")
    for row in sorted(lake.rows("ops.search_metrics", of=run_date), key=lambda row: (row["metric"], -row["value"])):
        ends = "" if row["low"] is None else f"{row['low']:.4f} to {row['high']:.4f}"
        table.add_row(row["contender"], row["metric"], f"{row['value']:.4f}", ends, str(row["queries"]))
    console.print(table)
    console.print(
        f"page: {lake.deployment.public_lake}/evaluation/search_{run_date}.html", markup=False, soft_wrap=True
    )


def show_profiles(lake: Lake, run_date: dt.date) -> None:
    """Print the figures of profiles at past cuts, a column a contender, and the path of the page."""
    console = Console(highlight=False, width=None if Console().is_terminal else 120)
    rows = lake.rows("ops.profile_metrics", of=run_date)
    for (horizon, cut), part in groupby(
        sorted(rows, key=lambda row: (row["horizon_days"], row["cut_date"], row["metric"], row["contender"])),
        key=lambda row: (row["horizon_days"], row["cut_date"]),
    ):
        of_cut = list(part)
        names = list(dict.fromkeys(row["contender"] for row in of_cut))
        table = Table("metric", *names, title=f"profiles: {horizon} days after {cut}", title_justify="left")
        for metric, of_metric in groupby(of_cut, key=lambda row: row["metric"]):
            values = {row["contender"]: "n/a" if row["value"] is None else f"{row['value']:.3f}" for row in of_metric}
            table.add_row(metric, *(values.get(name, "") for name in names))
        console.print(table)
    console.print(
        f"page: {lake.deployment.public_lake}/evaluation/profiles_{run_date}.html", markup=False, soft_wrap=True
    )


def show_backtest(lake: Lake, run_date: dt.date) -> None:
    """Print the results of a backtest: a table per plan, a row per slice, contender and metric; the page's path."""
    console = Console(highlight=False, width=None if Console().is_terminal else 120)
    order = ("plan", "slice", "metric", "contender")
    rows = sorted(lake.rows("ops.backtests", of=run_date), key=lambda row: [row[name] for name in order])
    for plan, plan_rows in groupby(rows, key=lambda row: row["plan"]):
        table = Table("slice", "metric", "contender", "value", "95 %", title=plan, title_justify="left")
        for row in plan_rows:
            between = "" if row["low"] is None else f"{row['low']:.4f} to {row['high']:.4f}"
            value = "n/a" if row["value"] is None else f"{row['value']:.4f}"
            table.add_row(row["slice"], row["metric"], row["contender"], value, between)
        console.print(table)
    console.print(f"page: {lake.deployment.public_lake}/backtest/{run_date}.html", markup=False, soft_wrap=True)


OF_EVALUATION = {
    "evaluate_recommendations": show_evaluation,
    "evaluate_searches": show_searches,
    "evaluate_profiles": show_profiles,
}
