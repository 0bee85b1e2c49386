"""Silent sources: those whose raw files have stopped arriving, such as one till's."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping

from jobs.runner.findings import Finding
from schemas.contract import Check
from schemas.deployment import Deployment
from schemas.errors import ConfError


def silent_days(
    deployment: Deployment, days: Iterable[tuple[str, dt.date]], run_date: dt.date
) -> Mapping[str, tuple[int, dt.date]]:
    """Source -> days since its newest raw file up to run_date, and that day, for sources that must not be silent.

    `days`: (source, day) of each raw file that exists or was read. Files dated after run_date, by mistake or because
    an old date is run, are ignored; a source without an older file has not begun.
    """
    newest: dict[str, dt.date] = {}
    for source, day in days:
        if source in deployment.sources and day <= run_date:
            newest[source] = max(day, newest.get(source, day))
    limited = sorted(source for source in newest if deployment.max_silent_days(source) is not None)
    silences = {source: ((run_date - newest[source]).days, newest[source]) for source in limited}
    return {source: silence for source, silence in silences.items() if silence[0]}


def refuse_silent(deployment: Deployment, silent: Mapping[str, tuple[int, dt.date]], run_date: dt.date) -> None:
    """ConfError where a source is silent for longer than its max_silent_days."""
    for source, (days, newest) in silent.items():
        allowed = deployment.max_silent_days(source)
        if allowed is not None and days > allowed:
            raise ConfError(
                f"--run-date {run_date} is {days} days after the newest raw file of [sources.{source}] ({newest}) in "
                f"{deployment.landing}; its max_silent_days allows {allowed}"
            )


def warning(silent: Mapping[str, tuple[int, dt.date]]) -> Finding:
    """The warning of a run where some sources have no raw file of run_date."""
    names = ", ".join(f"[sources.{source}] (newest: {newest})" for source, (_, newest) in silent.items())
    reason = f"a source that comes every day should have a raw file of run_date; none of {names}"
    return Finding(Check("source_silent", reason, "", severity="warning"), False, len(silent))
