"""What is held until a person approves it, where [gate] has approval."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs.commands import approve as command
from jobs.offline.model_registry import register
from jobs.runner import approvals, run_job
from jobs.runner.lake import Lake
from jobs.runner.model_store import promoted_model
from schemas import silver
from schemas.deployment import load
from schemas.errors import ConfError, HeldError, NoModelError
from schemas.run import RunContext
from tests.conftest import Rows
from udfs import json_model

FIRST, DATE = dt.date(2024, 6, 1), dt.date(2024, 6, 2)
JOB, TABLE = "build_default_recommendations", "gold.default_recommendations"
GATE = "[gate]\napproval = true\n\n[drift]\nmin_nights = 1\n\n[jobs.train_model]"


@pytest.fixture
def conf(tiny_shop_conf: Path) -> Path:
    tiny_shop_conf.write_text(tiny_shop_conf.read_text().replace("[jobs.train_model]", GATE, 1))
    return tiny_shop_conf


@pytest.fixture
def lake(conf: Path, spark: SparkSession) -> Lake:
    """A lake without any table, of a shop whose models and drift a person approves."""
    return Lake(spark, load(conf))


def trained(lake: Lake, text: str) -> DataFrame:
    run = RunContext(
        run_date=DATE,
        deployment=lake.deployment,
        publish_model=lambda folder: lake.storage.publish_folder(folder, f"models/{folder.name}"),
    )
    models = lake.up_to("ops.models", DATE)
    facts = {"trained_from": FIRST, "examples": 1, "metrics": {}, "promoted": True}
    return register("recommend", run, models, {json_model.FILE: text}, **facts)


def approve(conf: Path, *flags: str) -> int:
    return command.main(["--run-date", str(DATE), "--conf", str(conf), *flags])


def test_a_model_is_held_until_it_is_approved(lake: Lake, conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = trained(lake, "[1]").toArrow().to_pylist()
    lake.join("ops.models", [row], [DATE], {})
    assert (row["promoted"], row["held"]) == (False, True)
    with pytest.raises(
        NoModelError, match=f"{row['model_version']} waits to be approved: make approve RUN_DATE={DATE}"
    ):
        promoted_model(lake, DATE)
    assert approvals.held_models(lake, DATE) == [row["model_version"]]

    assert approve(conf, "--by", "Ada", "--reason", "looked at the page") == 0
    assert f"model {row['model_version']} is promoted (approved by Ada)" in capsys.readouterr().out
    assert promoted_model(lake, DATE).version == row["model_version"]
    (record,) = lake.rows("ops.approvals")
    expected = {"run_date": DATE, "what": "model", "subject": row["model_version"], "approved_by": "Ada"}
    assert expected.items() <= record.items()
    assert record["reason"] == "looked at the page"
    (run,) = [each for each in lake.rows("ops.runs") if each["status"] == "done"]
    assert (run["job"], run["run_id"], run["model_version"]) == ("approve", record["run_id"], row["model_version"])
    assert approve(conf) == 2, "nothing is held any more"


def test_of_two_held_models_of_a_kind_one_is_chosen(lake: Lake, conf: Path) -> None:
    for text in ("[1]", "[2]"):
        lake.join("ops.models", trained(lake, text).toArrow().to_pylist(), [DATE], {})
    first, second = approvals.held_models(lake, DATE)
    assert approve(conf) == 2
    assert approve(conf, "--model", first) == 0
    assert promoted_model(lake, DATE).version == first
    assert approvals.held_models(lake, DATE) == [second]


def test_drift_holds_a_run_until_it_is_approved(lake: Lake, conf: Path, rows: Rows) -> None:
    for date, items in ((FIRST, 4), (DATE, 40)):
        sold = [
            {
                "event_type": "purchase",
                "user_id": f"u{user}",
                "item_id": f"i{item:02}",
                "unit_price": 1.0,
                "quantity": 1,
            }
            for user in range(3)
            for item in range(items)
        ]
        lines = [line | {"event_id": f"{date} {at}", "event_date": date} for at, line in enumerate(sold)]
        lake.replace("silver.events", rows(silver.EVENTS, *({**line, "run_date": date} for line in lines)), [date], {})
        catalogue = [{"item_id": f"i{item:02}", "run_date": date} for item in range(items)]
        lake.replace("silver.items", rows(silver.ITEMS, *catalogue), [date], {})
    flags = {"segment": "", "top_k": 50, "min_buyers": 1}
    run_job.run(JOB, lake, FIRST, flags)
    with pytest.raises(HeldError, match=f"make approve RUN_DATE={DATE}"):
        run_job.run(JOB, lake, DATE, flags)
    assert approvals.drifted(lake, DATE) == [TABLE]
    with pytest.raises(ConfError, match="--accept-drift"):
        run_job.run(JOB, lake, DATE, flags, accept_drift=True)
    assert not lake.count(TABLE, [DATE])

    assert approve(conf, "--by", "Ada") == 0
    assert run_job.run(JOB, lake, DATE, flags).rows[TABLE] == 40
    warned = [row for row in lake.rows("ops.checks", of=DATE) if not row["passed"] and row["severity"] == "warning"]
    assert all("accepted by Ada at" in row["reason"] for row in warned)
    assert warned
    assert approvals.drifted(lake, DATE) == []
