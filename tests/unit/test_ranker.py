"""The ranker on nights whose truth is known: order, probabilities, serialisation."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import lightgbm as lgb
import numpy as np
import pytest

from udfs.evaluation.calibration import calibration, calibration_error, reliability
from udfs.evaluation.metrics import Bootstrap
from udfs.recommend import fit_ranker
from udfs.recommend.fit_ranker import Night, Settings, fit, fit_order
from udfs.recommend.ranker import TIE_BREAK, Ranker, from_json, importance, raw_score, score
from udfs.recommend.scoring import best_first

NAMES = ("signal", "noise", "is_own", "user_recent", "missing")
SETTINGS = Settings(trees=20, calibration_trees=100, steps=40)


def night(seed: int, users: int = 150, items: int = 30) -> Night:
    """Odds rise with signal, more steeply for own items, and with how active the user is."""
    draw = np.random.default_rng(seed)
    rows = users * items
    user = np.repeat(np.arange(users) * 3, items)
    signal, noise = draw.normal(size=(2, rows))
    own = draw.random(rows) < 0.3
    active = np.repeat(draw.normal(size=users), items)
    odds = -3 + np.where(own, 2.0, 1.0) * signal + active
    features = np.stack([signal, noise, own, active, np.full(rows, np.nan)], axis=1).astype(np.float32)
    return Night(user, features, draw.random(rows) < 1 / (1 + np.exp(-odds)))


@pytest.fixture(scope="module")
def ranker() -> Ranker:
    return fit([night(1), night(2)], [night(3), night(4)], NAMES, (), SETTINGS)


def test_what_matters_is_found(ranker: Ranker) -> None:
    later = night(9)
    raw = raw_score(ranker, later.features)
    for own in (0, 1):
        rows = later.features[:, 2] == own
        assert np.corrcoef(raw[rows], later.features[rows, 0])[0, 1] > 0.9
    assert next(iter(importance(ranker, later.features))) == "signal"


def test_scores_are_probabilities_of_users_who_differ(ranker: Ranker) -> None:
    later = night(9, users=600)
    probability = score(ranker, later.features, later.user)
    assert calibration_error(reliability(probability, later.label, 15)) < 0.015
    active = later.features[:, 3] > 0  # each half by itself, too
    assert abs(probability[active].mean() - later.label[active].mean()) < 0.015
    assert abs(probability[~active].mean() - later.label[~active].mean()) < 0.015


def test_probabilities_keep_each_users_order(ranker: Ranker) -> None:
    later = night(9)
    raw, probability = raw_score(ranker, later.features), score(ranker, later.features, later.user)
    for user in np.unique(later.user):
        rows = later.user == user
        assert np.array_equal(np.argsort(raw[rows]), np.argsort(probability[rows]))


def test_published_rows_are_calibrated_where_raw_scores_have_risen(ranker: Ranker) -> None:
    """Histories grow, and every raw score with them; what is bought does not: the list says how probable each is."""
    later = night(9, users=600)
    grown = later.features.copy()
    grown[:, NAMES.index("noise")] += 3.0
    weights = [0.3 if at % len(NAMES) == 1 else weight for at, weight in enumerate(ranker.weights)]
    risen = replace(ranker, weights=tuple(weights))
    plain, raised = score(risen, later.features, later.user), score(risen, grown, later.user)
    assert raw_score(risen, grown).mean() > raw_score(risen, later.features).mean() + 0.5
    assert np.abs(raised - plain).mean() < 0.005
    order, place = best_first(later.user, np.arange(len(later.user)), raw_score(ranker, later.features))
    top = order[place < 10]
    probability = score(ranker, later.features, later.user)[top]
    found = calibration(probability, later.label[top], later.user[top] // 3, Bootstrap(600))
    assert found.error.value < 0.03
    assert all(ratio.low < 1.25 and ratio.high > 0.8 for ratio in found.ratios)


def test_a_model_of_before_lists_were_calibrated_gives_its_probabilities(ranker: Ranker) -> None:
    """Its calibration reads the raw score and every feature of the user, and needs no list."""
    later, label = night(9), night(9).label.astype(np.float32)
    inputs = np.column_stack([raw_score(ranker, later.features), later.features[:, 3]])
    old = lgb.train({"objective": "binary", "verbosity": -1}, lgb.Dataset(inputs, label), 5)
    probability = score(replace(ranker, calibration=old.model_to_string()), later.features, later.user)
    odds = old.predict(inputs, raw_score=True) + TIE_BREAK * inputs[:, 0]
    np.testing.assert_allclose(probability, 1 / (1 + np.exp(-odds)))


def test_a_users_scores_do_not_depend_on_other_users(ranker: Ranker) -> None:
    later = night(9)
    part = later.user == 30
    whole = score(ranker, later.features, later.user)[part]
    np.testing.assert_allclose(score(ranker, later.features[part], later.user[part]), whole, rtol=1e-6)


def test_json_comes_back_as_it_went(ranker: Ranker) -> None:
    again = from_json(ranker.to_json())
    assert again == ranker
    assert fit([night(1), night(2)], [night(3), night(4)], NAMES, (), SETTINGS) == ranker  # seeds, one thread


def test_another_kind_of_json_is_refused() -> None:
    with pytest.raises(ValueError, match="train it again"):
        from_json('{"names": [], "pairs": ""}')


def test_linear_weights_minimise_the_listwise_loss() -> None:
    """Ten plain lines: no small step from the fitted weights makes the softmax loss less."""
    past = night(5, users=40, items=10)
    settings = Settings(trees=0, new_weight=0.5, steps=500)
    fitted = fit_order([past], NAMES, (), settings)
    mean, scale = np.array(fitted.mean), np.array(fitted.scale)

    def loss(weights: np.ndarray) -> float:
        value, lists = 0.0, 0
        for user in np.unique(past.user):
            for weight, among in ((1.0, past.user == user), (0.5, (past.user == user) & (past.features[:, 2] == 0))):
                bought = past.label[among]
                if bought.any() and past.label[past.user == user].any():
                    plain = np.clip(np.nan_to_num((past.features[among] - mean) / scale), -5, 5)
                    own = past.features[among, 2:3] > 0
                    raw = np.concatenate([plain * own, plain * ~own], axis=1) @ weights
                    value -= weight * (raw[bought] - np.log(np.exp(raw).sum())).sum() / np.sqrt(bought.sum())
                    lists += 1
        return value / lists + settings.ridge / 2 * weights @ weights

    best, draw = np.array(fitted.weights), np.random.default_rng(0)
    here = loss(best)
    assert here < loss(np.zeros_like(best))
    for _ in range(20):
        assert loss(best + draw.normal(size=len(best)) * 0.03) > here - 1e-6


def test_max_rows_draws_whole_users(monkeypatch: pytest.MonkeyPatch) -> None:
    past = night(5)
    user, _, label = fit_ranker._buyers([past], Settings(max_rows=600))
    assert 0 < len(user) < 1_200
    assert set(np.unique(user, return_counts=True)[1]) == {30}
    assert all(label[user == code].any() for code in np.unique(user))


def test_a_night_without_purchases_is_refused() -> None:
    past = night(5)
    with pytest.raises(ValueError, match="nothing to learn from"):
        fit_order([Night(past.user, past.features, past.label & False)], NAMES, (), SETTINGS)


def test_calibration_error_in_plain_numbers() -> None:
    said = np.array([0.1, 0.1, 0.9, 0.9])
    bought = np.array([False, True, True, True])
    assert calibration_error(reliability(said, bought, 2)) == pytest.approx((abs(0.2 - 1) + abs(1.8 - 2)) / 4)


def test_trees_and_scores_are_the_same_on_one_thread_and_on_several() -> None:
    past, later = [night(1), night(2)], night(3)
    alone, several = (
        fit(past, [later], NAMES, (), Settings(trees=20, calibration_trees=40, steps=40, threads=threads))
        for threads in (1, 3)
    )
    assert several == alone
    np.testing.assert_array_equal(raw_score(alone, later.features, 3), raw_score(alone, later.features))
    assert importance(alone, later.features, 3) == importance(alone, later.features)


def test_waiting_openmp_threads_sleep() -> None:
    """The variable is set before the libraries are loaded, and what a person has set is left alone."""
    code = "import udfs.recommend.ranker, os; print(os.environ['OMP_WAIT_POLICY'])"
    for given, expected in ((None, "PASSIVE"), ("ACTIVE", "ACTIVE")):
        env = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
        env |= {"OMP_WAIT_POLICY": given} if given else {}
        found = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        assert found.stdout.strip() == expected
