"""What a retailer has beside events and items: rows in = kept + rejected, each with its reason; what is absent."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from jobs.flow import INTAKE, JOBS, NIGHT, lacking, stands
from jobs.runner import run_job
from jobs.runner.lake import Lake
from jobs.runner.pending_days import work_of
from schemas import TABLES
from schemas.deployment import load
from schemas.errors import DataError
from schemas.reason_codes import reasons_of
from schemas.silver import RECORDS_OF
from tests.support import tiny_shop

NIGHT_OF = tiny_shop.day(13)
DIRT = {
    "stock": [
        "T0,S01,7,0,3",  # overlaps the line of the same pair above
        "T0,S02,-4,0,3",  # negative stock
        "T9,S03,many,0,3",
        "T9,X99,3,0,3",  # not in the catalogue
        "T9,V01,3,0,3",  # no product
        "T9,S04,3,,3",  # nothing said of orders: none
        "T9,S05,3,lots,3",
    ],
    "ways": ["T0,T1,7", "T1,T9,-1", "T1,T9,far", "T1,,3", "T9,T1,0"],  # the first overlaps the line of the same way
    "campaigns": [
        "C8,big,2024-03-20,2024-03-10,S01,5",
        "C9,big,,2024-03-30,S01,5",
        ",big,2024-03-01,2024-03-02,,",
        "C0,big,2024-05-01,2024-05-09,X99;S01;V01,5",  # kept, without what the catalogue lacks or refused
    ],
    "campaign_items": ["C1,X99", "C77,S01", "C8,S02"],
    "ad_events": [
        f"x1,impression,U01,,{tiny_shop.day(-14)} 09:00:00",
        f"x2,viewed,U01,C4,{tiny_shop.day(-14)} 09:00:00",
        f"C4-1-seen,impression,U01,C4,{tiny_shop.day(-28)} 09:00:00",
        f"x4,click,U01,C4,{tiny_shop.day(2)} 09:00:00",
    ],
    "promotions": [
        f"S01,T0,{tiny_shop.day(7)},{tiny_shop.day(8)},wall",
        f"S02,T1,{tiny_shop.day(7)},{tiny_shop.day(1)},wall",
        f"X99,T1,{tiny_shop.day(7)},{tiny_shop.day(9)},wall",
        f"S03,,{tiny_shop.day(30)},{tiny_shop.day(35)},wall",  # everywhere, and not yet
    ],
    "users": ["U01,99,south", ",33,south"],
}


@pytest.fixture(scope="module")
def taken_in(tmp_path_factory: pytest.TempPathFactory, spark) -> Path:
    conf = tiny_shop.make(tmp_path_factory.mktemp("plans"), days=14)
    tiny_shop.add_plans(conf, dirt=DIRT)
    conf.write_text(conf.read_text().replace("[sources.ways]", "[sources.ways]\nmax_rejected_share = 0.6"))
    lake = Lake(spark, load(conf))
    for job in INTAKE:
        run_job.run(job.name, lake, NIGHT_OF)
    return conf


def reasons(lake: Lake, kind: str) -> Counter[str]:
    rejected = lake.up_to(f"silver.rejected_{kind}", NIGHT_OF).collect()
    return Counter(reason for row in rejected for reason in row.reasons)


def test_rows_in_are_rows_kept_and_rejected(taken_in, spark):
    lake = Lake(spark, load(taken_in))
    kept_by = {
        "stock": "count(*)",
        "ways": "count(*)",
        "campaigns": "sum(record_count)",
        "ad_events": "count(*)",
        "promotions": "count(*)",
        "users": "sum(record_count)",
    }
    for kind, counted in kept_by.items():
        rows_in = sum(
            len(file.read_text().splitlines()) - 1
            for source in ((kind, "campaign_items") if kind == "campaigns" else (kind,))
            for file in taken_in.parent.glob(f"landing/{load(taken_in).sources[source].files}")
            if (kind != "stock" or str(NIGHT_OF) in file.name)
            and (kind != "ways" or str(tiny_shop.day(8)) in file.name)
        )
        kept = lake.up_to(f"silver.{kind}", NIGHT_OF).selectExpr(counted).collect()[0][0]
        rejected = lake.up_to(f"silver.rejected_{kind}", NIGHT_OF).count()
        assert rows_in == kept + rejected, kind
        assert rejected, kind


def test_each_rejected_record_says_why(taken_in, spark):
    lake = Lake(spark, load(taken_in))
    assert reasons(lake, "stock") == {
        "another record of the snapshot is about this location and item": 1,
        "on_hand must be at least 0 and at most 10000000": 1,
        "on_hand is no DECIMAL(18,3)": 1,
        "on_order is no DECIMAL(18,3)": 1,
        "item_id is not in the catalogue": 1,
        "item: no product": 1,
    }
    assert reasons(lake, "ways") == {
        "another record of the list is about this way": 1,
        "cost must be at least 0 and at most 1000000": 1,
        "cost is no DOUBLE": 1,
        "to_location_id is missing": 1,
    }
    assert reasons(lake, "campaigns") == {
        "a campaign must not end before it starts": 1,
        "starts_on is missing": 1,
        "campaign_id is missing": 1,
        "item_id is not in the catalogue": 1,
        "campaign_id is not among the campaigns": 2,
    }
    assert reasons(lake, "ad_events") == {
        "campaign_id is missing": 1,
        "event_type must be one of impression, click, conversion": 1,
        "duplicate of an earlier record": 1,
        "an event must not be dated after its file": 1,
    }
    assert reasons(lake, "promotions") == {
        "duplicate of an earlier record": 1,
        "a promotion must not end before it starts": 1,
        "item_id is not in the catalogue": 1,
    }
    assert reasons(lake, "users") == {"user_id is missing": 1}


def test_each_reason_has_the_code_that_the_reference_lists(taken_in, spark):
    lake = Lake(spark, load(taken_in))
    for kind in ("stock", "ways", "campaigns", "ad_events", "promotions", "users"):
        listed = [*reasons_of(kind), *(reasons_of("campaign_items") if kind == "campaigns" else ())]
        for row in lake.up_to(f"silver.rejected_{kind}", NIGHT_OF).collect():
            assert len(row.codes) == len(row.reasons) > 0
            for code, sentence in zip(row.codes, row.reasons, strict=True):
                assert any(code == found.code and sentence.startswith(found.sentence) for found in listed), sentence
    (day,) = lake.up_to("silver.cleaned_ad_days", NIGHT_OF).where("rows_rejected > 0").collect()
    assert day.codes == {
        "campaign_id_present": 1,
        "event_type_known": 1,
        "duplicate": 1,
        "not_after_file": 1,
    }
    assert sum(day.reasons.values()) == sum(day.codes.values())


def test_what_is_kept(taken_in, spark):
    lake = Lake(spark, load(taken_in))
    stock = {(row.location_id, row.item_id): row for row in lake.up_to("silver.stock", NIGHT_OF).collect()}
    assert len(stock) == 61
    assert {row.snapshot_date for row in stock.values()} == {NIGHT_OF}, "the newest snapshot alone"
    assert stock["T9", "S04"].on_order == 0
    ways = {
        (row.from_location_id, row.to_location_id): row.cost for row in lake.up_to("silver.ways", NIGHT_OF).collect()
    }
    assert ways == {("T0", "T1"): 2.0, ("T1", "T0"): 1.5, ("T9", "T1"): 0.0}, "the newest list alone"
    campaigns = {row.campaign_id: row for row in lake.up_to("silver.campaigns", NIGHT_OF).collect()}
    assert set(campaigns) == {*tiny_shop.CAMPAIGNS, "C0"}
    assert (campaigns["C0"]["items"], campaigns["C0"].unknown_items) == (["S01"], ["V01", "X99"])
    for name, (first, last, kind) in tiny_shop.CAMPAIGNS.items():
        row = campaigns[name]
        assert (row.starts_on, row.ends_on) == (tiny_shop.day(first), tiny_shop.day(last))
        assert row.unknown_items == []
        assert row["items"] == [sku for sku, (_, of) in tiny_shop.skus().items() if of == kind]
    users = {row.user_id: row.attributes for row in lake.up_to("silver.users", NIGHT_OF).collect()}
    assert users["U01"] == {"age": "21", "town": "north"}, "of one day's records the first"
    assert users["U02"] == {"age": "22"}, "an attribute without a value is none"
    promotions = lake.up_to("silver.promotions", NIGHT_OF).collect()
    assert [row.item_id for row in promotions if row.location_id is None] == ["S03"]


def test_a_log_is_cleaned_day_by_day(taken_in, spark, tmp_path):
    conf = tiny_shop.copied(taken_in.parent, tmp_path / "shop")
    lake = Lake(spark, load(conf))
    assert work_of(lake, JOBS["clean_ad_events"], NIGHT_OF).days == [NIGHT_OF]
    log = conf.parent / "landing" / "ads" / f"ads_{tiny_shop.day(12)}.csv"
    log.write_text(
        "id,what,customer,campaign,at\n"
        f"C4-1-seen,impression,U01,C4,{tiny_shop.day(-28)} 09:00:00\n"  # sent twice, on two days
        f"y1,click,U02,C5,{tiny_shop.day(12)} 09:00:00\n"
    )
    run_job.run("ingest_logs", lake, NIGHT_OF)
    assert work_of(lake, JOBS["clean_ad_events"], NIGHT_OF).days == [tiny_shop.day(12), NIGHT_OF]
    assert work_of(lake, JOBS["clean_events"], NIGHT_OF).days == [NIGHT_OF], "no till line has changed"
    run_job.run("clean_ad_events", lake, NIGHT_OF)
    assert reasons(lake, "ad_events")["duplicate of a record of an earlier day"] == 1
    assert lake.up_to("silver.ad_events", NIGHT_OF).where("event_id = 'y1'").count() == 1


def test_what_a_deployment_lacks_is_skipped():
    kinds = ("events", "items", "campaigns")
    skipped = {job.name for job in NIGHT if lacking(job, kinds)}
    lacks = ("stock", "ways", "ad_events", "promotions", "users", "judgements", "reviews", "blocked")
    cleaned = {f"clean_{kind}" for kind in lacks}
    assert skipped == {*cleaned, "link_persons", "plan_stock", "read_reviews", "rate_items"}
    absent = {table for table in TABLES if not stands(table, kinds)}
    assert {"silver.stock", "silver.rejected_users", "gold.inventory_actions"} <= absent
    assert not {"gold.ad_audiences", "bronze.events", "silver.campaigns", "gold.demand_forecast"} & absent
    assert stands("bronze.records", kinds)
    assert stands("bronze.items", kinds)
    assert not stands("bronze.records", ("events", "items"))
    assert all(stands(table, RECORDS_OF) for table in TABLES)


def test_a_snapshot_that_is_mostly_rejected_stops_the_night(tmp_path, spark):
    conf = tiny_shop.make(tmp_path, days=14)
    tiny_shop.add_plans(conf, dirt={"stock": [f"T0,X{number},3,0,3" for number in range(70)] + ["T1,S01,-1,0,3"]})
    lake = Lake(spark, load(conf))
    run_job.run("ingest_logs", lake, NIGHT_OF)
    run_job.run("clean_items", lake, NIGHT_OF)
    with pytest.raises(DataError) as refused:
        run_job.run("clean_stock", lake, NIGHT_OF)
    said = str(refused.value)
    assert (
        "silver.rejected_stock: 71 of 131 records of the newest files are rejected, max_rejected_share lets 6" in said
    )
    assert "reason=item_id is not in the catalogue, records=70, first=stock/stock_2024-03-14.csv:" in said
    assert lake.up_to("silver.stock", NIGHT_OF).isEmpty()
    found = lake.up_to("ops.checks", NIGHT_OF).where("check_name = 'few_rejected'").collect()
    assert sorted((row.table_name, row.passed) for row in found) == [
        ("silver.rejected_items", True),
        ("silver.rejected_stock", False),
    ]
    conf.write_text(conf.read_text().replace("[sources.stock]", "[sources.stock]\nmax_rejected_share = 0.6"))
    run_job.run("clean_stock", Lake(spark, load(conf)), NIGHT_OF)
    assert lake.up_to("silver.stock", NIGHT_OF).count() == 60
