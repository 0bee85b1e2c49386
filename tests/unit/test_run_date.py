"""Which day a run of a DAG is about: scheduled, backfilled, by hand or started by an asset."""

from __future__ import annotations

import datetime as dt

import pytest

from dags.run_date import resolve_run_date


def moment(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


LATER = moment("2026-11-22T09:30+00:00")


def test_a_scheduled_run_is_about_the_day_whose_interval_has_ended() -> None:
    start, end = moment("2017-12-03T02:00+00:00"), moment("2017-12-04T02:00+00:00")
    day = resolve_run_date(None, timezone="UTC", run_after=end, logical_date=start, data_interval_end=end)
    assert day == dt.date(2017, 12, 3)


def test_a_backfilled_run_is_about_its_own_day_however_late_it_runs() -> None:
    start, end = moment("2017-12-03T02:00+00:00"), moment("2017-12-04T02:00+00:00")
    day = resolve_run_date(None, timezone="UTC", run_after=LATER, logical_date=start, data_interval_end=end)
    assert day == dt.date(2017, 12, 3)


def test_the_day_that_a_manual_run_asks_for_wins() -> None:
    now = {"run_after": LATER, "logical_date": LATER, "data_interval_end": moment("2026-11-22T02:00+00:00")}
    assert resolve_run_date("2017-12-03", timezone="UTC", **now) == dt.date(2017, 12, 3)


def test_a_manual_run_that_asks_for_none_is_about_yesterday() -> None:
    end = moment("2026-11-22T02:00+00:00")
    day = resolve_run_date(None, timezone="UTC", run_after=LATER, logical_date=LATER, data_interval_end=end)
    assert day == dt.date(2026, 11, 21)


def test_a_logical_date_without_an_interval_stands_for_itself() -> None:
    asked = moment("2017-12-04T10:00+00:00")
    assert resolve_run_date(None, timezone="UTC", run_after=LATER, logical_date=asked) == dt.date(2017, 12, 3)


@pytest.mark.parametrize(
    ("due", "day"),
    [
        ("2026-11-22T00:10+00:00", "2026-11-21"),  # the day's last file landed just after its end
        ("2026-11-21T23:50+00:00", "2026-11-20"),  # it landed early: the 21st is not over
    ],
)
def test_a_run_that_an_asset_started_is_about_the_last_day_that_is_over(due: str, day: str) -> None:
    assert resolve_run_date(None, timezone="UTC", run_after=moment(due)) == dt.date.fromisoformat(day)


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
    found = resolve_run_date(None, timezone=timezone, run_after=LATER, data_interval_end=moment(end))
    assert found == dt.date.fromisoformat(day)


@pytest.mark.parametrize("text", ["", "yesterday", "03.12.2017", "2017-12-32", "2017-12-03T00:00:00"])
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write it YYYY-MM-DD"):
        resolve_run_date(text, timezone="UTC", run_after=LATER)


def test_a_moment_that_may_be_any_day_is_refused() -> None:
    with pytest.raises(ValueError, match="no offset"):
        resolve_run_date(None, timezone="UTC", run_after=moment("2017-12-04T02:00"))
