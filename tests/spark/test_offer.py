"""What lists may show: what is in stock, few variants of a product; and what the rows that fill a list say."""

from __future__ import annotations

import datetime as dt
import inspect
import random
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from jobs.build_default_recommendations import build_default_recommendations
from jobs.find_similar_items import find_similar_items
from jobs.plan_stock import plan_stock
from jobs.rank_recommendations import rank_recommendations
from jobs.transforms.offer import MAX_AGE_DAYS, offered
from schemas import features, gold, silver
from schemas.deployment import Deployment
from schemas.errors import DataError
from schemas.lists import Lists, Variants
from schemas.run import Model
from schemas.source import Source
from schemas.suspects import SUSPECTS
from tests.conftest import Rows, broken, run_of
from udfs.encoder.stored_vectors import to_bytes

RUN_DATE = dt.date(2024, 1, 31)
MODEL = Model(version="m1", folder="/nowhere/m1")
STYLES = Variants(product="brand")  # any column of silver.items


def shop(*kinds: str, **conf: Any) -> Deployment:
    sources = {kind: Source.model_construct(map={}) for kind in ("events", "items", *kinds)}
    return Deployment.model_construct(name="test", sources=sources, **conf)


def sale(user_id: str | None, item_id: str, days_ago: int = 0, **more: Any) -> dict[str, Any]:
    named = {"user_id": user_id, "item_id": item_id, "event_date": RUN_DATE - dt.timedelta(days=days_ago)}
    return named | {"event_type": "purchase", "quantity": 1} | more


def on_hand(item_id: str, location_id: str, units: float, days_ago: int = 0) -> dict[str, Any]:
    named = {"location_id": location_id, "item_id": item_id, "on_hand": units}
    return named | {"snapshot_date": RUN_DATE - dt.timedelta(days=days_ago)}


def stocked(rows: Rows, *snapshots: dict[str, Any]) -> tuple[Any, Any]:
    return rows(silver.STOCK, *snapshots), rows(silver.BLOCKED)


def by_rank(found: Any, key: str, item: str = "item_id") -> dict[str, list[str]]:
    rows = sorted(found.collect(), key=lambda row: row["rank"])
    return {one: [row[item] for row in rows if row[key] == one] for one in {row[key] for row in rows}}


STOCK = (
    *(on_hand("both", place, 5) for place in ("shop", "warehouse")),
    *(on_hand("sold out", place, 0) for place in ("shop", "warehouse")),
    *(on_hand("shop alone", "shop", 0.4), on_hand("shop alone", "warehouse", 0)),
    *(on_hand("warehouse alone", "warehouse", 1), on_hand("inactive", "shop", 9)),
    on_hand("long ago", "shop", 0, days_ago=8),
)
ALL = {"both", "sold out", "shop alone", "warehouse alone", "long ago", "service"}


@pytest.mark.parametrize(
    ("kinds", "lists", "left_out"),
    [
        (["stock"], {}, {"sold out"}),
        (["stock"], {"in_stock": False}, set()),
        ([], {}, set()),  # no source of stock: as ever
        (["stock"], {"stock_locations": ["warehouse"]}, {"sold out", "shop alone"}),
        (["stock"], {"stock_locations": ["shop"]}, {"sold out", "warehouse alone"}),
        (["stock"], {"without_stock_rows": "hide"}, {"sold out", "long ago", "service"}),
        (
            ["stock"],
            {"stock_locations": ["warehouse"], "without_stock_rows": "hide"},
            {"sold out", "shop alone", "long ago", "service"},
        ),
    ],
)
def test_an_item_is_out_of_stock_where_no_location_that_counts_has_any(rows: Rows, kinds, lists, left_out) -> None:
    items = rows(silver.ITEMS, *({"item_id": name} for name in ALL), {"item_id": "inactive", "active": False})
    found = offered(shop(*kinds, lists=Lists(**lists)), items, *stocked(rows, *STOCK), RUN_DATE).collect()
    assert {row.item_id for row in found} == ALL - left_out


def test_stock_is_too_old_for_lists_when_it_is_for_plans() -> None:
    assert inspect.signature(plan_stock).parameters["max_age_days"].default == MAX_AGE_DAYS


@pytest.mark.parametrize("without", ["show", "hide"])
def test_stock_that_is_too_old_everywhere_says_nothing(rows: Rows, without: Any) -> None:
    items, old = rows(silver.ITEMS, {"item_id": "a"}), stocked(rows, on_hand("a", "shop", 0, days_ago=8))
    lists = Lists(without_stock_rows=without, stock_locations=["shop"])
    assert offered(shop("stock", lists=lists), items, *old, RUN_DATE).count() == 1


def test_a_location_that_stock_does_not_have_is_refused_by_name(rows: Rows) -> None:
    lists = Lists(stock_locations=["warehous"])
    with pytest.raises(DataError, match=r"no row of \[lists\] stock_locations = \['warehous'\]; its .* like 'shop'"):
        offered(shop("stock", lists=lists), rows(silver.ITEMS), *stocked(rows, on_hand("a", "shop", 1)), RUN_DATE)


def few(names: Iterable[str], brand: dict[str, str | None], most: int, taken: Iterable[str] = ()) -> list[str]:
    """The first `most` names of each brand, beside those taken."""
    chosen, count = [], {}
    for name in taken:
        count[brand[name] or f"of its own {name}"] = count.get(brand[name] or f"of its own {name}", 0) + 1
    for name in names:
        key = brand[name] or f"of its own {name}"
        if count.get(key, 0) < most:
            chosen.append(name)
            count[key] = count.get(key, 0) + 1
    return chosen


@pytest.mark.parametrize("per_list", [1, 2])
@pytest.mark.parametrize("knobs", [{}, {"diversity": 1e-9}], ids=["sql", "by blocks"])
def test_lists_equal_the_oracle_and_name_repeats(rows: Rows, per_list: int, knobs: dict[str, float]) -> None:
    draw = random.Random(31 + per_list)
    names = [f"i{number:02}" for number in range(30)]
    brand = {name: draw.choice(["A", "B", "C", None, None]) for name in names}
    gone, buyers, top_k = set(draw.sample(names, 4)), {name: draw.randrange(50) for name in names}, 6
    bought = {(f"u{user}", item) for user in range(8) for item in draw.sample(names, 6)}
    days = {pair: draw.sample(range(60), draw.randint(1, 3)) for pair in sorted(bought)}
    score = {  # u0 to u3 have too few candidates; of what they have bought some are none
        (f"u{user}", item): draw.randint(1, 9) / 10
        for user in range(8)
        for item in draw.sample(names, 5 if user < 4 else 25)
    }
    expected = {}
    for user in sorted({user for user, _ in score}):
        mine = [item for who, item in score if who == user and item not in gone]
        mine.sort(key=lambda item: (-score[user, item], item))
        own = [item for item in mine if (user, item) in bought]
        others = few([item for item in mine if item not in own], brand, per_list, own)
        listed = [item for item in mine if item in {*own, *others}]
        known = {item: buyers[item] for _, item in score}
        sellers = sorted(set(names) - gone, key=lambda item: (-known.get(item, -1), item))
        best = few(sellers, brand, per_list)[: 2 * top_k]
        fill = few(sorted(item for item in best if item not in listed), brand, per_list, listed)
        expected[user] = (listed + (fill if len(listed) < top_k else []))[:top_k]
    candidates = [
        {"user_id": user, "item_id": item, "score": value, "sources": ["knn"], "recent_buyers": buyers[item]}
        | {"times_bought": len(days.get((user, item), ()))}
        for (user, item), value in score.items()
    ]
    found = rank_recommendations(
        rows(features.CANDIDATES, *candidates),
        rows(silver.ITEMS, *({"item_id": name, "title": name, "brand": brand[name]} for name in names)),
        rows(features.ITEM_VECTORS),
        rows(silver.EVENTS, *(sale(*pair, ago) for pair, all_days in days.items() for ago in all_days)),
        *stocked(rows, *(on_hand(name, "s", 0 if name in gone else 1) for name in names)),
        MODEL,
        run=run_of(RUN_DATE, shop("stock", variants=Variants(product="brand", per_list=per_list))),
        top_k=top_k,
        **knobs,
    ).persist()
    assert broken(gold.RECOMMENDATIONS, found) == []
    assert by_rank(found, "user_id") == expected
    assert {(row.user_id, row.item_id) for row in found.collect() if row.is_repeat} == {
        (user, item) for user, listed in expected.items() for item in listed if (user, item) in bought
    }
    filled = [row for row in found.collect() if row.sources == ["fallback"]]
    assert any(row.is_repeat for row in filled)
    assert not all(row.is_repeat for row in filled)


def test_a_filled_row_says_when_the_user_bought_it(rows: Rows) -> None:
    items = rows(silver.ITEMS, *({"item_id": name, "title": name} for name in "abc"))
    candidates = rows(
        features.CANDIDATES, *({"user_id": user, "item_id": "a", "score": 0.5, "times_bought": 0} for user in "uv")
    )
    events = rows(
        silver.EVENTS,
        *(sale("u", "b", days) for days in (9, 200)),
        *(sale("u", "c"), sale("u", "c") | {"event_type": "return"}),  # returned: never bought
    )
    found = rank_recommendations(
        candidates, items, rows(features.ITEM_VECTORS), events, *stocked(rows), MODEL, run=run_of(RUN_DATE)
    )
    filled = {
        (row.user_id, row.item_id): (row.is_repeat, row.reason, row.reason_item_id)
        for row in found.collect()
        if row.sources == ["fallback"]
    }
    sells = (False, "Sells well in the shop; fills up the list", None)
    habit = (True, "Bought 2 times, last on 2024-01-22", "b")
    assert filled == {("u", "b"): habit, ("u", "c"): sells, ("v", "b"): sells, ("v", "c"): sells}


def test_sizes_that_the_user_bought_stay_and_the_long_tail_brings_no_other(rows: Rows) -> None:
    sizes = {f"tee {size}": "tee" for size in "SML"}
    items = rows(
        silver.ITEMS, *({"item_id": name, "brand": sizes.get(name)} for name in (*sizes, "cap", "bag", "belt"))
    )
    scores = {
        "two": {"tee S": 0.9, "tee M": 0.4, "tee L": 0.8, "cap": 0.5, "bag": 0.3},  # has bought S and M
        "none": {"tee S": 0.6, "tee M": 0.7, "tee L": 0.5, "cap": 0.4, "bag": 0.3},
    }
    bought = {("two", "tee S"), ("two", "tee M")}
    candidates = [
        {"user_id": user, "item_id": item, "score": value, "times_bought": int((user, item) in bought)}
        for user, mine in scores.items()
        for item, value in mine.items()
    ]
    frames = rows(features.CANDIDATES, *candidates), items, rows(features.ITEM_VECTORS)
    run = run_of(RUN_DATE, shop(variants=STYLES))

    def ranked(**knobs: Any) -> dict[str, list[str]]:
        made = rank_recommendations(*frames, rows(silver.EVENTS), *stocked(rows), MODEL, run=run, top_k=3, **knobs)
        return by_rank(made, "user_id")

    plain = {"two": ["tee S", "cap", "tee M"], "none": ["tee M", "cap", "bag"]}
    assert ranked() == plain
    assert ranked(long_tail=0.99) == plain, "tee L is in no list, and would be a second tee"


def test_default_lists_have_one_variant_and_nothing_that_is_out_of_stock(rows: Rows) -> None:
    draw = random.Random(5)
    names = [f"i{number:02}" for number in range(14)]
    brand = {name: draw.choice(["A", "B", None]) for name in names}
    gone = set(names[3:6])
    pairs = sorted({(draw.choice("st"), f"u{draw.randrange(12)}", draw.choice(names)) for _ in range(120)})
    expected = {}
    for place in ("all", "s", "t"):
        here = [(user, item) for where, user, item in pairs if place in ("all", where)]
        count = {item: len({user for user, name in here if name == item}) for _, item in here}
        order = sorted((item for item in count if item not in gone), key=lambda item: (-count[item], item))
        buyers = len({user for user, _ in here})
        expected[place] = [(item, round(count[item] / buyers, 6)) for item in few(order, brand, 1)][:4]
    found = build_default_recommendations(
        rows(silver.EVENTS, *(sale(user, item, location_id=where) for where, user, item in pairs)),
        rows(silver.ITEMS, *({"item_id": name, "brand": brand[name]} for name in names)),
        *stocked(rows, *(on_hand(name, "s", 0 if name in gone else 1) for name in names)),
        rows(SUSPECTS),
        run=run_of(RUN_DATE, shop("stock", variants=STYLES)),
        segment="location_id",
        top_k=4,
        min_buyers=1,
    ).persist()
    assert broken(gold.DEFAULT_RECOMMENDATIONS, found) == []
    assert by_rank(found, "segment_value") == {
        place: [item for item, _ in listed] for place, listed in expected.items()
    }
    scores = {(row.segment_value, row.item_id): row.score for row in found.collect()}
    assert scores == {(place, item): share for place, listed in expected.items() for item, share in listed}


def test_a_segment_is_not_filled_with_another_variant_of_what_it_has(rows: Rows) -> None:
    lines = [sale(f"u{n}", "tee S", location_id="big") for n in range(9)] + [sale("u1", "cap", location_id="big")]
    lines += [sale("v", "tee M", location_id="small")]
    items = rows(silver.ITEMS, *({"item_id": name, "brand": name.split()[0]} for name in ("tee S", "tee M", "cap")))
    found = build_default_recommendations(
        rows(silver.EVENTS, *lines),
        items,
        *stocked(rows),
        rows(SUSPECTS),
        run=run_of(RUN_DATE, shop(variants=STYLES)),
        segment="location_id",
        min_buyers=1,
    )
    lists = {"all": ["tee S", "cap"], "big": ["tee S", "cap"], "small": ["tee M", "cap"]}
    assert by_rank(found, "segment_value") == lists


@pytest.mark.parametrize("per_list", [1, 2])
def test_similar_items_are_of_other_products_and_lists_stay_full(rows: Rows, per_list: int) -> None:
    draw = np.random.default_rng(3)
    names = [f"i{number:02}" for number in range(24)]
    brand: dict[str, str | None] = (
        dict.fromkeys(names) | dict.fromkeys(names[:6], "A") | dict.fromkeys(names[6:10], "B")
    )
    gone, sold = set(names[20:23]), {name: int(draw.integers(1, 5)) for name in names}
    base = draw.normal(size=(24, 8))
    base[:6] = base[0] + 0.01 * draw.normal(size=(6, 8))  # six sizes, nearer to each other than to anything else
    vectors = to_bytes(base / np.linalg.norm(base, axis=1, keepdims=True))
    exact = np.frombuffer(b"".join(vectors), "<f2").reshape(24, 8).astype(float)
    near = exact @ exact.T
    best = few(sorted(set(names) - gone, key=lambda item: (-sold[item], item)), brand, per_list)
    expected = {}
    for place, name in enumerate(names):
        others = [item for item in best if item != name and (brand[name] is None or brand[item] != brand[name])]
        expected[name] = sorted(others, key=lambda item: -near[place, names.index(item)])[:4]
    found = find_similar_items(
        rows(silver.EVENTS, *(sale(None, name, basket_id=f"b{n}") for name in names for n in range(sold[name]))),
        rows(silver.ITEMS, *({"item_id": name, "brand": brand[name]} for name in names)),
        rows(
            features.ITEM_VECTORS,
            *({"item_id": n, "text_key": n, "vector": cell} for n, cell in zip(names, vectors, strict=True)),
        ),
        *stocked(rows, *(on_hand(name, "s", 0 if name in gone else 1) for name in names)),
        run=run_of(RUN_DATE, shop("stock", variants=Variants(product="brand", per_list=per_list))),
        top_k=4,
    ).persist()
    assert broken(gold.SIMILAR_ITEMS, found) == []
    assert by_rank(found, "item_id", "similar_item_id") == expected
