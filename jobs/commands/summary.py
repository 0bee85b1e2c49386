"""Summary of a run: rows in, accepted, rejected and why; what was scored; three users' lists."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from rich.console import Console
from rich.table import Table

from jobs.flow import stands
from jobs.runner import persons
from jobs.runner.lake import Lake
from jobs.runner.run_job import Outcome
from jobs.transforms import ledger
from jobs.transforms.purchases import purchases
from jobs.transforms.top_n import top_n
from schemas import gold
from schemas.job import history
from schemas.silver import RECORDS_OF
from schemas.storage import public_uri
from udfs.horizon import HORIZON_DAYS

WEEKS = HORIZON_DAYS // 7  # of gold.demand_forecast: one row of each pair
SHOWN_USERS = 3
SHOWN_ITEMS = 10
SHOWN_PURCHASES = 5
SHOWN_REASONS = 8


def show(lake: Lake, run_date: dt.date, outcomes: Sequence[Outcome]) -> None:
    """Print the summary of a run to stdout."""
    console = Console(highlight=False, width=None if Console().is_terminal else 120)

    def night(table: str) -> DataFrame:
        return lake.of_days(table, [run_date])

    console.rule(f"{lake.deployment.name}, night of {run_date}")
    days = {table: outcome.days for outcome in outcomes for table in outcome.rows}
    rows_of = {table: count for outcome in outcomes for table, count in outcome.rows.items()}
    for kind in (kind for kind in RECORDS_OF if f"silver.{kind}" in days):
        _show_split(console, lake, run_date, kind, days[f"silver.{kind}"], rows_of)
    for outcome in (outcome for outcome in outcomes if outcome.skipped):
        console.print(f"skipped: {outcome.job}, for {outcome.skipped}", markup=False)

    for line in new_columns(lake.rows("bronze.files", run_date), days.get("bronze.files", ())):
        console.print(line, markup=False)

    lists = night("gold.recommendations").persist()
    has_lists = stands("gold.recommendations", lake.deployment.kinds)
    first_user = _show_scored(console, lake, run_date, lists) if has_lists else ""
    seconds = Table("job", "seconds", "rows written", title="seconds per job", title_justify="left")
    for outcome in (outcome for outcome in outcomes if not outcome.skipped):
        rows = ", ".join(f"{table} {count:,}" for table, count in outcome.rows.items())
        seconds.add_row(outcome.job, f"{outcome.seconds:.1f}", rows)
    seconds.add_row("all", f"{sum(outcome.seconds for outcome in outcomes):.1f}", "")
    console.print(seconds)
    if has_lists:
        _show_users(console, lake, run_date, night, lists)
    if "gold.search_rankings" in rows_of:
        counts = [rows_of[name] for name in ("features.queries", "gold.search_rankings", "gold.search_boosts")]
        console.print("searches: {:,} queries, {:,} rows of rankings, {:,} boosts of users".format(*counts))
    _show_plans(console, lake, run_date, night, outcomes)
    if "gold.segments" in rows_of:
        parts = [
            f"{row['segment']} {row['users']:,} (+{row['moved_in']:,} -{row['moved_out']:,})"
            for row in sorted(lake.rows("gold.segments", of=run_date), key=lambda row: -row["users"])
        ]
        console.print(f"segments, and who moved in and out: {', '.join(parts)}", markup=False)

    compared = sum(row["usual"] is not None for row in lake.rows("ops.figures", of=run_date))
    published = [row for row in lake.rows("ops.publications", of=run_date) if row["current"]]
    published.sort(key=lambda row: row["table_name"])
    versions = ", ".join(f"{row['table_name']} at version {row['version']}" for row in published) or "no gold table"
    console.print(f"published: {versions}; {compared} figures compared with the nights before", markup=False)
    tables = "\n".join(f"    {public_uri(lake.path(name))}" for name in sorted({t for o in outcomes for t in o.rows}))
    console.print(f"tables:\n{tables}", markup=False, soft_wrap=True)
    from jobs.commands import page  # with matplotlib: not at every start

    console.print(f"page: {page.write(lake, run_date)}", markup=False, soft_wrap=True)
    if has_lists:
        path = lake.path("gold.recommendations")
        condition = f"WHERE run_date = '{run_date}' AND user_id = '{first_user}' ORDER BY rank;"
        quoted, named = public_uri(path).replace("'", "''"), path.replace("`", "``")
        console.print(f"DuckDB:    SELECT * FROM delta_scan('{quoted}') {condition}", markup=False, soft_wrap=True)
        console.print(f"Spark SQL: SELECT * FROM delta.`{named}` {condition}", markup=False, soft_wrap=True)


def _show_scored(console: Console, lake: Lake, run_date: dt.date, lists: DataFrame) -> str:
    """Print how many users and items were scored, and the cost of encoding; the first user."""
    scored = lists.agg(
        F.count_distinct("user_id").alias("users"),
        F.count_distinct("item_id").alias("items"),
        F.count("*").alias("rows"),
        F.min("user_id").alias("first_user"),
        F.min("model_version").alias("model"),
    ).collect()[0]
    console.print(
        f"scored: {scored['users']:,} {lake.deployment.users}, "
        f"{lake.count('features.item_vectors', [run_date]):,} items; "
        f"{scored['rows']:,} recommendations of {scored['items']:,} different items; model {scored['model'] or 'none'}"
    )
    for row in lake.rows("ops.encodes", of=run_date):
        console.print(_encoded(row))
    return str(scored["first_user"] or "")


def _show_split(
    console: Console, lake: Lake, run_date: dt.date, kind: str, days: Sequence[dt.date], rows_of: Mapping[str, int]
) -> None:
    """Print rows in = accepted + rejected of a kind of log, and the most frequent reasons."""
    log = next((log for log in ledger.LOGS.values() if log.kind == kind), None)
    accepted, lost = rows_of[f"silver.{kind}"], rows_of[f"silver.rejected_{kind}"]
    note = f"{len(days)} day{'s' * (len(days) != 1)}, the last {run_date}"
    reasons: Counter[str] = Counter()
    if log:
        for row in (row for row in lake.rows(log.ledger) if row["run_date"] in set(days)):
            reasons.update(dict(row["reasons"]))
    elif lost:
        rejected = lake.of_days(f"silver.rejected_{kind}", days)
        reason_counts = rejected.select(F.explode("reasons").alias("reason")).groupBy("reason").count().collect()
        reasons.update({row["reason"]: row["count"] for row in reason_counts})
    if kind == "items":  # a record that is repeated each day is one row
        rows_in = lake.count_read(history("bronze.items"), run_date, days)
        accepted = lake.of_days("silver.items", days).agg(F.sum("record_count")).collect()[0][0] or 0
        lost, note = rows_in - accepted, "the catalogue"
    elif kind == "stock":
        stock = lake.of_days("silver.stock", days)
        accepted, newest = stock.agg(F.sum("record_count"), F.max("snapshot_date")).collect()[0]
        accepted, note = accepted or 0, f"each location's newest snapshot, up to {newest}"
    elif "record_count" in RECORDS_OF[kind].column_names:
        accepted = lake.of_days(f"silver.{kind}", days).agg(F.sum("record_count")).collect()[0][0] or 0
        note = "all up to now"
    elif kind in ("ways", "judgements", "blocked"):
        note = "the newest list"
    console.print(f"{kind}: {accepted + lost:,} rows in = {accepted:,} kept + {lost:,} rejected  ({note})")
    for reason, count in sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))[:SHOWN_REASONS]:
        console.print(f"    {count:>9,}  {reason}", markup=False)


def _show_plans(
    console: Console,
    lake: Lake,
    run_date: dt.date,
    night: Callable[[str], DataFrame],
    outcomes: Sequence[Outcome],
) -> None:
    """Print a line each for the forecast, the stock actions and the audiences that exist."""
    kinds = lake.deployment.kinds
    weeks = F.min("target_week"), F.date_add(F.max("target_week"), 6)
    units, first, last = night("gold.demand_forecast").agg(F.sum("expected_units"), *weeks).collect()[0]
    if units is not None:
        forecast = next(outcome for outcome in outcomes if outcome.job == "forecast_demand")
        pairs = forecast.rows["gold.demand_forecast"] // WEEKS
        each = f"{100_000 * forecast.seconds / pairs:,.0f} s per 100,000 pairs"
        console.print(f"demand: {units:,.0f} units expected from {first} to {last}; {pairs:,} pairs, {each}")
    if stands("gold.inventory_actions", kinds):
        actions = (
            night("gold.inventory_actions").groupBy("action").agg(F.count("*").alias("n"), F.sum("quantity").alias("q"))
        )
        by_name = {row["action"]: row for row in actions.collect()}
        parts = [f"{by_name[a]['n']:,} {a} ({by_name[a]['q']:,.0f} units)" for a in gold.ACTIONS[1:] if a in by_name]
        parts += [f"{by_name['ok']['n']:,} ok"] if "ok" in by_name else []
        note = " (SIMULATED stock levels)" if lake.deployment.is_simulated("stock") else ""
        console.print(f"stock{note}: {', '.join(parts) or 'no actions: the newest snapshot is too old'}")
    if stands("gold.ad_audiences", kinds):
        chosen = night("gold.ad_audiences").groupBy("campaign_id")
        shown, controls = F.count_if(~F.col("is_control")), F.count_if("is_control")
        campaigns = chosen.agg(shown.alias("shown"), controls.alias("controls"))
        for row in campaigns.orderBy("campaign_id").collect():
            console.print(
                f"campaign {row['campaign_id']}: {row['shown']:,} {lake.deployment.users} to show it to, "
                f"{row['controls']:,} left out as controls",
                markup=False,
            )
        for choice in lake.rows("ops.allocations", of=run_date):
            exact = "the optimum" if choice["is_exact"] else "by prices"
            console.print(
                f"audiences: {choice['chosen']:,} of {choice['pairs']:,} pairs, worth {choice['value']:,.2f} of at "
                f"most {choice['upper_bound']:,.2f}: a gap of {choice['gap']:.2%} ({exact})"
            )


def new_columns(files: Sequence[Mapping[str, Any]], days: Sequence[dt.date]) -> list[str]:
    """A line per source: columns of these days' raw files (rows of bronze.files) that the conf does not name."""
    wider: dict[str, list[Mapping[str, Any]]] = {}
    for row in files:
        if row["run_date"] in set(days) and row["extra_columns"]:
            wider.setdefault(row["source"], []).append(row)
    return [
        f"{source}: {len(rows):,} file{'s' * (len(rows) != 1)} with columns that the conf does not name, "
        f"kept in raw alone: {', '.join(sorted({name for row in rows for name in row['extra_columns']}))}"
        for source, rows in sorted(wider.items())
    ]


def _encoded(row: Mapping[str, Any]) -> str:
    """A line on the cost of the vectors of the run."""
    text = f"encoded: {row['texts_encoded']:,} of {row['texts']:,} different texts, {row['texts_reused']:,} reused"
    if not row["texts_encoded"]:
        return f"{text}; no forward pass"
    return (
        f"{text}; {row['forward_passes']:,} forward passes over {row['real_tokens']:,} tokens "
        f"({row['real_token_share']:.0%} of those read); {row['workers']} workers, each "
        f"{row['texts_per_worker_second']:,.0f} texts and {row['tokens_per_worker_second']:,.0f} tokens a second and "
        f"{row['peak_memory_bytes'] / 2**20:,.0f} MiB at most; model loaded {row['model_loads']} times, "
        f"{row['load_seconds']:.1f} s in all"
    )


def _show_users(console: Console, lake: Lake, run_date: dt.date, night: object, lists: DataFrame) -> None:
    """Print the last purchases and first recommendations of three users, chosen by hash."""
    assert callable(night)
    chosen = lists.select("user_id").distinct().orderBy(F.xxhash64("user_id"), "user_id").limit(SHOWN_USERS)
    users = [row["user_id"] for row in chosen.collect()]
    titles = night("silver.items").select("item_id", "title")
    events = persons.resolved(lake, "silver.events", lake.up_to("silver.events", run_date), run_date)
    bought = purchases(events, lake.deployment)
    last = top_n(
        bought.where(F.col("user_id").isin(users)),
        ["user_id"],
        [F.desc("occurred_at"), "item_id", "event_id"],
        SHOWN_PURCHASES,
        rank="place",
    )
    recent = last.join(titles, "item_id", "left").orderBy("user_id", "place").collect()
    listed = (
        lists.where(F.col("user_id").isin(users) & (F.col("rank") <= SHOWN_ITEMS))
        .join(titles, "item_id", "left")
        .orderBy("user_id", "rank")
        .collect()
    )
    for user in users:
        named = "; ".join(f"{row['event_date']} {row['title']}" for row in recent if row["user_id"] == user)
        table = Table("rank", "item", "", "score", "reason", title=f"{user} last bought: {named}", title_justify="left")
        for row in listed:
            if row["user_id"] == user:
                table.add_row(str(row["rank"]), row["item_id"], row["title"], f"{row['score']:.3f}", row["reason"])
        console.print(table)
