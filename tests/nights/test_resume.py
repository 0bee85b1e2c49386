"""A training that is killed goes on when it is run again, and starts anew when anything it depends on has changed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from pyspark.sql import SparkSession

from jobs import train_model
from jobs.flow import INTAKE
from jobs.offline import resume
from jobs.offline.encoder_training import EncoderPlan
from jobs.reports import progress
from jobs.runner import run_job
from jobs.runner.lake import Lake
from jobs.runner.model_store import checkpoint_folder
from schemas.deployment import load
from tests.support import tiny_shop
from udfs.encoder import model_folder
from udfs.encoder.tower_settings import TowerSettings

FACTS = {"seed": 7, "code": "1"}
FLAGS = {"encoder_steps": 4}  # evaluated after the third and the last


class KilledError(Exception):
    pass


@pytest.fixture
def always_tuned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps as few as here are no better than none: the weights would stay frozen, and no refit would follow."""
    monkeypatch.setattr(train_model, "TowerSettings", partial(TowerSettings, may_stay_frozen=False))


def lake_in(taken_in: Path, root: Path, spark: SparkSession) -> Lake:
    """A private copy of the lake of a tiny shop of which the intake alone has been run."""
    return Lake(spark, load(tiny_shop.copied(taken_in, root)))


def train(lake: Lake, **flags: object) -> dict[str, str]:
    """Train and register a model; the hash of each of its files that an encoder consists of."""
    run_job.run("train_model", lake, tiny_shop.day(0), FLAGS | flags)
    (folder,) = pl.read_delta(lake.path("ops.models"))["folder"]
    place = Path(lake.deployment.lake) / folder
    files = (model_folder.weights_file(place), place / model_folder.ADAPTER, place / model_folder.FROZEN_ADAPTER)
    return {file.name: model_folder.sha256(file) for file in files}


def killed_after(words: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines of progress from now on; one that begins with these words ends the training."""
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        if text.startswith(words):
            raise KilledError

    monkeypatch.setattr(progress, "say", say)
    return said


def listening(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines of progress from now on."""
    said: list[str] = []
    monkeypatch.setattr(progress, "say", said.append)
    return said


@pytest.mark.usefixtures("always_tuned")
def test_a_killed_training_goes_on_to_the_same_weights(
    taken_in: Path, tmp_path: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(lake_in(taken_in, tmp_path / "whole", spark))
    lake = lake_in(taken_in, tmp_path / "parts", spark)
    left = Path(lake.deployment.lake) / "checkpoints"
    killed_after("step 4: ", monkeypatch)
    with pytest.raises(KilledError):
        train(lake)
    assert not list(left.rglob(model_folder.CONFIG))  # nothing there that reads as a model
    said = killed_after("all days before the cut, 1 steps", monkeypatch)  # now within the encoder to serve
    with pytest.raises(KilledError):
        train(lake)
    assert [line for line in said if line.startswith("resumed")] == ["resumed after step 3"]
    said = listening(monkeypatch)
    assert train(lake) == whole
    assert "this encoder is there already: earlier" in said
    assert not left.exists()


def test_only_a_training_of_the_same_budget_code_and_data_is_gone_on_with(
    taken_in: Path, tmp_path: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = lake_in(taken_in, tmp_path / "shop", spark)
    places = []

    def train_tower(texts: object, lines: object, day: int, base: Path, output: Path, **named: object) -> None:
        places.append(output.parent)
        raise KilledError

    monkeypatch.setattr("jobs.offline.encoder_training.tower.train_tower", train_tower)

    def place(**flags: object) -> Path:
        with pytest.raises(KilledError):
            train(lake, **flags)
        return places[-1]

    first = place()
    assert place() == place(trees=6) == first  # trees say nothing of an encoder
    assert place(seed=8) != first
    monkeypatch.setattr(resume, "code", lambda _: "another")
    assert place() != first
    monkeypatch.undo()
    monkeypatch.setattr("jobs.offline.encoder_training.tower.train_tower", train_tower)
    late = f"late,U01,S01,1,1.5,T0,{tiny_shop.day(-4)} 10:00:00"
    tiny_shop.write_day(tmp_path / "shop" / "landing", tiny_shop.day(-4), [late])
    assert place() == first  # what has not been taken in is not known
    for job in INTAKE:
        run_job.run(job.name, lake, tiny_shop.day(0), since=tiny_shop.day(-4))
    assert place() != first


@pytest.mark.parametrize(
    "changed",
    [
        {"steps": 3},
        {"seconds": 8},
        {"learn_steps": 5},
        {"newest": False},
        {"settings": TowerSettings(method="lora")},
    ],
)
def test_every_setting_of_an_encoder_is_a_fact(
    changed: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_model, "base_sha256", str)
    monkeypatch.setattr(resume, "data", str)
    plan = EncoderPlan(tmp_path, TowerSettings(), 120, 4, 4, True, "full", "float32", 7)
    days, run = train_model.Days.of(tiny_shop.day(0), 2, 7), SimpleNamespace(code_version="1")
    facts = train_model._facts(run, "shop", days, plan)
    assert train_model._facts(run, "shop", days, replace(plan, **changed)) != facts
    assert train_model._facts(run, "shop", days, replace(plan, served="small")) == facts


def leave_half(root: Path | None, name: str = "training-2024-03-01") -> Path:
    """The workplace of a training that is killed when it has written half."""
    with resume.workplace(root, name, FACTS) as place:
        (place / "half").write_text("done")
        raise KilledError(place)


def test_a_workplace_is_found_again_until_a_training_ends_well(tmp_path: Path) -> None:
    root = tmp_path / "checkpoints"
    with pytest.raises(KilledError):
        leave_half(root)
    with resume.workplace(root, "training-2024-03-01", FACTS) as place:
        assert (place / "half").read_text() == "done"
    assert not root.exists()


@pytest.mark.parametrize("changed", [{"seed": 8}, {"code": "2"}])
def test_other_facts_give_an_empty_workplace_and_the_old_one_goes(tmp_path: Path, changed: dict[str, object]) -> None:
    with pytest.raises(KilledError) as killed:
        leave_half(tmp_path)
    (old,) = killed.value.args
    with resume.workplace(tmp_path, "training-2024-03-02", FACTS) as other_day:
        assert not (other_day / "half").exists()
    assert old.exists()
    with resume.workplace(tmp_path, "training-2024-03-01", FACTS | changed) as place:
        assert not (place / "half").exists()
        assert not old.exists()


def test_without_a_folder_for_checkpoints_the_workplace_is_temporary() -> None:
    with pytest.raises(KilledError) as killed:
        leave_half(None)
    assert not killed.value.args[0].exists()


@pytest.mark.parametrize(
    ("lake", "told", "expected"),
    [
        ("/data/lake", "", "/data/lake/checkpoints"),
        ("file:///data/lake", "", "/data/lake/checkpoints"),
        ("s3a://bucket/lake", "", None),
        ("s3a://bucket/lake", "/mnt/checkpoints", "/mnt/checkpoints"),
    ],
)
def test_checkpoints_lie_in_a_local_lake_or_where_the_deployment_says(
    tmp_path: Path, spark: SparkSession, lake: str, told: str, expected: str | None
) -> None:
    deployment = load(tiny_shop.make(tmp_path, days=1)).model_copy(update={"lake": lake, "checkpoints": told})
    assert checkpoint_folder(Lake(spark, deployment)) == (Path(expected) if expected else None)
