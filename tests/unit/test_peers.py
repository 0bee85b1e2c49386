"""Each peer against plain Python on a small shop; order, own items, repeats, blindness to the future."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udfs.evaluation.metrics import truths
from udfs.interactions import Interactions, from_frame
from udfs.recommend import peer_scorer, peers
from udfs.recommend.peer_grids import PEERS
from udfs.top_k import exact as topk
from udfs.top_k.exact import best_columns

DAY = 100  # the cut, in days since 1970
SMALL = {"als": {"factors": 4}, "bpr": {"factors": 4, "iterations": 20}}


def shop(rows: list[tuple[str | None, str, int]]) -> Interactions:
    """Interactions of (user, item, day); one basket per user and day."""
    lines = pd.DataFrame(rows, columns=["user_id", "item_id", "day"])
    lines["event_date"] = lines["day"].to_numpy("datetime64[D]")
    lines["basket_id"] = lines["user_id"].fillna("guest") + "-" + lines["day"].astype(str)
    return from_frame(lines.assign(quantity=1))


def drawn(seed: int = 1, users: int = 30, items: int = 40, lines: int = 500, days: int = 140) -> Interactions:
    """A shop of two camps that buy from either half of the items; days go on after the cut."""
    draw = np.random.default_rng(seed)
    user = draw.integers(0, users, lines)
    item = (draw.beta(1, 2, lines) * items / 2).astype(int) + (user % 2) * items // 2
    rows = zip(user, item, draw.integers(0, days, lines), strict=True)
    return shop([(f"u{u:02}", f"i{i:02}", int(day)) for u, i, day in rows])


def fitted(name: str, interactions: Interactions, **params: object) -> peer_scorer.Scorer:
    return PEERS[name].fit(interactions, DAY, **{**SMALL.get(name, {}), **params})


def everyone(interactions: Interactions) -> np.ndarray:
    return np.arange(len(interactions.users), dtype=np.int32)


@given(
    st.lists(st.lists(st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 1.0]), min_size=7, max_size=7), max_size=5),
    st.integers(1, 9),
    st.integers(1, 9),
)
def test_best_equals_sorting(rows: list[list[float]], k: int, groups: int) -> None:
    scores = np.array(rows, np.float32).reshape(-1, 7)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topk, "COLUMN_GROUPS", groups)
        found = best_columns(scores, k)
    for row, kept in zip(scores.tolist(), found.tolist(), strict=True):
        order = sorted((-score, place) for place, score in enumerate(row) if score > -np.inf)
        assert kept == ([place for _, place in order] + [-1] * k)[:k]


def test_popularity_counts_users_and_guests_baskets_of_the_last_days() -> None:
    rows = [
        ("a", "x", 99),
        ("a", "x", 98),
        ("b", "x", 72),
        ("b", "y", 71),
        (None, "z", 80),
        (None, "z", 81),
        ("a", "w", 100),
    ]
    interactions = shop(rows)
    scorer = peers.popularity(interactions, DAY)
    assert interactions.items.tolist() == ["w", "x", "y", "z"]
    assert scorer.of(everyone(interactions))[0].tolist() == [0, 2, 0, 2]
    # x and z tie and come by item_id; y has no recent buyer, w is sold only after the cut
    assert scorer.top(everyone(interactions), 4, False).tolist() == [[1, 3, -1, -1]] * 2
    assert scorer.top(everyone(interactions), 4, True).tolist() == [[3, -1, -1, -1]] * 2


def test_own_history_halves_each_day_of_purchase_by_its_age() -> None:
    interactions = shop([("a", "x", 90), ("a", "x", 80), ("a", "y", 99), ("b", "z", 99)])
    scores = peers.own_history(interactions, DAY, half_life=10).of(everyone(interactions))
    assert scores[0] == pytest.approx([2**-1 + 2**-2, 2**-0.1, 0])
    scores = peers.own_history(interactions, DAY, half_life=10, shape=0.5).of(everyone(interactions))
    assert scores[0] == pytest.approx([0.75**0.5, 2**-0.05, 0])


def plain_knn(interactions: Interactions, half_life: float, pair: float | None, others: float) -> np.ndarray:
    """The definition, item pair by item pair."""
    users, items = len(interactions.users), len(interactions.items)
    days = {
        (u, i, d) for u, i, d in zip(interactions.user, interactions.item, interactions.day, strict=True) if d < DAY
    }
    profile, lately = np.zeros((users, items)), np.zeros((users, items))
    for u, i, d in days:
        profile[u, i] += 2 ** -((DAY - d) / half_life)
        lately[u, i] += 2 ** -((DAY - d) / pair) if pair else 1
    bought = (profile > 0) / np.sqrt(np.maximum((profile > 0).sum(axis=1, keepdims=True), 1))
    turned = np.minimum(lately, 1) / np.sqrt(np.maximum((profile > 0).sum(axis=1, keepdims=True), 1))
    near = np.zeros((items, items))
    for one in range(items):
        for other in range(items):
            lengths = np.linalg.norm(bought[:, one]) * np.linalg.norm(bought[:, other])
            near[one, other] = bought[:, one] @ turned[:, other] / lengths if lengths else 0
    return profile @ near + (1 / others - 1) * profile


@pytest.mark.parametrize(("pair", "others"), [(30, 1.0), (None, 0.1)])
def test_item_knn_equals_its_definition(pair: float | None, others: float) -> None:
    interactions = drawn()
    found = peers.item_knn(interactions, DAY, half_life=60, pair_half_life=pair, others=others)
    expected = plain_knn(interactions, 60, pair, others)
    np.testing.assert_allclose(found.of(everyone(interactions)), expected, rtol=1e-4, atol=1e-5)


def test_ease_is_ridge_regression_of_each_item_on_all_others() -> None:
    interactions = drawn()
    bought = np.minimum(interactions.before(DAY).matrix().toarray(), 1).astype(np.float64)
    expected = np.zeros_like(bought)
    for item in range(bought.shape[1]):
        rest = np.delete(bought, item, axis=1)
        slopes = np.linalg.solve(rest.T @ rest + 3 * np.eye(rest.shape[1]), rest.T @ bought[:, item])
        expected[:, item] = rest @ slopes
    found = peers.ease(interactions, DAY, ridge=3, half_life=None).of(everyone(interactions))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_ease_keeps_to_the_most_bought_items() -> None:
    interactions = shop([("a", "x", 1), ("b", "x", 2), ("a", "y", 3), ("b", "y", 4), ("a", "z", 5), ("b", "z", 120)])
    found = peers.ease(interactions, DAY, ridge=1, half_life=None, items=2).of(everyone(interactions))
    assert (found[:, :2] > 0).all()
    assert (found[:, 2] == 0).all()


def plain_tifu(interactions: Interactions, user: int, groups: int, within: float, between: float) -> np.ndarray:
    """The paper's user vector: baskets in groups from the last, decayed within each group and between groups."""
    baskets: dict[int, set[int]] = {}
    for u, i, d in zip(interactions.user, interactions.item, interactions.day, strict=True):
        if u == user and d < DAY:
            baskets.setdefault(int(d), set()).add(int(i))
    ordered = [baskets[day] for day in sorted(baskets, reverse=True)]
    size = -(-len(ordered) // groups) if ordered else 1
    parts = [ordered[start : start + size] for start in range(0, len(ordered), size)]
    vector = np.zeros(len(interactions.items))
    for age, part in enumerate(parts):
        for back, basket in enumerate(part):
            vector[list(basket)] += within**back / len(part) * between**age / len(parts)
    return vector


def test_tifu_knn_equals_its_definition() -> None:
    interactions = drawn(lines=300)
    vectors = np.stack([plain_tifu(interactions, user, 3, 0.9, 0.7) for user in everyone(interactions)])
    expected = []
    for user, mine in enumerate(vectors):
        away = [
            (float(np.linalg.norm(mine - other)), at) for at, other in enumerate(vectors) if at != user and other.any()
        ]
        near = [at for _, at in sorted(away)[:5]]
        expected.append(0.7 * mine + 0.3 * vectors[near].mean(axis=0))
    found = peers.tifu_knn(interactions, DAY, groups=3, neighbours=5).of(everyone(interactions))
    np.testing.assert_allclose(found, np.stack(expected), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["als", "bpr", "ease", "item_knn"])
def test_what_one_camp_buys_is_proposed_to_its_members(name: str) -> None:
    rows = [
        (f"u{user}", f"i{2 * item + user % 2}", 50 + item)
        for user in range(40)
        for item in range(8)
        if (user // 2 + item) % 4
    ]
    interactions = shop(rows)
    lists = fitted(name, interactions, **({"iterations": 200} if name == "bpr" else {})).top(
        everyone(interactions), 1, True
    )
    camp = [int(user[1:]) % 2 for user in interactions.users]
    assert [int(interactions.items[item][1:]) % 2 for item in lists[:, 0]] == camp


@pytest.mark.parametrize("name", sorted(PEERS))
def test_lists_are_ordered_repeatable_and_blind_to_the_future(name: str) -> None:
    interactions = drawn()
    users = everyone(interactions)
    scorer = fitted(name, interactions).blended(0.01 if PEERS[name].blends else 0.0)
    own = interactions.before(DAY).matrix().toarray() > 0
    for exclude in (False, True):
        lists = scorer.top(users, 12, exclude)
        for user, row in enumerate(lists):
            row = row[row >= 0]
            scores = scorer.scores(users[user : user + 1])[0][row]
            keys = list(zip(-scores, row, strict=True))
            assert keys == sorted(set(keys))
            assert not (exclude and own[user, row].any())
        again = fitted(name, interactions).blended(scorer.weight).top(users, 12, exclude)
        np.testing.assert_array_equal(lists, again)
        past = fitted(name, interactions.before(DAY)).blended(scorer.weight).top(users, 12, exclude)
        np.testing.assert_array_equal(lists, past)


def test_blocks_of_users_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    interactions = drawn()
    lists = fitted("item_knn", interactions).top(everyone(interactions), 10, True)
    monkeypatch.setattr(peer_scorer, "USER_BLOCK", 7)
    np.testing.assert_array_equal(fitted("item_knn", interactions).top(everyone(interactions), 10, True), lists)


def test_an_item_sold_only_after_the_cut_is_never_listed() -> None:
    interactions = shop([("a", "x", 1), ("b", "x", 99), ("b", "y", 98), ("a", "new", 101), ("b", "new", 102)])
    new = interactions.items.tolist().index("new")
    for name in ("popularity", "item_knn", "ease", "tifu_knn"):
        assert new not in fitted(name, interactions).blended(1.0).top(everyone(interactions), 3, False)


@settings(max_examples=25)
@given(st.lists(st.tuples(st.sampled_from([None, "a", "b"]), st.sampled_from("xyz"), st.integers(90, 135)), min_size=1))
def test_truth_is_what_known_users_bought_in_the_horizon(rows: list[tuple[str | None, str, int]]) -> None:
    interactions = shop(rows)
    users, bought = truths(interactions, DAY)
    before = {user: {i for u, i, d in rows if u == user and d < DAY} for user in "ab"}
    later = {user: {i for u, i, d in rows if u == user and DAY <= d < DAY + 28} for user in "ab"}
    names = [interactions.users[user] for user in users]
    assert names == [user for user in "ab" if before[user] and later[user]]
    for place, name in enumerate(names):
        found = {task: {str(interactions.items[i]) for i in truth[place].indices} for task, truth in bought.items()}
        assert found == {"A": later[name], "B": later[name] - before[name]}
