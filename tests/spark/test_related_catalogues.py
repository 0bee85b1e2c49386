"""features.relations of the catalogue: read again only if it has changed, and what odd catalogues give."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from jobs.relate_items import relate_items
from jobs.transforms import catalogue_relations
from schemas import relations, silver
from schemas.deployment import Deployment
from schemas.errors import ConfError
from schemas.lists import Lists, Variants
from schemas.source import Source
from tests.conftest import Rows, run_of
from tests.support.relating import RUN_DATE, catalogue, ids, lines, relate


def test_the_catalogue_is_read_again_only_if_it_has_changed(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    items = catalogue("tea:green leaf 5 g", "tea:green leaf 10 g", "bread:rye")
    frames, edges, _ = relate(rows, [], items)
    assert ("tea:green leaf 5 g", "has_size", "5 g") in edges
    before = rows(relations.RELATIONS, *(row.asDict() for row in frames["features.relations"].collect()))
    with monkeypatch.context() as patch:
        patch.setattr(catalogue_relations, "_reader", None)  # applyInArrow would refuse it
        _, again, _ = relate(rows, lines("u", 1, "bread:rye"), items, before)
    kinds = set(relations.OF_CATALOGUE)
    assert {key for key in again if key[1] in kinds} == {key for key in edges if key[1] in kinds}
    items[0]["title"] = "tea:green leaf 7 g"
    _, changed, _ = relate(rows, [], items, before)
    assert ("tea:green leaf 5 g", "has_size", "7 g") in changed
    assert ("tea:green leaf 5 g", "has_size", "5 g") not in changed


def test_items_without_any_attribute_are_related_to_nothing(rows: Rows) -> None:
    bare = catalogue("?", "!")
    for item in bare:
        item["category"] = None
    _, edges, lists = relate(rows, lines("u", 1, "?", "!"), bare)
    assert not edges
    assert not lists


def test_categories_that_name_each_other_are_names(rows: Rows) -> None:
    items = catalogue("a", "b", "c")
    for item, category in zip(items, ("x > y", "y > x", "x > y > x"), strict=True):
        item["category"] = category
    _, edges, lists = relate(rows, [line for user in range(6) for line in lines(f"u{user}", 1, "a", "b")], items)
    assert {key for key in edges if key[1] == "in_category"} == {
        ("a", "in_category", "x > y"),
        ("b", "in_category", "y > x"),
        ("c", "in_category", "x > y > x"),
    }
    assert ids(lists, "a", "substitute") == []


def test_two_shops_ids_of_one_product(rows: Rows) -> None:
    items = catalogue("shop 1", "shop 2", "small one", "other")
    for item, title in zip(
        items, ("Oak garden chair", "Oak Garden  Chair", "Oak garden chair, small", "Bench"), strict=True
    ):
        item |= {"title": title, "text": title.lower().replace("  ", " "), "category": "furniture"}
    events = [line for user in range(6) for line in lines(f"u{user}", 1, "shop 1", "shop 2", "other")]
    _, edges, lists = relate(rows, events, items)
    assert {key for key in edges if key[1] == "same_as"} == {("shop 2", "same_as", "shop 1")}
    same, small = lists["shop 2", "variant"]
    assert (same.related_item_id, same.reason) == ("shop 1", "The same under another id")
    assert (small.related_item_id, small.reason) == ("small one", "Variant of the product; size small")
    for relation in ("substitute", "complement"):
        assert "shop 1" not in ids(lists, "shop 2", relation)


def test_fifty_thousand_variants_make_short_lists(rows: Rows, spark: Any) -> None:
    one = catalogue("chair")[0] | {"product_id": "p", "title": "Chair", "category": "chairs"}
    frame = rows(silver.ITEMS, one).drop("item_id").crossJoin(spark.range(50_000).selectExpr("concat('i', id) item_id"))
    sources = {"items": Source.model_construct(map={"product_id": "p"})}
    shop_of = Deployment.model_construct(name="test", sources=sources, lists=Lists(), variants=Variants())
    frames = relate_items(
        rows(silver.EVENTS),
        frame.select(*silver.ITEMS.column_names),
        rows(relations.RELATIONS),
        rows(silver.STOCK),
        rows(silver.BLOCKED),
        run=run_of(RUN_DATE, shop_of),
        top_k=3,
    )
    counts = {row.relation: row["count"] for row in frames["gold.related_items"].groupBy("relation").count().collect()}
    assert counts == {"variant": 150_000}
    edges = {row.relation: row["count"] for row in frames["features.relations"].groupBy("relation").count().collect()}
    assert edges == {"in_category": 50_000, "variant_of": 50_000, "of_type": 50_000}


def test_newer_items_are_of_the_same_maker_and_bought_instead(rows: Rows) -> None:
    old = catalogue("tv:old", "tv:rival", brand="Acme", listed_on=RUN_DATE - dt.timedelta(days=200))
    new = catalogue("tv:new", "tv:other", brand="Acme", listed_on=RUN_DATE - dt.timedelta(days=100))
    old[1]["brand"] = "Rival"
    events = []
    for user in range(4):
        events += lines(f"u{user}", 90, "tv:old", "tv:rival") + lines(f"u{user}", 10, "tv:new")
    _, edges, lists = relate(rows, events, old + new)
    assert ids(lists, "tv:old", "newer") == ["tv:new"]
    assert edges["tv:new", "newer_than", "tv:old"].weight == 100
    assert {key for key in lists if key[1] == "newer"} == {("tv:old", "newer")}


def test_of_a_product_the_newest_variant_is_the_newer_one(rows: Rows) -> None:
    deployment = Deployment.model_construct(
        name="test",
        sources={"items": Source.model_construct(map={"product_id": "p"})},
        lists=Lists(),
        variants=Variants(),
    )
    items = [
        catalogue(f"tv:{age}", product_id="p", listed_on=RUN_DATE - dt.timedelta(days=age))[0]
        for age in (300, 200, 190)
    ]
    _, edges, lists = relate(rows, [], items, deployment=deployment)
    assert ids(lists, "tv:300", "newer") == ["tv:190"]
    assert ("tv:190", "newer_than", "tv:200") not in edges, "listed in the same four weeks"
    assert ids(lists, "tv:300", "variant") == ["tv:190", "tv:200"]


@pytest.mark.parametrize("settings", [{"top_k": 0}, {"active_days": 200}, {"min_buyers": 0}, {"active_days": 0}])
def test_settings_that_no_list_can_follow_are_refused(rows: Rows, settings: dict[str, int]) -> None:
    with pytest.raises(ConfError, match=r"\[jobs.relate_items\] top_k and min_buyers must be at least 1"):
        relate(rows, [], [], **settings)
