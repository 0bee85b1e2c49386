"""Which of two demand models is in use: what judges them neither has learned from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import nbinom

from tests.unit.test_demand import BLOCK, QUICK, RUN_DAY, SHOP
from udfs.demand.features import FEATURES
from udfs.demand.forecast import TARGETS, fit, training_rows
from udfs.demand.judge import fit_judged, held_out, judge, log_scores
from udfs.demand.model import Model, rates

HORIZON = 28


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return training_rows(BLOCK, SHOP, RUN_DAY, settings=QUICK)


@pytest.fixture(scope="module")
def fitted(rows: pd.DataFrame) -> Model:
    found = fit_judged(rows, RUN_DAY, QUICK, 10**9)
    assert found is not None
    return found


def test_what_judges_a_model_it_has_not_learned_from(rows: pd.DataFrame, fitted: Model) -> None:
    newest = held_out(rows, RUN_DAY)
    assert set(newest["origin"]) == {RUN_DAY - HORIZON}
    changed = rows.copy()
    changed.loc[newest.index, list(TARGETS)] = 9.0
    assert fit_judged(changed, RUN_DAY, QUICK, 10**9) == fitted
    assert fit(changed, RUN_DAY, QUICK) != fit(rows, RUN_DAY, QUICK), "the one that is served has"
    assert fit_judged(newest, RUN_DAY, QUICK, 10**9) is None, "a shop of one earlier date"


def test_a_judged_model_learns_from_whole_items(rows: pd.DataFrame, fitted: Model) -> None:
    some = fit_judged(rows, RUN_DAY, QUICK, len(rows) // 4)
    assert some not in (None, fitted)


def test_the_score_is_the_likelihood_of_what_was_sold(rows: pd.DataFrame, fitted: Model) -> None:
    part = rows[rows["level"] == 0].head(50)
    mean, spread = rates(fitted, "pair", part[list(FEATURES)].to_numpy(np.float32))
    dispersion = spread.of(mean)
    units = part[list(TARGETS)].to_numpy(np.float64)
    size = (mean / (dispersion - 1))[:, None]
    expected = -nbinom.logpmf(units, size, 1 / dispersion[:, None]).mean(axis=1)
    np.testing.assert_allclose(log_scores(units, mean, spread), expected, rtol=1e-9)


def test_a_model_is_promoted_unless_it_is_worse_beyond_chance(rows: pd.DataFrame, fitted: Model) -> None:
    newest = held_out(rows, RUN_DAY)
    first = judge(fitted, None, newest)
    assert first.promoted
    levels = ("pair", "item")
    shares = {f"{name}_{of}_{days}d" for name in ("covered", "above") for of in levels for days in (7, 14, 21, 28)}
    assert set(first.figures) == {f"log_score_{of}" for of in levels} | shares
    same = judge(fitted, fitted, newest)
    assert same.promoted
    assert same.figures["gain_pair"] == same.figures["gain_item_low"] == 0
    wrong = rows.assign(**{name: rows[name].sample(frac=1, random_state=1).to_numpy() * 3 for name in TARGETS})
    worse = fit_judged(wrong, RUN_DAY, replace(QUICK, trees=40, learning_rate=0.3), 10**9)
    refused, other = judge(worse, fitted, newest), judge(fitted, worse, newest)
    assert not refused.promoted
    assert refused.figures["gain_pair_high"] < 0
    assert other.promoted
    assert other.figures["gain_pair_low"] > 0
    assert judge(None, fitted, newest).promoted, "nothing to compare by is no reason to refuse"


def test_a_model_whose_intervals_hold_too_little_is_refused_for_one_whose_hold(
    rows: pd.DataFrame, fitted: Model
) -> None:
    """Weeks that share their rate: both models have the same weeks, and only one of them wider months."""
    newest, draw = held_out(rows, RUN_DAY), np.random.default_rng(3)
    pairs = newest[newest["level"] == 0].sample(4_000, replace=True, random_state=2)
    pairs = pairs.assign(item_id=[str(number) for number in range(len(pairs))])
    mean, _ = rates(fitted, "pair", pairs[list(FEATURES)].to_numpy(np.float32))
    units = draw.poisson((mean * draw.gamma(1.0, 1.0, len(mean)))[:, None], (len(mean), len(TARGETS)))
    sold = pairs.assign(**dict(zip(TARGETS, units.T.astype(np.float32), strict=True)))
    narrow = replace(fitted, pair_dispersion=(1.0, 0.0, 0.0, 0.0), pair_overdispersion=())
    wide = replace(fitted, pair_dispersion=(0.0, 0.0, 0.0, -6.0), pair_overdispersion=(0.0, 0.0, 0.0, 0.0))
    refused, promoted = judge(narrow, wide, sold), judge(wide, narrow, sold)
    assert abs(refused.figures["gain_pair"]) < 0.01
    assert refused.figures["covered_pair_28d"] < 0.74
    assert not refused.promoted
    assert promoted.figures["covered_pair_28d"] == pytest.approx(0.8, abs=0.03)
    assert judge(narrow, None, sold).promoted, "there is nothing better"
