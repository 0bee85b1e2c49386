"""A night judged by the four weeks after it: every figure can be computed again from the tables."""

from __future__ import annotations

import math
import re
from pathlib import Path

import polars as pl
import pytest
from pyspark.sql import SparkSession

from jobs.commands import night
from jobs.offline.contenders import PUBLISHED
from jobs.offline.judged_night import FROZEN, LISTED, PARTS, TUNED, TUNED_OF, WHOLE, ZERO_SHOT
from jobs.offline.training_data import collect
from jobs.runner.lake import Lake
from schemas.deployment import load
from tests.nights.test_intake import list_items, put
from tests.nights.test_night import intake
from tests.support import tiny_shop
from udfs.days import day_number
from udfs.recommend import ranker, scoring
from udfs.recommend.feature_meanings import FEATURES, group_of
from udfs.recommend.peer_grids import PEERS
from udfs.recommend.sample_budget import SampleBudget

JUDGED = -28  # the night; its model is trained on what came before


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> Path:
    """The lake of a tiny shop of which one night was run and then judged."""
    root = tmp_path_factory.mktemp("judged")
    conf = tiny_shop.make(root, days=1, pinned_base=True)  # one whole night has the six layers that shops have
    flags = ["--run-date", str(tiny_shop.day(JUDGED)), "--conf", str(conf)]
    assert night.main([*flags, "--train", "missing"]) == 0
    assert night.main([*flags, "--only", "evaluation"]) == 0
    return root / "lake"


def read(lake: Path, table: str) -> pl.DataFrame:
    return pl.read_delta(str(lake / table.replace(".", "/")))


def purchases(lake: Path) -> pl.DataFrame:
    return read(lake, "silver.events").filter((pl.col("event_type") == "purchase") & pl.col("user_id").is_not_null())


def test_the_importance_of_every_feature_is_a_row(judged: Path) -> None:
    rows = read(judged, "ops.importances")
    assert dict(rows.select("feature", "group").iter_rows()) == {name: group_of(name) for name in FEATURES}
    assert rows["mean_abs"].min() >= 0
    assert rows["mean_abs"].sum() > 0
    assert rows["model_version"].n_unique() == 1


def test_ndcg_can_be_computed_again_from_the_tables(judged: Path) -> None:
    lists, figures, bought = read(judged, "ops.evaluation_lists"), read(judged, "ops.metrics"), purchases(judged)
    cut = tiny_shop.day(JUDGED + 1)
    assert set(figures["cut_date"]) == {cut}
    assert set(figures["run_date"]) == {tiny_shop.day(0)}
    before, after = bought.filter(pl.col("event_date") < cut), bought.filter(pl.col("event_date") >= cut)
    own = {user: set(rows["item_id"]) for (user,), rows in before.group_by("user_id")}
    later = {user: set(rows["item_id"]) for (user,), rows in after.group_by("user_id") if user in own}
    told = figures.filter((pl.col("metric") == "ndcg@10") & (pl.col("slice") == "all"))
    assert told.height > 20
    for row in told.rows(named=True):
        mine = lists.filter((pl.col("task") == row["task"]) & (pl.col("contender") == row["contender"]))
        ranked = {user: rows.sort("rank")["item_id"].to_list() for (user,), rows in mine.group_by("user_id")}
        values = []
        for user, truth in later.items():
            wanted = truth - own[user] if row["task"] == "B" else truth
            if not wanted:
                continue
            gain = sum(1 / math.log2(at + 2) for at, item in enumerate(ranked.get(user, [])) if item in wanted)
            values.append(gain / sum(1 / math.log2(at + 2) for at in range(min(10, len(wanted)))))
            if row["task"] == "B":
                assert not own[user] & set(ranked.get(user, []))
        assert row["user_count"] == len(values)
        assert row["value"] == pytest.approx(sum(values) / len(values)), row["contender"]
        assert row["low"] <= row["value"] <= row["high"]


def test_every_peer_and_every_ablation_stands_beside_the_night(judged: Path) -> None:
    names = set(read(judged, "ops.metrics")["contender"])
    assert {
        "nightshelf",
        "nightshelf, diversity 0.3",
        "nightshelf, long tail 0.5",
        PUBLISHED,
        WHOLE + LISTED,
        TUNED + LISTED,
        "BERT fine-tuned",
        "BERT zero-shot + popularity",
    } <= names
    assert {name.split(" + ")[0] for name in names} >= set(PEERS)
    assert {f"refit without {part}" for part in PARTS} <= names
    worth = read(judged, "ops.metrics").filter(pl.col("metric") == "worth_ndcg@10")
    assert set(worth["contender"]) == {f"refit without {part}" for part in PARTS}


def test_fine_tuning_is_judged_against_the_same_architecture_frozen(judged: Path) -> None:
    figures = read(judged, "ops.metrics").filter(pl.col("slice") == "all")
    ndcg = figures.filter(pl.col("metric") == "ndcg@10")
    value = {(row["task"], row["contender"]): row["value"] for row in ndcg.rows(named=True)}
    worth = figures.filter(pl.col("metric") == "tuning_worth_ndcg@10").rows(named=True)
    assert {(row["task"], row["contender"]) for row in worth} == {(task, name) for task in "AB" for name in TUNED_OF}
    for row in worth:
        tuned, frozen = value[row["task"], TUNED_OF[row["contender"]]], value[row["task"], row["contender"]]
        assert row["value"] == pytest.approx(tuned / frozen - 1)
        assert row["low"] <= row["value"] <= row["high"]


def test_diversity_makes_lists_less_alike(judged: Path) -> None:
    found = read(judged, "ops.metrics").filter((pl.col("task") == "A") & (pl.col("metric") == "diversity"))
    value = dict(found.select("contender", "value").iter_rows())
    assert value["nightshelf"] < value["nightshelf, diversity 0.1"] < value["nightshelf, diversity 0.3"]


def test_everybodys_lists_show_what_the_tables_say(judged: Path) -> None:
    found = read(judged, "ops.metrics").filter(pl.col("metric") == "coverage_everyone")
    value = {(row["task"], row["contender"]): row["value"] for row in found.rows(named=True)}
    candidates = read(judged, "features.candidates").sort("user_id", -pl.col("score"), "item_id")
    sold = set(purchases(judged).filter(pl.col("event_date") < tiny_shop.day(JUDGED + 1))["item_id"])
    for task, rows in (("A", candidates), ("B", candidates.filter(pl.col("times_bought") == 0))):
        shown = set(rows.group_by("user_id", maintain_order=True).head(10)["item_id"])
        assert value[task, "nightshelf"] == pytest.approx(len(shown & sold) / len(sold))
        assert value[task, "nightshelf, long tail 0.5"] >= value[task, "nightshelf"]
    published = set(read(judged, "gold.recommendations").filter(pl.col("rank") <= 10)["item_id"])
    assert value["A", PUBLISHED] == pytest.approx(len(published & sold) / len(sold))


def test_the_published_list_is_what_was_published(judged: Path) -> None:
    gold = read(judged, "gold.recommendations").filter(pl.col("rank") <= 10)
    lists = read(judged, "ops.evaluation_lists").filter(pl.col("contender") == PUBLISHED)
    columns = ["user_id", "rank", "item_id"]
    users = lists["user_id"].unique()
    expected = gold.filter(pl.col("user_id").is_in(users.to_list())).select(columns).sort(columns)
    assert lists.select(columns).sort(columns).rows() == expected.rows()


def test_the_page_has_figures_and_no_person(judged: Path) -> None:
    pages = {page.stem: page.read_text() for page in (judged / "evaluation").glob("*.html")}
    assert set(pages) == {str(tiny_shop.day(JUDGED + 1)), f"profiles_{tiny_shop.day(0)}"}
    text = pages[str(tiny_shop.day(JUDGED + 1))]
    best = re.search("nightshelf over ([^,]*), the best peer", text)
    assert best is not None
    assert best[1].split(" + ")[0] in {*PEERS, TUNED, FROZEN, ZERO_SHOT}
    every = "".join(pages.values())
    assert not [user for user in range(1, 25) if f"U{user:02d}<" in every or f">U{user:02d}" in every]


def test_two_months_later_the_night_is_rebuilt_as_it_was(judged: Path, tmp_path: Path, spark: SparkSession) -> None:
    """Late sales, returns, and a catalogue that lists and drops items change nothing of a past night."""
    conf = tiny_shop.copied(judged.parent, tmp_path / "later")
    day = tiny_shop.day
    scored = read(judged, "features.candidates")
    bought = purchases(judged).filter(pl.col("event_date") <= day(JUDGED)).sort("occurred_at", "event_id")
    first, *_, last = bought.rows(named=True)
    late = [f"late {number},U{number:02d},S01,1,2,T0,{day(JUDGED)} 09:00:00" for number in range(1, 25)]
    returned = [
        f"back {row['event_id']},{row['user_id']},{row['item_id']},-{row['quantity']},2,,{day(1)} 09:00:00"
        for row in (last, first)
    ]
    for number, lines in ((JUDGED + 3, late), (1, returned), (32, tiny_shop.sales(day(32)))):
        put(conf, number, *lines)
    gone = set(list(tiny_shop.skus())[:3])
    listed = [f"{sku},{name},{kind}" for sku, (name, kind) in tiny_shop.skus().items() if sku not in gone]
    list_items(conf, 30, *listed, "S99,figs,fruit")
    conf.write_text(conf.read_text().replace("[sources.items]", "[sources.items]\nfull = true", 1))
    intake(conf, spark, 32)
    later = Lake(spark, load(conf))
    events, items = later.up_to("silver.events", day(32)), later.of_days("silver.items", [day(32)])
    assert items.where("NOT active").count() == len(gone)

    days = [day_number(day(number)) + 1 for number in (JUDGED, 32)]
    shop = collect(events, items, SampleBudget(), later.deployment, day(32), days)
    known = shop.with_vectors_of(read(judged, "features.item_vectors").to_pandas())
    night = shop.past_night(known, days[0])
    (folder,) = (judged / "models").glob("2*")
    score = ranker.score(scoring.read_ranker(str(folder)), night.night.features, night.pairs.user)
    users, ids = shop.interactions.users[night.pairs.user], known.items[night.pairs.item]
    rebuilt = dict(zip(zip(users, ids, strict=True), score, strict=True))
    assert rebuilt == pytest.approx({(row["user_id"], row["item_id"]): row["score"] for row in scored.rows(named=True)})
    today = shop.past_night(known, days[1])
    assert len(today.pairs.user) != len(rebuilt), "what came later is seen by later nights"


def test_a_night_that_never_ran_cannot_be_judged(tiny_shop_conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--run-date", str(tiny_shop.day(JUDGED)), "--conf", str(tiny_shop_conf), "--only", "evaluation"]
    assert night.main(flags) == 4, "too early, which a scheduler skips"
    assert "features.candidates has no partition" in capsys.readouterr().err
