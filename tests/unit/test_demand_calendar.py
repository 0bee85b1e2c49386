"""Weekdays, holidays and promotions in the demand model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.unit.test_demand import BLOCK, RUN_DAY, SALES, SHOP, items_of, known, shop_of
from udfs.demand.block import Block
from udfs.demand.day_shares import Holiday, day_weights
from udfs.demand.features import FEATURES, PAIR_FEATURES, pair_features


def test_a_weekday_that_the_log_has_not_seen_sells_like_the_others() -> None:
    categories = np.array(["kind 0", "never seen"], object)
    few = shop_of(SALES[(SALES["day"] > RUN_DAY - 3) & (SALES["day"] <= RUN_DAY)])
    weights = day_weights(few, categories, RUN_DAY)
    seen = np.isin(np.arange(RUN_DAY + 1, RUN_DAY + 29) % 7, np.arange(RUN_DAY - 2, RUN_DAY + 1) % 7)
    np.testing.assert_allclose(weights[:, ~seen], 1)
    np.testing.assert_allclose(weights.mean(axis=1), 1)
    closed = shop_of(SALES[(SALES["day"] <= RUN_DAY) & (SALES["day"] % 7 != RUN_DAY % 7)])
    assert not day_weights(closed, categories, RUN_DAY)[:, 6::7].any()  # seen, and nothing was sold


def test_holidays_are_as_their_like_were() -> None:
    sales = known(SALES).copy()
    past = RUN_DAY - 100
    sales.loc[sales["day"] == past, "units"] *= 3
    shop, categories = shop_of(sales), np.array(["kind 0", "never seen"], object)
    plain = day_weights(shop, categories, RUN_DAY, [Holiday(past, "feast")])
    feast = [Holiday(past, "feast"), Holiday(RUN_DAY + 5, "feast"), Holiday(RUN_DAY + 6, "unheard of")]
    told = day_weights(shop, categories, RUN_DAY, [*feast, Holiday(RUN_DAY + 8, "closed", closed=True)])
    changed = np.flatnonzero((told != plain).any(axis=0)) + 1
    assert changed.tolist() == [5, 8]
    near = [sales[sales["day"] == past + 7 * step]["units"].sum() for step in range(-4, 5) if step]
    factor = sales[sales["day"] == past]["units"].sum() / np.mean(near)
    np.testing.assert_allclose(told[:, 4], factor * plain[:, 4])
    assert not told[:, 7].any()
    silent = shop_of(sales[sales["day"] != past])
    assert not day_weights(silent, categories, RUN_DAY, feast)[:, 4].any()  # nothing was sold on its like: closed


def test_promotions_are_known_from_their_first_day_on() -> None:
    weeks = pd.DataFrame(
        {
            "location_id": ["shop 0", "shop 0", "shop 1", "no such shop"],
            "item_id": ["item 000", "item 000", "item 001", "item 000"],
            "day": [RUN_DAY - 6, RUN_DAY - 13, RUN_DAY + 1, RUN_DAY - 6],
            "mailer": [True, True, True, True],
            "display": [True, False, True, True],
        }
    )
    block = Block.of(known(SALES), items_of(SALES), promotions=weeks)
    pairs, features = pair_features(block, SHOP, RUN_DAY)
    place = {name: FEATURES.index(name) for name in FEATURES}
    ids = list(zip(block.items[block.pair_item[pairs]], block.locations[block.pair_location[pairs]], strict=True))
    row = features[ids.index(("item 000", "shop 0"))]
    assert row[[place["pair_mailer_now"], place["pair_mailer_share"]]].tolist() == [1, 0.25]
    assert row[[place["pair_display_now"], place["pair_display_share"]]].tolist() == [1, 0.125]
    assert row[place["item_mailer_now"]] == pytest.approx(1 / row[place["item_locations_182"]])
    assert not features[ids.index(("item 001", "shop 1")), place["pair_mailer_now"]]
    without = pair_features(BLOCK, SHOP, RUN_DAY)[1]
    assert np.isnan(without[:, place["pair_mailer_now"]]).all()
    assert len(PAIR_FEATURES) < len(FEATURES) == without.shape[1]
