"""A shop that lists its items ahead of their sale, out of one whose sales are its catalogue."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.test_item_models import DAY, shop
from udfs.catalogue import Catalogue
from udfs.interactions import Interactions
from udfs.recommend import scoring
from udfs.recommend.candidates import GENERATORS


def catalogue(history: Interactions) -> Catalogue:
    """Every item is described by its last sale; a vector each."""
    count = len(history.items)
    described = np.zeros(count, np.int32)
    np.maximum.at(described, history.item, history.day)
    vectors = np.random.default_rng(1).normal(size=(count, 6))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    none = np.full((count, 3), -1, np.int32)
    return Catalogue(history.items, none, described, vectors.astype(np.float16), np.arange(count, dtype=np.int32))


@pytest.mark.parametrize(
    ("first_sale", "proposed"), [(DAY - 1, True), (DAY, True), (DAY + 27, True), (DAY + 28, False)]
)
def test_an_item_first_sold_within_the_horizon_is_proposed_by_its_text(first_sale: int, proposed: bool) -> None:
    history = shop()
    item = int(history.item[0])
    day = np.where(history.item == item, np.maximum(history.day, first_sale), history.day)
    order = np.lexsort((history.item, history.user, day))
    columns = (getattr(history, name)[order] for name in ("user", "item", "basket", "quantity", "undone_on"))
    user, bought, basket, quantity, undone = columns
    changed = Interactions(history.users, history.items, user, bought, day[order], basket, quantity, day[order], undone)
    known = catalogue(changed)
    fresh = GENERATORS.index("fresh")
    found = {}
    for listed in (False, True):
        at = known.listed_ahead(changed, DAY) if listed else known
        pairs, _ = scoring.propose(changed.before(DAY), scoring.fit_state(changed, at, DAY), DAY)
        found[listed] = bool(pairs.proposed[pairs.item == item, fresh].any())
    assert found == {False: first_sale < DAY, True: proposed}
