"""The night's last word: which version of each gold table holds it, so that a reader can have all of one night."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from jobs.flow import stands
from jobs.reports import night_page
from jobs.transforms.publications import with_earlier
from jobs.transforms.top_n import top_n
from schemas.contract import PARTITION
from schemas.deployment import Deployment


def publish_night(
    recommendations: DataFrame,
    similar_items: DataFrame,
    default_recommendations: DataFrame,
    demand_forecast: DataFrame,
    demand_profile: DataFrame,
    item_demand: DataFrame,
    inventory_actions: DataFrame,
    ad_audiences: DataFrame,
    cleaned_days: DataFrame,
    runs: DataFrame,
    checks: DataFrame,
    figures: DataFrame,
    publications: DataFrame,
    *,
    run_date: dt.date,
    run_id: str,
    started_at: dt.datetime,
    deployment: Deployment,
    written: Callable[[str], int],
    publish_page: Callable[[str, str], object],
) -> DataFrame:
    """ops.publications of run_date: this publication, a row a gold table, and the earlier ones, no longer current.

    It runs when every gold table has been checked and replaced. Whoever reads each table at the version that stands
    here has all tables of one night, also while a later run of it replaces them one by one. A table that this
    deployment has no raw files for is left out. Tables of two models are refused. `data_docs/<run_date>/index.html`
    gets the night's checks, figures and rejected records, without values.
    """
    tables = {
        "gold.recommendations": recommendations,
        "gold.similar_items": similar_items,
        "gold.default_recommendations": default_recommendations,
        "gold.demand_forecast": demand_forecast,
        "gold.demand_profile": demand_profile,
        "gold.item_demand": item_demand,
        "gold.inventory_actions": inventory_actions,
        "gold.ad_audiences": ad_audiences,
    }
    rows = []
    for name, frame in ((name, frame) for name, frame in tables.items() if stands(name, deployment.sources)):
        model = frame.select("model_version").first() if "model_version" in frame.columns else None
        made_by = model["model_version"] if model else None  # of all rows: one run has made them
        rows.append((run_date, run_id, started_at, True, name, written(name), frame.count(), made_by, run_date))
    # Of a night that has run several times, each job's last run that ended well: its rows are the ones that stand.
    tonight = runs.where((F.col(PARTITION) == F.lit(run_date)) & (F.col("status") == "done"))
    last = top_n(tonight, ["job"], [F.desc("started_at"), "run_id"], 1).select("run_id")
    told = (cleaned_days, *(frame.join(last, "run_id", "left_semi") for frame in (checks, figures)))
    page = night_page.render(run_date, *(_of_night(frame, run_date) for frame in told))
    publish_page(f"data_docs/{run_date}/index.html", page)
    return with_earlier(publications, run_date, rows)


def _of_night(frame: DataFrame, run_date: dt.date) -> list[Row]:
    """The rows of one night of a table of records: one a check, a figure or a day."""
    return frame.where(F.col(PARTITION) == F.lit(run_date)).collect()


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("publish_night")
