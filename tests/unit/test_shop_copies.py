"""A shop whose users are copied k times: the same candidates and features, whatever the sample holds of the copies."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from udfs.interactions import Interactions, from_frame
from udfs.recommend.candidates import PER_SOURCE, Candidates, propose
from udfs.recommend.feature_meanings import FEATURES
from udfs.recommend.features import features
from udfs.recommend.fit_item_models import fit
from udfs.recommend.item_models import FitSettings, ItemModels
from udfs.recommend.item_statistics import ItemCounts, count_items

DAY, USERS, ITEMS = 15_000, 400, 40
SETTINGS = FitSettings(
    neighbours=20, next_neighbours=20, basket_neighbours=20, ease_neighbours=20, factors=8, reference_users=100
)
FEW = dict.fromkeys(PER_SOURCE, 6) | {"own": 100}


def shop(copies: int) -> Interactions:
    """Users of five tastes and a tenth of guests, each `copies` times; the first copy's ids begin with a."""
    draw = np.random.default_rng(7)
    count = 9_000
    user, age = draw.integers(0, USERS, count), draw.integers(1, 150, count)
    item = (8 * (user % 5) + draw.geometric(0.25, count)) % ITEMS
    lines = pd.DataFrame(
        {
            "user": user,
            "item_id": [f"i{code:02}" for code in item],
            "event_date": pd.to_datetime(DAY - age, unit="D"),
            "quantity": draw.integers(1, 5, count),
        }
    )
    lives = pd.concat([lines.assign(life=chr(ord("a") + life)) for life in range(copies)], ignore_index=True)
    name = lives["life"] + lives["user"].map("{:03}".format)
    lives["user_id"] = name.where(lives["user"] % 10 > 0, None)
    lives["basket_id"] = name + lives["event_date"].astype(str)
    return from_frame(lives)


ONE = shop(1)


def night(sample: Interactions, counts: ItemCounts) -> tuple[ItemModels, Candidates, dict[str, np.ndarray]]:
    """The first copy's users, scored with item models of this sample."""
    attributes = (np.arange(ITEMS)[:, None] % np.array([2, 3])).astype(np.int32)
    models = fit(sample, DAY, settings=SETTINGS, counts=counts, attributes=attributes)
    pairs = propose(ONE, models, DAY, per_source=FEW)
    table = features(pairs, ONE, models, DAY)
    return models, pairs, {name: table[:, place] for place, name in enumerate(FEATURES)}


@pytest.fixture(scope="module")
def alone() -> tuple[ItemModels, Candidates, dict[str, np.ndarray]]:
    return night(ONE, count_items(ONE, DAY))


@pytest.mark.parametrize("copies", [5, 25])
def test_a_sample_of_one_copy_scores_as_the_shop_alone(copies: int, alone) -> None:
    models, pairs, columns = alone
    counts = count_items(shop(copies), DAY)
    grown, again, same = night(ONE, counts)
    np.testing.assert_array_equal(again.item, pairs.item)
    np.testing.assert_array_equal(again.user, pairs.user)
    for name, values in columns.items():
        np.testing.assert_allclose(same[name], values, rtol=2e-6, atol=2e-6, err_msg=name)
    for name in ("buyers_7", "buyers_28", "buyers_84", "buyers"):  # what sentences say
        np.testing.assert_array_equal(grown.column(name), copies * models.column(name))


@pytest.mark.parametrize("copies", [3])
def test_a_sample_of_all_copies_scores_as_the_shop_alone(copies: int, alone) -> None:
    models, pairs, columns = alone
    lives = shop(copies)
    grown, again, same = night(lives, count_items(lives, DAY))
    for name in ("similarities", "next_similarities", "basket_similarities"):
        np.testing.assert_allclose(getattr(grown, name), getattr(models, name), rtol=2e-3, err_msg=name)
    for name in ("user", "item"):
        np.testing.assert_array_equal(getattr(again, name), getattr(pairs, name))
    for name, values in columns.items():
        if not name.endswith("rank"):  # near ties
            np.testing.assert_allclose(same[name], values, rtol=5e-3, atol=5e-3, err_msg=name)
