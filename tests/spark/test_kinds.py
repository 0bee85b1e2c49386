"""No kind of raw file is required, and several sources may be of one kind: what a deployment runs follows from them."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from jobs.commands import night
from jobs.flow import EVALUATION, JOBS, NIGHT, TRAINING, lacking, needs, stands
from jobs.runner import run_job
from jobs.runner.lake import Lake
from jobs.runner.pending_days import work_of
from schemas.deployment import load
from schemas.errors import ConfError
from tests.nights.test_night import read
from tests.support import tiny_shop

RUN_DATE = tiny_shop.day(13)
OF_ITEMS = {"ingest_logs", "clean_items", "encode_items", "match_queries", "rank_searches", "publish_night"}
OF_ITEMS |= {"relate_items"}
OF_EVENTS = {"ingest_logs", "clean_events", "build_default_recommendations", "find_trends", "forecast_demand"}
OF_EVENTS |= {"find_suspects", "profile_users", "publish_night"}


def part(text: str, name: str) -> str:
    """[sources.<name>] of a deployment's TOML, with all that belongs to it."""
    start = text.index(f"[sources.{name}]")
    ends = [text.find(mark, start + 1) for mark in ("[sources.", "[jobs.")]
    while text[ends[0] :].startswith(f"[sources.{name}."):
        ends[0] = text.find("[sources.", ends[0] + 1)
    return text[start : min(end for end in ends if end > 0)]


def without(conf: Path, name: str) -> Path:
    text = conf.read_text()
    conf.write_text(text.replace(part(text, name), ""))
    return conf


# -- what runs and which tables there are ---------------------------------------------------------------------------


@pytest.mark.parametrize(("kinds", "runs"), [(("items",), OF_ITEMS), (("events",), OF_EVENTS)])
def test_a_deployment_of_one_kind_runs_the_jobs_that_it_suffices_for(kinds, runs):
    assert {job.name for job in NIGHT if not lacking(job, kinds)} == runs
    trains = {job.name for job in TRAINING + EVALUATION if not lacking(job, kinds)}
    of_events = {"train_demand", "train_profiles", "evaluate_profiles"}
    assert trains == (of_events if "events" in kinds else {"train_searches"})
    for job in NIGHT:
        for table in job.writes:
            own = {"bronze.items": "items", "bronze.events": "events"}.get(table)
            expected = own in kinds if own else job.name in runs and table != "bronze.records"
            assert stands(table, kinds) is expected, table


def test_what_a_job_needs_follows_from_what_it_reads():
    found = {job.name: set(needs(job)) for job in JOBS.values()}
    both = {"events", "items"}
    assert found["clean_stock"] == {"stock"}
    assert found["clean_campaigns"] == {"campaigns"}, "not campaign_items"
    assert found["encode_users"] == found["score_candidates"] == found["train_model"] == both
    assert found["encode_items"] == found["rank_searches"] == {"items"}, "the published weights will do"
    assert found["plan_stock"] == {"events", "stock"}, "not the costs of transfers"
    assert found["build_audiences"] == {*both, "campaigns"}, "not ad_events"
    assert found["publish_night"] == found["maintain_tables"] == found["ingest_logs"] == set()
    assert found["backtest_plans"] == found["evaluate_recommendations"] == both


# -- deployments ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "[sources.events]",
            '[sources.events]\nkind = "orders"',
            r"\[sources.events\] kind = 'orders': unknown; kinds",
        ),
        (
            "[sources.events",
            "[sources.orders",
            r"\[sources.orders\] unknown source without a kind; kinds are events, i",
        ),
        (
            "[sources.events]",
            '[sources.events]\nkind = "users"',
            r"\[sources.events.map\] occurred_at: no such column;",
        ),
        ("[sources.events]", "[sources.events]\nkind = 1", "sources.events.kind: Input should be a valid string, not"),
    ],
)
def test_a_kind_that_does_not_fit_is_refused_with_file_and_key(tmp_path, old, new, message):
    conf = tiny_shop.make(tmp_path, days=1)
    conf.write_text(conf.read_text().replace(old, new))
    with pytest.raises(ConfError, match=message) as caught:
        load(conf)
    assert str(caught.value).startswith(f"{conf}: ")


def test_a_deployment_without_any_source_is_refused(tmp_path):
    conf = without(without(tiny_shop.make(tmp_path, days=1), "events"), "items")
    conf.write_text(f"{conf.read_text()}\n[sources]\n")
    with pytest.raises(ConfError, match=r"\[sources.<kind>\] is missing: there must be one; kinds are events, items"):
        load(conf)


# -- a night --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_night_of_items_alone(tmp_path, spark, capsys):
    conf = without(tiny_shop.make(tmp_path, days=1), "events")
    date = tiny_shop.day(tiny_shop.EARLIER[0])
    assert night.main(["--run-date", str(date), "--conf", str(conf)]) == 0
    said = capsys.readouterr().out
    assert "skipped: train_model" not in said
    assert "skipped: encode_users, for tiny_shop has no [sources.events]" in said
    assert "scored:" not in said
    assert "recommendations" not in said.split("published:")[1]
    lists = read(conf, "gold.search_rankings")
    assert set(lists["model_version"].str.slice(0, 10)) == {"published-"}
    assert lists.filter(pl.col("rank") == 1).height == lists["query"].n_unique() >= 5
    assert read(conf, "gold.search_boosts").height == 0
    assert read(conf, "silver.items").height == len(tiny_shop.skus())
    rejected = read(conf, "silver.rejected_items")
    assert rejected["codes"].to_list() == [["own.no_product"]]
    tables = {path.relative_to(tmp_path / "lake").parts[:2] for path in (tmp_path / "lake").glob("*/*/_delta_log")}
    assert {layer for layer, _ in tables} == {"bronze", "silver", "features", "ops", "gold"}
    assert ("silver", "events") not in tables
    assert night.main(["--run-date", str(date), "--conf", str(conf), "--train", "missing"]) == 0
    assert "train_model" in capsys.readouterr().out


@pytest.mark.slow
def test_a_night_of_events_alone(tmp_path, spark, capsys):
    new = [f"n{number},U{number:02},X99,1,1.5,T0,{RUN_DATE} 10:00:00" for number in range(1, 25)]
    nameless = f"z,U01,,1,1.5,T0,{RUN_DATE} 10:00:00"
    conf = without(tiny_shop.make(tmp_path, days=14, dirt={13: [*new, nameless]}), "items")
    conf.write_text(f"{conf.read_text()}\n[jobs.forecast_demand]\ntrees = 5\n")
    assert night.main(["--run-date", str(RUN_DATE), "--conf", str(conf)]) == 0
    said = capsys.readouterr().out
    assert "skipped: rank_recommendations, for tiny_shop has no [sources.items]" in said
    assert read(conf, "silver.events").filter(pl.col("item_id") == "X99").height == 24, "no catalogue to be missing in"
    assert read(conf, "silver.rejected_events")["codes"].to_list() == [["item_named"]]
    lists = read(conf, "gold.default_recommendations")
    assert lists.filter((pl.col("segment_name") == "overall") & (pl.col("rank") == 1))["item_id"].to_list() == ["X99"]
    assert "X99" in set(read(conf, "gold.demand_forecast")["item_id"])
    published = read(conf, "ops.publications").filter(pl.col("current"))["table_name"]
    assert set(published) == {
        "gold.default_recommendations",
        "gold.demand_forecast",
        "gold.demand_profile",
        "gold.item_demand",
        "gold.search_trends",
        "gold.segments",
        "gold.user_profiles",
    }
    lake = Lake(spark, load(conf))
    assert work_of(lake, JOBS["clean_events"], RUN_DATE).days == [RUN_DATE]


# -- several sources of one kind ------------------------------------------------------------------------------------

WEB = """
[sources.web]
kind = "events"
files = "web/*"
columns = ["order", "login", "article", "pieces", "each", "moment"]
delimiter = ";"

[sources.web.map]
event_id = "concat('web ', order)"
occurred_at = "moment"
user_id = "login"
item_id = "article"
quantity = "pieces"
unit_price = "each"
event_type = "'purchase'"

[sources.web.reject]
"a test order" = "log.login = 'test'"

[sources.users]
files = "people/*"
columns = ["name", "town"]

[sources.users.map]
user_id = "name"
attributes = "map('town', town)"

[sources.app]
kind = "users"
files = "app/*"
columns = ["phone", "login"]

[sources.app.map]
user_id = "login"
attributes = "map('phone', phone)"

"""


@pytest.fixture
def two_sources(tmp_path: Path) -> Path:
    """A shop with till lines and web orders, and customers from two systems."""
    conf = tiny_shop.make(tmp_path, days=2)
    conf.write_text(conf.read_text().replace("[sources.items]", f"{WEB}[sources.items]"))
    put(conf, "web", 1, "order;login;article;pieces;each;moment", "1;U01;S01;2;1.5", "2;test;S02;1;1", "1;U02;S03;1;1")
    put(conf, "people", 0, "name,town", "U01,north")
    put(conf, "app", 0, "phone,login", "+1,U02", "+2,")
    return conf


def put(conf: Path, folder: str, number: int, header: str, *lines: str) -> None:
    moment = f";{tiny_shop.day(number)} 10:00:00" * (folder == "web")
    (conf.parent / "landing" / folder).mkdir(exist_ok=True)
    file = conf.parent / "landing" / folder / f"{folder}_{tiny_shop.day(number)}.csv"
    file.write_text("\n".join([header, *(f"{line}{moment}" for line in lines)]) + "\n")


@pytest.mark.slow
def test_several_sources_of_a_kind_land_together_each_read_its_own_way(two_sources, spark):
    conf, lake, (d0, d1) = two_sources, Lake(spark, load(two_sources)), map(tiny_shop.day, (0, 1))

    def run(*jobs: str) -> None:
        for job in jobs:
            run_job.run(job, lake, d1)

    run("ingest_logs", "clean_items", "clean_events", "clean_users")
    web = {"event_id": ["web 1"], "user_id": ["U01"], "item_id": ["S01"], "quantity": [2], "unit_price": [1.5]}
    events = read(conf, "silver.events")
    found = events.filter(pl.col("source_file").str.starts_with("web"))
    assert found.select(*web).to_dict(as_series=False) == web
    assert events.filter(pl.col("run_date") == d1, pl.col("source_file").str.starts_with("sales")).height == len(
        tiny_shop.sales(d1)
    )
    rejected = read(conf, "silver.rejected_events").sort("source_row")
    assert rejected["codes"].to_list() == [["own.a_test_order"], ["duplicate"]]
    day = read(conf, "silver.cleaned_days").filter(pl.col("run_date") == d1).rows(named=True)[0]
    assert (day["rows_in"], day["rows_rejected"]) == (len(tiny_shop.sales(d1)) + 3, 2)
    files = read(conf, "bronze.files").filter(pl.col("run_date") == d1)
    assert set(files["source"]) == {"events", "web"}
    assert set(read(conf, "bronze.events")["source"]) == {"events", "web"}
    users = {row["user_id"]: dict(row["attributes"]) for row in read(conf, "silver.users").rows(named=True)}
    assert users == {"U01": {"town": "north"}, "U02": {"phone": "+1"}}
    assert read(conf, "silver.rejected_users")["codes"].to_list() == [["user_id_present"]]

    put(conf, "web", 0, "order;login;article;pieces;each;moment", "1;U03;S01;2;1.5")  # late: its day is cleaned again
    run("ingest_logs")
    assert work_of(lake, JOBS["clean_events"], d1).days == [d0, d1]
    run("clean_events")
    found = read(conf, "silver.events").filter(pl.col("source_file").str.starts_with("web")).sort("run_date")
    assert found["user_id"].to_list() == ["U03", "U01"]

    conf.write_text(conf.read_text().replace('files = "web/*"', 'files = "*/sales_2024-03-02.csv"'))
    with pytest.raises(ConfError, match=r"sales_2024-03-02.csv matches files of \[sources.events\] and of \[sources.w"):
        run_job.run("ingest_logs", Lake(spark, load(conf)), d1)


def test_records_without_a_source_are_of_the_source_named_like_the_kind(two_sources, rows):
    from jobs.transforms.mapping import mapped
    from schemas import bronze

    old = ["1", "U01", "S01", "2", "3.0", "T0", f"{tiny_shop.day(0)} 10:00:00"]
    web = ["9", "U02", "S02", "1", "1.0", f"{tiny_shop.day(0)} 10:00:00"]
    records = rows(
        bronze.EVENTS,
        {"fields": old, "source": None},
        {"fields": web, "source": "web"},
    )
    found = mapped(records, load(two_sources), "events").orderBy("user_id").select("user_id", "location_id", "event_id")
    assert [tuple(row) for row in found.collect()] == [("U01", "T0", None), ("U02", None, "web 9")]
