"""A night that ends in a forecast, stock actions and ad audiences: each table as its readers need it."""

from __future__ import annotations

from collections import defaultdict

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pyspark.sql import functions as F

from jobs.backtest_plans import campaigns_to_judge, vectors_before
from jobs.build_audiences import is_control, room
from jobs.flow import INTAKE, PLANNING, PUBLISHING
from jobs.runner import run_job
from jobs.runner.lake import Lake
from schemas import silver
from schemas.deployment import load
from schemas.errors import ConfError
from schemas.features import ITEM_VECTORS
from tests.conftest import run_of
from tests.support import tiny_shop
from udfs.audiences import allocation
from udfs.audiences.backtest import OURS, UNREAD

NIGHT = tiny_shop.day(13)


@pytest.fixture(scope="module")
def planned(tmp_path_factory, trained_shop, spark):
    conf = tiny_shop.copied(trained_shop, tmp_path_factory.mktemp("planned") / "shop")
    tiny_shop.add_plans(conf)
    lake = Lake(spark, load(conf))
    for job in (*INTAKE, *PLANNING, *PUBLISHING):
        run_job.run(job.name, lake, NIGHT)
    return conf


def table(conf, name: str) -> pl.DataFrame:
    frame = pl.read_delta(str(conf.parent / "lake" / name.replace(".", "/")))
    return frame.filter(pl.col("run_date") == NIGHT)


def test_every_pair_sold_in_26_weeks_has_four_weeks_and_every_day_a_share(planned):
    found = table(planned, "gold.demand_forecast")
    sold = pl.read_delta(str(planned.parent / "lake" / "silver" / "events")).filter(pl.col("run_date") <= NIGHT)
    pairs = set(sold.filter(pl.col("event_type") == "purchase").select("location_id", "item_id").rows())
    weeks = found.group_by("location_id", "item_id").agg(pl.col("target_week").sort().alias("weeks"))
    assert set(weeks.select("location_id", "item_id").rows()) == pairs
    assert all(row == [tiny_shop.day(14 + 7 * week) for week in range(4)] for row in weeks["weeks"].to_list())
    days = found.join(table(planned, "gold.demand_profile"), on="category", nulls_equal=True)
    since = (pl.col("target_date") - pl.col("target_week")).dt.total_days()
    days = days.filter(since.is_between(0, 6))
    assert len(days) == 28 * len(pairs)
    by_week = days.group_by("location_id", "item_id", "target_week").agg(pl.col("share").sum())
    assert by_week["share"].to_list() == pytest.approx([1.0] * len(by_week))
    assert found.filter((pl.col("p10") > pl.col("p50")) | (pl.col("p50") > pl.col("p90"))).is_empty()
    lately = sold.filter(pl.col("event_date") > tiny_shop.day(-1))["quantity"].cast(float).sum()
    assert 0.5 * lately < found["expected_units"].sum() / 2 < 1.5 * lately, "about as much a fortnight as in the last"


def test_stock_actions_can_be_checked_by_hand(planned):
    actions = table(planned, "gold.inventory_actions")
    stock = table(planned, "silver.stock")
    assert set(actions.select("location_id", "item_id").rows()) == set(stock.select("location_id", "item_id").rows())
    assert set(actions["action"]) >= {"ok", "replenish"}
    on_hand = {(row["location_id"], row["item_id"]): row["on_hand"] for row in stock.to_dicts()}
    given: dict[tuple[str, str], int] = defaultdict(int)
    for row in actions.filter(pl.col("action") == "transfer").to_dicts():
        given[row["from_location_id"], row["item_id"]] += row["quantity"]
    assert all(units <= on_hand[pair] for pair, units in given.items())
    forecast = table(planned, "gold.demand_forecast")
    for row in actions.filter(pl.col("action") == "replenish").head(3).to_dicts():
        assert f"{float(row['quantity']):g}" in row["reason"], row
    assert actions["stockout_probability"].drop_nulls().is_between(0, 1).all()
    known = set(forecast.select("location_id", "item_id").rows())
    unknown = actions.filter(pl.col("stockout_probability").is_null()).select("location_id", "item_id").rows()
    assert not set(unknown) & known


def test_simulated_stock_is_called_so(planned, spark):
    lake = Lake(spark, load(planned))
    stock = load(planned).sources["stock"].model_copy(update={"simulated": True})
    lake.deployment = lake.deployment.model_copy(update={"sources": {**lake.deployment.sources, "stock": stock}})
    run_job.run("plan_stock", lake, tiny_shop.day(13))
    assert table(planned, "gold.inventory_actions")["reason"].str.ends_with(" [simulated stock]").all()


def test_stock_is_less_what_was_sold_since(planned, spark):
    from jobs.plan_stock import left_tonight
    from jobs.transforms.purchases import purchases

    lake = Lake(spark, load(planned))
    later = tiny_shop.day(13)
    events = lake.up_to("silver.events", later)
    stock = lake.up_to("silver.stock", later).withColumn("snapshot_date", F.lit(tiny_shop.day(10)))
    left = {
        (row.location_id, row.item_id): row
        for row in left_tonight(stock, purchases(events, load(planned)), later, 7).collect()
    }
    sold: dict[tuple[str, str], int] = defaultdict(int)
    for row in events.where("event_type = 'purchase'").collect():
        if tiny_shop.day(10) < row.event_date <= later:
            sold[row.location_id, row.item_id] += row.quantity
    for row in stock.collect():
        pair = row.location_id, row.item_id
        assert left[pair].on_hand == max(row.on_hand - sold[pair], 0)
        beyond = max(sold[pair] - row.on_hand, 0)
        assert left[pair].on_order == max(row.on_order - beyond, 0)


def test_audiences_keep_their_limits(planned):
    found = table(planned, "gold.ad_audiences")
    campaigns = {row["campaign_id"]: row for row in table(planned, "silver.campaigns").to_dicts()}
    running = {name for name, (first, last, _) in tiny_shop.CAMPAIGNS.items() if first <= 14 <= last}
    assert set(found["campaign_id"]) == running == {"C5", "C6"}
    shown = found.filter(~pl.col("is_control"))
    for name, rows in shown.group_by("campaign_id"):
        assert len(rows) <= campaigns[name[0]]["max_audience"]
        ranked = rows.sort("rank")
        assert ranked["rank"].to_list() == list(range(1, len(rows) + 1))
        assert ranked["expected_value"].is_sorted(descending=True)
    assert shown.group_by("user_id").len()["len"].max() <= 2
    assert found["p_conversion"].is_between(0, 1).all()
    assert found["p_click"].is_null().all(), "nobody has clicked"
    kinds = sorted(tiny_shop.KINDS)
    tea = {f"U{user:02d}" for user in range(1, 25) if "tea" in (kinds[user % 5], kinds[(user + 2) % 5])}
    assert set(shown.filter(pl.col("campaign_id") == "C5")["user_id"]) <= tea, "those who like tea"
    (judged,) = table(planned, "ops.allocations").to_dicts()
    assert judged["is_exact"]
    assert judged["gap"] < 1e-6
    assert judged["value"] == pytest.approx(shown["expected_value"].sum())
    assert judged["chosen"] == len(shown)


def test_controls_are_the_hash_that_others_can_compute(spark):
    pairs = [(f"u{number}", f"c{number % 3}") for number in range(200)]
    frame = spark.createDataFrame(pairs, "user_id STRING, campaign_id STRING")
    marked = {(row.user_id, row.campaign_id): row[2] for row in frame.select("*", is_control(0.2, 7)).collect()}
    assert [marked[pair] for pair in pairs] == allocation.is_control(*zip(*pairs, strict=True), 0.2, 7).tolist()


def test_a_budget_and_an_audience_are_both_limits(rows):
    told = {"starts_on": tiny_shop.day(0), "ends_on": tiny_shop.day(20)}
    limits = {"a": (10, None), "b": (None, 0.3), "c": (10, 0.3), "d": (None, None), "spent": (10, 0.3)}
    campaigns = rows(
        silver.CAMPAIGNS,
        *(told | {"campaign_id": name, "max_audience": m, "budget": b} for name, (m, b) in limits.items()),
        told | {"campaign_id": "over", "ends_on": tiny_shop.day(13)},
    )
    shown = {"campaign_id": "spent", "event_type": "impression"}
    found = {
        row[0]: row[1] for row in room(campaigns, rows(silver.AD_EVENTS, shown, shown), run_of(NIGHT), 0.1).collect()
    }
    assert {name: found[name] for name in "abc"} == {"a": 10, "b": 3, "c": 3}
    assert found["d"] > 1e9, "no limit"
    assert found["spent"] == 1, "two contacts have cost two thirds of its budget"
    assert "over" not in found
    with pytest.raises(ConfError, match=r"contact_cost is 0, so the budget of campaign b \(0\.3, silver\.campaigns of"):
        room(campaigns, rows(silver.AD_EVENTS), run_of(NIGHT), 0.0)
    free = room(campaigns.where("budget IS NULL"), rows(silver.AD_EVENTS), run_of(NIGHT), 0.0)
    assert {row[0]: row[1] for row in free.collect()} == {"a": 10, "d": found["d"]}


def test_the_night_publishes_them(planned):
    told = table(planned, "ops.publications").filter(pl.col("current"))
    planned_tables = {"gold.demand_forecast", "gold.demand_profile", "gold.item_demand", "gold.inventory_actions"}
    assert planned_tables | {"gold.ad_audiences"} <= set(told["table_name"])


def used(conf, job: str) -> str | None:
    """The model that the newest run of a job records."""
    runs = table(conf, "ops.runs").filter((pl.col("job") == job) & (pl.col("status") == "done"))
    return runs.sort("started_at")["model_version"][-1]


def test_the_night_applies_the_models_of_its_date_and_fits_what_there_is_no_model_of(planned, tmp_path, spark):
    conf = tiny_shop.copied(planned.parent, tmp_path / "shop")
    lake = Lake(spark, load(conf))
    models = table(conf, "ops.models")
    by_kind = dict(models.filter("promoted").select("kind", "model_version").rows())
    assert set(by_kind) == {"recommend", "demand", "profile", "search"}
    assert used(conf, "forecast_demand") == by_kind["demand"]
    assert used(conf, "build_audiences") is None, "fitted within the run"
    audiences = table(conf, "gold.ad_audiences")

    run_job.run("train_audiences", lake, NIGHT)
    after = table(conf, "ops.models")
    assert sorted(after.filter(pl.col("kind") != "audience").rows(), key=str) == sorted(models.rows(), key=str)
    (audience,) = after.filter(pl.col("kind") == "audience").to_dicts()
    assert audience["promoted"]
    assert used(conf, "train_audiences") == audience["model_version"]
    run_job.run("build_audiences", lake, NIGHT)
    assert used(conf, "build_audiences") == audience["model_version"]
    key = ["campaign_id", "user_id"]  # a model of the night's own date is what the night would fit
    assert_frame_equal(table(conf, "gold.ad_audiences").sort(key), audiences.sort(key), rel_tol=1e-9)

    run_job.run("train_demand", lake, NIGHT)  # once more, for by now there are promotions
    run_job.run("forecast_demand", lake, NIGHT)
    assert used(conf, "forecast_demand") == used(conf, "train_demand") is not None
    by_model = table(conf, "gold.demand_forecast")
    spark.sql(f"UPDATE delta.`{lake.path('ops.models')}` SET promoted = false WHERE kind = 'demand'")
    run_job.run("forecast_demand", lake, NIGHT)
    assert used(conf, "forecast_demand") is None
    key = ["location_id", "item_id", "target_week"]
    assert_frame_equal(table(conf, "gold.demand_forecast").sort(key), by_model.sort(key), rel_tol=1e-9)


def test_a_snapshot_that_is_too_old_gives_no_orders(planned, spark):
    lake = Lake(spark, load(planned))
    outcome = run_job.run("plan_stock", lake, NIGHT, {"max_age_days": -1}, dry_run=True)
    assert outcome.rows == {"gold.inventory_actions": 0}


def test_a_night_without_campaigns_and_with_old_stock_is_published(planned, tmp_path, spark):
    conf = tiny_shop.copied(planned.parent, tmp_path / "shop")
    lake = Lake(spark, load(conf))
    for name in ("gold.ad_audiences", "gold.inventory_actions", "ops.runs"):  # as if no such job had run yet
        spark.sql(f"DELETE FROM delta.`{lake.path(name)}` WHERE run_date = DATE'{NIGHT}'")
    with pytest.raises(ConfError, match=r"no run has written gold\.inventory_actions"):
        run_job.run("publish_night", lake, NIGHT)
    run_job.run("plan_stock", lake, NIGHT, {"max_age_days": -1})
    campaigns = lake.up_to("silver.campaigns", NIGHT).withColumn("ends_on", F.lit(tiny_shop.day(12)))
    lake.replace("silver.campaigns", campaigns.where("starts_on <= ends_on"), [NIGHT], {"run_date": NIGHT})
    assert run_job.run("build_audiences", lake, NIGHT).rows["gold.ad_audiences"] == 0
    run_job.run("publish_night", lake, NIGHT)
    told = table(conf, "ops.publications").filter(pl.col("current"))
    found = dict(told.select("table_name", "row_count").rows())
    assert (found["gold.ad_audiences"], found["gold.inventory_actions"]) == (0, 0)
    assert found["gold.recommendations"] > 0


def test_the_backtest_judges_all_three_and_makes_a_page(planned, spark):
    lake = Lake(spark, load(planned))
    run_job.run("backtest_plans", lake, NIGHT)
    found = table(planned, "ops.backtests")
    assert set(found["plan"]) == {"demand", "stock", "audiences"}
    wape = found.filter((pl.col("metric") == "wape") & (pl.col("slice") == "pair_week, all dates"))
    said = dict(wape.select("contender", "value").rows())
    assert {"nightshelf", "croston_sba", "mean_28_days", "seasonal_naive", "auto_ets", "zero"} <= set(said)
    assert said["zero"] == pytest.approx(1), "who says nothing misses everything"
    assert 0 < said["nightshelf"] < 1.2
    assert found.filter(pl.col("metric") == "auc")["value"].drop_nulls().is_between(0, 1).all()
    page = (planned.parent / "lake" / "backtest" / f"{NIGHT}.html").read_text()
    assert all(title in page for title in ("Demand", "Stock at the same fill rate", "Audiences"))
    assert "judged without vectors" in page, "the shop's only night came after the campaigns"
    judged = set(found.filter(pl.col("plan") == "audiences")["contender"])
    assert OURS in judged
    assert UNREAD not in judged, "it is ours where there are no vectors"


def test_vectors_are_older_than_what_they_tell_of(rows):
    day = tiny_shop.day
    campaigns = rows(
        silver.CAMPAIGNS,
        *(
            {"campaign_id": name, "starts_on": day(first), "ends_on": day(first + 2)}
            for name, first in {"before": 0, "a": 2, "b": 4, "c": 6, "d": 8, "e": 8, "f": 10, "unseen": 11}.items()
        ),
    )
    shown = {"event_type": "impression", "run_date": day(1)}
    ad_events = rows(
        silver.AD_EVENTS,
        *(
            shown | {"campaign_id": n, "event_date": day(d)}
            for n, d in {"a": 3, "b": 4, "c": 8, "d": 9, "e": 9}.items()
        ),
        *(shown | {"campaign_id": "f", "event_date": day(10)} for _ in range(2)),
        shown | {"campaign_id": "before", "event_date": day(1)},  # began before there were logs
        shown | {"campaign_id": "unseen", "event_date": day(4)},  # not while it ran
    )
    events = rows(silver.EVENTS, {"run_date": day(0)})
    tested = campaigns_to_judge(events, campaigns, ad_events)
    assert list(tested.items()) == [("e", day(8)), ("f", day(10))]
    nights = rows(ITEM_VECTORS, *({"run_date": day(night), "item_id": f"i{night}"} for night in (5, 7, 8, 9)))
    vectors, night = vectors_before(nights, min(tested.values()))
    assert (night, [row.item_id for row in vectors.collect()]) == (day(7), ["i7"])
    none, never = vectors_before(nights, day(5))
    assert (never, none.count()) == (None, 0)


@pytest.mark.nights
def test_by_prices_limits_hold_and_the_bound_holds(planned, spark):
    lake = Lake(spark, load(planned))
    exact = run_job.run("build_audiences", lake, NIGHT, {"control_share": 0.0}, dry_run=True)
    by_prices = run_job.run("build_audiences", lake, NIGHT, {"max_pairs": 20, "control_share": 0.0})
    assert by_prices.rows["gold.ad_audiences"] <= exact.rows["gold.ad_audiences"]
    found = table(planned, "gold.ad_audiences")
    for name, rows in found.group_by("campaign_id"):
        assert len(rows) <= 4 + list(tiny_shop.CAMPAIGNS).index(name[0])
    (judged,) = table(planned, "ops.allocations").to_dicts()
    assert not judged["is_exact"]
    assert 0 < judged["value"] <= judged["upper_bound"]
