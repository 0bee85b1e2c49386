"""Neighbours, statistics and factors against plain Python on a shop drawn at random."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from udfs.interactions import GUEST, Interactions, from_frame
from udfs.recommend import item_models, neighbours
from udfs.recommend.fit_item_models import fit
from udfs.recommend.grouped import ranks
from udfs.recommend.item_models import FitSettings, ItemModels
from udfs.recommend.user_matrix import decay, user_matrix

DAY = 15_000
SETTINGS = FitSettings(alive_days=60, neighbours=4, next_neighbours=5, basket_neighbours=3, factors=4, iterations=3)


def shop(seed: int = 1, users: int = 12, items: int = 15, lines: int = 400) -> Interactions:
    draw = np.random.default_rng(seed)
    user = draw.integers(0, users, lines)
    age = draw.integers(-20, 120, lines)  # some after DAY: models must not see them
    return from_frame(
        pd.DataFrame(
            {
                "user_id": [None if code == 0 else f"u{code:02}" for code in user],  # u00 is every guest
                "item_id": [f"i{code:02}" for code in np.minimum(draw.geometric(0.2, lines), items)],
                "event_date": pd.to_datetime(DAY - age, unit="D"),
                "basket_id": [f"{code}/{days}" for code, days in zip(user, age, strict=True)],
                "quantity": draw.integers(1, 5, lines),
            }
        )
    )


@pytest.fixture(scope="module")
def models() -> ItemModels:
    return fit(shop(), DAY, settings=SETTINGS)


def test_nothing_of_the_day_or_later_is_seen(models: ItemModels) -> None:
    past = shop().before(DAY)
    assert fit(past, DAY, settings=SETTINGS).to_bytes() == models.to_bytes()


def test_items_are_those_sold_lately_and_those_of_the_catalogue() -> None:
    lines = shop()
    recent = fit(lines, DAY, settings=FitSettings(alive_days=3, factors=2))
    assert set(recent.items) == set(lines.item[(lines.day < DAY) & (lines.day >= DAY - 3)])
    more = fit(lines, DAY, settings=FitSettings(alive_days=3, factors=2), catalogue=np.array([0, 7]))
    assert set(more.items) == set(recent.items) | {0, 7}
    assert recent.rows(recent.items).tolist() == list(range(len(recent)))


def test_neighbours_equal_a_cosine_in_plain_python(models: ItemModels) -> None:
    seen = shop().before(DAY).known()
    weight: dict[tuple[int, int], float] = {}
    for user, item, day in {(int(u), int(i), int(d)) for u, i, d in zip(seen.user, seen.item, seen.day, strict=True)}:
        weight[user, item] = weight.get((user, item), 0) + 0.5 ** ((DAY - day) / SETTINGS.half_life)
    weight = {key: value if value <= 1 else 1 + math.log(value) for key, value in weight.items()}

    def dot(a: int, b: int) -> float:
        return sum(weight.get((user, a), 0) * weight.get((user, b), 0) for user in range(len(seen.users)))

    for row, item in enumerate(models.items):
        oracle = [
            (dot(item, other) / math.sqrt((dot(item, item) + 10) * (dot(other, other) + 10)), -place)
            for place, other in enumerate(models.items)
            if other != item
        ]
        best = sorted(oracle, reverse=True)[: SETTINGS.neighbours]
        np.testing.assert_allclose(models.similarities[row], [value for value, _ in best], rtol=2e-3)
        assert models.neighbours[row].tolist() == [-place for _, place in best]


def test_next_is_what_an_items_buyers_turn_to_in_plain_python(models: ItemModels) -> None:
    seen = shop().before(DAY).known()
    days: dict[tuple[int, int], set[int]] = {}
    for user, item, day in zip(seen.user, seen.item, seen.day, strict=True):
        days.setdefault((int(user), int(item)), set()).add(int(day))
    candidate = set(models.items.tolist())
    items_of = [{i for u, i in days if u == user and i in candidate} for user in range(len(seen.users))]

    def buyers(item: int) -> list[int]:
        return [user for user, bought in enumerate(items_of) if item in bought]

    def length(item: int) -> float:
        return math.sqrt(sum(1 / len(items_of[user]) for user in buyers(item)))

    def turned(user: int, item: int) -> float:
        ages = [DAY - day for day in days[user, item] if DAY - day <= SETTINGS.alive_days]
        return min(1.0, sum(0.5 ** (age / SETTINGS.next_half_life) for age in ages))

    pairs = [pair for pair in days if pair[1] in candidate]
    average = sum(turned(*pair) for pair in pairs) / len(pairs)

    for row, item in enumerate(models.items.tolist()):
        oracle = []
        for place, other in enumerate(models.items.tolist()):
            both = [user for user in buyers(other) if item in items_of[user]]
            near = sum(turned(user, item) / len(items_of[user]) for user in both)
            if other != item and near > 0 and len(buyers(other)) > 1:
                oracle.append((near / average / length(item) / length(other), -place))
        best = sorted(oracle, reverse=True)[: SETTINGS.next_neighbours]
        count = len(best)
        np.testing.assert_allclose(models.next_similarities[row, :count], [value for value, _ in best], rtol=2e-3)
        assert models.next_neighbours[row].tolist() == [-place for _, place in best] + [-1] * (
            SETTINGS.next_neighbours - count
        )


def test_a_basket_is_a_vote_for_what_lies_in_it_together(models: ItemModels) -> None:
    seen = shop().before(DAY)
    baskets = [
        {int(i) for i in seen.item[seen.basket == basket]} & set(models.items.tolist())
        for basket in np.unique(seen.basket)
    ]

    def together(*items: int) -> int:
        return sum(set(items) <= basket for basket in baskets)

    for row, item in enumerate(models.items.tolist()):
        oracle = [
            (together(item, other) / math.sqrt((together(item) + 10) * (together(other) + 10)), -place)
            for place, other in enumerate(models.items.tolist())
            if other != item and together(item, other)
        ]
        best = sorted(oracle, reverse=True)[: SETTINGS.basket_neighbours]
        count = len(best)
        np.testing.assert_allclose(models.basket_similarities[row, :count], [v for v, _ in best], rtol=2e-3)
        assert models.basket_neighbours[row, :count].tolist() == [-place for _, place in best]


def test_statistics_equal_counts_in_plain_python(models: ItemModels) -> None:
    seen = shop().before(DAY)
    for row, item in enumerate(models.items):
        lines = [k for k in range(len(seen)) if seen.item[k] == item]
        buyers = {
            (int(seen.user[k]), int(seen.basket[k]) if seen.user[k] == GUEST else 0, int(DAY - seen.day[k]))
            for k in lines
        }
        for name, first, last in (("buyers_7", 1, 7), ("buyers_28", 1, 28), ("buyers_56", 29, 56), ("buyers", 1, 999)):
            assert models.column(name)[row] == len({b[:2] for b in buyers if first <= b[2] <= last}), name
        ages = [DAY - seen.day[k] for k in lines]
        assert (models.column("first_age")[row], models.column("last_age")[row]) == (max(ages), min(ages))


def test_repeat_rate_and_gap_are_drawn_to_the_shop() -> None:
    frame = pd.DataFrame(
        {
            "user_id": ["a", "a", "a", "b"],  # a buys x on days 1, 11 and 21; b once
            "item_id": "x",
            "event_date": pd.to_datetime([DAY - 30, DAY - 20, DAY - 10, DAY - 10], unit="D"),
            "basket_id": ["1", "2", "3", "4"],
            "quantity": 1,
        }
    )
    models = fit(from_frame(frame), DAY, settings=SETTINGS)
    assert models.column("repeat_rate")[0] == pytest.approx(0.5)  # alone in the shop: its own share
    assert models.column("gap")[0] == pytest.approx(10)


def test_user_items_keeps_those_of_most_weight() -> None:
    days = shop().before(DAY).user_days()
    whole = user_matrix(days, DAY, 30.0).toarray()
    cut = user_matrix(days, DAY, 30.0, user_items=3).toarray()
    for user in range(len(whole)):
        best = sorted(np.flatnonzero(whole[user]), key=lambda item: (-whole[user, item], item))[:3]
        assert sorted(np.flatnonzero(cut[user])) == sorted(best)


def test_bytes_come_back_as_they_went(models: ItemModels) -> None:
    again = item_models.from_bytes(models.to_bytes())
    assert again.to_bytes() == models.to_bytes()
    assert again.neighbours.dtype == np.int32
    assert fit(shop(), DAY, settings=SETTINGS).to_bytes() == models.to_bytes()  # one seed, one thread


def test_of_many_baskets_a_sample_is_drawn_which_is_always_the_same() -> None:
    few = FitSettings(alive_days=60, neighbours=4, factors=2, max_baskets=5)
    models = fit(shop(), DAY, settings=few)
    assert models.to_bytes() == fit(shop(), DAY, settings=few).to_bytes()


def test_an_empty_shop_has_no_items() -> None:
    empty = shop().before(0)
    models = fit(empty, DAY, settings=SETTINGS)
    assert len(models) == 0
    assert models.rows(np.array([1, 2])).tolist() == [-1, -1]


@pytest.mark.parametrize("seed", range(5))
def test_ranks_equal_a_sort(seed: int) -> None:
    draw = np.random.default_rng(seed)
    group = np.sort(draw.integers(0, 3_000, 5_000))
    score = draw.choice(np.array([-2.5, -0.0, 0.0, 1e-8, 3.0, np.nan, -np.inf, np.inf], np.float32), 5_000)
    got = ranks(group, score)
    for number in np.unique(group)[:200]:
        rows = np.flatnonzero(group == number)
        order = sorted(rows, key=lambda row: (math.inf if math.isnan(score[row]) else -score[row], row))
        assert [got[row] for row in order] == list(range(1, len(rows) + 1))


def test_decay_halves() -> None:
    assert decay(np.array([0, 10, 20]), 10.0).tolist() == [1, 0.5, 0.25]


def test_ease_keeps_the_neighbours_of_a_full_sort_ties_included() -> None:
    # Items in pairs that the same users bought, so that columns tie exactly; integers, so that sums are exact.
    draw = np.random.default_rng(4)
    half = (draw.random((40, 12)) < 0.3).astype(np.float32)
    matrix = sp.csr_matrix(np.repeat(half, 2, axis=1))
    settings = FitSettings(ease_items=20, ease_neighbours=5, ease_ridge=2.0)
    rows, weights = neighbours.ease_regression(matrix, settings)
    bought = np.asarray(matrix.sum(axis=0)).ravel()
    chosen = np.sort(np.argsort(-bought, kind="stable")[:20])
    part = matrix[:, chosen]
    gram = (part.T @ part).toarray()
    gram[np.diag_indices_from(gram)] += 2.0
    inverse = np.linalg.inv(gram)
    regression = -inverse / np.diag(inverse)
    np.fill_diagonal(regression, 0)
    for place, item in enumerate(chosen):
        order = np.argsort(-regression[:, place], kind="stable")[:5]
        value = regression[order, place]
        assert rows[item].tolist() == np.where(value > 0, chosen[order], -1).tolist()
        np.testing.assert_array_equal(weights[item], np.maximum(value, 0).astype(np.float16))
    others = np.setdiff1d(np.arange(24), chosen)
    assert len(others)
    assert (rows[others] == -1).all()
