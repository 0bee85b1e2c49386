"""What Spark makes of a text that becomes a number or a moment, as its documentation has it. Plain Python.

INT: an optional sign and ASCII digits that fit 32 bits. DECIMAL(18,3): what Java's BigDecimal reads, rounded half up.
DOUBLE: what Java's Double.valueOf reads, and infinity and nan
in any case. TIMESTAMP: [+-]yyyy[yy][-m[m][-d[d][ |T]h[h][:m[m][:s[s][.fraction][zone]]]]], zone none being UTC; a text
without a date is none here. White space and control characters around it do not count.
"""

from __future__ import annotations

import re
import zoneinfo
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal, localcontext

CONTROL = "".join(map(chr, (*range(0x21), 0x7F)))
DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[fFdD]?")
EXACT = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE]([+-]?[0-9]{1,10}))?")
HEXADECIMAL = re.compile(r"[+-]?0[xX](?:[0-9a-fA-F]+\.?|[0-9a-fA-F]*\.[0-9a-fA-F]+)[pP][+-]?[0-9]+[fFdD]?")
WORDS = {"inf": "inf", "+inf": "inf", "infinity": "inf", "+infinity": "inf", "-inf": "-inf", "-infinity": "-inf"}
MOMENT = re.compile(
    r"([+-]?)([0-9]{4,6})(?:-([0-9]{1,2})(?:-([0-9]{1,2})(?:[ T]([0-9]{1,2})(?::([0-9]{1,2})(?::([0-9]{1,2})"
    r"(?:\.([0-9]*))?([^0-9.].*)?)?)?)?)?)?",
    re.DOTALL,
)
OFFSET = re.compile(r"([+-])(?:([0-9]{1,2})|([0-9]{2}):([0-9]{2})(?::([0-9]{2}))?|([0-9]{2})([0-9]{2})([0-9]{2})?)")
# Abbreviations that several zones have, in part: a shop whose timezone is UTC cannot say which is meant.
SEVERAL = ("EST", "MST", "HST", "PST", "JST", "BST", "IST", "CST")


def integer(text: str | None, *, cut: bool = False) -> int | None:
    """INT. `cut`: as where a text is compared with a number, a fraction is allowed and cut off."""
    if text is None:
        return None
    match = re.fullmatch(r"([+-]?)([0-9]*)(\.[0-9]*)?", text.strip(CONTROL))
    if match is None or (match[3] is not None and not cut) or not (match[2] or match[3]):
        return None
    value = int((match[2] or "0").lstrip("0")[:20] or "0") * (-1 if match[1] == "-" else 1)
    return value if -(2**31) <= value < 2**31 else None


def decimal(text: str | None) -> Decimal | None:
    """DECIMAL(18,3)."""
    match = EXACT.fullmatch(text.strip("".join(map(chr, range(0x21))))) if text is not None else None
    if match is None or abs(int(match[1] or 0)) >= 2**31:
        return None
    value = Decimal(match[0])
    if value and value.adjusted() > 15:
        return None
    with localcontext(prec=200):
        rounded = value.quantize(Decimal("0.001"), ROUND_HALF_UP) if value.adjusted() > -100 else Decimal(0)
    return rounded if abs(rounded) < 10**15 else None


def double(text: str | None) -> float | None:
    """DOUBLE."""
    if text is None:
        return None
    text = text.strip("".join(map(chr, range(0x21))))
    if re.fullmatch(r"[+-]?NaN|(?i:nan)", text):
        return float("nan")
    if text.lower() in WORDS:
        return float(WORDS[text.lower()])
    if DECIMAL.fullmatch(text):
        return float(text.rstrip("fFdD"))
    if HEXADECIMAL.fullmatch(text):
        return float.fromhex(re.sub(r"[fFdD]$", "", text) if re.search(r"[pP].*[fFdD]$", text) else text)
    return None


def timestamp(text: str | None) -> int | None:
    """TIMESTAMP, in microseconds since 1970-01-01 UTC."""
    match = MOMENT.fullmatch(text.strip(CONTROL)) if text is not None else None
    if match is None:
        return None
    year = int(match[2]) * (-1 if match[1] == "-" else 1)
    month, day, hour, minute, second = (
        int(match[place] or least) for place, least in zip(range(3, 8), (1, 1, 0, 0, 0), strict=True)
    )
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not 1 <= month <= 12 or not 1 <= day <= (31, 28 + leap, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month - 1]:
        return None
    if hour > 23 or minute > 59 or second > 59:
        return None
    days = days_since_1970(year, month, day)
    shift = seconds_from_utc(match[9], (year, month, day, hour, minute, second)) if match[9] else 0
    if shift is None:
        return None
    seconds = days * 86_400 + hour * 3600 + minute * 60 + second - shift
    micros = seconds * 1_000_000 + int((match[8] or "")[:6].ljust(6, "0"))
    return micros if -(2**63) <= micros < 2**63 else None


def zone_unclear(text: str | None) -> bool:
    """Whether a text with a date and a time ends with an abbreviation that several zones have."""
    blank = "[" + re.escape(CONTROL) + "]*"
    ends = rf"{blank}[+-]?[0-9]{{4}}.*:[0-9]{{1,2}}(?:\.[0-9]*)?{blank}(?:{'|'.join(SEVERAL)}){blank}"
    return text is not None and re.fullmatch(ends, text, re.DOTALL) is not None


def days_since_1970(year: int, month: int, day: int) -> int:
    """Of the Gregorian calendar, which reaches back before its time; year 0 is 1 BC."""
    cycles, year_of_cycle = divmod(year, 400)  # every 400 years have 146,097 days
    return (datetime(2000 + year_of_cycle, month, day) - datetime(1970, 1, 1)).days + (cycles - 5) * 146_097


def seconds_from_utc(zone: str, local: tuple[int, int, int, int, int, int]) -> int | None:
    """How far a zone is ahead of UTC at a local time; None where there is no such zone."""
    zone = zone.strip("".join(map(chr, range(0x21))))
    zone = re.sub(r"([+-])([0-9]):", r"\g<1>0\2:", zone, count=1)
    zone = re.sub(r"([+-][0-9]{2}):([0-9])$", r"\1:0\2", zone)
    if zone in ("Z", "UTC", "GMT", "UT"):
        return 0
    offset = OFFSET.fullmatch(re.sub(r"^(?:UTC|GMT|UT)(?=[+-])", "", zone))
    if offset:
        hours, minutes, seconds = (int(offset[a] or offset[b] or 0) for a, b in ((2, 3), (4, 7), (5, 8)))
        hours = int(offset[2] or offset[3] or offset[6])
        ahead = hours * 3600 + minutes * 60 + seconds
        if minutes > 59 or seconds > 59 or ahead > 18 * 3600:
            return None
        return -ahead if offset[1] == "-" else ahead
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9~/._+-]+", zone) or zone not in zoneinfo.available_timezones():
        return None
    ahead_then = datetime(*local, tzinfo=zoneinfo.ZoneInfo(zone)).utcoffset()
    assert ahead_then is not None
    return int(ahead_then.total_seconds())
