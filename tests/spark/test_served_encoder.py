"""What is served in place of a full encoder, and that the ranker learned with vectors of the same kind."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pyspark.sql import SparkSession

from jobs.offline import served_encoder
from jobs.offline.served_encoder import folder_to_serve
from jobs.offline.training_data import Shop
from jobs.runner import run_job
from jobs.runner.lake import Lake
from schemas.deployment import load
from tests.spark.test_train_model import DAY, interactions, shop
from tests.support import tiny_shop
from tests.unit.test_encoder import write_tiny
from udfs.catalogue import Catalogue
from udfs.encoder import encoder, model_folder
from udfs.encoder.stored_vectors import to_bytes
from udfs.recommend import scoring

WORDS = ("milk", "beer", "soap", "rice", "tea", "fish")
TEXTS = [f"{one} {other}" for one in WORDS for other in WORDS]


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """One random BERT of two layers."""
    folder = tmp_path / "newest"
    folder.mkdir()
    write_tiny(folder)
    return folder


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served_encoder, "SMALL", replace(served_encoder.SMALL, steps=5))


def test_the_full_encoder_is_served_as_it_is(full: Path) -> None:
    assert folder_to_serve(full, TEXTS, "full", 7, print) == (full, {})


def test_the_small_one_is_what_was_measured() -> None:
    """docs/performance.md, "Smaller encoders": three layers, 400 steps."""
    assert (served_encoder.SMALL.layers, served_encoder.SMALL.steps) == (3, 400)


@pytest.mark.usefixtures("few_steps")
def test_fewer_layers_in_8_bits_are_made_once_and_their_figures_kept(full: Path) -> None:
    folder, figures = folder_to_serve(full, TEXTS, "small", 7, print)
    assert folder == full.with_name("newest-1-layers-int8")  # of two layers: there is no student of three
    assert json.loads((folder / model_folder.CONFIG).read_text())["num_hidden_layers"] == 1
    assert (figures["distilled_layers"], figures["distilled_steps"]) == (1, 5)
    assert 0.99 < figures["int8_cosine"] < 1
    assert 0 < figures["distilled_cosine_before"] < 1
    said: list[str] = []
    assert folder_to_serve(full, TEXTS, "small", 7, said.append) == (folder, figures)
    assert said == [f"this encoder is there already: {n}" for n in ("newest-1-layers", "newest-1-layers-int8")]


@pytest.mark.usefixtures("few_steps")
def test_one_that_was_killed_before_its_figures_were_kept_is_made_anew(full: Path) -> None:
    folder, _ = folder_to_serve(full, TEXTS, "small", 7, print)
    folder.with_name(f"{folder.name}.json").unlink()
    again, figures = folder_to_serve(full, TEXTS, "small", 7, print)
    assert again == folder
    assert "int8_cosine" in figures


def test_a_base_of_one_layer_keeps_it_and_is_rounded(full: Path) -> None:
    one = full.with_name("one")
    one.mkdir()
    write_tiny(one, layers=1)
    folder, figures = folder_to_serve(one, TEXTS, "small", 7, print)
    assert folder == full.with_name("one-int8")
    assert set(figures) == {"int8_cosine"}


def test_a_past_night_knows_the_texts_of_what_was_sold_or_described_before_it() -> None:
    some = shop()
    described = np.full(len(some.texts), DAY + 9, np.int32)
    described[5] = DAY - 1
    late = Shop(interactions(), Catalogue(**{**some.catalogue.__dict__, "described": described}), some.texts)
    assert late.texts_before(DAY) == ["text 0", "text 2"]  # item 0 was sold, item 5 was described
    assert late.texts_before(DAY + 10) == [f"text {number}" for number in range(6)]


@pytest.mark.slow
@pytest.mark.usefixtures("few_steps")
def test_a_small_encoder_is_served_and_the_ranker_learned_with_one_of_its_kind(
    taken_in: Path, tmp_path: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(spark, load(tiny_shop.copied(taken_in, tmp_path / "shop")))
    read: list[str] = []
    right = Shop.encoded
    monkeypatch.setattr(Shop, "encoded", lambda shop, folder: read.append(folder.name) or right(shop, folder))
    run_job.run("train_model", lake, tiny_shop.day(0), {"served_encoder": "small"})
    assert read == ["earlier-1-layers-int8"]  # of a base of two layers
    (model,) = pl.read_delta(lake.path("ops.models")).to_dicts()
    folder = Path(lake.deployment.lake) / model["folder"]
    assert model["weights_sha256"] == model_folder.sha256(folder / model_folder.INT8)
    assert not (folder / model_folder.WEIGHTS).exists()
    told = json.loads((folder / scoring.TRAINING).read_text())["served"]
    assert (told["encoder"], told["distilled_layers"], told["distilled_steps"]) == ("small", 1, 5)
    figures = dict(model["metrics"])
    assert {name: figures[name] for name in told if name in figures} == {
        name: value for name, value in told.items() if name != "encoder"
    }
    run_job.run("encode_items", lake, tiny_shop.day(0))
    vectors = pl.read_delta(lake.path("features.item_vectors"))
    texts = pl.read_delta(lake.path("silver.items")).select("item_id", "text")
    rows = vectors.join(texts, on="item_id").sort("item_id")
    made = encoder.load_encoder(folder).encode(rows["text"].to_list(), 32)
    assert rows["vector"].to_list() == to_bytes(made)  # each alone in its worker's batches, or not
