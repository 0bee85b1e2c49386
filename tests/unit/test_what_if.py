"""Places under other purchases equal those of the run that scores these purchases."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.unit.test_factors import drawn
from tests.unit.test_item_models import DAY
from tests.unit.test_state_files import state_of
from udfs.interactions import Interactions
from udfs.recommend import fit_ranker, ranker, scoring
from udfs.recommend.candidates import GENERATORS
from udfs.recommend.feature_meanings import FEATURES
from udfs.recommend.ranker import Ranker
from udfs.recommend.scoring import LINES, State
from udfs.recommend.what_if import APART, Place, lower, places, with_more, without


@pytest.fixture(scope="module")
def shop() -> tuple[State, Interactions]:
    return state_of()


@pytest.fixture(scope="module")
def fitted() -> Ranker:
    table = drawn(1)
    bought = np.nan_to_num(table[:, 0] + table[:, list(FEATURES).index("als_score")]) > 1
    night = fit_ranker.Night(np.repeat(np.arange(50), 40), table, bought)
    return fit_ranker.fit([night], [night], tuple(FEATURES), GENERATORS, fit_ranker.Settings(trees=10))


def lines_of(history: Interactions, user: int) -> pd.DataFrame:
    """LINES of one user before DAY, as a job reads them."""
    rows = (history.user == user) & (history.day < DAY)
    return pd.DataFrame(
        {
            "user_id": np.full(rows.sum(), history.users[user]),
            "item_id": history.items[history.item[rows]],
            "event_date": history.day[rows].astype("datetime64[D]").astype("datetime64[ms]"),
            "quantity": history.quantity[rows].astype(float),
        }
    )


def by_hand(lines: pd.DataFrame, state: State, fitted: Ranker) -> list[tuple[str, float]]:
    """(item, score) of all candidates of one user, best first."""
    history = scoring.history_of(lines, state.catalogue)
    pairs, table = scoring.propose(history, state, DAY, fitted.generators)
    score = np.round(ranker.score(fitted, table, pairs.user), 9)
    ids = state.catalogue.items[pairs.item]
    return sorted(zip(ids.tolist(), score.tolist(), strict=True), key=lambda pair: (-pair[1], pair[0]))


def test_places_are_those_of_a_run_of_these_purchases(shop: tuple[State, Interactions], fitted: Ranker) -> None:
    state, history = shop
    item, variants, expected = "i05", {}, {}
    for user in range(6):
        lines = lines_of(history, user)
        own = str(lines["item_id"].iloc[0])
        for name, changed in (
            ("now", lines),
            ("without", without(lines, own)),
            ("more", with_more(lines, item, 2, DAY)),
        ):
            variants[f"{user} {name}"] = changed, item
            expected[f"{user} {name}"] = by_hand(changed, state, fitted)
    found = places(variants, state, fitted, DAY)
    for name, rows in expected.items():
        ids = [each for each, _ in rows]
        assert found[name].place == ids.index(item) + 1, name
        assert found[name].of == len(ids)
        assert found[name].score == dict(rows)[item]
        assert found[name].sources
    assert len({found[name].place for name in found}) > 3


def test_purchases_are_left_out_and_added_by_day(shop: tuple[State, Interactions]) -> None:
    lines = lines_of(shop[1], 3)
    own = str(lines["item_id"].iloc[0])
    assert set(without(lines, own)["item_id"]) == set(lines["item_id"]) - {own}
    more = with_more(lines, "i02", 3, DAY)
    added = more.iloc[len(lines) :]
    assert added["event_date"].astype("datetime64[s]").astype("int64").tolist() == [
        86_400 * (DAY - 1 - APART * number) for number in range(3)
    ]
    assert (set(added["item_id"]), set(added["user_id"])) == ({"i02"}, set(lines["user_id"]))
    assert more.dtypes.to_dict() == lines[list(LINES)].dtypes.to_dict()


def test_a_user_without_purchases_and_an_item_that_nothing_proposes_have_no_place(
    shop: tuple[State, Interactions], fitted: Ranker
) -> None:
    state, history = shop
    lines = lines_of(history, 2)
    assert places({"none": (lines.iloc[:0], "i05")}, state, fitted, DAY) == {"none": Place(None, 0)}
    found = places({"unknown": (lines, "no such item"), "none": (lines.iloc[:0], "i05")}, state, fitted, DAY)
    assert found["unknown"] == Place(None, len(by_hand(lines, state, fitted)))
    assert found["none"] == Place(None, 0)


def test_an_item_apart_is_not_counted(shop: tuple[State, Interactions], fitted: Ranker) -> None:
    state, history = shop
    lines = lines_of(history, 4)
    ids = [each for each, _ in by_hand(lines, state, fitted)]
    variants = {"all": (lines, ids[4]), "apart": (lines, ids[4]), "below": (lines, ids[4])}
    found = places(variants, state, fitted, DAY, {"apart": ids[1], "below": ids[6]})
    assert [found[name].place for name in variants] == [5, 4, 5]
    assert {found[name].of for name in ("apart", "below")} == {found["all"].of - 1}
    assert (found["apart"].within_list or 0) > (found["all"].within_list or 0), "one row less shares the list"


def test_lower_is_further_down_or_a_smaller_part_of_the_list() -> None:
    at = Place(3, 9, 0.2, 1.0, -2.0)
    assert lower(at, Place(4, 9, 0.2, 1.0, -1.0))
    assert lower(at, Place(3, 9, 0.2, 1.0, -2.1))
    assert lower(at, Place(None, 9))
    assert not lower(at, at)
    assert not lower(at, Place(2, 9, 0.2, 1.0, -9.0))
    assert not lower(Place(None, 9), Place(None, 9))
