"""Which days are cleaned again for an item that the catalogue has by now."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.flow import JOBS
from jobs.runner.lake import Lake
from jobs.runner.pending_days import work_of
from schemas import TABLES, silver
from schemas.deployment import Deployment, load
from schemas.errors import ConfError
from tests.conftest import Rows
from tests.support import tiny_shop

TONIGHT = dt.date(2024, 6, 30)


def ago(days: int) -> dt.date:
    return TONIGHT - dt.timedelta(days=days)


@pytest.mark.parametrize(
    ("reconsidered", "pending"),
    [(90, [90, 1, 0]), (7, [1, 0]), (0, [0])],
)
def test_days_are_cleaned_again_within_reconsider_days(
    deployment: Deployment, spark: SparkSession, rows: Rows, tmp_path: Path, reconsidered: int, pending: list[int]
) -> None:
    place = {"lake": str(tmp_path / "lake"), "reconsider_days": reconsidered}
    lake = Lake(spark, deployment.model_copy(update=place))
    days = [ago(91), ago(90), ago(2), ago(1)]
    codes = {day: {"item_unlisted": 1} if day != ago(2) else {"sale_complete": 1} for day in days}
    ledger = silver.CLEANED_DAYS.name
    done = [{"run_date": day, "rows_in": 1, "rows_rejected": 1, "codes": codes[day]} for day in days]
    lake.replace(ledger, rows(TABLES[ledger], *done), days, {})
    refused = [{"run_date": day, "item_id": "S09", "codes": [*codes[day]], "reasons": ["why"]} for day in days]
    lake.replace("silver.rejected_events", rows(silver.REJECTED_EVENTS, *refused), days, {})
    lake.replace("silver.items", rows(silver.ITEMS, {"run_date": TONIGHT, "item_id": "S09"}), [TONIGHT], {})
    assert work_of(lake, JOBS["clean_events"], TONIGHT).days == [ago(day) for day in pending]


def test_a_mistyped_key_is_refused(tmp_path: Path) -> None:
    conf = tiny_shop.make(tmp_path, days=1)
    conf.write_text(f"reconsider_days = -1\n{conf.read_text()}")
    with pytest.raises(ConfError, match=r"tiny_shop\.toml: reconsider_days: .*greater than or equal to 0, not -1"):
        load(conf)
