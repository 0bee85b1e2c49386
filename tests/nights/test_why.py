"""Why an item is, or is not, on a user's list: of a night that has been run, and of nights in which much is missing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pyspark.sql import SparkSession

from jobs.commands import why
from jobs.commands.why import explain
from jobs.reports.why import Why
from jobs.runner import run_job
from jobs.runner.lake import Lake
from schemas.blocked import Blocked
from schemas.deployment import load
from schemas.errors import ConfError, DataError
from tests.nights.test_night import read
from tests.support import tiny_shop

NIGHT = tiny_shop.day(13)
USER = "U01"


def rows_of(conf: Path, table: str) -> list[dict[str, Any]]:
    """The user's rows of the night."""
    mine = read(conf, table).filter((pl.col("run_date") == NIGHT) & (pl.col("user_id") == USER))
    return mine.rows(named=True)


def lake_with(conf: Path, spark: SparkSession, **changed: Any) -> Lake:
    return Lake(spark, load(conf).model_copy(update=changed))


def test_listed_items_have_their_place_factors_and_purchases(shop: Path, spark: SparkSession) -> None:
    lake, listed = lake_with(shop, spark), sorted(rows_of(shop, "gold.recommendations"), key=lambda row: row["rank"])
    assert len(listed) > 3
    own = next(row for row in listed if row["is_repeat"])
    days = read(shop, "silver.events").filter(
        (pl.col("user_id") == USER) & (pl.col("item_id") == own["item_id"]) & (pl.col("event_date") <= NIGHT)
    )["event_date"]
    found = explain(lake, USER, own["item_id"], NIGHT)
    assert f"is on the list, place {own['rank']} of {len(listed)}: {own['reason']}" in found.verdict[0]
    assert [name for name, _ in found.factors][-2:] == ["other", "base"]
    assert abs(sum(value for _, value in found.factors) - own["raw_score"]) < 1e-9
    assert found.behind is not None
    assert list(found.behind.days) == sorted(set(days), reverse=True)
    assert found.now is not None
    assert found.now.place == own["rank"], "the models are fitted again as they were"
    assert found.notes == []
    (without, *_) = found.what_if.values()
    assert "own" in found.now.sources
    assert "own" not in without.sources, "nothing of its habit is left"
    assert without.raw != found.now.raw
    text = "\n".join(found.lines())
    assert "purchases behind the reason: " in text
    assert f"now: place {own['rank']} of {found.now.of}, probability {own['score']:.4f}" in text


def test_every_candidate_is_placed_as_the_night_placed_it(shop: Path, spark: SparkSession) -> None:
    scored = sorted(rows_of(shop, "features.candidates"), key=lambda row: (-row["score"], row["item_id"]))
    last = scored[-1]
    lake = lake_with(shop, spark, jobs={"rank_recommendations": {"top_k": 2}})
    run_job.run("rank_recommendations", lake, NIGHT)
    found = explain(lake, USER, last["item_id"], NIGHT)
    assert (
        f"is not on the list: place {len(scored)} of the {len(scored)} stored candidates; the list has 2"
        in (found.verdict[0])
    )
    assert "proposed by " in found.verdict[1]
    assert found.now is not None
    assert (found.now.place, found.now.of, found.notes) == (len(scored), len(scored), [])
    assert abs((found.now.score or 0) - last["score"]) <= 1e-9
    assert any(name.startswith("with ") for name in found.what_if), "purchases more that might bring it there"


def test_rules_are_named(shop: Path, spark: SparkSession) -> None:
    item = rows_of(shop, "gold.recommendations")[0]["item_id"]
    title, kind = tiny_shop.skus()[item]

    def said(**changed: Any) -> str:
        lake = lake_with(shop, spark, **changed)
        run_job.run("rank_recommendations", lake, NIGHT)
        return explain(lake, USER, item, NIGHT).verdict[0]

    blocked = said(blocked=[Blocked(reason="not for minors", items=[item])])
    assert blocked == f"{title} ({item}) is not on the list: it is blocked by [[blocked]]: not for minors"
    excluded = said(jobs={"rank_recommendations": {"exclude": f"category = '{kind}'"}})
    assert excluded.endswith(f"it is excluded by [jobs.rank_recommendations] exclude: category = '{kind}'")


def test_who_or_what_is_unknown_is_said(shop: Path, spark: SparkSession) -> None:
    lake = lake_with(shop, spark)
    assert "X77 is not in silver.items" in explain(lake, USER, "X77", NIGHT).verdict[0]
    assert "the user has no purchase up to" in explain(lake, "stranger", "S01", NIGHT).verdict[0]
    with pytest.raises(ConfError, match=r"features.candidates has no rows of run_date=2023-01-01"):
        explain(lake, USER, "S01", NIGHT.replace(year=2023, month=1, day=1))


def test_without_the_models_folder_the_tables_still_answer(shop: Path, spark: SparkSession) -> None:
    listed = rows_of(shop, "gold.recommendations")[0]
    shutil.rmtree(shop.parent / "lake" / "models")
    found = explain(lake_with(shop, spark), USER, listed["item_id"], NIGHT)
    assert "is on the list" in found.verdict[0]
    assert found.factors
    assert any(f"no counterfactuals: {shop.parent}" in note or listed["model_version"] in note for note in found.notes)
    assert (found.now, dict(found.what_if)) == (None, {})
    assert found.behind is not None or listed["reason_item_id"] is None


def test_the_command_prints_the_answer_and_refuses_to_guess(
    shop: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(why, "session", lambda *_, **__: spark)
    monkeypatch.setattr(why, "explain", lambda *given: Why([f"asked for {given[1]} and {given[2]}"]))
    line = ["--item", "S01", "--run-date", str(NIGHT), "--conf", str(shop)]
    assert why.main(["--user", "U 1", *line]) == 0
    assert capsys.readouterr().out == "asked for U 1 and S01\n"
    assert why.main(["--user", "", *line]) == 2
    assert "USER= is missing" in capsys.readouterr().err


def test_a_night_of_a_shop_that_blocks_shows_none_and_checks_it(shop: Path, spark: SparkSession) -> None:
    text = shop.read_text()
    shop.write_text(text + '\n[[blocked]]\nreason = "recall"\nitems = ["S01", "S99"]\n')
    lake = lake_with(shop, spark)
    shown = {
        "gold.recommendations": "item_id",
        "gold.similar_items": "similar_item_id",
        "gold.search_boosts": "item_id",
        "gold.default_recommendations": "item_id",
        "gold.search_rankings": "item_id",
        "gold.search_trends": "key",
        "gold.context_recommendations": "item_id",
    }
    assert any("S01" in set(read(shop, table)[column]) for table, column in shown.items()), "it was shown before"
    jobs = ("clean_items", "rank_recommendations", "find_similar_items", "build_default_recommendations")
    for job in (*jobs, "rank_searches", "find_trends", "recommend_in_context"):
        run_job.run(job, lake, NIGHT)
    for table, column in shown.items():
        rows = read(shop, table).filter(pl.col("run_date") == NIGHT)
        assert rows.height or table == "gold.search_trends"
        assert "S01" not in set(rows[column]), table
    checks = read(shop, "ops.checks")
    of_blocked = checks.filter(pl.col("check_name") == "no_blocked_item")
    assert set(of_blocked["table_name"]) >= set(shown) - {"gold.search_trends"}
    known = checks.filter(pl.col("check_name") == "blocked_known")
    assert known["passed"].to_list() == [False]

    lake = lake_with(shop, spark, blocked=[Blocked(reason="a slip", column="category", like="%")])
    with pytest.raises(DataError, match=r"at most a fifth of the catalogue: of 30 items 'a slip' .* blocks 30"):
        run_job.run("clean_items", lake, NIGHT)
