"""What is served in place of a full encoder, and that the ranker learned with vectors of the same kind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pyspark.sql import SparkSession

from jobs import train_model
from jobs.flow import INTAKE
from jobs.offline.served_encoder import check_layers, served_encoder
from jobs.offline.training_data import Shop
from jobs.runner import run_job
from jobs.runner.lake import Lake
from schemas.deployment import load
from schemas.errors import ConfError
from tests import tiny_shop
from tests.test_encoder import write_tiny
from tests.test_train_model import DAY, interactions, shop
from udfs.catalogue import Catalogue
from udfs.encoder import encoder, model_folder
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


def test_where_nothing_is_asked_the_full_encoder_is_served(full: Path) -> None:
    assert served_encoder(full, TEXTS, 0, "safetensors", 5, 7, print) == (full, {})


def test_fewer_layers_in_8_bits_are_made_once_and_their_figures_kept(full: Path) -> None:
    folder, figures = served_encoder(full, TEXTS, 1, "onnx-int8", 5, 7, print)
    assert folder == full.with_name("newest-1-layers-int8")
    assert json.loads((folder / model_folder.CONFIG).read_text())["num_hidden_layers"] == 1
    assert (figures["distilled_layers"], figures["distilled_steps"]) == (1, 5)
    assert 0.99 < figures["int8_cosine"] < 1
    assert 0 < figures["distilled_cosine_before"] < 1
    said: list[str] = []
    assert served_encoder(full, TEXTS, 1, "onnx-int8", 5, 7, said.append) == (folder, figures)
    assert said == [f"this encoder is there already: {n}" for n in ("newest-1-layers", "newest-1-layers-int8")]


def test_one_that_was_killed_before_its_figures_were_kept_is_made_anew(full: Path) -> None:
    folder, _ = served_encoder(full, TEXTS, 0, "onnx-int8", 5, 7, print)
    folder.with_name(f"{folder.name}.json").unlink()
    again, figures = served_encoder(full, TEXTS, 0, "onnx-int8", 5, 7, print)
    assert again == folder
    assert set(figures) == {"int8_cosine"}


@pytest.mark.parametrize("layers", [-1, 6])
def test_layers_that_the_base_does_not_have_are_refused(layers: int) -> None:
    check_layers(0)
    check_layers(5)
    with pytest.raises(
        ConfError, match=rf"served_layers: 0 for the encoder .* or 1 to 5 of its 6 layers, not {layers}"
    ):
        check_layers(layers)


def test_a_past_night_knows_the_texts_of_what_was_sold_or_described_before_it() -> None:
    some = shop()
    described = np.full(len(some.texts), DAY + 9, np.int32)
    described[5] = DAY - 1
    late = Shop(interactions(), Catalogue(**{**some.catalogue.__dict__, "described": described}), some.texts)
    assert late.texts_before(DAY) == ["text 0", "text 2"]  # item 0 was sold, item 5 was described
    assert late.texts_before(DAY + 10) == [f"text {number}" for number in range(6)]


@pytest.mark.slow
def test_a_small_encoder_is_served_and_the_ranker_learned_with_one_of_its_kind(
    tmp_path: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(spark, load(tiny_shop.make(tmp_path, days=1)))
    for job in INTAKE:
        run_job.run(job.name, lake, tiny_shop.day(0))
    read: list[str] = []
    right = train_model.Shop.encoded
    monkeypatch.setattr(
        train_model.Shop, "encoded", lambda shop, folder: read.append(folder.name) or right(shop, folder)
    )
    flags = {"served_layers": 2, "served_format": "onnx-int8", "distil_steps": 3}
    run_job.run("train_model", lake, tiny_shop.day(0), flags)
    assert read == ["earlier-2-layers-int8"]
    (model,) = pl.read_delta(lake.path("ops.models")).to_dicts()
    folder = Path(lake.deployment.lake) / model["folder"]
    assert model["weights_sha256"] == model_folder.sha256(folder / model_folder.INT8)
    assert not (folder / model_folder.WEIGHTS).exists()
    told = json.loads((folder / scoring.TRAINING).read_text())["served"]
    assert (told["layers"], told["format"], told["distilled_steps"]) == (2, "onnx-int8", 3)
    figures = dict(model["metrics"])
    assert {name: figures[name] for name in told if name in figures} == {
        name: value for name, value in told.items() if name not in ("layers", "format")
    }
    run_job.run("encode_items", lake, tiny_shop.day(0))
    vectors = pl.read_delta(lake.path("features.item_vectors"))
    texts = pl.read_delta(lake.path("silver.items")).select("item_id", "text")
    rows = vectors.join(texts, on="item_id").sort("item_id")
    made = encoder.load_encoder(folder).encode(rows["text"].to_list(), 32)
    assert rows["vector"].to_list() == encoder.to_bytes(made)  # each alone in its worker's batches, or not
