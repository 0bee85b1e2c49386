"""relate_items on drawn shops, and each of its reasons computed again from the edges."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from pyspark.sql import DataFrame

from jobs.relate_items import relate_items
from jobs.transforms import related
from schemas import relations, silver
from schemas.deployment import Deployment
from schemas.lists import Lists, Variants
from schemas.source import Source
from tests.conftest import Rows, broken, run_of

RUN_DATE = dt.date(2024, 6, 30)  # a Sunday: purchases are counted
Edges = dict[tuple[str, str, str], Any]


def lines(user: str, days_ago: int, *items: str, basket: str = "") -> list[dict[str, Any]]:
    """One basket."""
    day = RUN_DATE - dt.timedelta(days=days_ago)
    given = {"event_type": "purchase", "user_id": user, "event_date": day, "run_date": day, "quantity": 1}
    return [given | {"item_id": item, "basket_id": basket or None} for item in items]


def catalogue(*items: str, **more: Any) -> list[dict[str, Any]]:
    """Items called `<category>:<words>`, by which their categories and titles are called."""
    long_ago = {
        "listed_on": RUN_DATE - dt.timedelta(days=300),
        "brand": None,
        "product_id": None,
        "active": True,
    } | more
    return [long_ago | {"item_id": i, "category": i.split(":")[0], "title": i, "text": i.lower()} for i in items]


def relate(
    rows: Rows,
    events: Sequence[dict[str, Any]],
    items: Sequence[dict[str, Any]],
    before: DataFrame | None = None,
    deployment: Deployment | None = None,
    run_date: dt.date = RUN_DATE,
    **settings: Any,
) -> tuple[dict[str, DataFrame], Edges, dict[tuple[str, str], list[Any]]]:
    """The job's frames, its edges by key, and its lists."""
    sources = {kind: Source.model_construct(map={}) for kind in ("events", "items")}
    shop = deployment or Deployment.model_construct(name="test", sources=sources, lists=Lists(), variants=Variants())
    frames = relate_items(
        rows(silver.EVENTS, *events),
        rows(silver.ITEMS, *items),
        rows(relations.RELATIONS) if before is None else before,
        rows(silver.STOCK),
        rows(silver.BLOCKED),
        run=run_of(run_date, shop),
        **settings,
    )
    for table in relations.TABLES:  # computed once: each check would compute it again
        found = frames[table.name]
        frames[table.name] = found.sparkSession.createDataFrame(found.collect(), found.schema)
        assert not broken(table, frames[table.name])
    edges = {(row.subject, row.relation, row.object): row for row in frames["features.relations"].collect()}
    lists = defaultdict(list)
    for row in sorted(frames["gold.related_items"].collect(), key=lambda row: row["rank"]):
        lists[row.item_id, row.relation].append(row)
    replayed(edges, lists)
    return frames, edges, lists


def ids(lists: dict, item: str, relation: str) -> list[str]:
    return [row.related_item_id for row in lists.get((item, relation), [])]


# -- every reason follows from the edges ---------------------------------------------------------------------------


def replayed(edges: Edges, lists: dict[tuple[str, str], list[Any]]) -> None:
    """Each reason and score again, in plain Python and from nothing but the edges of its two items."""
    objects, leaving = defaultdict(list), {}
    for (subject, relation, value), edge in sorted(edges.items()):
        objects[subject, relation].append(value)
        if relation == "instead_of":
            leaving[subject] = round(edge.support / edge.weight)
    for (item, relation), listed in lists.items():
        for row in listed:
            expected = {
                "substitute": substitute_reason,
                "complement": complement_reason,
                "variant": variant_reason,
                "newer": newer_reason,
            }[relation](edges, objects, leaving, item, row)
            assert row.reason == expected


def substitute_reason(edges: Edges, objects: dict, leaving: dict, item: str, row: Any) -> str:
    other = row.related_item_id
    (need,) = objects[item, "in_category"]
    assert objects[other, "in_category"] == [need]
    edge = edges.get((item, "instead_of", other))
    if edge and edge.support >= related.FEWEST_SHOWN:
        how = f"Bought instead by {edge.support} of {leaving[item]} buyers who changed"
    elif edge:
        how = "Bought instead by fewer than 5 buyers"
    else:
        how = "Among the most bought of its category"
        assert edges[other, "in_category", need].weight > 0
    same = [f"; same category {need}"]
    for name, relation in (
        ("maker", "made_by"),
        ("type", "of_type"),
        ("size", "has_size"),
        ("colour", "has_colour"),
        ("material", "has_material"),
    ):
        if objects[item, relation] and objects[item, relation] == objects[other, relation]:
            same.append(f", {name} {', '.join(objects[item, relation])}")
    return how + "".join(same)


def complement_reason(edges: Edges, objects: dict, leaving: dict, item: str, row: Any) -> str:
    found = [(edges.get((item, by, row.related_item_id)), by) for by in ("bought_with", "bought_after")]
    edge, by = max(((edge, by) for edge, by in found if edge), key=lambda pair: (pair[0].weight, pair[1]))
    assert row.score == edge.weight > 1
    where = {"bought_with": "In one basket", "bought_after": "First bought on the buyer's next day"}[by]
    return f"{where} {edge.weight:.1f} times as often as chance explains, or more; {edge.support} buyers"


def variant_reason(edges: Edges, objects: dict, leaving: dict, item: str, row: Any) -> str:
    other = row.related_item_id
    assert objects[item, "variant_of"] == objects[other, "variant_of"] != []
    names = [(objects[each, "same_as"] or [each])[0] for each in (item, other)]
    if names[0] == names[1]:
        return "The same under another id"
    differs = ""
    for name, relation in (("size", "has_size"), ("colour", "has_colour")):
        if objects[other, relation] and objects[other, relation] != objects[item, relation]:
            differs += f"; {name} {', '.join(objects[other, relation])}"
    return f"Variant of the product{differs}"


def newer_reason(edges: Edges, objects: dict, leaving: dict, item: str, row: Any) -> str:
    other = row.related_item_id
    edge = edges[other, "newer_than", item]
    if edge.source == "catalogue":
        assert objects[item, "variant_of"] == objects[other, "variant_of"] != []
        return f"The newest variant of the product, listed {edge.weight:.0f} days later"
    assert objects[item, "made_by"] == objects[other, "made_by"] != []
    assert edge.support == edges[item, "instead_of", other].support
    (need,) = objects[item, "in_category"]
    return f"Bought instead, of the same maker, listed {edge.weight:.0f} days later; same category {need}"
