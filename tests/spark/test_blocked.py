"""Blocked items: which they are, that no list shows them, and what is said of rules that fit nothing or too much."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from pydantic import ValidationError
from pyspark.sql import SparkSession

from jobs.clean_blocked import clean_blocked
from jobs.rank_recommendations import rank_recommendations
from jobs.runner import blocked_check
from jobs.runner.lake import Lake
from jobs.transforms.blocked import blocked_items, without_blocked
from jobs.transforms.offer import offered
from schemas import TABLES, block_list, bronze, features, gold, silver
from schemas.blocked import Blocked
from schemas.deployment import Deployment
from schemas.run import Model
from schemas.source import Source
from tests.conftest import Rows, broken, run_of

RUN_DATE = dt.date(2024, 1, 31)
ITEMS = (
    {"item_id": "1", "title": "Whisky 12", "category": "SPIRITS", "brand": "Glen"},
    {"item_id": "2", "title": "Bread", "category": "BAKERY", "brand": None},
    {"item_id": "3", "title": "Matches", "category": None, "brand": "O'Neil"},
    {"item_id": "4", "title": "100% juice", "category": "DRINKS", "brand": "b\\s"},
    {"item_id": "5", "title": "100 x juice", "category": "drinks", "brand": "b"},
)


def shop(*rules: Blocked, listed: bool = False, **conf: Any) -> Deployment:
    kinds = ("events", "items", *(["blocked"] if listed else []))
    sources = {
        kind: Source(files="*", columns=["sku", "why"], map={"item_id": "sku", "reason": "why"}) for kind in kinds
    }
    return Deployment.model_construct(name="test", sources=sources, blocked=list(rules), **conf)


def rule(**given: Any) -> Blocked:
    return Blocked(reason="a law", **given)


@pytest.mark.parametrize(
    ("rules", "gone"),
    [
        ([], ""),
        ([rule(items=["2", "9"])], "2"),
        ([rule(column="category", like="drinks")], "45"),
        ([rule(column="title", like="100\\%%")], "4"),
        ([rule(column="title", like="100%")], "45"),
        ([rule(column="brand", like="o'neil")], "3"),
        ([rule(column="brand", like="b\\\\s")], "4"),
        ([rule(column="item_id", like="_")], "12345"),
        ([rule(items=["1"]), rule(column="category", like="BAK%")], "12"),
    ],
)
def test_rules_block_ids_and_patterns_in_any_case_and_nothing_else(rows: Rows, rules: list[Blocked], gone: str) -> None:
    items, none, every = rows(silver.ITEMS, *ITEMS), rows(silver.BLOCKED), {row["item_id"] for row in ITEMS}
    left = {row.item_id for row in without_blocked(shop(*rules), items, none).collect()}
    assert left == every - set(gone)
    assert {row.item_id for row in blocked_items(shop(*rules), items, none).collect()} == set(gone)


def test_the_list_of_a_source_blocks_beside_the_rules(rows: Rows) -> None:
    items, blocked = rows(silver.ITEMS, *ITEMS), rows(silver.BLOCKED, {"item_id": "2"}, {"item_id": "unheard of"})
    both = shop(rule(items=["1"]), listed=True)
    stock = rows(silver.STOCK)
    assert {row.item_id for row in offered(both, items, stock, blocked, RUN_DATE).collect()} == {"3", "4", "5"}
    assert {row.item_id for row in blocked_items(both, items, blocked).collect()} == {"1", "2", "unheard of"}
    assert offered(shop(), items, stock, blocked, RUN_DATE).count() == 5, "without such a source there is no list"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "must have either items or column and like"),
        ({"items": ["1"], "column": "title", "like": "a"}, "must have either items or column and like"),
        ({"column": "title"}, "neither is anything without the other"),
        ({"column": "price", "like": "1"}, "Input should be"),
        ({"column": "title", "like": "a\\"}, "a backslash at its end escapes nothing"),
        ({"items": [""]}, "at least 1 character"),
    ],
)
def test_a_rule_that_is_none_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Blocked(reason="a law", **given)


def test_the_newest_list_is_kept_with_unknown_items_and_without_repeats(rows: Rows) -> None:
    lines = ["1,recall", "8,", "1,again", ",nameless", "8.50E+12,shortened"]
    records = rows(
        bronze.RECORDS,
        *(
            {"run_date": RUN_DATE, "source": "blocked", "source_file": "b.csv", "source_row": number, "raw": line}
            | {"fields": line.split(",")}
            for number, line in enumerate(lines, start=2)
        ),
    )
    made = clean_blocked(records, rows(silver.ITEMS, *ITEMS), run=run_of(RUN_DATE, shop(listed=True)))
    assert broken(block_list.BLOCKED, made["silver.blocked"]) == [
        "a blocked item should be in silver.items (it stays blocked, should it come)"
    ]
    found = {(row.item_id, row.reason, row.is_known) for row in made["silver.blocked"].collect()}
    assert found == {("1", "recall", True), ("8", None, False)}
    rejected = {row.raw: row.codes for row in made["silver.rejected_blocked"].collect()}
    assert rejected == {
        "1,again": ["overlaps_in_blocked"],
        ",nameless": ["item_id_present"],
        "8.50E+12,shortened": ["item_id_not_shortened"],
    }


def test_no_reason_shows_a_blocked_item(rows: Rows) -> None:
    """What is bought with whisky may be shown, whisky may not: neither as an item nor in a sentence."""
    proposal = {"user_id": "u", "model_version": "m1", "times_bought": 0, "sources": ["knn"], "reason_item_id": "1"}
    candidates = rows(
        features.CANDIDATES,
        *(proposal | {"item_id": item, "score": score} for item, score in (("1", 0.9), ("2", 0.8), ("3", 0.7))),
    )
    events, stock, blocked = rows(silver.EVENTS), rows(silver.STOCK), rows(silver.BLOCKED)
    tables = candidates, rows(silver.ITEMS, *ITEMS), rows(features.ITEM_VECTORS), events, stock, blocked

    def listed(deployment: Deployment) -> list[tuple[str, str, str | None]]:
        made = rank_recommendations(*tables, Model("m1", ""), run=run_of(RUN_DATE, deployment), top_k=2)
        assert broken(gold.RECOMMENDATIONS, made) == []
        return [(row.item_id, row.reason, row.reason_item_id) for row in made.orderBy("rank").collect()]

    assert listed(shop())[:2] == [(item, "Often bought with Whisky 12", "1") for item in ("1", "2")]
    hidden = listed(shop(rule(column="category", like="spirits")))
    assert hidden == [(item, "Sells well in the shop; fills up the list", None) for item in ("2", "3")]


# -- what is checked before publication -------------------------------------------------------------------------------


class OneNight(Lake):
    """A lake of frames."""

    def __init__(self, deployment: Deployment, spark: SparkSession, tables: dict[str, Any]) -> None:
        self.deployment, self.spark, self.tables = deployment, spark, tables

    def of_days(self, table: str, days: Any, *_: Any) -> Any:
        assert list(days) == [RUN_DATE]
        return self.tables[table]


def test_a_table_that_shows_a_blocked_item_is_refused(rows: Rows, spark: SparkSession) -> None:
    tables = {"silver.items": rows(silver.ITEMS, *ITEMS), "silver.blocked": rows(silver.BLOCKED, {"item_id": "new"})}
    deployment = shop(rule(items=["gone"]), rule(column="title", like="whisky%"), listed=True)
    lake = OneNight(deployment, spark, tables)
    for shown, count in (("2", 0), ("1", 1), ("gone", 1), ("new", 1)):
        lists = rows(gold.RECOMMENDATIONS, {"item_id": shown}, {"item_id": "3"})
        (finding,) = blocked_check.findings(lake, gold.RECOMMENDATIONS, lists, RUN_DATE)
        assert (finding.unexpected_count, finding.passed) == (count, count == 0)
        assert finding.check.severity == "critical"
    trends = rows(TABLES["gold.search_trends"], {"kind": "item", "key": "1"}, {"kind": "brand", "key": "1"})
    (finding,) = blocked_check.findings(lake, TABLES["gold.search_trends"], trends, RUN_DATE)
    assert finding.unexpected_count == 1
    assert blocked_check.findings(lake, TABLES["gold.item_demand"], trends, RUN_DATE) == []
    assert blocked_check.findings(OneNight(shop(), spark, {}), gold.RECOMMENDATIONS, trends, RUN_DATE) == []


def test_a_pattern_that_blocks_over_a_fifth_is_refused_and_unknown_ids_are_a_warning(
    rows: Rows, spark: SparkSession
) -> None:
    items = rows(silver.ITEMS, *ITEMS)

    def found(*rules: Blocked) -> list[tuple[bool, str, str]]:
        findings = blocked_check.findings(OneNight(shop(*rules), spark, {}), silver.ITEMS, items, RUN_DATE)
        return [(finding.passed, finding.check.severity, finding.check.reason) for finding in findings]

    assert [passed for passed, *_ in found(rule(column="category", like="SPIRITS"))] == [True, True]
    (share, known) = found(rule(column="category", like="drinks"), rule(items=["1", "2", "x", "y"]))
    assert share[:2] == (False, "critical")
    assert "of 5 items 'a law' (category like 'drinks') blocks 2" in share[2]
    assert known[:2] == (False, "warning")
    assert known[2].endswith(": x, y")
    assert found() == []


def test_every_gold_table_says_what_it_shows() -> None:
    """A new table that names items must say so, or be named here as one that shows none."""
    named = {name for name, table in TABLES.items() if table.layer == "gold" and not table.shows}
    items = {name for name in named if any("item" in column.name for column in TABLES[name].columns)}
    plans = {"gold.demand_forecast", "gold.item_demand", "gold.inventory_actions", "gold.item_sentiment"}
    assert items == plans
