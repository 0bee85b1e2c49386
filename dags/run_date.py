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
EPOCH, YEARS = dt.datetime(2015, 1, 1, tzinfo=dt.UTC), 25  # the clock changes that a schedule keeps clear of


def conf_path(params: Mapping[str, Any]) -> str:
    """The deployment's file of a run with these parameters, for --conf."""
    return str(REPO / (params.get("conf") or CONF))


def clock_of(conf: str) -> ShopClock:
    """The clock that a deployment's file describes. ValueError, naming file and key, for one that there is not."""
    said, default = tomllib.loads(Path(conf).read_text(encoding="utf-8")), ShopClock()
    found = {}
    for key, check in (("timezone", known_timezone), ("day_ends_at", day_end)):
        try:
            found[key] = check(said.get(key, getattr(default, key)))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{conf}: {key}: {error}") from None
    return ShopClock(**found)


def steady_time(clock: ShopClock, hours: int) -> tuple[int, int]:
    """Hour and minute that every day has once: so long after the end of the business day, or the next after that.

    A time that clocks skip or repeat is no time for a schedule: Airflow 3.3 takes the moment after a skipped 02:00 for
    the start and the end of an interval, and where a run was not created at once, that night was never due.
    """
    minutes = clock.end_minutes + hours * 60
    while any(first <= minutes % DAY_MINUTES < last for first, last in _unsteady(clock.timezone)):
        minutes += 30
    return minutes // 60 % 24, minutes % 60


@lru_cache(maxsize=8)
def _unsteady(timezone: str) -> tuple[tuple[int, int], ...]:
    """Minutes of the day, from and to, that clocks of a time zone have skipped or repeated, or will."""
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
    asked: str | None,
    *,
    clock: ShopClock,
    run_after: dt.datetime,
    logical_date: dt.datetime | None = None,
    data_interval_end: dt.datetime | None = None,
) -> dt.date:
    """The day before the moment that the run stands for, by the shop's clock.

    The nightly run starts two hours after the end of the business day: the one that starts on Monday at 02:00 covers
    the data interval from Sunday 02:00 up to Monday 02:00, and its run_date is Sunday. The rule looks at the
    interval's end, because it then holds for every hour, for the week's interval of the training DAG, and on the days
    when clocks change. Airflow hands all moments over in UTC, where they may lie on another day.

    The moment, by kind of run:
    - manual with the parameter run_date (`asked`, YYYY-MM-DD): that day is the answer, nothing else counts;
    - scheduled, backfill: the end of the data interval;
    - manual with a logical date (the form fills in now): the end of the interval that Airflow gives it, which
      is the last one that was complete at that date. So the answer is what the schedule would last have run by
      then; for the midnight with which 3 December begins it is the 1st, as the 2nd's night was still to come;
    - manual with a logical date but no interval: the logical date;
    - started by an asset, or without a logical date: run_after, the time at which it was due.

    Raises ValueError for text that is no date, and for a moment without an offset from UTC: it may be any day.
    """
    if asked is not None:
        try:
            return dt.datetime.strptime(asked, "%Y-%m-%d").date()
        except ValueError:
            raise ValueError(f"run_date is {asked!r}; write it YYYY-MM-DD") from None
    return clock.day_of(data_interval_end or logical_date or run_after) - dt.timedelta(days=1)
