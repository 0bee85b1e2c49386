"""Histories against a plain reading of the lines; a user's vector depends on that user's purchases alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.test_encoder import write_tiny
from udfs.encoder import model_reader, packed, user_encoder, user_tower
from udfs.encoder.copurchase import user_vectors
from udfs.encoder.model_folder import USER_SETTINGS, USER_WEIGHTS, ModelError, write_manifest
from udfs.encoder.user_encoder import Mean, TowerEncoder
from udfs.encoder.user_examples import UserExamples
from udfs.encoder.user_history import Histories, histories_before, mean_vectors
from udfs.encoder.user_tower import UserSettings, UserTower
from udfs.encoder.user_training import UserLearning, learn
from udfs.interactions import Floats, Interactions, from_frame

DIMS = 32
TODAY = 19_000
Sale = tuple[int, int, int]  # user, day, item


def unit_rows(count: int, seed: int = 3) -> Floats:
    rows = np.random.default_rng(seed).normal(size=(count, DIMS))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


VECTORS = unit_rows(8)


def lines_of(sales: list[Sale]) -> Interactions:
    frame = pd.DataFrame(sales, columns=["user", "day", "item"])
    table = pd.DataFrame(
        {
            "user_id": [f"u{user:02}" for user in frame["user"]],
            "item_id": [f"i{item}" for item in frame["item"]],
            "event_date": pd.to_datetime(frame["day"], unit="D").dt.date,
            "basket_id": [f"{user} {day}" for user, day in zip(frame["user"], frame["day"], strict=True)],
            "quantity": 1.0,
        }
    )
    return from_frame(table, np.array([f"i{item}" for item in range(len(VECTORS))]))


def some_sales(users: int = 20, seed: int = 5) -> list[Sale]:
    draw = np.random.default_rng(seed)
    count = draw.integers(1, 40, users)
    return [
        (user, TODAY - int(draw.integers(0, 200)), int(draw.integers(0, 8)))
        for user in range(users)
        for _ in range(count[user])
    ]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(18_990, 19_010), st.integers(0, 7)), min_size=1),
    st.integers(1, 6),
)
def test_a_history_is_the_newest_lines_of_its_user(sales: list[Sale], most: int) -> None:
    bought = lines_of(sales)
    users, read = histories_before(bought, VECTORS, TODAY, most)
    seen = sorted({sale for sale in sales if sale[1] < TODAY})
    assert [bought.users[user] for user in users] == [f"u{user:02}" for user in sorted({sale[0] for sale in seen})]
    for place, user in enumerate(sorted({sale[0] for sale in seen})):
        own = [sale[1:] for sale in seen if sale[0] == user][-most:]
        part = slice(read.bounds[place], read.bounds[place + 1])
        days = sorted({day for day, _ in own})
        assert read.item[part].tolist() == [item for _, item in own]
        assert read.age[part].tolist() == [days[-1] - day for day, _ in own]
        assert read.basket[part].tolist() == [len(days) - 1 - days.index(day) for day, _ in own]
        gaps = dict(zip(days, [0, *np.diff(days).tolist()], strict=True))
        assert read.gap[part].tolist() == [gaps[day] for day, _ in own]


def test_the_mean_vector_is_the_pooled_one_and_does_not_depend_on_the_day() -> None:
    bought = lines_of(some_sales())
    users, read = histories_before(bought, VECTORS, TODAY + 1, 1_000)
    found = mean_vectors(read, VECTORS)
    np.testing.assert_allclose(found, user_vectors(bought, VECTORS, TODAY + 1)[users], atol=1e-6)
    later = histories_before(bought, VECTORS, TODAY + 90, 1_000)[1]
    assert np.array_equal(mean_vectors(later, VECTORS), found)
    assert mean_vectors(read.part(np.array([], np.int64)), VECTORS).shape == (0, DIMS)


def tower_of(folder: Path, layers: int = 2, residual: bool = True) -> UserTower:
    write_tiny(folder)
    model = model_reader.read_model(folder)[0]
    tower = user_tower.tower_over(model, UserSettings(DIMS, heads=2, layers=layers, residual=residual, max_lines=12), 3)
    with torch.no_grad():  # as after some steps: nothing is zero
        for name in ("score", "age_score", "output"):
            torch.nn.init.normal_(tower.parts[name].weight, std=0.3)
    return tower


@pytest.mark.parametrize(("layers", "residual"), [(2, True), (2, False), (0, True)])
def test_a_vector_does_not_depend_on_the_other_users(tmp_path: Path, layers: int, residual: bool) -> None:
    encoder = TowerEncoder(tower_of(tmp_path, layers, residual), dtype="float32")
    _, read = histories_before(lines_of(some_sales()), VECTORS, TODAY + 1, 12)
    found = encoder.encode(read, VECTORS)
    alone = np.concatenate([encoder.encode(read.part(np.array([user])), VECTORS) for user in range(len(read))])
    np.testing.assert_allclose(found, alone, atol=2e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert (found * mean_vectors(read, VECTORS)).sum(axis=1).min() < 0.99, "the weights have an effect"


def test_one_pass_over_all_lengths_equals_passes_of_one_length(tmp_path: Path) -> None:
    tower = tower_of(tmp_path)
    _, read = histories_before(lines_of(some_sales()), VECTORS, TODAY + 1, 12)
    expected = TowerEncoder(tower, dtype="float32").encode(read, VECTORS)
    with torch.inference_mode():
        for attention in (packed.plain_attention, user_tower.dense_attention):
            found = tower.forward(read, torch.from_numpy(VECTORS), attention).numpy()
            np.testing.assert_allclose(found, expected, atol=2e-6)


def test_bfloat16_is_float32_to_a_cosine_of_0_999(tmp_path: Path) -> None:
    _, read = histories_before(lines_of(some_sales()), VECTORS, TODAY + 1, 12)
    found = [TowerEncoder(tower_of(tmp_path), dtype=kind).encode(read, VECTORS) for kind in ("float32", "bfloat16")]
    assert (found[0] * found[1]).sum(axis=1).min() > 0.999


def test_a_new_tower_gives_the_mean_vector(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    tower = user_tower.tower_over(model_reader.read_model(tmp_path)[0], UserSettings(DIMS, heads=2), 3)
    _, read = histories_before(lines_of(some_sales()), VECTORS, TODAY + 1, 128)
    found = TowerEncoder(tower, dtype="float32").encode(read, VECTORS)
    np.testing.assert_allclose(found, mean_vectors(read, VECTORS), atol=1e-5)


def test_a_folder_gives_back_its_tower(tmp_path: Path) -> None:
    tower = tower_of(tmp_path)
    assert isinstance(user_encoder.load_user_encoder(tmp_path), Mean), "without a tower the mean vector serves"
    assert user_encoder.max_lines(tmp_path) == user_encoder.MEAN_LINES
    folder = tmp_path.rename(tmp_path.with_name("with-tower"))
    user_tower.write_tower(tower, folder)
    write_manifest(folder)
    loaded = user_encoder.load_user_encoder(folder, dtype="float32")
    assert user_encoder.max_lines(folder) == 12
    _, read = histories_before(lines_of(some_sales()), VECTORS, TODAY + 1, 12)
    assert np.array_equal(loaded.encode(read, VECTORS), TowerEncoder(tower, dtype="float32").encode(read, VECTORS))


def test_a_damaged_tower_is_refused(tmp_path: Path) -> None:
    user_tower.write_tower(tower_of(tmp_path), tmp_path)
    write_manifest(tmp_path)
    weights = tmp_path / USER_WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(ModelError, match=USER_WEIGHTS):
        user_tower.read_tower(tmp_path)
    settings = json.loads((tmp_path / USER_SETTINGS).read_text())
    (tmp_path / USER_SETTINGS).write_text(json.dumps(settings | {"depth": 3}))
    with pytest.raises(ModelError, match=USER_SETTINGS):
        user_tower.read_tower(tmp_path)


def test_an_example_shows_what_came_before_and_asks_for_new_items() -> None:
    sales = [(0, 10, 1), (0, 20, 1), (0, 20, 2), (0, 30, 3), (0, 70, 4), (1, 20, 5), (2, 10, 1), (2, 20, 1)]
    examples = UserExamples(lines_of(sales), VECTORS, 100, max_lines=128)
    # u0's first basket has nothing before it, the last one has items 1 to 3; u1 has one basket, u2 nothing new.
    assert len(examples) == 3
    batch = examples.batch(np.arange(3), np.random.default_rng(0))
    shown = [
        batch.read.item[start:stop].tolist()
        for start, stop in zip(batch.read.bounds, batch.read.bounds[1:], strict=False)
    ]
    assert shown == [[1], [1, 1, 2], [1, 1, 2, 3]]
    targets = list(zip(batch.target_user.tolist(), batch.columns[batch.target].tolist(), strict=True))
    assert targets == [(0, 2), (0, 3), (1, 3), (2, 4)], "new within 28 days of the basket"
    owned = [batch.columns[row].tolist() for row in batch.owned]
    assert owned == [[1], [1, 2], [1, 2, 3]]
    assert batch.columns.tolist() == [1, 2, 3, 4, 5], "of items that were sold"


def test_a_tower_learns_what_the_mean_vector_does_not_know(tmp_path: Path) -> None:
    """After item n comes item n + 1: the order of purchases matters, which a mean does not see."""
    draw = np.random.default_rng(7)
    sales = [
        (user, TODAY - 70 + 7 * week, (start + week) % 8)
        for user in range(200)
        for start in [int(draw.integers(0, 8))]
        for week in range(6)
    ]
    write_tiny(tmp_path)
    tower = user_tower.tower_over(model_reader.read_model(tmp_path)[0], UserSettings(DIMS, heads=2), 3)
    examples = UserExamples(lines_of(sales), VECTORS, TODAY, max_lines=128)
    how = UserLearning(steps=60, batch_size=64, new_rate=5e-3, layer_rate=1e-3)
    first = learn(tower_copy(tower, tmp_path), examples, VECTORS, replace(how, steps=1), 7).loss
    assert learn(tower, examples, VECTORS, how, 7).loss < 0.7 * first


def tower_copy(tower: UserTower, folder: Path) -> UserTower:
    copy = user_tower.tower_over(model_reader.read_model(folder)[0], tower.settings, 3)
    copy.parts.load_state_dict(tower.parts.state_dict())
    return copy


def test_histories_of_nobody_are_empty() -> None:
    users, read = histories_before(lines_of([(0, TODAY, 1)]), VECTORS, TODAY, 12)
    assert (len(users), len(read), read.item.tolist()) == (0, 0, [])
    assert isinstance(read, Histories)
    assert Mean().encode(read, VECTORS).shape == (0, DIMS)
