"""Times of raw files as moments and days, by the deployment's clock (schemas/clock.py).

A text without an offset is local to the clock's timezone, one with an offset (Z, +02:00) is an instant. Of an hour that
is repeated the first one counts; an hour that was skipped is no moment. The Spark session stays UTC: only while a
deployment's SQL is turned into columns does Spark take the clock's timezone for that of a text.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DataType, DateType, StringType, TimestampNTZType, TimestampType

from jobs.transforms.reasons import because
from schemas.clock import UTC, ShopClock
from schemas.reason_codes import skipped_hour, zone_unclear

DAY_SECONDS = 86_400
BLANK = r"[\x00-\x20\x7f]*"
# How a text with a date begins: to one without, such as 10:00:00, Spark gives the date of its clock.
DATED = rf"^{BLANK}[+-]?[0-9]{{4}}"
DAY_ALONE = rf"^{BLANK}[+-]?[0-9]{{4,6}}-[0-9]{{1,2}}-[0-9]{{1,2}}{BLANK}$"
TIMED = rf"^{BLANK}[+-]?[0-9]{{4,6}}-[0-9]{{1,2}}-[0-9]{{1,2}}[ T][0-9]"
MIDNIGHT = rf"[ T]0?0(?::0?0(?::0?0(?:\.0*)?)?)?{BLANK}$"
ZONED = rf":[0-9]{{1,2}}(?:\.[0-9]*)?{BLANK}[^0-9.:\x00-\x20\x7f]"
LETTERS = rf"[A-Z]{{2}}{BLANK}$"
# java.time.ZoneId.SHORT_IDS: Spark reads them, and most are also the abbreviation of another zone (BST is Bangladesh).
SEVERAL = (
    *("ACT", "AET", "AGT", "ART", "AST", "BET", "BST", "CAT", "CNT", "CST", "CTT", "EAT", "ECT", "EST", "HST", "IET"),
    *("IST", "JST", "MIT", "MST", "NET", "NST", "PLT", "PNT", "PRT", "PST", "SST", "VST"),
)
UNCLEAR = rf"(?s){DATED}.*:[0-9]{{1,2}}(?:\.[0-9]*)?{BLANK}(?:{'|'.join(SEVERAL)}){BLANK}$"
# SQL that itself says of which zone its times are.
NAMES_ITS_ZONE = re.compile(r"\bto_utc_timestamp\s*\(", re.IGNORECASE)
# A zone for testing a deployment's SQL, so far from all others that a local time is another moment in it.
FAR, FAR_HOURS = "+18:00", 18


@contextlib.contextmanager
def building(spark: SparkSession, timezone: str = "UTC") -> Iterator[None]:
    """While it lasts, expressions are built so that a value they cannot convert gives null instead of an error, and
    that a time without an offset is one of `timezone`.
    """
    wanted = {"spark.sql.ansi.enabled": "false", "spark.sql.session.timeZone": timezone}
    before = {key: str(spark.conf.get(key)) for key in wanted}
    for key, value in wanted.items():
        spark.conf.set(key, value)
    try:
        yield
    finally:
        for key, value in before.items():
            spark.conf.set(key, value)


def day_of(moment: Column | str, clock: ShopClock) -> Column:
    """The business day of a TIMESTAMP: ShopClock.day_of as a column, whatever the session's time zone."""
    local = moment if clock.timezone == UTC.timezone else F.from_utc_timestamp(moment, clock.timezone)
    seconds = F.unix_seconds(local) - F.lit(clock.end_minutes * 60)
    return F.date_from_unix_date(F.floor(seconds / F.lit(DAY_SECONDS)).cast("int"))


@dataclass(frozen=True)
class Moment:
    """A mapped value as a TIMESTAMP, and the reason why a given value is none; null where it is one."""

    value: Column
    why: Column


def moment(name: str, mapped: Column, of: DataType, clock: ShopClock, far: Column | None = None) -> Moment:
    """The moment that a mapped value of column `name` says, built within building(clock.timezone).

    A date alone is the beginning of its business day. `far`: the same value built in FAR, for SQL that gives a
    TIMESTAMP: where it is another, the SQL has read a local time.
    """
    none = F.lit(False)
    if isinstance(of, StringType):
        return _of_text(name, mapped, clock)
    if isinstance(of, DateType):
        return _judged(name, _begin(mapped.cast("timestamp_ntz"), clock), none, none)
    value = mapped.try_cast("TIMESTAMP")
    if isinstance(of, TimestampNTZType):
        return _judged(name, value, none, value.cast("timestamp_ntz") != mapped)
    if isinstance(of, TimestampType) and far is not None:
        local = far + F.expr(f"INTERVAL '{FAR_HOURS}' HOUR")
        again = F.from_utc_timestamp(F.to_utc_timestamp(local, clock.timezone), clock.timezone)
        return _judged(name, value, none, (far != value) & (again != local))
    return _judged(name, value, none, none)


def day(mapped: Column, of: DataType, clock: ShopClock) -> Column:
    """The DATE that a mapped value says, built within building(clock.timezone): of a moment its business day.

    A local time of midnight is a date that has been written as a time.
    """
    written = mapped.try_cast("DATE")
    if isinstance(of, StringType):
        of_text = _of_text("", mapped, clock).value
        return F.coalesce(F.when(mapped.rlike(TIMED) & ~mapped.rlike(MIDNIGHT), day_of(of_text, clock)), written)
    if isinstance(of, TimestampType | TimestampNTZType):
        local = mapped.cast("timestamp_ntz")
        return F.when(local == written.cast("timestamp_ntz"), written).otherwise(
            day_of(mapped.cast("timestamp"), clock)
        )
    return written


def _of_text(name: str, text: Column, clock: ShopClock) -> Moment:
    plain, unclear, skipped = text, F.lit(False), F.lit(False)
    if clock.timezone != UTC.timezone:
        for own, offset in clock.abbreviations().items():
            plain = F.regexp_replace(plain, rf"(?<=[0-9.]){BLANK}{own}{BLANK}$", offset)
        plain = F.when(text.rlike(LETTERS), plain).otherwise(text)
    unclear = plain.rlike(UNCLEAR)
    value = F.when(plain.rlike(DATED), plain.try_cast("TIMESTAMP"))
    if clock.timezone != UTC.timezone:
        shown = plain.try_cast("TIMESTAMP_NTZ")
        skipped = ~plain.rlike(ZONED) & ~plain.rlike(DAY_ALONE) & (value.cast("timestamp_ntz") != shown)
    if clock.end_minutes:
        begun = _begin(plain.try_cast("DATE").cast("timestamp_ntz"), clock)
        value = F.when(plain.rlike(DAY_ALONE), begun).otherwise(value)
    return _judged(name, value, unclear, skipped)


def _begin(midnight: Column, clock: ShopClock) -> Column:
    """The moment at which the business day of a date begins."""
    return (midnight + F.expr(f"INTERVAL '{clock.end_minutes}' MINUTE")).try_cast("TIMESTAMP")


def _judged(name: str, value: Column, unclear: Column, skipped: Column) -> Moment:
    why = F.when(unclear, because(zone_unclear(name))).when(skipped, because(skipped_hour(name)))
    return Moment(F.when(~F.coalesce(unclear | skipped, F.lit(False)), value), why)
