"""What is stored for long or sent has no value of a person in it; the console of who runs a job by hand has."""

from __future__ import annotations

import argparse
import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.runner import quality
from jobs.runner.cli import reported
from jobs.runner.findings import refusal
from jobs.runner.lake import Lake
from jobs.runner.records import check_rows, recorded
from schemas import TABLES, gold, silver
from schemas.contract import Table
from schemas.deployment import Deployment
from schemas.errors import DataError
from tests.conftest import Rows

POISON = "anna.schmidt@example.org"
DAY = dt.date(2024, 3, 1)
NAMES = {"user_id", "event_id", "basket_id", "order_id", "session_id", "query", "attributes", "raw", "fields"}
NAMES |= {"source_user_id", "from_user_id", "to_user_id"}


@pytest.fixture
def lake(deployment: Deployment, spark: SparkSession, tmp_path: Path) -> Lake:
    return Lake(spark, deployment.model_copy(update={"lake": str(tmp_path / "lake")}))


def test_what_may_name_a_person_is_declared() -> None:
    public = {
        "silver.judgements": {"query"},
        "gold.search_rankings": {"query"},
    }  # many have searched for it, or a judge
    for table in TABLES.values():
        named = NAMES & set(table.column_names) - public.get(table.name, set())
        assert {column.name for column in table.columns if column.personal} == named


def outcome(act: Callable[[], Any], file: Path | None) -> tuple[int, str]:
    """The exit code of a job and its outcome file."""
    given = argparse.Namespace(outcome_file=str(file) if file else None, run_date=DAY)
    code = reported(given, "rank_recommendations", act)
    return code, file.read_text() if file else ""


@pytest.mark.parametrize(
    ("table", "row", "said"),
    [
        (
            gold.RECOMMENDATIONS,
            {"user_id": POISON, "score": 7.0, "rank": 1},
            "gold.recommendations: score must be at least 0 and at most 1: 1 of 1 rows do not, e.g. "
            "run_date=2024-01-31, rank=1, score=7.0",
        ),
        (  # a row for which there is nothing but a person's values to name
            silver.USERS,
            {"user_id": POISON, "attributes": None},
            "silver.users: attributes is missing: 1 of 1 rows do not, e.g. run_date=2024-01-31",
        ),
        (
            silver.EVENTS,
            {"event_id": POISON, "query": POISON, "item_id": None, "event_type": "click", "basket_id": POISON},
            "silver.events: item_id is missing (only a search may lack it): 1 of 1 rows do not, e.g. "
            "run_date=2024-01-31, item_id=None, event_type=click",
        ),
    ],
    ids=["gold", "users", "events"],
)
def test_a_refused_row_is_named_on_the_console_alone(
    table: Table,
    row: dict[str, Any],
    said: str,
    lake: Lake,
    rows: Rows,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    frame = rows(table, row).persist()

    def act() -> None:
        with recorded(lake, "rank_recommendations", DAY) as record:
            audit = quality.audit(table, frame)
            lake.append("ops.checks", check_rows({table.name: audit}, record), {})
            assert POISON not in audit.page
            raise refusal([(audit, frame)])

    code, written = outcome(act, tmp_path / "outcome.json")
    assert code == 3
    assert said in json.loads(written)["error"]
    printed = capsys.readouterr().err
    assert "the same line without --outcome-file" in printed, "what a scheduler keeps has none either"
    stored = [written, printed, str(lake.rows("ops.runs")), str(lake.rows("ops.checks"))]
    assert not [text for text in stored if POISON in text]
    assert said in next(row["error"] for row in lake.rows("ops.runs") if row["status"] == "refused")

    assert outcome(act, None)[0] == 3
    assert POISON in capsys.readouterr().err


def test_an_error_of_spark_is_stored_without_the_value_that_it_quotes(
    lake: Lake, spark: SparkSession, tmp_path: Path
) -> None:
    def act() -> None:
        with recorded(lake, "clean_events", DAY):
            spark.sql(f"SELECT CAST('{POISON}' AS INT)").collect()

    file = tmp_path / "outcome.json"
    with pytest.raises(Exception, match=POISON):  # the traceback, in the log of who ran it
        outcome(act, file)
    stored = [row["error"] for row in lake.rows("ops.runs") if row["status"] == "failed"]
    for text in (*stored, json.loads(file.read_text())["error"]):
        assert POISON not in text
        assert text.startswith("NumberFormatException [CAST_INVALID_INPUT] at tests/spark/test_stored_errors.py:")


def test_a_sentence_and_its_examples_are_apart() -> None:
    error = DataError("silver.users: user_id must be unique", [f"user_id={POISON}"])
    assert str(error) == "silver.users: user_id must be unique"
    assert repr(error) == "DataError('silver.users: user_id must be unique')"
    assert error.examples == (f"user_id={POISON}",)
