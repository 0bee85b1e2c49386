"""What is served in place of a full encoder, and that the ranker learned with vectors of the same kind."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import polars as pl
import pytest
from pyspark.sql import SparkSession
from safetensors.numpy import load_file

from jobs.offline import served_encoder
from jobs.offline.encoder_training import EncoderPlan, Encoders
from jobs.offline.served_encoder import Served, ServedEncoder, folder_to_serve, form_to_serve
from jobs.offline.training_data import Shop
from jobs.runner import run_job
from jobs.runner.lake import Lake
from schemas.deployment import load
from tests.spark.test_train_model import DAY, interactions, shop
from tests.support import tiny_shop
from tests.unit.test_encoder import write_tiny
from udfs.catalogue import Catalogue
from udfs.encoder import encoder, model_folder, model_reader
from udfs.encoder.stored_vectors import to_bytes
from udfs.encoder.tower_settings import TowerSettings
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


@pytest.mark.parametrize(
    ("kind", "on_gpus", "has_bfloat16", "form"),
    [
        ("full", False, False, "int8"),
        ("full", False, True, "bfloat16"),
        ("full", True, False, "bfloat16"),
        ("small", False, False, "int8"),
        ("small", False, True, "int8"),
        ("small", True, True, "bfloat16"),
    ],
)
def test_the_form_is_the_fastest_of_the_machines_that_serve(
    kind: ServedEncoder, on_gpus: bool, has_bfloat16: bool, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder, "multiplies_bfloat16", lambda _: has_bfloat16)
    assert form_to_serve(kind, on_gpus=on_gpus) == form


def test_in_bfloat16_the_full_encoder_is_served_as_it_is(full: Path) -> None:
    assert folder_to_serve(full, TEXTS, "full", "bfloat16", 7, print) == Served(full, "bfloat16", {})


def test_in_8_bits_the_full_encoder_keeps_its_layers_and_its_vectors(full: Path) -> None:
    served = folder_to_serve(full, TEXTS, "full", "int8", 7, print)
    assert (served.folder, served.form) == (full.with_name("newest-int8"), "int8")
    assert json.loads((served.folder / model_folder.CONFIG).read_text())["num_hidden_layers"] == 2
    assert 0.99 < served.figures["int8_cosine"] < 1


def test_an_encoder_that_8_bits_would_change_is_served_in_float32(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served_encoder, "LEAST_COSINE", 1.0)
    said: list[str] = []
    served = folder_to_serve(full, TEXTS, "full", "int8", 7, said.append)
    assert (served.folder, served.form) == (full, "float32")
    assert "served in float32" in said[-1]


@pytest.mark.parametrize("form", ["bfloat16", "float32"])
def test_a_served_model_gives_the_vectors_of_its_form_on_any_chip(
    form: Literal["bfloat16", "float32"], full: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (full / model_folder.SETTINGS).write_text(json.dumps({"name": "one", "dims": 32}))
    model_folder.record_form(full, form)
    expected = encoder.load_encoder(full, dtype=form).encode(TEXTS, 32)
    for place, has_bfloat16 in enumerate((True, False)):
        read = shutil.copytree(full, full.with_name(f"read{place}"))  # an encoder is loaded once
        monkeypatch.setattr(encoder, "multiplies_bfloat16", lambda _, has=has_bfloat16: has)
        found = encoder.load_encoder(read).encode(TEXTS, 32)
        if form == "float32" or has_bfloat16:
            np.testing.assert_array_equal(found, expected)
        assert (found * expected).sum(axis=1).min() > 0.999


def test_models_that_differ_in_their_form_alone_have_versions_of_their_own(full: Path) -> None:
    """A text's key in features.item_vectors has the version of the model, which is the hash of its manifest."""
    (full / model_folder.SETTINGS).write_text(json.dumps({"name": "one", "dims": 32}))
    hashes = set()
    for form in get_args(model_folder.Form):
        model_folder.record_form(full, form)
        model_folder.write_manifest(full)
        hashes.add(model_folder.sha256(full / model_folder.MANIFEST))
    assert len(hashes) == len(get_args(model_folder.Form))


def test_an_unknown_form_is_refused(full: Path) -> None:
    (full / model_folder.SETTINGS).write_text(json.dumps({"name": "one", "dims": 32, "form": "int4"}))
    with pytest.raises(model_folder.ModelError, match=r"form is 'int4'; one of auto, float32, bfloat16, int8 expected"):
        encoder.load_encoder(full)


def test_the_small_one_is_what_was_measured() -> None:
    """docs/performance.md, "Smaller encoders": three layers, 400 steps."""
    assert (served_encoder.SMALL.layers, served_encoder.SMALL.steps) == (3, 400)


def test_an_encoder_learns_from_the_base_of_its_plan_and_is_served_in_its_form(full: Path, tmp_path: Path) -> None:
    place = tmp_path / "training"
    place.mkdir()
    settings = TowerSettings(may_stay_frozen=False)
    plan = EncoderPlan(full, settings, 1, 2, learn_steps=4, newest=True, served="full", form="int8", seed=7)
    encoders, some = Encoders(shop(), place, plan, print), shop()
    assert encoders.earlier(DAY + 29, lambda _share: None).tuned
    earlier = encoders.to_serve("earlier", DAY + 29)
    encoders.newest(DAY + 29, True, lambda _share: None)
    newest = encoders.to_serve("newest", DAY + 29)
    assert [served.folder.name for served in (earlier, newest)] == ["earlier-int8", "newest-int8"]
    known = some.encoded(earlier.folder)
    assert known.vectors.shape == (6, 32)
    assert model_reader.read_settings(newest.folder, 32).form == "int8"
    before, after = (load_file(folder / model_folder.WEIGHTS) for folder in (full, place / "earlier"))
    moved = {name for name in before if not np.array_equal(before[name], after[name])}
    assert moved
    assert all(name.startswith("encoder.layer.1.") for name in moved), "of a base of two layers one stays frozen"


@pytest.mark.usefixtures("few_steps")
def test_fewer_layers_in_8_bits_are_made_once_and_their_figures_kept(full: Path) -> None:
    first = folder_to_serve(full, TEXTS, "small", "int8", 7, print)
    folder, figures = first.folder, first.figures
    assert folder == full.with_name("newest-1-layers-int8")  # of two layers: there is no student of three
    assert json.loads((folder / model_folder.CONFIG).read_text())["num_hidden_layers"] == 1
    assert (figures["distilled_layers"], figures["distilled_steps"]) == (1, 5)
    assert 0.99 < figures["int8_cosine"] < 1
    assert 0 < figures["distilled_cosine_before"] < 1
    said: list[str] = []
    assert folder_to_serve(full, TEXTS, "small", "int8", 7, said.append) == first
    assert said == [f"this encoder is there already: {n}" for n in ("newest-1-layers", "newest-1-layers-int8")]


@pytest.mark.usefixtures("few_steps")
def test_one_that_was_killed_before_its_figures_were_kept_is_made_anew(full: Path) -> None:
    folder = folder_to_serve(full, TEXTS, "small", "int8", 7, print).folder
    folder.with_name(f"{folder.name}.json").unlink()
    again = folder_to_serve(full, TEXTS, "small", "int8", 7, print)
    assert again.folder == folder
    assert "int8_cosine" in again.figures


@pytest.mark.usefixtures("few_steps")
def test_on_gpus_a_small_encoder_has_fewer_layers_alone(full: Path) -> None:
    served = folder_to_serve(full, TEXTS, "small", "bfloat16", 7, print)
    assert (served.folder, served.form) == (full.with_name("newest-1-layers"), "bfloat16")


def test_a_base_of_one_layer_keeps_it_and_is_rounded(full: Path) -> None:
    one = full.with_name("one")
    one.mkdir()
    write_tiny(one, layers=1)
    served = folder_to_serve(one, TEXTS, "small", "int8", 7, print)
    assert served.folder == full.with_name("one-int8")
    assert set(served.figures) == {"int8_cosine"}


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
    served = json.loads((folder / scoring.TRAINING).read_text())["served"]
    assert (served["encoder"], served["form"]) == ("small", "int8")
    assert (served["distilled_layers"], served["distilled_steps"]) == (1, 5)
    figures = dict(model["metrics"])
    assert {name: figures[name] for name in served if name in figures} == {
        name: value for name, value in served.items() if name not in ("encoder", "form")
    }
    run_job.run("encode_items", lake, tiny_shop.day(0))
    vectors = pl.read_delta(lake.path("features.item_vectors"))
    texts = pl.read_delta(lake.path("silver.items")).select("item_id", "text")
    rows = vectors.join(texts, on="item_id").sort("item_id")
    made = encoder.load_encoder(folder).encode(rows["text"].to_list(), 32)
    assert rows["vector"].to_list() == to_bytes(made)  # each alone in its worker's batches, or not
