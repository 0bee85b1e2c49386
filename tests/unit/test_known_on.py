"""What a later night says a past one knew is what that one had: late files and returns, for every model's features."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.test_audience import FIRST, opened
from tests.unit.test_audience import shop as shop_of_ads
from udfs.audiences.features import features as audience_features
from udfs.audiences.users import block_of, past_of
from udfs.catalogue import catalogue_of
from udfs.days import NEVER, date_of
from udfs.demand.block import Block, Shop
from udfs.demand.features import pair_features
from udfs.demand.forecast import training_rows
from udfs.demand.model import Settings
from udfs.interactions import GUEST, Interactions, from_frame
from udfs.recommend import scoring

DAY = 19_000
ITEMS = [f"i{number}" for number in range(6)]
LINES = st.lists(
    st.builds(
        dict,
        user_id=st.sampled_from(["u1", "u2", "u3", None]),
        item_id=st.sampled_from(ITEMS),
        location_id=st.sampled_from(["s1", "s2"]),
        day=st.integers(DAY - 40, DAY + 10),
        late=st.sampled_from([0, 0, 1, 3]),  # stores that upload three days late
        units=st.integers(1, 4),
        back=st.integers(0, 2),  # units that were returned
        after=st.integers(0, 30),  # days until that was known
    ),
    min_size=1,
    max_size=40,
)


def pieces(lines: Iterable[dict[str, Any]], night: int = NEVER - 1) -> pd.DataFrame:
    """What a night has of the lines: one that it knows to be returned in part is two."""
    found = []
    for number, line in enumerate(lines):
        known = line["day"] + line["late"]
        undone = known + line["after"]
        if known > night:
            continue
        back = min(line["back"], line["units"]) if undone <= night else 0
        same = {**line, "known": known, "basket_id": f"b{number % 7}"}
        found += [{**same, "units": line["units"] - back, "undone": NEVER}] * (line["units"] > back)
        found += [{**same, "units": back, "undone": undone}] * (back > 0)
    columns = ["user_id", "item_id", "location_id", "day", "units", "known", "undone", "basket_id"]
    table = pd.DataFrame(found, columns=columns)
    return table.astype({"day": "int64", "units": "int64", "known": "int64", "undone": "int64"})


def interactions(table: pd.DataFrame) -> Interactions:
    dated = {name: [date_of(day) for day in table[of]] for name, of in (("event_date", "day"), ("known_on", "known"))}
    undone = [None if day == NEVER else date_of(day) for day in table["undone"]]
    told = table.assign(**dated, undone_on=pd.Series(undone, dtype=object), quantity=table["units"])
    return from_frame(told, np.array(ITEMS))


def purchases(found: Interactions) -> dict[tuple[Any, ...], float]:
    """Units by user, item and day."""
    users = [None if code == GUEST else str(found.users[code]) for code in found.user]
    units: dict[tuple[Any, ...], float] = {}
    for user, item, day, count in zip(users, found.item.tolist(), found.day.tolist(), found.quantity, strict=True):
        units[user, item, day] = units.get((user, item, day), 0) + float(count)
    return units


@settings(max_examples=60, deadline=None)
@given(LINES, st.integers(DAY - 35, DAY + 5))
def test_the_history_of_a_past_night_is_the_one_it_had(lines, day) -> None:
    later, then = interactions(pieces(lines)), interactions(pieces(lines, day - 1))
    assert purchases(later.before(day)) == purchases(then.before(day))
    kept = then.part(then.undone_on == NEVER)  # what the night read: purchases that it did not know to be returned
    assert purchases(then.before(day)) == purchases(kept)
    earlier = day - 9
    assert purchases(later.as_known(day).before(earlier)) == purchases(later.before(earlier))


@settings(max_examples=25, deadline=None)
@given(LINES, st.integers(DAY - 30, DAY + 5))
def test_candidates_and_features_of_a_past_night_are_those_it_had(lines, day) -> None:
    told = pd.DataFrame({"item_id": ITEMS, "described_on": date_of(DAY - 60), "category": "c", "brand": "b"})
    known = catalogue_of(told.assign(title="t"))
    found = []
    for table in (pieces(lines), pieces(lines, day - 1)):
        history = interactions(table)
        state = scoring.fit_state(history, known, day)
        pairs, features = scoring.propose(history.before(day), state, day)
        names = [str(history.users[user]) for user in pairs.user]
        rows = zip(names, pairs.item.tolist(), features.tolist(), strict=True)
        found.append((state.models.to_bytes(), sorted((user, item, repr(row)) for user, item, row in rows)))
    assert found[0] == found[1]


def totals(table: pd.DataFrame) -> Shop:
    return Shop.of(table.assign(category="c"), table)


@settings(max_examples=40, deadline=None)
@given(LINES, st.integers(DAY - 30, DAY + 5))
def test_demand_features_of_a_past_night_are_those_it_had(lines, origin) -> None:
    found = []
    items = pd.DataFrame({"item_id": ITEMS, "category": "c"})
    for table in (pieces(lines), pieces(lines, origin)):
        block = Block.of(table, items)
        pairs, features = pair_features(block, totals(table), origin)
        item, location = block.items[block.pair_item[pairs]], block.locations[block.pair_location[pairs]]
        found.append(list(zip(item.tolist(), location.tolist(), map(repr, features.tolist()), strict=True)))
        found.append(training_rows(block, totals(table), origin, settings=Settings(origins=1)).to_csv())
    assert found[:2] == found[2:]


def test_demand_labels_are_what_is_known_today() -> None:
    line = {"item_id": "i0", "location_id": "s1", "late": 3, "units": 4, "back": 1, "after": 5}
    block = Block.of(pieces([line | {"day": DAY}]), pd.DataFrame({"item_id": ["i0"], "category": "c"}))
    assert block.weeks_ahead(DAY - 1)[0].tolist() == [3.0, 0.0, 0.0, 0.0]
    units = [block.as_of(day).units.sum() for day in (DAY + 2, DAY + 3, DAY + 7, DAY + 8)]
    assert units == [0, 4, 4, 3]


@pytest.mark.parametrize("day", [40, 75, 110])
def test_audience_features_of_a_past_night_are_those_it_had(day: int) -> None:
    lines, ads, told, items = shop_of_ads()
    _, book = opened(lines, ads, told, items)
    draw = np.random.default_rng(day)

    def later(dates: pd.Series, most: int) -> pd.Series:
        return dates + pd.to_timedelta(draw.integers(0, most + 1, len(dates)), unit="D").to_numpy()

    lines, ads = (table.assign(event_date=pd.to_datetime(table["event_date"])) for table in (lines, ads))
    lines = lines.assign(known_on=later(lines["event_date"], 3), usual_price=1.5)
    returned = draw.random(len(lines)) < 0.2
    lines["undone_on"] = later(lines["known_on"], 30).where(returned)
    half = lines[returned].assign(undone_on=pd.NaT)  # half of the units were kept
    half["quantity"] = lines["quantity"] = lines["quantity"].astype(float)
    ads = ads.assign(known_on=later(ads["event_date"], 3))
    night = pd.Timestamp(dt.date(1970, 1, 1) + dt.timedelta(days=FIRST + day - 1))
    then = lines[lines["known_on"] <= night]
    gone = then["undone_on"] <= night
    kept = half.loc[half.index.intersection(then.index[gone])]
    whole = then[~gone].assign(undone_on=pd.NaT)
    whole.loc[whole.index.isin(half.index), "quantity"] *= 2
    found = []
    for of, answers in (
        (pd.concat([lines, half]), ads),
        (pd.concat([whole, kept]), ads[ads["known_on"] <= night]),
    ):
        past = past_of(block_of(of, answers, book), book, FIRST + day)
        rows = {}
        for campaign in (2, 4):
            table, spent = audience_features(past, book, np.arange(len(past.lines.users)), campaign)
            rows[campaign] = dict(zip(past.lines.users.tolist(), np.column_stack([table, spent]), strict=True))
        found.append(rows)
    for campaign, rows in found[1].items():
        for user, row in rows.items():
            np.testing.assert_allclose(row, found[0][campaign][user], rtol=1e-6, equal_nan=True)
