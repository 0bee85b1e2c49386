"""Tuning of peers, and what their grids must hold."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from tests.unit.test_peers import DAY, drawn, everyone, shop
from udfs.encoder.copurchase import POPULARITY_DAYS
from udfs.evaluation.metrics import ranking, truths
from udfs.recommend import candidates, fit_item_models, peer_scorer, peer_tuning, peers
from udfs.recommend.candidates import OWN_HALF_LIFE
from udfs.recommend.feature_meanings import FEATURES, HALF_LIVES
from udfs.recommend.item_models import FitSettings
from udfs.recommend.peer_grids import PEERS


def test_tuning_chooses_what_the_validation_cut_bears_out(monkeypatch: pytest.MonkeyPatch) -> None:
    interactions = drawn(lines=900)
    monkeypatch.setattr(peer_tuning, "WEIGHTS", (0.0, 0.01, 0.5))
    choices = peer_tuning.tune("item_knn", interactions, DAY)
    assert [(choice.task, choice.contender) for choice in choices] == [
        ("A", "item_knn"),
        ("A", "item_knn + popularity"),
        ("B", "item_knn"),
        ("B", "item_knn + popularity"),
    ]
    users, bought = truths(interactions, DAY)
    lists = peer_tuning.lists_of(choices, interactions, DAY, users)

    def exact(task: str, rows: np.ndarray) -> float:
        return float(np.nanmean(ranking(rows, bought[task])["ndcg"]))

    for choice in choices:
        assert exact(choice.task, lists[choice.task, choice.contender]) == pytest.approx(choice.ndcg)
        for params in PEERS["item_knn"].grid:
            scorer = peers.item_knn(interactions, DAY, **params)
            for weight in (0.01, 0.5) if choice.weight else (0.0,):
                for days in peer_scorer.WINDOWS:
                    rows = scorer.blended(weight, days).top(users, 10, choice.task == "B")
                    assert exact(choice.task, rows) <= choice.ndcg + 1e-9


def test_a_blends_window_is_tuned() -> None:
    """Twenty buyers of a went silent three weeks ago, six of z were here this week, and who returns takes z."""
    rows = [(f"u{user:02}", "a", 75) for user in range(20)] + [(f"v{user}", "z", 98) for user in range(6)]
    rows += [(f"w{user:02}", "m", 99) for user in range(20)] + [(f"w{user:02}", "z", 101) for user in range(20)]
    interactions = shop(rows)
    plain, blended = (choice for choice in peer_tuning.tune("item_knn", interactions, DAY) if choice.task == "B")
    assert blended.days < 25
    assert blended.ndcg == 1 > plain.ndcg
    assert [choice.params for choice in peer_tuning.tune("popularity", interactions, DAY)] == [{"days": 7}] * 2


def test_a_peers_grid_has_what_our_own_model_of_its_family_uses() -> None:
    ours = FitSettings()

    def has(name: str, **values: object) -> bool:
        """Whether some parameters of the grid, the peer's defaults filled in, have all of these values."""
        peer = PEERS[name]
        defaults = {key: it.default for key, it in inspect.signature(peer.fit).parameters.items()}
        return any(values.items() <= (defaults | params).items() for params in peer.grid)

    assert has("ease", ridge=ours.ease_ridge, half_life=ours.half_life)
    assert ours.ease_items <= peers.EASE_ITEMS
    assert has(
        "als",
        factors=ours.factors,
        ridge=ours.regularization,
        alpha=ours.alpha,
        half_life=ours.half_life,
        iterations=ours.iterations,
    )
    assert has("item_knn", neighbours=ours.neighbours, shrinkage=ours.shrinkage, half_life=ours.half_life)
    assert has("item_knn", pair_half_life=ours.next_half_life, half_life=ours.half_life)
    assert all(has("own_history", half_life=days) for days in (OWN_HALF_LIFE, *HALF_LIVES))
    windows = {int(name.removeprefix("item_buyers_")) for name in FEATURES if name.startswith("item_buyers_")}
    assert windows | {POPULARITY_DAYS} <= set(peer_scorer.WINDOWS)
    assert all(has("popularity", days=days) for days in windows)
    assert len({params.get("neighbours") for params in PEERS["tifu_knn"].grid}) > 2


def test_item_knn_with_neighbours_is_the_generators_own() -> None:
    """The peer's scores are those of our generator, item models and all, where every item is alive."""
    interactions = drawn()
    models = fit_item_models.fit(interactions, DAY, settings=FitSettings(alive_days=DAY + 1))
    pairs = candidates.propose(interactions, models, DAY)
    found = peers.item_knn(interactions, DAY, half_life=120, neighbours=100, shrinkage=10.0).of(everyone(interactions))
    expected = pairs.scores[:, candidates.GENERATORS.index("knn")]
    np.testing.assert_allclose(found[pairs.user, pairs.item], expected, rtol=2e-3, atol=1e-5)


def test_tuning_looks_no_further_than_its_horizon() -> None:
    interactions = drawn(lines=900, days=180)
    seen = peer_tuning.tune("own_history", interactions.before(DAY + 28), DAY)
    assert peer_tuning.tune("own_history", interactions, DAY) == seen
