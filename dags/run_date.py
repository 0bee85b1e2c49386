"""The run_date of an Airflow run: the last full day of logs that it may see. No Airflow in here."""

from __future__ import annotations

import datetime as dt
import os
import tomllib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from schemas.clock import ShopClock, day_end, known_timezone

REPO = Path(__file__).resolve().parents[1]
# The deployment of the schedules, and of runs that name none.
CONF = os.environ.get("NIGHTSHELF_CONF", "conf/complete_journey.toml")

DAY_MINUTES = 24 * 60
EPOCH, YEARS = dt.datetime(2015, 1, 1, tzinfo=dt.UTC), 25  # years whose clock changes a schedule avoids


def conf_path(params: Mapping[str, Any]) -> str:
    """The deployment's file of a run with these parameters, for --conf."""
    return str(REPO / (params.get("conf") or CONF))


def clock_of(conf: str) -> ShopClock:
    """The clock of a deployment's file. ValueError, naming file and key, for an unknown timezone or an invalid time."""
    settings, default = tomllib.loads(Path(conf).read_text(encoding="utf-8")), ShopClock()
    checked = {}
    for key, check in (("timezone", known_timezone), ("day_ends_at", day_end)):
        try:
            checked[key] = check(settings.get(key, getattr(default, key)))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{conf}: {key}: {error}") from None
    return ShopClock(**checked)


def steady_time(clock: ShopClock, hours: int) -> tuple[int, int]:
    """Hour and minute at least `hours` after the end of the business day that occur exactly once on every day.

    A schedule must avoid times that clocks skip or repeat: Airflow 3.3 uses the moment after a skipped 02:00 as both
    start and end of an interval, and unless a run is created at once, the run of that date is never due.
    """
    minutes = clock.end_minutes + hours * 60
    while any(first <= minutes % DAY_MINUTES < last for first, last in _unsteady(clock.timezone)):
        minutes += 30
    return minutes // 60 % 24, minutes % 60


@lru_cache(maxsize=8)
def _unsteady(timezone: str) -> tuple[tuple[int, int], ...]:
    """Spans of minutes of the day that a time zone's clocks skip or repeat between 2015 and 2039."""
    return tuple(sorted({span for change in _changes(ZoneInfo(timezone)) for span in change}))


def _changes(zone: ZoneInfo) -> Iterator[list[tuple[int, int]]]:
    def ahead(minute: int) -> int:
        offset = (EPOCH + dt.timedelta(minutes=minute)).astimezone(zone).utcoffset()
        return int((offset or dt.timedelta()).total_seconds()) // 60

    for before in range(0, YEARS * 366 * DAY_MINUTES, DAY_MINUTES):
        low, high = before, before + DAY_MINUTES
        if ahead(low) == ahead(high):
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if ahead(middle) == ahead(before) else (low, middle)
        first, last = sorted(minute % DAY_MINUTES for minute in (high + ahead(low), high + ahead(high)))
        yield [(first, last)] if last - first < DAY_MINUTES // 2 else [(0, first), (last, DAY_MINUTES)]


def date_of_run(params: Mapping[str, Any], run: Any) -> dt.date:
    """The run_date of an Airflow DagRun, by its parameters run_date and conf."""
    return resolve_run_date(
        params.get("run_date"),
        clock=clock_of(conf_path(params)),
        run_after=run.run_after,
        logical_date=run.logical_date,
        data_interval_end=run.data_interval_end,
    )


def resolve_run_date(
    requested: str | None,
    *,
    clock: ShopClock,
    run_after: dt.datetime,
    logical_date: dt.datetime | None = None,
    data_interval_end: dt.datetime | None = None,
) -> dt.date:
    """The day before the moment that the run represents, by the shop's clock.

    The nightly run starts two hours after the end of the business day: the one that starts on Monday at 02:00 covers
    the data interval from Sunday 02:00 up to Monday 02:00, and its run_date is Sunday. The rule looks at the
    interval's end, because it then holds for every hour, for the week's interval of the training DAG, and on the days
    when clocks change. Airflow passes all moments in UTC, in which they may fall on another day.

    The moment, by kind of run:
    - manual with the parameter run_date (`requested`, YYYY-MM-DD): that day, whatever the moments are;
    - scheduled, backfill: the end of the data interval;
    - manual with a logical date (the form fills in now): the end of the interval that Airflow gives it, which
      is the last one complete at that date. So it is the run_date of the last scheduled run by then: for midnight
      at the start of 3 December it is the 1st, as the run of the 2nd was still to come;
    - manual with a logical date but no interval: the logical date;
    - started by an asset, or without a logical date: run_after, the time at which it was due.

    Raises ValueError for text that is no date, and for a moment without an offset from UTC, whose day is unknown.
    """
    if requested is not None:
        try:
            return dt.datetime.strptime(requested, "%Y-%m-%d").date()
        except ValueError:
            raise ValueError(f"run_date is {requested!r}; write it YYYY-MM-DD") from None
    return clock.day_of(data_interval_end or logical_date or run_after) - dt.timedelta(days=1)
