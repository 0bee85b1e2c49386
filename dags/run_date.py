"""The run_date of an Airflow run: the last full day of logs that it may see. No Airflow in here."""

from __future__ import annotations

import datetime as dt
import os
from typing import Any
from zoneinfo import ZoneInfo

TIMEZONE = os.environ.get("NIGHTSHELF_TIMEZONE", "UTC")


def date_of_run(asked: str | None, run: Any) -> dt.date:
    """The run_date of an Airflow DagRun by the calendar of TIMEZONE; `asked` is its parameter run_date."""
    return resolve_run_date(
        asked,
        timezone=TIMEZONE,
        run_after=run.run_after,
        logical_date=run.logical_date,
        data_interval_end=run.data_interval_end,
    )


def resolve_run_date(
    asked: str | None,
    *,
    timezone: str,
    run_after: dt.datetime,
    logical_date: dt.datetime | None = None,
    data_interval_end: dt.datetime | None = None,
) -> dt.date:
    """The day before the moment that the run stands for, by the calendar of `timezone`.

    The night is scheduled at 02:00: the run that starts on Monday at 02:00 covers the data interval from
    Sunday 02:00 up to Monday 02:00, and its run_date is Sunday, which has been over for two hours. The rule
    looks at the interval's end, because it then holds for every hour, for the week's interval of the training
    DAG, and on the days when clocks change. Airflow hands all moments over in UTC, where they may lie on
    another day.

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
    moment = data_interval_end or logical_date or run_after
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no offset from UTC, so its day is unknown")
    return moment.astimezone(ZoneInfo(timezone)).date() - dt.timedelta(days=1)
