"""Which day a run of a DAG is about: scheduled, backfilled, by hand or started by an asset."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from dags.run_date import clock_of, resolve_run_date, steady_time
from schemas.clock import UTC, ShopClock


def moment(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


LATER = moment("2026-11-22T09:30+00:00")


def test_a_scheduled_run_is_about_the_day_whose_interval_has_ended() -> None:
    start, end = moment("2017-12-03T02:00+00:00"), moment("2017-12-04T02:00+00:00")
    day = resolve_run_date(None, clock=UTC, run_after=end, logical_date=start, data_interval_end=end)
    assert day == dt.date(2017, 12, 3)


def test_a_backfilled_run_is_about_its_own_day_however_late_it_runs() -> None:
    start, end = moment("2017-12-03T02:00+00:00"), moment("2017-12-04T02:00+00:00")
    day = resolve_run_date(None, clock=UTC, run_after=LATER, logical_date=start, data_interval_end=end)
    assert day == dt.date(2017, 12, 3)


def test_the_day_that_a_manual_run_asks_for_wins() -> None:
    now = {"run_after": LATER, "logical_date": LATER, "data_interval_end": moment("2026-11-22T02:00+00:00")}
    assert resolve_run_date("2017-12-03", clock=UTC, **now) == dt.date(2017, 12, 3)


def test_a_manual_run_that_asks_for_none_is_about_yesterday() -> None:
    end = moment("2026-11-22T02:00+00:00")
    day = resolve_run_date(None, clock=UTC, run_after=LATER, logical_date=LATER, data_interval_end=end)
    assert day == dt.date(2026, 11, 21)


def test_a_logical_date_without_an_interval_stands_for_itself() -> None:
    asked = moment("2017-12-04T10:00+00:00")
    assert resolve_run_date(None, clock=UTC, run_after=LATER, logical_date=asked) == dt.date(2017, 12, 3)


@pytest.mark.parametrize(
    ("due", "day"),
    [
        ("2026-11-22T00:10+00:00", "2026-11-21"),  # the day's last file landed just after its end
        ("2026-11-21T23:50+00:00", "2026-11-20"),  # it landed early: the 21st is not over
    ],
)
def test_a_run_that_an_asset_started_is_about_the_last_day_that_is_over(due: str, day: str) -> None:
    assert resolve_run_date(None, clock=UTC, run_after=moment(due)) == dt.date.fromisoformat(day)


@pytest.mark.parametrize(
    ("timezone", "end", "day"),
    [
        # 02:00 by the shop's clock, as Airflow hands it over: in UTC.
        ("America/Los_Angeles", "2017-12-04T10:00+00:00", "2017-12-03"),
        ("Asia/Tokyo", "2017-12-03T17:00+00:00", "2017-12-03"),  # the UTC day is the 3rd, Tokyo's the 4th
        ("Pacific/Kiritimati", "2017-12-03T12:00+00:00", "2017-12-03"),
        ("Europe/Berlin", "2017-03-26T01:00+00:00", "2017-03-25"),  # 03:00: there is no 02:00 in that night
        ("Europe/Berlin", "2017-10-29T01:00+00:00", "2017-10-28"),  # the second 02:00 of that night
    ],
)
def test_days_are_the_shop_s_not_utc_s(timezone: str, end: str, day: str) -> None:
    found = resolve_run_date(None, clock=ShopClock(timezone), run_after=LATER, data_interval_end=moment(end))
    assert found == dt.date.fromisoformat(day)


@pytest.mark.parametrize("text", ["", "yesterday", "03.12.2017", "2017-12-32", "2017-12-03T00:00:00"])
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write it YYYY-MM-DD"):
        resolve_run_date(text, clock=UTC, run_after=LATER)


def test_a_moment_that_may_be_any_day_is_refused() -> None:
    with pytest.raises(ValueError, match="no offset"):
        resolve_run_date(None, clock=UTC, run_after=moment("2017-12-04T02:00"))


@pytest.mark.parametrize(
    ("due", "day"),
    [
        ("2026-07-08T06:00-04:00", "2026-07-07"),  # two hours after the bar has closed its day
        ("2026-07-08T02:00-04:00", "2026-07-06"),  # its day is not over: the 7th ends at 04:00
    ],
)
def test_a_business_day_that_ends_after_midnight_is_over_when_it_has_ended(due: str, day: str) -> None:
    bar = ShopClock("America/New_York", "04:00")
    assert resolve_run_date(None, clock=bar, run_after=moment(due)) == dt.date.fromisoformat(day)


@pytest.mark.parametrize("timezone", ["America/New_York", "Europe/Berlin", "Asia/Tokyo", "America/Santiago"])
@pytest.mark.parametrize("ends", ["00:00", "04:00"])
def test_no_day_is_lost_or_doubled_over_a_year_of_runs_two_hours_after_its_end(timezone: str, ends: str) -> None:
    clock = ShopClock(timezone, ends)
    first, zone = dt.datetime(2026, 1, 1), ZoneInfo(timezone)
    due = [
        first + dt.timedelta(days=number, minutes=120 + clock.end_minutes) for number in range(365)
    ]  # by the clock on the wall
    found = [resolve_run_date(None, clock=clock, run_after=at.replace(tzinfo=zone)) for at in due]
    assert found == [dt.date(2025, 12, 31) + dt.timedelta(days=number) for number in range(365)]


def test_the_clock_is_the_deployment_s(tmp_path: Path) -> None:
    conf = tmp_path / "shop.toml"
    conf.write_text('name = "shop"\n')
    assert clock_of(str(conf)) == UTC
    conf.write_text('timezone = "Asia/Tokyo"\nday_ends_at = "05:00"\n')
    assert clock_of(str(conf)) == ShopClock("Asia/Tokyo", "05:00")
    conf.write_text('timezone = "Tokio"\n')
    with pytest.raises(ValueError, match=r"shop.toml: timezone: 'Tokio' is no IANA time zone"):
        clock_of(str(conf))


@pytest.mark.parametrize(
    ("clock", "time"),
    [
        (UTC, (2, 0)),
        (ShopClock("Asia/Tokyo"), (2, 0)),
        (ShopClock("America/New_York"), (3, 0)),  # 02:00 is skipped in March
        (ShopClock("Europe/Berlin"), (3, 0)),  # and in Berlin repeated in October
        (ShopClock("Europe/Athens"), (2, 0)),  # 03:00 is
        (ShopClock("Europe/Athens", "01:00"), (4, 0)),
        (ShopClock("Australia/Lord_Howe"), (2, 30)),  # clocks move by half an hour
        (ShopClock("America/New_York", "04:00"), (6, 0)),
        (ShopClock("America/Santiago"), (2, 0)),  # midnight is skipped, 23:00 repeated
    ],
)
def test_a_schedule_keeps_clear_of_times_that_clocks_skip_or_repeat(clock: ShopClock, time: tuple[int, int]) -> None:
    assert steady_time(clock, 2) == time


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Berlin", "Europe/Lisbon", "Asia/Beirut", "Africa/Cairo"])
def test_every_day_has_the_time_of_its_schedule_once(zone: str) -> None:
    for hours in range(13):
        hour, minute = steady_time(ShopClock(zone), hours)
        for number in range(365):
            wall = dt.datetime(2026, 1, 1, hour, minute) + dt.timedelta(days=number)
            first, second = (wall.replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(dt.UTC) for fold in (0, 1))
            assert first == second, wall
