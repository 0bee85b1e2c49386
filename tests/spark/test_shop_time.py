"""Times of raw files by the shop's clock: the same as plain Python has them, over every clock change."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator
from zoneinfo import ZoneInfo

import pytest
from pyspark.sql import functions as F

from jobs.transforms import ledger, log_days, mapping
from jobs.transforms.shop_time import building, day_of
from schemas import bronze, silver
from schemas.clock import UTC, ShopClock
from schemas.contract import Column, Table
from schemas.deployment import Deployment
from schemas.source import Source
from tests.conftest import run_of

YEAR = 2026
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
ZONES = ("America/New_York", "Europe/Berlin", "Asia/Tokyo", "Europe/London", "Australia/Lord_Howe", "America/Santiago")
CLOCKS = [
    UTC,
    *(ShopClock(zone, end) for zone in ZONES for end in ("00:00", "04:00")),
    ShopClock("Asia/Kolkata", "02:30"),
]
AS_TEXT, AS_DAY = "%Y-%m-%d %H:%M:%S", "%Y-%m-%d"


def changes(zone: str) -> list[dt.datetime]:
    """The hours of a year after which the zone's clocks are changed, UTC."""
    hours = [dt.datetime(YEAR, 1, 1, tzinfo=dt.UTC) + dt.timedelta(hours=number) for number in range(365 * 24)]
    offsets = [hour.astimezone(ZoneInfo(zone)).utcoffset() for hour in hours]
    return [hour for hour, before, after in zip(hours, offsets, offsets[1:], strict=False) if before != after]


def moments(zone: str) -> list[dt.datetime]:
    """Some moments of the year, every quarter of an hour about each change, and single seconds about those."""
    rng = random.Random(zone)
    found = [
        dt.datetime(YEAR, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=rng.randrange(365 * 86_400)) for _ in range(60)
    ]
    for change in changes(zone):
        found += [change + dt.timedelta(minutes=15 * number, seconds=s) for number in range(-24, 32) for s in (0, 59)]
    return found


def micros(moment: dt.datetime) -> int:
    return (moment - EPOCH) // dt.timedelta(microseconds=1)


def first_shown(wall: dt.datetime, zone: str) -> dt.datetime | None:
    """The first moment at which the zone's clocks show a local time; None where they never do."""
    moment = wall.replace(tzinfo=ZoneInfo(zone), fold=0).astimezone(dt.UTC)
    return moment if moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None) == wall else None


def test_a_column_and_python_find_the_same_day(spark):
    asked = sorted({moment for zone in ZONES for moment in moments(zone)})
    frame = spark.createDataFrame([(micros(moment),) for moment in asked], "micros BIGINT")
    moment = F.timestamp_micros("micros")
    days = [F.date_format(day_of(moment, clock), "yyyy-MM-dd") for clock in CLOCKS]
    with building(spark, "Asia/Tokyo"):  # whatever Spark takes for its time zone
        elsewhere = [F.date_format(day_of(moment, clock), "yyyy-MM-dd") for clock in CLOCKS]
        both = frame.select("micros", F.array(*days), F.array(*elsewhere))
    found = {row[0]: (row[1], row[2]) for row in both.collect()}
    for moment in asked:
        right = [str(clock.day_of(moment)) for clock in CLOCKS]
        assert found[micros(moment)] == (right, right), moment


# A table of moments and days that are told in every way; `at` is local, `stamp` an instant, `seconds` since 1970.
WAYS = {
    "text": "at",
    "with_t": "replace(at, ' ', 'T')",
    "parsed": "try_to_timestamp(at, 'yyyy-MM-dd HH:mm:ss')",
    "without_zone": "try_cast(at AS TIMESTAMP_NTZ)",
    "instant": "stamp",
    "z": "concat(at, 'Z')",
    "counted": "timestamp_seconds(try_cast(seconds AS BIGINT))",
    "shifted": "to_utc_timestamp(try_to_timestamp(at, 'yyyy-MM-dd HH:mm:ss'), 'Asia/Tokyo')",
}
DAYS = {
    "day_of_text": "at",
    "day_of_instant": "stamp",
    "day_of_parsed": "try_to_timestamp(at)",
    "day_alone": "left(at, 10)",
}
TOLD = Table(
    "silver.told",
    "one moment",
    (
        bronze.RUN_DATE,
        *(Column(name, "TIMESTAMP", "a moment", True) for name in (*WAYS, "begins")),
        *(Column(name, "DATE", "a day", True) for name in DAYS),
    ),
    key=(),
)


@pytest.mark.parametrize("clock", CLOCKS, ids=str)
def test_every_way_to_tell_a_time_gives_the_moment_that_python_finds(rows, clock):
    zone = ZoneInfo(clock.timezone)
    walls = sorted({moment.astimezone(zone).replace(tzinfo=None) for moment in moments(clock.timezone)})
    gaps = [
        change.astimezone(zone).replace(tzinfo=None) + dt.timedelta(minutes=m)
        for change in changes(str(zone))
        for m in (5, 20, 65, 80)
    ]
    walls += [wall for wall in gaps if first_shown(wall, clock.timezone) is None]
    instants = [wall.replace(tzinfo=zone, fold=1) for wall in walls]
    fields = [
        [f"{w:{AS_TEXT}}", i.isoformat(), str((i - EPOCH) // dt.timedelta(seconds=1))]
        for w, i in zip(walls, instants, strict=True)
    ]
    source = Source(files="*", columns=["at", "stamp", "seconds"], map={**WAYS, "begins": "to_date(at)", **DAYS})
    frame = rows(bronze.EVENTS, *({"fields": each, "source_row": row} for row, each in enumerate(fields)))
    told = mapping.canonical(frame, source, TOLD, clock)
    found = told.select(
        *(F.unix_micros(name).alias(name) for name in (*WAYS, "begins")),
        *(F.date_format(name, "yyyy-MM-dd").alias(name) for name in DAYS),
        F.col("broken.code").alias("codes"),
    )
    for wall, instant, row in zip(walls, instants, found.orderBy("source_row").collect(), strict=True):
        local, stamped = first_shown(wall, clock.timezone), micros(instant.astimezone(dt.UTC))
        right = None if local is None else micros(local)
        assert [row[name] for name in ("text", "with_t", "parsed", "without_zone")] == [right] * 4, wall
        assert row.codes == ([f"{name}_in_skipped_hour" for name in list(WAYS)[:4]] if local is None else []), wall
        assert (row.instant, row.counted, row.z) == (stamped, stamped, micros(wall.replace(tzinfo=dt.UTC))), wall
        assert row.shifted == micros(wall.replace(tzinfo=ZoneInfo("Asia/Tokyo"))), wall
        assert row.day_alone == str(wall.date())
        assert str(clock.day_of(EPOCH + dt.timedelta(microseconds=row.begins))) == str(wall.date())
        midnight = wall.time() == dt.time()
        if local is not None:
            shown = str(wall.date()) if midnight else str(clock.day_of(local))
            assert (row.day_of_text, row.day_of_parsed) == (shown, shown), wall
        assert row.day_of_instant == str(clock.day_of(instant)), wall


def shop(clock: ShopClock, **more: str) -> Deployment:
    """A shop whose log has a customer and a time, and no catalogue."""
    told = {"occurred_at": "at", "event_type": "'search'", "user_id": "customer", **more}
    events = Source(files="*", columns=["customer", "at"], map=told)
    return Deployment(
        name="shop",
        lake="lake",
        landing="landing",
        spark="spark.conf",
        timezone=clock.timezone,
        day_ends_at=clock.day_ends_at,
        sources={"events": events},
    )


def split(rows, deployment: Deployment, by_day: dict[dt.date, list[str]]):
    """silver.events and silver.rejected_events of a log of times, a file a day."""
    place = [(day, row, at) for day, told in by_day.items() for row, at in enumerate(told)]
    records = rows(
        bronze.EVENTS,
        *({"run_date": d, "source_row": row + 2, "fields": ["u", at], "raw": f"{d} {row}"} for d, row, at in place),
    )
    made = log_days.split(ledger.EVENTS, records, rows(bronze.FILES), rows(silver.EVENTS), deployment)
    return made["silver.events"], made["silver.rejected_events"]


def shown_on(day: dt.date, clock: ShopClock) -> Iterator[str]:
    """What a till that notes every quarter of an hour writes on a business day, a repeated hour twice."""
    zone, end = ZoneInfo(clock.timezone), dt.timedelta(minutes=clock.end_minutes)
    begin, over = (
        (dt.datetime.combine(d, dt.time()) + end).replace(tzinfo=zone) for d in (day, day + dt.timedelta(days=1))
    )
    moment = begin.astimezone(dt.UTC)
    while moment < over.astimezone(dt.UTC):
        yield moment.astimezone(zone).strftime(AS_TEXT)
        moment += dt.timedelta(minutes=15)


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Berlin", "Asia/Tokyo"])
@pytest.mark.parametrize("end", ["00:00", "04:00"])
def test_days_over_both_clock_changes_have_nothing_rejected_and_nothing_late(rows, zone, end):
    clock = ShopClock(zone, end)
    turns = changes(zone) or changes("Europe/Berlin")
    days = sorted({turn.date() + dt.timedelta(days=n) for turn in turns for n in (-1, 0, 1)})
    by_day = {day: list(shown_on(day, clock)) for day in days}
    kept, rejected = split(rows, shop(clock), by_day)
    assert rejected.count() == 0
    assert kept.where("event_date < run_date").count() == 0
    assert kept.count() == sum(map(len, by_day.values()))


# The rows of the field's cases: a New York evening, a bar after midnight, British Summer Time.
EVENING = [f"2026-07-06 {time}:00" for time in ("09:05", "11:30", "17:55", "19:59", "20:15", "21:10", "22:05", "22:40")]
NIGHT = [f"2026-07-07 {time}:00" for time in ("17:00", "21:40", "23:05", "23:50")]
NIGHT += [f"2026-07-08 {time}:00" for time in ("00:20", "00:55", "01:40")]
JULY_6, JULY_7, JULY_8 = (dt.date(2026, 7, day) for day in (6, 7, 8))


@pytest.mark.parametrize(
    "sql", ["at", "try_to_timestamp(at, 'yyyy-MM-dd HH:mm:ss')", "to_utc_timestamp(at, 'America/New_York')"]
)
def test_a_shop_in_new_york_keeps_its_evening(rows, sql):
    kept, rejected = split(rows, shop(ShopClock("America/New_York"), occurred_at=sql), {JULY_6: EVENING})
    assert rejected.count() == 0
    assert [row[0] for row in kept.select("event_date").collect()] == [JULY_6] * len(EVENING)


def test_what_a_bar_sells_after_midnight_is_of_the_day_before(rows):
    kept, rejected = split(rows, shop(ShopClock("America/New_York", "04:00")), {JULY_7: NIGHT})
    assert rejected.count() == 0
    assert [row[0] for row in kept.select("event_date").collect()] == [JULY_7] * len(NIGHT)
    kept, rejected = split(rows, shop(ShopClock("America/New_York")), {JULY_7: NIGHT})
    assert sorted(row.codes[0] for row in rejected.collect()) == ["not_after_file"] * 3, "so it is without"


def test_an_abbreviation_is_read_by_the_shop_s_own_zone_or_not_at_all(rows):
    told = [
        f"2026-07-08 {time}:00 {zone}"
        for time, zone in (("03:10", "BST"), ("12:00", "GMT"), ("12:00", "Europe/London"))
    ]

    def moments_of(clock: ShopClock) -> tuple[list[str], list[list[str]]]:
        kept, rejected = split(rows, shop(clock), {JULY_8: told})
        shown = kept.orderBy("source_row").select(F.date_format("occurred_at", "HH:mm")).collect()
        return [row[0] for row in shown], [row.codes for row in rejected.collect()]

    assert moments_of(ShopClock("Europe/London")) == (["02:10", "12:00", "11:00"], [])
    assert moments_of(UTC) == (["12:00", "11:00"], [["occurred_at_zone_unclear"]])


def test_a_time_that_no_clock_has_shown_is_rejected_for_that_alone(rows):
    told = ["2026-03-29 01:59:59", "2026-03-29 02:30:00", "2026-03-29 02:30:00+01:00", "2026-03-29 03:00:00"]
    kept, rejected = split(rows, shop(ShopClock("Europe/Berlin")), {dt.date(2026, 3, 29): told})
    assert kept.count() == 3
    assert [row.codes for row in rejected.collect()] == [["occurred_at_in_skipped_hour"]]


def test_stock_campaigns_and_promotions_have_days_by_the_same_clock(rows):
    from jobs.clean_stock import clean_stock

    bar = shop(ShopClock("America/New_York", "04:00"))
    named = {"location_id": "till", "item_id": "sku", "on_hand": "1", "lead_time_days": "1", "snapshot_date": "taken"}
    stock = Source(files="*", columns=["till", "sku", "taken"], map=named)
    deployment = bar.model_copy(update={"sources": {"stock": stock}})
    told = {"a": "2026-07-08 01:30:00", "b": "2026-07-07", "c": "2026-07-08T05:30:00Z", "d": "2026-07-07 00:00:00"}
    records = [{"run_date": JULY_7, "source": "stock", "fields": ["T0", sku, taken]} for sku, taken in told.items()]
    made = clean_stock(
        rows(bronze.RECORDS, *records),
        rows(silver.ITEMS),
        rows(silver.REJECTED_ITEMS),
        run=run_of(JULY_7, deployment),
    )
    found = {row.item_id: row.snapshot_date for row in made["silver.stock"].collect()}
    assert found == dict.fromkeys(told, JULY_7)
