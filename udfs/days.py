"""Dates as the numbers that udfs/ count in."""

from __future__ import annotations

import datetime as dt

EPOCH = dt.date(1970, 1, 1)
NEVER = 2**31 - 1  # a day after all others


def day_number(date: dt.date) -> int:
    """Days since 1970-01-01."""
    return (date - EPOCH).days


def date_of(day: int) -> dt.date:
    """The date of a day_number."""
    return EPOCH + dt.timedelta(days=day)
