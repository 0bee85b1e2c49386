"""features.queries, features.query_items, gold.search_rankings and gold.search_boosts from frames of a small shop."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs.evaluate_searches import evaluate_searches
from jobs.match_queries import match_queries
from jobs.rank_searches import rank_searches
from jobs.runner.model_store import ship
from jobs.transforms import query_match
from schemas import features, search, searched, silver
from schemas.deployment import Deployment
from schemas.errors import TooEarlyError
from schemas.run import Model
from schemas.source import Source
from tests.conftest import Rows, broken, run_of
from tests.unit.test_encoder import write_tiny
from udfs.encoder.encoder import load_encoder
from udfs.encoder.model_folder import write_manifest
from udfs.encoder.stored_vectors import to_bytes
from udfs.search.ranker import untrained
from udfs.search.user_features import user_features

RUN_DATE = dt.date(2024, 6, 30)
TEXTS = ("red mug", "blue mug", "red plate", "green tea", "black tea", "tea pot", "milk jug", "rye bread")
KINDS = ("mug", "mug", "plate", "tea", "tea", "pot", "jug", "bread")


@pytest.fixture(scope="module")
def model(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A random BERT of two layers, as executors find it."""
    folder = tmp_path_factory.mktemp("searches") / "tiny"
    folder.mkdir()
    write_tiny(folder)
    write_manifest(folder)
    model = Model("m1", str(folder))
    ship(spark, model)
    return model


def catalogue(**changed: dict[str, Any]) -> list[dict[str, Any]]:
    """Five items of each text, so that each word is a head query."""
    return [
        {"item_id": f"{text}-{copy}", "text": text, "title": text, "category": kind, "active": True}
        | changed.get(text, {})
        for text, kind in zip(TEXTS, KINDS, strict=True)
        for copy in range(5)
    ]


def search_by(user: str | None, query: str, days_ago: int = 1, **more: Any) -> dict[str, Any]:
    day = RUN_DATE - dt.timedelta(days=days_ago)
    named = {"event_type": "search", "user_id": user, "query": query, "event_date": day, "run_date": day}
    return named | more


def shop(log: bool, *more: str) -> Deployment:
    sources = {kind: Source.model_construct(kind="", map={}, changes=[]) for kind in ("events", "items", *more)}
    if log:
        sources["searches"] = Source.model_construct(kind="events", map={"query": "q"}, changes=[])
    return Deployment.model_construct(name="test", sources=sources)


def stored(frame: DataFrame) -> DataFrame:
    """The rows as a table has them: computed once."""
    return frame.sparkSession.createDataFrame(frame.collect(), frame.schema)


class Night:
    """One run's inputs and tables; `before`: the run whose tables it finds."""

    def __init__(
        self,
        rows: Rows,
        model: Model,
        events: list[dict[str, Any]] = (),
        items: list[dict[str, Any]] | None = None,
        judged: list[dict[str, Any]] = (),
        before: Night | None = None,
        stock: list[dict[str, Any]] = (),
        search_model: Model | None = None,
        **settings: Any,
    ) -> None:
        items = catalogue() if items is None else items
        encoder = load_encoder(model.folder)
        vectors = to_bytes(encoder.encode([each["text"] for each in items], 32)) if items else []
        of_items = [
            {"item_id": item["item_id"], "text_key": item["text"], "vector": vector}
            for item, vector in zip(items, vectors, strict=True)
        ]
        log = any("query" in event for event in events)
        more = [name for name, given in (("stock", stock), ("judgements", judged)) if given]
        self.rows, self.run = rows, run_of(RUN_DATE, shop(log, *more))
        self.events, self.items = rows(silver.EVENTS, *events), rows(silver.ITEMS, *items)
        self.stock = rows(silver.STOCK, *stock)
        known = before.tables if before else {t.name: rows(t) for t in (search.QUERIES, search.QUERY_ITEMS)}
        inputs = self.events, self.items, rows(features.ITEM_VECTORS, *of_items), rows(searched.JUDGEMENTS, *judged)
        past = known["features.queries"], known["features.query_items"]
        self.search_model = search_model
        made = match_queries(*inputs, *past, search_model, model, run=self.run, **settings)
        self.tables = {name: stored(frame) for name, frame in made.items()}
        for table in (search.QUERIES, search.QUERY_ITEMS):
            assert not broken(table, self.tables[table.name])

    def queries(self) -> dict[str, Any]:
        return {row.query: row for row in self.tables["features.queries"].collect()}

    def ranked(self, candidates: DataFrame | None = None, **settings: Any) -> dict[str, list[Any]]:
        """The rows of each query in their order."""
        known = self.rows(features.CANDIDATES) if candidates is None else candidates
        tables = self.tables["features.queries"], self.tables["features.query_items"]
        inputs = *tables, self.items, self.stock, self.rows(silver.BLOCKED), self.events, known, self.search_model
        made = {name: stored(frame) for name, frame in rank_searches(*inputs, run=self.run, **settings).items()}
        assert not broken(search.RANKINGS, made["gold.search_rankings"])
        assert not broken(search.BOOSTS, made["gold.search_boosts"])
        self.boosts = made["gold.search_boosts"]
        lists: dict[str, list[Any]] = {}
        for row in made["gold.search_rankings"].orderBy("query", "rank").collect():
            lists.setdefault(row.query, []).append(row)
        return lists


def test_without_a_log_the_catalogues_words_have_rankings(rows, model):
    night = Night(rows, model)
    queries = night.queries()
    assert {"mug", "tea", "red mug"} <= set(queries)
    assert {(row.source, row.searches_28, row.first_on) for row in queries.values()} == {("catalogue", 0, None)}
    lists = night.ranked()
    assert set(lists) == set(queries)
    assert {row.item_id.split("-")[0] for row in lists["tea"][:15]} == {"green tea", "black tea", "tea pot"}
    assert {row.match for row in lists["tea"][:15]} == {"exact"}


def test_a_query_of_few_users_is_read_but_not_published(rows, model):
    few = [search_by(f"u{user}", "Milk  Jugs!") for user in range(4)] + [search_by("u0", "milk jug", 2)]
    many = [search_by(f"u{user}", "grean tea") for user in range(6)]
    guests = [search_by(None, "nobody knows")] * 9
    old = [search_by(f"u{user}", "long ago", 40) for user in range(9)]
    night = Night(rows, model, [*few, *many, *guests, *old], items=catalogue()[:25], head=1)
    queries = night.queries()
    jug = next(row for row in queries.values() if "jug" in row.query)
    assert (jug.searches_28, jug.users_28, jug.first_on) == (5, 4, RUN_DATE - dt.timedelta(days=2))
    assert queries["grean tea"].corrected_query == "green tea"
    assert queries["nobody knows"].users_28 == 1
    assert "long ago" not in queries
    lists = night.ranked()
    assert set(lists) == {row.query for row in queries.values() if row.source == "catalogue"} | {"grean tea"}
    assert lists["grean tea"][0].match == "corrected"
    assert lists["grean tea"][0].searches_28 == 6
    assert "milk" in " ".join(night.ranked(min_users=4))


def test_odd_queries_have_ten_items_like_any_other(rows, model):
    odd = [
        "tea " * 250,
        "\U0001f375\U0001f375",
        "'; DROP TABLE x; --",
        "\u8336",
        "HP-C4872A/100#ABB",
        "\u0447\u0430\u0439",
    ]
    night = Night(rows, model, [search_by(f"u{n}", query) for query in odd for n in range(5)], head=1)
    lists = night.ranked()
    assert len(lists) == len(odd) + 1
    assert min(len(found) for found in lists.values()) >= 10


def test_a_query_whose_items_are_all_out_of_stock_shows_others(rows, model):
    gone = [{"item_id": f"rye bread-{copy}", "location_id": "s", "on_hand": 0} for copy in range(5)]
    bought = [
        {"event_type": "purchase", "user_id": f"u{n}", "item_id": "milk jug-3", "quantity": 1, "unit_price": 1.0}
        | {"event_date": RUN_DATE, "run_date": RUN_DATE}
        for n in range(3)
    ]
    stock = [row | {"snapshot_date": RUN_DATE, "run_date": RUN_DATE} for row in gone]
    lists = Night(rows, model, bought, stock=stock).ranked()
    assert len(lists["rye bread"]) >= 10
    assert not [row for row in lists["rye bread"] if row.item_id.startswith("rye bread")]
    assert not [row for found in lists.values() for row in found if row.item_id.startswith("rye bread")]


def test_a_shop_without_items_or_with_judged_queries_alone(rows, model):
    assert Night(rows, model, items=[]).ranked() == {}
    judged = [{"query": "Red Plates", "item_id": "red plate-1", "rating": 3.0}]
    night = Night(rows, model, judged=judged, head=1)
    row = night.queries()["red plates"]
    assert (row.source, row.users_28) == ("judged", 0)
    assert night.ranked()["red plates"][0].item_id.startswith("red plate")


def test_a_later_run_reads_new_queries_alone(rows, model, monkeypatch):
    first = Night(rows, model, [search_by(f"u{n}", "pots of tea") for n in range(5)])
    kept = first.queries()
    lists = first.ranked()
    asked: list[int] = []
    real = query_match.matched

    def counting(queries: DataFrame, *arguments: Any) -> DataFrame:
        asked.append(queries.count())
        return real(queries, *arguments)

    monkeypatch.setattr(query_match, "matched", counting)
    events = [search_by(f"u{n}", query) for query in ("pots of tea", "mug red") for n in range(7)]
    second = Night(rows, model, events, before=first)
    again = second.queries()
    assert asked == [1]
    assert again["pots of tea"].users_28 == 7
    assert {name: bytes(again[name].vector) for name in kept} == {name: bytes(row.vector) for name, row in kept.items()}
    assert {name: [row.item_id for row in second.ranked()[name]] for name in ("mug", "tea")} == {
        name: [row.item_id for row in lists[name]] for name in ("mug", "tea")
    }
    asked.clear()
    third = Night(rows, model, events, before=second)
    assert third.queries().keys() == again.keys()
    assert asked == []
    changed = catalogue()[:-5]
    Night(rows, model, events, items=changed, before=third)
    assert asked[0] > 10


def test_a_users_list_is_the_join_of_two_tables(rows, model, spark):
    """Of 1,000 pairs of a user and a query: the same ten items as the model gives pair by pair."""
    draw = np.random.default_rng(5)
    night = Night(rows, model, head=50)
    pairs = [
        {"user_id": f"u{user}", "item_id": item["item_id"], "score": float(draw.uniform(0.001, 0.4))}
        | {"times_bought": int(times), "last_bought_on": RUN_DATE - dt.timedelta(days=int(draw.integers(1, 200)))}
        | {"usual_gap": float(draw.uniform(3, 60)), "recent_buyers": int(draw.integers(0, 30)), "sources": ["x"]}
        for user in range(80)
        for item, times in zip(catalogue(), draw.integers(0, 4, 40), strict=True)
        if draw.random() < 0.4
    ]
    candidates = rows(features.CANDIDATES, *pairs)
    lists = night.ranked(candidates)
    night.boosts.createOrReplaceTempView("boosts")
    ranking = [(query, row.rank, row.item_id, row.score_logit) for query, found in lists.items() for row in found]
    spark.createDataFrame(
        ranking, "query STRING, rank INT, item_id STRING, score_logit DOUBLE"
    ).createOrReplaceTempView("rankings")
    users = [f"u{user}" for user in range(80)]
    each = -(-1000 // len(lists))
    wanted = [(users[place], query) for query in sorted(lists) for place in draw.permutation(80)[:each]]
    spark.createDataFrame(wanted, "user_id STRING, query STRING").distinct().createOrReplaceTempView("pairs")
    joined = spark.sql(
        "SELECT * FROM (SELECT p.user_id, p.query, r.item_id, row_number() OVER (PARTITION BY p.user_id, p.query "
        "ORDER BY r.score_logit + coalesce(b.boost, 0) DESC, r.rank) AS place FROM pairs p JOIN rankings r "
        "ON r.query = p.query LEFT JOIN boosts b ON b.user_id = p.user_id AND b.item_id = r.item_id) WHERE place <= 10"
    )
    shown: dict[tuple[str, str], list[str]] = {}
    for row in joined.orderBy("place").collect():
        shown.setdefault((row.user_id, row.query), []).append(row.item_id)
    assert len(shown) >= 1000
    known = {(pair["user_id"], pair["item_id"]): pair for pair in pairs}
    for (user, query), items in shown.items():
        assert items == by_the_model(lists[query], user, known), (user, query)


def by_the_model(found: list[Any], user: str, known: dict[tuple[str, str], dict[str, Any]]) -> list[str]:
    """The first ten of a query's items for a user, scored by themselves."""
    pairs = pd.DataFrame([pair for (of, _), pair in sorted(known.items()) if of == user])
    boost = np.round(untrained().boost(user_features(pairs, RUN_DATE)), 6)
    added = dict(zip(pairs["item_id"], boost, strict=True))
    scored = sorted((-(row.score_logit + added.get(row.item_id, 0.0)), row.rank, row.item_id) for row in found)
    return [item for _, _, item in scored[:10]]


def test_judged_queries_are_compared_with_plain_rankings(rows, model):
    judged = [
        {"query": query, "item_id": f"{query}-{copy}", "rating": 3.0}
        for query in ("red mug", "milk jug")
        for copy in (0, 1)
    ]
    night = Night(rows, model, judged=[*judged, {"query": "green tea", "item_id": "green tea-1", "rating": 0.0}])
    shown = [row.asDict() for found in night.ranked().values() for row in found]
    names = ("query", "rank", "item_id")
    lists = rows(search.RANKINGS, *({name: row[name] for name in names} for row in shown))
    pages: dict[str, str] = {}
    run = replace(night.run, write_page=pages.__setitem__)
    tables = night.tables["features.queries"], night.tables["features.query_items"]
    made = evaluate_searches(rows(searched.JUDGEMENTS, *judged), *tables, lists, run=run)
    assert not broken(search.SEARCH_METRICS, made)
    found = {(row.contender, row.metric): row for row in made.collect()}
    assert {name for name, _ in found} == {"nightshelf", "BM25F", "cosine", "RRF of both"}
    assert found["nightshelf", "ndcg@10"].queries == 2
    assert found["BM25F", "ndcg@10"].value == 1
    assert "lead of nightshelf" in pages[f"evaluation/search_{RUN_DATE}.html"]
    with pytest.raises(TooEarlyError, match="no judged query has a ranking"):
        evaluate_searches(rows(searched.JUDGEMENTS, *judged), *tables, rows(search.RANKINGS), run=run)
