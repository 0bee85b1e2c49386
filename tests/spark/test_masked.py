"""Masked copies: the published rows, without persons; a foreign commit is recorded once."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from deltalake import DeltaTable

from jobs.runner import foreign_commits, masked
from jobs.runner.lake import Lake
from schemas import ad_audiences, gold
from tests.conftest import Rows

DAY = dt.date(2024, 3, 1)


@pytest.fixture
def lake(deployment, spark, tmp_path: Path, rows: Rows) -> Lake:
    """Two users' lists and audience of a date, published."""
    lake = Lake(spark, deployment.model_copy(update={"lake": str(tmp_path / "lake")}))
    users = [{"user_id": user, "run_date": DAY, "rank": 1, "reason_item_id": None} for user in ("anna", "bert")]
    lake.replace("gold.recommendations", rows(gold.RECOMMENDATIONS, *users), [DAY], {"run_id": "r"})
    shown = [{"user_id": "anna", "run_date": DAY, "campaign_id": "c", "rank": 1}]
    lake.replace("gold.ad_audiences", rows(ad_audiences.AD_AUDIENCES, *shown), [DAY], {"run_id": "r"})
    rest = {"publication_id": "p", "published_at": dt.datetime(2024, 3, 2, tzinfo=dt.UTC), "current": True}
    for name, count in (("gold.recommendations", 2), ("gold.ad_audiences", 1)):
        row = {"run_date": DAY, "table_name": name, "version": 1, "row_count": count, "model_version": None}
        lake.append("ops.publications", [row | rest | {"rows_of": DAY}], {"run_id": "r"})
    return lake


def test_a_copy_has_the_rows_and_nobodys_id(lake: Lake, spark) -> None:
    copies = []
    for _ in range(2):
        assert masked.copy(lake) == {"masked/ad_audiences": 1, "masked/recommendations": 2}
        lists = spark.read.parquet(f"{lake.deployment.lake}/masked/recommendations")
        assert lists.columns == gold.RECOMMENDATIONS.column_names
        users = {row.user_id for row in lists.collect()}
        assert len(users) == 2
        assert not users & {"anna", "bert"}
        (shown,) = spark.read.parquet(f"{lake.deployment.lake}/masked/ad_audiences").collect()
        assert shown.user_id in users, "one number in all tables of a copy"
        copies.append(users)
    assert not copies[0] & copies[1], "and another in the next"


def test_a_foreign_commit_is_recorded_once(lake: Lake) -> None:
    assert foreign_commits.found(lake) == []
    DeltaTable(lake.path("gold.recommendations")).delete("user_id = 'anna'")
    (row,) = rows = foreign_commits.found(lake)
    assert (row["table_name"], row["operation"]) == ("gold.recommendations", "DELETE")
    assert "anna" not in str(row)
    lake.append("ops.audit", rows, {"job": "access"})
    assert foreign_commits.found(lake) == []
