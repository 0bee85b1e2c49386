"""udfs/users: counts, features as a past cut knew them, the hazard's dates, the model, segments."""

from __future__ import annotations

import duckdb
import numpy as np
import pandas as pd
import pytest

from udfs.days import NEVER, date_of
from udfs.users import btyd, evaluation, judge, model, next_purchase, segments
from udfs.users.features import FEATURES, features
from udfs.users.history import LINES, History, before, between, history_of
from udfs.users.profiles import TYPES, profiles, with_thresholds
from udfs.users.training_rows import INPUTS, cuts, training_rows

TODAY = 20_000
FEW_TREES = model.Settings(cuts=6, trees=20)


def lines(*rows: tuple) -> pd.DataFrame:
    """(user, days ago, spend[, known days ago[, undone days ago]])."""
    filled = [(*row, row[1], None)[:5] if len(row) == 3 else (*row, None)[:5] for row in rows]
    return pd.DataFrame(
        [
            (user, TODAY - ago, spend, 1, TODAY - known, NEVER if undone is None else TODAY - undone)
            for user, ago, spend, known, undone in filled
        ],
        columns=list(LINES),
    )


def shop(days: int, users: int = 200, seed: int = 1) -> History:
    """Users who buy at rates of their own, a third of whom have left."""
    draw = np.random.default_rng(seed)
    rate, left = draw.gamma(1.0, 0.1, users), draw.integers(1, 3 * days, users)
    rows = [
        (f"u{user:03}", ago, float(draw.gamma(2.0, 10.0)))
        for user in range(users)
        for ago in range(1, days + 1)
        if days - ago < left[user] and draw.random() < rate[user]
    ]
    return history_of(lines(*rows))


# -- BTYD -----------------------------------------------------------------------------------------------------------


def test_a_customer_of_the_paper_is_expected_to_buy_as_often() -> None:
    """Fader, Hardie and Lee (2005): BG/NBD of CDNOW, x = 2, t_x = 30.43, T = 38.86: 1.226 purchases in 39 weeks."""
    of = btyd.Parameters(0.243, 4.414, 0.793, 2.426, modified=False)
    x, recency, age = np.array([2.0, 0.0]), np.array([30.43, 0.0]), np.array([38.86, 38.86])
    assert btyd.expected_purchases(x, recency, age, 39.0, of)[0] == pytest.approx(1.226, abs=0.002)
    assert btyd.p_alive(x, recency, age, of)[1] == 1.0
    assert btyd.p_alive(x, recency, age, btyd.Parameters(0.243, 4.414, 0.793, 2.426))[1] < 1.0


@pytest.mark.parametrize("modified", [True, False])
def test_parameters_are_recovered_from_simulated_customers(modified: bool) -> None:
    true = btyd.Parameters(0.8, 5.0, 0.9, 2.5, modified=modified)
    draw = np.random.default_rng(3)
    rows = []
    for _ in range(6_000):
        rate, leaves, age = draw.gamma(true.r, 1 / true.alpha), draw.beta(true.a, true.b), draw.uniform(20, 60)
        at, bought, last = 0.0, 0, 0.0
        while not ((modified or bought) and draw.random() < leaves):
            at += draw.exponential(1 / rate)
            if at > age:
                break
            bought, last = bought + 1, at
        rows.append((bought, last, age))
    counts = btyd.counts_of(*np.array(rows).T)
    found = btyd.fit(counts, modified=modified)
    assert btyd.log_likelihood(counts, found) >= btyd.log_likelihood(counts, true) - 1e-6
    assert found.r == pytest.approx(true.r, rel=0.2)
    assert found.alpha == pytest.approx(true.alpha, rel=0.2)


def test_equal_customers_are_one_weighted_row() -> None:
    counts = btyd.counts_of(np.array([1.0, 1.0, 2.0]), np.array([3.0, 3.0, 4.0]), np.array([9.0, 9.0, 9.0]))
    assert counts.weight.tolist() == [2.0, 1.0]


def test_hundreds_of_purchases_stay_finite() -> None:
    of = btyd.Parameters(0.5, 6.0, 0.9, 1.6)
    x, age = np.array([100_000.0, 0.0]), np.array([300.0, 0.0])
    found = btyd.expected_purchases(x, age, age, 4.0, of)
    assert np.isfinite(found).all()
    assert found[0] == pytest.approx(100_000 / 306 * 4, rel=0.01)


# -- what a cut knew ------------------------------------------------------------------------------------------------


def test_a_cut_knows_what_had_arrived_and_was_not_yet_returned() -> None:
    history = history_of(
        lines(("a", 30, 5.0), ("a", 30, 7.0, 30, 10), ("a", 20, 1.0, 3), ("b", 40, 9.0, 40, 35), ("b", 5, 2.0))
    )
    then = before(history, TODAY - 15)
    assert list(zip(then.user, then.day - TODAY, then.spend, strict=True)) == [(0, -30, 12.0)]
    now = before(history, TODAY)
    assert list(zip(now.user, now.day - TODAY, now.spend, strict=True)) == [(0, -30, 5.0), (0, -20, 1.0), (1, -5, 2.0)]
    after = between(history, TODAY - 21, TODAY)
    assert (after.day - TODAY).tolist() == [-20, -5], "labels are what is known today"


def test_features_do_not_read_what_comes_after_the_cut() -> None:
    history, cut = shop(200), TODAY - 50
    of = btyd.parameters(btyd.PRIOR)
    earlier = judge.as_known(history, cut)
    one, other = (features(before(each, cut), cut, TODAY - 200, of) for each in (history, earlier))
    np.testing.assert_array_equal(one.values, other.values)
    assert one.values.shape[1] == len(FEATURES)


def test_cuts_have_a_week_on_both_sides() -> None:
    assert cuts(TODAY - 21, TODAY, 9) == [TODAY - 7]
    assert cuts(TODAY - 10, TODAY, 9) == []
    assert len(cuts(0, TODAY, 9)) == 9


# -- the model ------------------------------------------------------------------------------------------------------


def test_forecasts_agree_with_each_other_and_beat_chance() -> None:
    history = shop(300, users=400)
    cut = TODAY - 28
    fitted = judge.fit_history(history, cut, FEW_TREES)
    seen = judge.seen_at(history, cut, fitted)
    ahead = model.predict(fitted, seen)
    p28, p90 = ahead.ahead.active(28), ahead.ahead.active(90)
    assert (p28 <= p90).all()
    assert (ahead.days[:, 0] >= p28).all()
    assert (np.diff(ahead.days, axis=1) >= 0).all()
    dates = ahead.ahead.dates()
    assert (np.diff(dates, axis=1) >= 0).all()
    assert dates.min() >= 1
    assert dates.max() <= next_purchase.DAYS
    assert (ahead.low <= ahead.value).all()
    assert (ahead.value <= ahead.high).all()
    bought = between(history, cut, TODAY).per_user()[seen.user] > 0
    assert p28[bought].mean() > p28[~bought].mean() + 0.2


def test_chances_are_drawn_half_way_and_stay_one_distribution() -> None:
    curve = 1 - 0.98 ** np.arange(1, next_purchase.DAYS + 1)
    own = next_purchase.Ahead(np.stack([curve, curve]))
    odds = np.log(own.by_day / (1 - own.by_day))
    asked = np.array([[-3.0, 0.0, 2.0], [4.0, -4.0, -4.0]])  # the second contradicts itself
    found = own.drawn_to((7, 28, 90), asked)
    half = (odds[0, [6, 27, 89]] + asked[0]) / 2
    assert found.by_day[0, [6, 27, 89]] == pytest.approx(1 / (1 + np.exp(-half)))
    assert (np.diff(found.by_day, axis=1) >= 0).all()
    assert own.drawn_to((7, 28, 90), odds[:, [6, 27, 89]]).by_day == pytest.approx(own.by_day)


def test_a_model_written_and_read_again_predicts_the_same() -> None:
    history = shop(120)
    fitted = with_thresholds(judge.fit_history(history, TODAY, FEW_TREES), history, TODAY, LIMITS)
    again = model.from_json(fitted.to_json())
    assert again == fitted
    pd.testing.assert_frame_equal(
        profiles(history, fitted, TODAY - 1, TODAY - 120), profiles(history, again, TODAY - 1, TODAY - 120)
    )
    with pytest.raises(ValueError, match="train it again"):
        model.from_json(fitted.to_json().replace(INPUTS[0], "other"))


def test_a_later_return_changes_no_earlier_model() -> None:
    history = shop(150)
    changed = history_of(
        pd.DataFrame(
            {
                "user_id": history.users[history.user],
                **{name: getattr(history, name) for name in LINES[1:-1]},
                "undone": np.where(np.arange(len(history.day)) % 5 == 0, TODAY - 3, NEVER),
            }
        )
    )
    cut = TODAY - 28
    assert judge.fit_history(history, cut, FEW_TREES) == judge.fit_history(changed, cut, FEW_TREES)


# -- bad input ------------------------------------------------------------------------------------------------------


def test_a_shop_of_three_weeks_learns_what_it_can() -> None:
    """One cut with one week behind it: the hazard of that week holds for the weeks that nobody has seen yet."""
    history = shop(21)
    fitted = judge.fit_history(history, TODAY, FEW_TREES)
    assert (fitted.weeks, fitted.horizon) == (1, 7)
    rows = profiles(history, fitted, TODAY - 1, TODAY - 21)
    assert np.isfinite(rows.drop(columns=["user_id", "usual_gap_days"]).to_numpy(float)).all()
    assert (rows["p_active_90"] > rows["p_active_28"]).all()
    assert (rows["expected_purchases_365"] >= rows["expected_purchases_90"]).all()


def test_a_shop_of_one_day_has_the_prior() -> None:
    history = history_of(lines(("a", 1, 10.0)))
    fitted = judge.fit_history(history, TODAY, FEW_TREES)
    assert (fitted.hazard, fitted.counts) == ("", btyd.PRIOR)
    (row,) = profiles(history, fitted, TODAY - 1, TODAY - 1).to_dict("records")
    assert 0 < row["p_active_28"] < row["p_active_90"] < 1
    assert row["favourite_weekday"] == date_of(TODAY - 1).isoweekday()
    assert row["value_90"] == pytest.approx(
        10 * btyd.expected_purchases(*np.array([[0.0], [0.0], [1 / 7]]), 90 / 7, fitted.parameters)[0]
    )


def test_no_purchase_gives_no_profile() -> None:
    history = history_of(lines(("returned", 9, 10.0, 9, 5)))
    fitted = judge.fit_history(history, TODAY, FEW_TREES)
    rows = profiles(history, fitted, TODAY - 1, TODAY - 9)
    assert rows.empty
    assert list(rows.columns) == list(TYPES)
    nobody = history_of(lines(("a", 1, 1.0)).iloc[:0])
    assert profiles(nobody, judge.fit_history(nobody, TODAY), TODAY - 1, 0).empty


def test_one_purchase_and_one_hundred_thousand() -> None:
    many = [("busy", 1 + number % 400, 2.0) for number in range(100_000)]
    frame = lines(("once", 200, 30.0), *many).groupby(["user_id", "day", "known", "undone"], as_index=False).sum()
    history = history_of(frame)
    fitted = judge.fit_history(history, TODAY, FEW_TREES)
    rows = profiles(history, fitted, TODAY - 1, TODAY - 400).set_index("user_id")
    assert np.isnan(rows.loc["once", "usual_gap_days"])
    assert rows.loc["busy", "purchase_days"] == 400
    assert rows.loc["busy", "p_active_28"] > 0.9 > rows.loc["once", "p_active_28"]
    assert rows.loc["busy", "expected_purchases_28"] == pytest.approx(28, rel=0.25)


# -- the gate -------------------------------------------------------------------------------------------------------


def test_a_model_that_is_worse_beyond_chance_is_not_promoted() -> None:
    history = shop(200, users=400)
    good = judge.fit_judged(history, TODAY, FEW_TREES)
    assert good is not None
    assert judge.judge(good, None, history, TODAY)[0]
    assert judge.judge(good, good, history, TODAY)[0]
    bad = model.ProfileModel(good.run_day, good.names, (0.01, 100.0, 5.0, 0.1), 13, 90)
    promoted, figures = judge.judge(bad, good, history, TODAY)
    assert not promoted
    assert figures["gain_log_loss_high"] < 0
    assert judge.judge(None, good, history, TODAY) == (True, {})


# -- segments -------------------------------------------------------------------------------------------------------


LIMITS = segments.Limits((0.6, 0.2, 0.5), surely_active=0.9, never_lapsed=0.5, margin=0.05)


def test_who_is_likely_to_buy_is_not_lapsed_in_a_shop_where_all_are() -> None:
    figures = pd.Series(0.92 + np.arange(81) / 1000)
    limits = segments.thresholds(figures, 100 * figures, LIMITS)
    assert (limits["active_above"], limits["lapsed_above"]) == (0.9, 0.5), "even who stays is not, from there on"
    assert (limits["active"], limits["lapsed"], limits["lapsed_below"]) == pytest.approx((0.85, 0.45, 0.4))
    assert limits["valuable"] == pytest.approx(96.0)


def test_each_user_enters_exactly_one_segment() -> None:
    figures = pd.Series(np.arange(101) / 100)
    limits = segments.thresholds(figures, 100 * figures, LIMITS)
    assert (limits["active"], limits["active_below"], limits["valuable_above"]) == pytest.approx((0.6, 0.55, 55.0))
    listed = segments.rules(limits | {"active": 0.6, "lapsed": 0.2, "valuable": 50.0}, new_days=28)
    grid = pd.DataFrame(
        [(t, p, v) for t in (0, 27, 28, 400) for p in (0.0, 0.19, 0.2, 0.6, 1.0) for v in (0.0, 49.99, 50.0, 99.0)],
        columns=["tenure_days", "p_active_90", "value_90"],
    )
    assert len(grid)
    sql = " + ".join(f"CAST({rule.enters} AS INT)" for rule in listed)
    assert duckdb.sql(f"SELECT DISTINCT {sql} FROM grid").fetchall() == [(1,)]
    wider = " AND ".join(f"(NOT ({rule.enters}) OR ({rule.stays}))" for rule in listed)
    assert duckdb.sql(f"SELECT DISTINCT {wider} FROM grid").fetchall() == [(True,)]


def test_the_training_rows_know_their_labels() -> None:
    history = history_of(lines(("a", 100, 1.0), ("a", 50, 1.0), ("b", 60, 4.0)))
    rows, _ = training_rows(history, TODAY, 3)
    week = INPUTS.index("span")
    assert rows.hazard[rows.bought, week].tolist() == [], "cuts 7, 21 and 35 days ago: nobody bought since"
    history = history_of(lines(("a", 100, 1.0), ("a", 24, 1.0), ("b", 60, 4.0)))
    rows, _ = training_rows(history, TODAY, 3)
    assert rows.hazard[rows.bought, week].tolist() == [1.0], "in the second week after the cut 35 days ago"
    assert rows.days[rows.horizon == 28].tolist() == [1.0, 0.0]
    assert rows.value[rows.horizon == 28].tolist() == [1.0, 0.0]


def test_an_auc_of_users_who_all_bought_is_none() -> None:
    chance, all_of_them = np.array([0.2, 0.8]), np.array([True, True])
    assert np.isnan(evaluation.auc(chance, all_of_them))
    assert np.isnan(evaluation.auc(chance, ~all_of_them))
    assert evaluation.auc(chance, np.array([False, True])) == 1
