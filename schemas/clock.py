"""The shop's clock: its time zone, when its business day ends, and the day of a moment. Standard library only."""

from __future__ import annotations

import datetime as dt
import difflib
import re
import zoneinfo
from dataclasses import dataclass
from functools import lru_cache

LATEST_END = 12 * 60  # minutes after midnight: a day that ends later would be the next one's morning


@dataclass(frozen=True)
class ShopClock:
    """A shop's clock: an IANA time zone, and the time of day (HH:MM) at which its business day ends."""

    timezone: str = "UTC"
    day_ends_at: str = "00:00"

    @property
    def end_minutes(self) -> int:
        """Minutes after midnight at which a business day ends."""
        hours, minutes = self.day_ends_at.split(":")
        return int(hours) * 60 + int(minutes)

    def day_of(self, moment: dt.datetime) -> dt.date:
        """The business day of a moment; jobs/transforms/shop_time.py has the same for a column.

        ValueError for a moment without an offset from UTC: its day is unknown.
        """
        if moment.tzinfo is None:
            raise ValueError(f"{moment} has no offset from UTC, so its day is unknown")
        # Through UTC: within its own zone, Python would not correct a time in a skipped hour.
        local = moment.astimezone(dt.UTC).astimezone(zoneinfo.ZoneInfo(self.timezone)).replace(tzinfo=None)
        return (local - dt.timedelta(minutes=self.end_minutes)).date()

    def abbreviations(self) -> dict[str, str]:
        """The zone's own abbreviations since 1970, such as EDT, that mean one offset in it: {"EDT": "-04:00"}."""
        return _abbreviations(self.timezone)


UTC = ShopClock()


@lru_cache(maxsize=32)
def _abbreviations(timezone: str) -> dict[str, str]:
    zone, offsets_by_name = zoneinfo.ZoneInfo(timezone), dict[str, set[str]]()
    for week in range(68 * 52):
        moment = (dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(weeks=week)).astimezone(zone)
        offsets_by_name.setdefault(moment.strftime("%Z"), set()).add(moment.isoformat()[-6:])
    return {name: min(offsets) for name, offsets in offsets_by_name.items() if name.isalpha() and len(offsets) == 1}


def known_timezone(name: str) -> str:
    """The name of an IANA time zone. ValueError for any other, with similar names."""
    known = zoneinfo.available_timezones()
    if name in known:
        return name
    part = name.strip().replace(" ", "_").lower()
    alike = [zone for zone in sorted(known) if part in zone.lower()] or difflib.get_close_matches(name, known, 3)
    meant = f"; did you mean {' or '.join(alike[:3])}?" if name and alike else ""
    raise ValueError(f"{name!r} is no IANA time zone such as America/New_York{meant}")


def day_end(text: str) -> str:
    """A time HH:MM before noon. ValueError for anything else."""
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", text):
        raise ValueError(f'must be a time such as "04:00", not {text!r}')
    if ShopClock(day_ends_at=text).end_minutes >= LATEST_END:
        raise ValueError(f"{text!r}: a business day may end at midnight or later, before 12:00")
    return text
