"""Sizes in titles: numbers and units by rules, in one unit a dimension, so that sizes can be compared."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from math import floor, log10

# dimension: its unit, and how many of it a unit of a text is. An ounce is one of weight, unless it is fluid.
DIMENSIONS: dict[str, dict[str, float]] = {
    "ml": {"ml": 1, "cl": 10, "dl": 100, "fl oz": 29.5735, "pt": 473.176, "pint": 473.176, "qt": 946.353}
    | dict.fromkeys(("l", "lt", "ltr", "liter", "litre", "liters", "litres"), 1000.0)
    | {"quart": 946.353, "gal": 3785.41, "gallon": 3785.41},
    "g": {"mg": 0.001, "g": 1.0, "gr": 1, "gram": 1, "grams": 1, "kg": 1000, "kilo": 1000}
    | dict.fromkeys(("oz", "ounce", "ounces"), 28.3495)
    | dict.fromkeys(("lb", "lbs", "pound", "pounds"), 453.592),
    "mm": {"mm": 1, "cm": 10, "m": 1000, "metre": 1000, "meter": 1000, "ft": 304.8, "feet": 304.8, "yd": 914.4}
    | dict.fromkeys(("in", "inch", "inches"), 25.4),
    "pcs": dict.fromkeys(("ct", "count", "pc", "pcs", "piece", "pieces", "pk", "pack", "packs"), 1.0)
    | dict.fromkeys(("dz", "doz", "dozen"), 12.0),
    "gb": {"mb": 0.001, "gb": 1, "tb": 1000},
    "w": {"w": 1, "watt": 1, "kw": 1000},
    "mah": {"mah": 1},
    "v": {"v": 1, "volt": 1},
    "hz": {"hz": 1, "mhz": 1e6, "ghz": 1e9},
}
UNITS = {unit: (base, times) for base, units in DIMENSIONS.items() for unit, times in units.items()}
PIECES, LENGTH = "pcs", "mm"
LARGEST = 1e12  # of a number that is a size; a longer one is a code
_NUMBER = r"(?:\d+ \d+/\d+|\d+/\d+|\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+[.,]\d+|[.,]\d+|\d+)"
_UNIT = "|".join(re.escape(unit).replace(r"\ ", r"\.? ?") for unit in sorted(UNITS, key=len, reverse=True))
_BEFORE = r"(?<![\w.,/])"
_MEASURE = re.compile(rf"{_BEFORE}({_NUMBER})(?: |-)?({_UNIT})\b\.?")
_TIMES = re.compile(rf"{_BEFORE}({_NUMBER}) ?[x*\u00d7] ?({_NUMBER})(?: |-)?({_UNIT})\b\.?")
_TIMES_AFTER = re.compile(rf"{_BEFORE}({_NUMBER})(?: |-)?({_UNIT})\b\.? ?[x*\u00d7] ?(\d+)\b")
_SIDES = re.compile(rf"{_BEFORE}({_NUMBER}) ?[x*\u00d7] ?({_NUMBER})(?: ?[x*\u00d7] ?({_NUMBER}))?(?: |-)?({_UNIT})\b")
_OF = re.compile(
    r"\b(?:(?:pack|set|box|bag|case|bundle) of |(?:set|pack|s)/ ?)(\d+|two|three|four|five|six|eight|ten|twelve)\b"
)
_NAMED = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "eight": 8, "ten": 10, "twelve": 12}
_WORN = re.compile(
    r"\bsize[: ]+([a-z0-9]{1,4})\b|\b((?:x|xx|xxx|[2-5]x)[sl])\b|[,/-] ?([sml])$|\b(small|medium|large)\b"
)
_OTHER = re.compile(rf"{_BEFORE}(\d+(?:\.\d+)?)(?: |-)([a-z][a-z]{{1,11}})\b")


@dataclass(frozen=True)
class Size:
    """A size: its normal form (`1980 ml`), the title without the words that say it, whether its unit is known."""

    value: str
    rest: str
    known: bool = True


def size_of(title: str, units: Collection[str] = ()) -> Size | None:
    """The size that a title names, in its dimension's unit; None without one.

    A pack counts with what is in it: `6 x 330 ml` is `1980 ml`. Lengths with an x between them are sides: `200 x 300
    mm`. Of several contents the first counts. `units`: words that follow numbers in this catalogue without being units
    that the rules know; their sizes are kept as text, in lower case.
    """
    text = plain(title)
    for rule in (_sides, _pack, _content, _worn):
        if found := rule(text):
            return found
    for match in _OTHER.finditer(text):
        if match[2] in units:
            return Size(f"{match[1]} {match[2]}", _without(text, match), known=False)
    return None


def other_units(title: str) -> list[tuple[str, str]]:
    """(number, word) of each number that a word follows which is no unit of the rules."""
    return [(match[1], match[2]) for match in _OTHER.finditer(plain(title)) if match[2] not in UNITS]


def plain(title: str) -> str:
    """Lower case, single spaces; inches for the sign after a number."""
    text = " ".join(title.casefold().split())
    return re.sub("(?<=\\d) ?(?:\"|\u201d|'')", " inch", text)


def normal_form(amount: float, base: str) -> str:
    """`1980 ml`: four digits, for 12 oz and 340.2 g of one thing are one size."""
    digits = 3 - floor(log10(amount))
    shown = f"{round(amount, digits):.{max(digits, 0)}f}"
    return f"{shown.rstrip('0').rstrip('.') if digits > 0 else shown} {base}"


def number_of(text: str) -> float:
    """1.5 of `1.5`, `1,5` and `1 1/2`; a comma before three digits separates thousands."""
    if "/" in text:
        *ones, fraction = text.split(" ")
        over, under = fraction.split("/")
        return sum(map(float, ones)) + (float(over) / float(under) if float(under) else 0.0)
    if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", text):
        return float(text.replace(",", ""))
    return float(text.replace(",", "."))


def _unit(text: str) -> tuple[str, float]:
    return UNITS[text if text in UNITS else "fl oz"]  # written with a dot, or without a space


def _sound(amount: float) -> bool:
    return 0 < amount < LARGEST


def _sides(text: str) -> Size | None:
    match = _SIDES.search(text)
    if not match or _unit(match[4])[0] != LENGTH:
        return None
    sides = [number_of(side) * _unit(match[4])[1] for side in match.groups()[:3] if side]
    if not all(map(_sound, sides)):
        return None
    forms = [normal_form(side, LENGTH).removesuffix(f" {LENGTH}") for side in sides]
    return Size(f"{' x '.join(forms)} {LENGTH}", _without(text, match))


def _pack(text: str) -> Size | None:
    """A number of equal contents: 6 x 330 ml, 330 ml x 6."""
    for rule, count, amount, unit in ((_TIMES, 1, 2, 3), (_TIMES_AFTER, 3, 1, 2)):
        if match := rule.search(text):
            base, times = _unit(match[unit])
            total = number_of(match[count]) * number_of(match[amount]) * times
            if _sound(total):
                return Size(normal_form(total, base), _without(text, match))
    return None


def _content(text: str) -> Size | None:
    """A content, times the pieces of the pack if the title says how many; or the pieces alone."""
    found = [(match, *_unit(match[2])) for match in _MEASURE.finditer(text) if _sound(number_of(match[1]))]
    contents = [each for each in found if each[1] != PIECES]
    counts = [(match, number_of(match[1]) * times) for match, base, times in found if base == PIECES]
    if of := _OF.search(text):
        counts.append((of, float(_NAMED.get(of[1], 0) or of[1])))
    counts = [(match, pieces) for match, pieces in counts if _sound(pieces)]
    if not contents and not counts:
        return None
    total, base = (counts[0][1] if counts else 1.0), PIECES
    if contents:
        match, base, times = contents[0]
        total *= number_of(match[1]) * times
    return Size(normal_form(total, base), _without(text, *(match for match, _, _ in found), *([of] if of else [])))


def _worn(text: str) -> Size | None:
    match = _WORN.search(text)
    return Size(next(filter(None, match.groups())), _without(text, match)) if match else None


def _without(text: str, *matches: re.Match[str]) -> str:
    for start, end in sorted((match.span() for match in matches), reverse=True):
        text = f"{text[:start]} {text[end:]}"
    return " ".join(text.split())
