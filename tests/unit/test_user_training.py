"""A user tower serves where it ranks new items better than the mean vector, on days that it has not seen."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jobs.offline import user_training
from jobs.offline.training_data import Shop
from jobs.offline.user_training import UserPlan, fit_users
from tests.unit.test_encoder import write_tiny
from tests.unit.test_user_tower import DIMS, TODAY, unit_rows
from udfs.catalogue import catalogue_of
from udfs.encoder import user_tower
from udfs.encoder.model_folder import USER_SETTINGS
from udfs.encoder.user_training import Learned
from udfs.interactions import from_frame

ITEMS = [f"i{number:02}" for number in range(12)]


def shop_of(follows: bool) -> Shop:
    """A purchase a week: item n + 1 after item n, or any item."""
    draw = np.random.default_rng(7)
    rows = []
    for user in range(300):
        start = int(draw.integers(0, len(ITEMS)))
        for week in range(9):
            item = (start + week) % len(ITEMS) if follows else int(draw.integers(0, len(ITEMS)))
            rows.append((f"u{user:03}", ITEMS[item], TODAY - 7 * (9 - week), f"{user} {week}", 1.0))
    lines = pd.DataFrame(rows, columns=["user_id", "item_id", "event_date", "basket_id", "quantity"])
    lines["event_date"] = pd.to_datetime(lines["event_date"], unit="D").dt.date
    described = pd.DataFrame({"item_id": ITEMS, "category": None, "brand": None, "title": None})
    known = catalogue_of(described.assign(described_on="2020-01-01"))
    vectors = unit_rows(len(ITEMS))
    known = known.with_vectors(vectors, np.arange(len(ITEMS), dtype=np.int32))
    return Shop(from_frame(lines, known.items), known, ITEMS)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    folder.mkdir()
    write_tiny(folder)
    return folder


def test_a_tower_that_beats_the_mean_vector_serves(base: Path, tmp_path: Path) -> None:
    said: list[str] = []
    shop, output = shop_of(follows=True), tmp_path / "users"
    plan = UserPlan("bert", 7, 100)
    reader, figures = fit_users(shop, shop.catalogue, TODAY, base, output, plan, said.append)
    assert reader is not None
    assert figures["user_encoder_ndcg"] > figures["user_encoder_ndcg_mean"]
    assert "mean vector serves" not in said[-1]
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        shutil.copyfile(base / name, output / name)
    assert user_tower.read_tower(output) is not None
    vectors = reader(shop.interactions, shop.catalogue.item_vectors(), TODAY)
    assert vectors.shape == (300, DIMS)


@pytest.mark.parametrize("why", ["steps", "few", "worse"])
def test_else_the_mean_vector_serves(base: Path, tmp_path: Path, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_training, "FEWEST_EXAMPLES", 10**6 if why == "few" else 1)
    shop, output = shop_of(follows=False), tmp_path / "users"
    output.mkdir()
    (output / USER_SETTINGS).write_text("of a training killed before")
    if why == "worse":  # the tower's vectors are as good as drawn
        monkeypatch.setattr(user_training, "learn", untaught)
    plan = UserPlan("bert", 7, 0 if why == "steps" else 3)
    reader, figures = fit_users(shop, shop.catalogue, TODAY, base, output, plan, lambda _words: None)
    assert reader is None
    assert set(figures) == ({"user_encoder_ndcg", "user_encoder_ndcg_mean"} if why == "worse" else set())
    assert not output.exists()


def untaught(tower, examples, vectors, how, seed, done):  # type: ignore[no-untyped-def]
    """In place of `learn`: every user's vector becomes the same one."""
    import torch

    torch.nn.init.constant_(tower.parts["output"].bias, 1e3)
    return Learned(0.0, 0, 0.0, 12.0, 0.7)
