"""Models of several kinds side by side in ops.models, and the demand model from its training to its forecast."""

from __future__ import annotations

import datetime as dt
import json
import random
import shutil
from pathlib import Path

import pytest
from pyspark.sql import DataFrame

from jobs import forecast_demand as forecast_job
from jobs.forecast_demand import forecast_demand
from jobs.offline.model_registry import register
from jobs.runner.lake import Lake
from jobs.runner.model_store import PUBLISHED, promoted_model, scoring_model, ship
from jobs.runner.run_job import _model
from jobs.train_audiences import train_audiences
from jobs.train_demand import train_demand
from schemas import features, ops, silver
from schemas.deployment import load
from schemas.errors import ConfError, DataError, NoModelError
from schemas.job import model, optional
from schemas.run import Model, RunContext
from udfs import json_model

RUN_DATE = dt.date(2024, 6, 1)
EARLIER = RUN_DATE - dt.timedelta(days=7)


@pytest.fixture
def lake(tiny_shop_conf: Path, spark) -> Lake:
    """A lake without any table."""
    return Lake(spark, load(tiny_shop_conf))


def registered(lake: Lake, kind: str, date: dt.date, text: str, promoted: bool = True) -> DataFrame:
    """The rows of ops.models with a new model of this kind, whose folder is in the lake."""
    run = RunContext(
        run_date=date,
        deployment=lake.deployment,
        publish_model=lambda folder: lake.storage.publish_folder(folder, f"models/{folder.name}"),
    )
    facts = {"trained_from": date, "examples": 1, "metrics": {}, "promoted": promoted}
    return register(kind, run, lake.up_to("ops.models", date), {json_model.FILE: text}, **facts)


def test_a_lake_of_before_there_were_kinds_has_models_that_recommend(lake: Lake, spark) -> None:
    old = registered(lake, "recommend", RUN_DATE, '{"old": 1}').drop("kind")
    old.write.format("delta").save(lake.path("ops.models"))
    version = promoted_model(lake, RUN_DATE).version
    with pytest.raises(NoModelError, match=r"no promoted demand model in .* make train"):
        promoted_model(lake, RUN_DATE, kind="demand")

    new = registered(lake, "demand", RUN_DATE, '{"new": 1}').toArrow().to_pylist()
    lake.join("ops.models", new, [RUN_DATE], {})
    kinds = {row["model_version"]: row["kind"] for row in lake.up_to("ops.models", RUN_DATE).collect()}
    demand = promoted_model(lake, RUN_DATE, kind="demand").version
    assert kinds == {version: None, demand: "demand"}
    assert promoted_model(lake, RUN_DATE).version == version, "a newer model of another kind takes nobody's place"


def test_the_newest_model_is_the_published_weights_where_none_is_promoted(lake: Lake) -> None:
    read = optional(model(chosen="newest"))
    found = _model(read, lake, RUN_DATE)
    assert found is not None
    assert found.version.startswith(f"{PUBLISHED}-")
    lake.join("ops.models", registered(lake, "recommend", RUN_DATE, "[1]").toArrow().to_pylist(), [RUN_DATE], {})
    assert _model(read, lake, RUN_DATE) == promoted_model(lake, RUN_DATE)


def test_each_kind_is_promoted_and_taken_back_by_itself(lake: Lake, spark) -> None:
    for kind, date, text in (
        ("recommend", EARLIER, "[1]"),
        ("demand", EARLIER, "[2]"),
        ("demand", RUN_DATE, "[3]"),
        ("demand", RUN_DATE, "[4]"),  # trained once more for the same date
    ):
        lake.join("ops.models", registered(lake, kind, date, text).toArrow().to_pylist(), [date], {})

    def text_of(kind: str, date: dt.date = RUN_DATE) -> str:
        return (Path(promoted_model(lake, date, kind=kind).folder) / json_model.FILE).read_text()

    assert (text_of("recommend"), text_of("demand"), text_of("demand", EARLIER)) == ("[1]", "[4]", "[2]")
    promoted = lake.up_to("ops.models", RUN_DATE).where("promoted").count()
    assert promoted == 3, "one of two of a kind and date"
    with pytest.raises(NoModelError):
        promoted_model(lake, EARLIER - dt.timedelta(days=1), kind="demand")
    newest = promoted_model(lake, RUN_DATE, kind="demand").version
    spark.sql(f"UPDATE delta.`{lake.path('ops.models')}` SET promoted = false WHERE model_version = '{newest}'")
    assert text_of("demand") == "[2]"


def test_a_changed_model_of_json_is_refused_by_name(lake: Lake) -> None:
    (row,) = registered(lake, "demand", RUN_DATE, "[5]").toArrow().to_pylist()
    lake.join("ops.models", [row], [RUN_DATE], {})
    (Path(lake.deployment.lake) / row["folder"] / json_model.FILE).write_text("[6]")
    with pytest.raises(DataError, match=r"model\.json: manifest\.json expects sha256"):
        promoted_model(lake, RUN_DATE, kind="demand")


def test_a_run_is_judged_with_the_model_that_scored_it(lake: Lake, rows) -> None:
    (first,) = registered(lake, "recommend", EARLIER, "[1]").toArrow().to_pylist()
    lake.join("ops.models", [first], [EARLIER], {})
    scored = rows(features.CANDIDATES, {"run_date": EARLIER, "model_version": first["model_version"]})
    lake.replace("features.candidates", scored, [EARLIER], {})
    lake.join("ops.models", registered(lake, "recommend", EARLIER, "[2]").toArrow().to_pylist(), [EARLIER], {})
    assert promoted_model(lake, EARLIER).version != first["model_version"], "another one has taken its place"
    assert scoring_model(lake, EARLIER).version == first["model_version"]
    with pytest.raises(NoModelError, match=f"no partition run_date={RUN_DATE}"):
        scoring_model(lake, RUN_DATE)


# ---- the demand model


@pytest.fixture
def sold(rows) -> tuple[DataFrame, DataFrame, DataFrame]:
    """Half a year of sales of eight items in two tills; no promotions."""
    draw = random.Random(3)
    lines = []
    for age in range(180):
        date = RUN_DATE - dt.timedelta(days=age)
        for item in range(8):
            if draw.random() < 0.1 + item / 12:
                line = {"event_type": "purchase", "unit_price": 1.0, "location_id": f"T{draw.randint(0, 1)}"}
                lines.append(
                    line | {"item_id": f"i{item}", "quantity": draw.randint(1, 3), "event_date": date, "run_date": date}
                )
    items = rows(silver.ITEMS, *({"item_id": f"i{item}", "category": f"c{item % 2}"} for item in range(8)))
    return rows(silver.EVENTS, *lines), items, rows(silver.PROMOTIONS)


@pytest.fixture
def run(deployment, tmp_path: Path) -> RunContext:
    """A run whose models are published in a folder of the test."""

    def publish(folder: Path) -> str:
        return str(shutil.copytree(folder, tmp_path / folder.name))

    return RunContext(run_date=RUN_DATE, deployment=deployment, publish_model=publish)


def told(frames: dict[str, DataFrame]) -> dict[str, list[tuple[object, ...]]]:
    return {name: sorted((tuple(row) for row in frame.collect()), key=str) for name, frame in frames.items()}


def test_the_trained_model_is_applied_and_nothing_is_fitted(
    sold, rows, run, spark, tmp_path, monkeypatch, capsys
) -> None:
    (row,) = train_demand(*sold, rows(ops.MODELS), None, run=run, trees=20).collect()
    assert (row["kind"], row["promoted"], row["trained_from"]) == ("demand", True, RUN_DATE - dt.timedelta(days=178))
    assert row["example_count"] == 3 * (16 + 8), "three dates, each pair and each item"
    spreads = (f"{share}_{level}" for share in ("covered", "above") for level in ("pair", "item"))
    shares = {f"{name}_{days}d" for name in spreads for days in (7, 14, 21, 28)}
    assert set(row["metrics"]) == {"log_score_pair", "log_score_item"} | shares
    folder = tmp_path / row["model_version"]
    assert set(json.loads((folder / "manifest.json").read_text())) == {json_model.FILE, json_model.JUDGED}
    model = Model(row["model_version"], str(folder))
    ship(spark, model)
    capsys.readouterr()
    fitted = told(forecast_demand(*sold, None, run=run, trees=20))
    assert "no promoted model up to 2024-06-01: one is fitted within this run" in capsys.readouterr().err.replace(
        "\n", " "
    )

    def never(*_: object) -> None:
        raise AssertionError("a run that has a model fits none")

    monkeypatch.setattr(forecast_job, "_fitted", never)
    assert told(forecast_demand(*sold, model, run=run)) == fitted
    assert "fitted" not in capsys.readouterr().err

    (again,) = train_demand(*sold, rows(ops.MODELS, row.asDict()), model, run=run, trees=21).collect()
    assert again["model_version"] != row["model_version"]
    assert again["promoted"]
    assert again["metrics"]["gain_pair_low"] <= again["metrics"]["gain_pair"] <= again["metrics"]["gain_pair_high"]


def test_a_model_of_other_features_is_refused(sold, run, spark, tmp_path) -> None:
    folder = tmp_path / "demand-other"
    folder.mkdir()
    (folder / json_model.FILE).write_text('{"run_day": 1}')
    model = Model("demand-other", str(folder))
    ship(spark, model)
    with pytest.raises(
        DataError, match=r"model demand-other: a demand model has .* Train anew .* SET promoted = false"
    ):
        forecast_demand(*sold, model, run=run)


def test_where_there_is_nothing_to_learn_there_is_no_new_model(sold, rows, run, capsys) -> None:
    events, items, promotions = sold
    models = rows(ops.MODELS, {"model_version": "m", "run_date": RUN_DATE, "promoted": True, "metrics": {}})
    young = events.where(f"event_date > DATE'{RUN_DATE - dt.timedelta(days=20)}'")
    assert train_demand(young, items, promotions, models, None, run=run).collect() == []
    assert "nothing to train" in capsys.readouterr().err
    nothing = (rows(features.ITEM_VECTORS), rows(silver.CAMPAIGNS), rows(silver.AD_EVENTS))
    assert train_audiences(events, items, *nothing, models, None, run=run).collect() == []
    with pytest.raises(ConfError, match=r"\[jobs.train_demand\] .* must be at least 1"):
        train_demand(*sold, models, None, run=run, judged_pairs=0)
