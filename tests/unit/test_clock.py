"""The shop's clock: which day a moment is of, and which clocks are refused."""

from __future__ import annotations

import datetime as dt

import pytest

from schemas.clock import UTC, ShopClock, day_end, known_timezone


@pytest.mark.parametrize(
    ("clock", "moment", "day"),
    [
        (UTC, "2026-07-06T23:59:59+00:00", "2026-07-06"),
        (UTC, "2026-07-07T00:00:00+02:00", "2026-07-06"),
        (ShopClock("America/New_York"), "2026-07-07T02:40:00+00:00", "2026-07-06"),  # 22:40 of the evening before
        (ShopClock("Asia/Tokyo"), "2026-07-06T15:00:00+00:00", "2026-07-07"),
        (ShopClock("America/New_York", "04:00"), "2026-07-08T03:59:59-04:00", "2026-07-07"),
        (ShopClock("America/New_York", "04:00"), "2026-07-08T04:00:00-04:00", "2026-07-08"),
        (ShopClock("Europe/Berlin", "03:00"), "2026-03-29T03:00:00+02:00", "2026-03-29"),  # there is no 02:59
        (ShopClock("Europe/Berlin", "02:30"), "2026-10-25T02:10:00+01:00", "2026-10-24"),  # the second 02:10
    ],
)
def test_a_moment_is_of_the_business_day_that_the_clock_shows(clock: ShopClock, moment: str, day: str) -> None:
    assert clock.day_of(dt.datetime.fromisoformat(moment)) == dt.date.fromisoformat(day)


def test_a_moment_that_may_be_any_day_is_refused() -> None:
    with pytest.raises(ValueError, match="no offset"):
        UTC.day_of(dt.datetime(2026, 7, 6))


def test_abbreviations_are_those_that_mean_one_offset_in_the_zone() -> None:
    assert ShopClock("Europe/London").abbreviations() == {"BST": "+01:00", "GMT": "+00:00"}
    assert ShopClock("America/New_York").abbreviations() == {"EST": "-05:00", "EDT": "-04:00"}
    assert ShopClock("Asia/Kolkata").abbreviations() == {"IST": "+05:30"}
    assert "MSK" not in ShopClock("Europe/Moscow").abbreviations(), "it was three and four hours"


@pytest.mark.parametrize("name", ["UTC", "America/New_York", "Asia/Tokyo"])
def test_iana_names_are_time_zones(name: str) -> None:
    assert known_timezone(name) == name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Europe/Berln", "did you mean Europe/Berlin"),
        ("New York", "did you mean America/New_York"),
        ("+02:00", "is no IANA time zone such as America/New_York$"),
        ("", "is no IANA time zone"),
    ],
)
def test_what_is_no_time_zone_is_refused_with_what_may_have_been_meant(name: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        known_timezone(name)


@pytest.mark.parametrize("text", ["4", "4:00", "04.00", "24:00", "04:60", "12:00", "22:00", "04:00:00"])
def test_a_day_ends_at_a_time_before_noon(text: str) -> None:
    with pytest.raises(ValueError, match=r"such as|before 12:00"):
        day_end(text)
