"""Dirty lines of a tiny shop's till and catalogue, drawn by hypothesis: each damage that a raw file is known for."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable
from typing import TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.support import tiny_shop

DAY = tiny_shop.day(14)  # a Friday, 2024-03-15
MEGABYTE = 1_000_000
Drawn = TypeVar("Drawn")

LOOK_ALIKE = [
    "\u0405" + "01",  # Cyrillic Dze for S
    "\uff33\uff10\uff11",  # full width
    "S\u200b01",  # a zero-width space within
    "S0\u0661",  # an Arabic-Indic one
    "S01\u0301",  # a combining accent
    "Cafe\u0301",  # two forms of one id
    "Caf\u00e9",
    "8.50E+12",  # of a spreadsheet
    "s01",
    "\u202eS01",  # right to left
    "S\u00ad01",  # soft hyphen
    "SO1",
]
EDGES = ["", " ", "\u00a0", "\t", "\u3000", "\u200b", "\ufeff", "\u2028", "\x85", "\x1c", "\x01", "\r"]
WORDS = [
    "'; DROP TABLE silver.events; --",
    "1 OR 1=1",
    "<script>alert('x')</script>",
    "&lt;b&gt;&amp;",
    "${jndi:ldap://x/a}",
    "{batch}",
    "{0}",
    "%s%n%x",
    "=cmd|' /C calc'!A0",
    "\\",
    "\\xff",
    "\\\\u0041",
    "\\N",
    "NULL",
    "null",
    "None",
    "true",
    "\U0001f375",  # a character beyond 16 bits
    "\U0010ffff",
    "\ufdd0",  # no character, yet Unicode
    "e\u0301",  # a combining form of é
    "\u00e9",
    "na\u00efve caf\u00e9",
    "\u20ac 5",
    "\u7dd1\u8336",
    "STRASSE \u00df",
    "\u039f\u03a3",
    "\x7f",
    "\x1b[31m",
]


def _each(text: str) -> list[str]:
    return text.split()


NUMBERS = [
    *_each("0 -0 +0 00 1 +5 -5 --5 5- 5. .5 -.5 . - + 5.0 5.9 -0.5 1e2 1e308 -1e308 1e400 1e-400 1E5 1e e1 NaN nan"),
    *_each("-NaN +NaN Infinity -Infinity inf -INF +inf infinit 2147483647 2147483648 -2147483648 -2147483649 00012"),
    *_each("99999999999999999999 100000 100001 1000000 1000000.01 0x10 0x1p3 0b1 0o7 1,000 1.000,5 1_000 1'000 5d 5f"),
    *_each("5D 5L 1/2 50% $5 \u0663 \uff15 \u00bd \u22125 many null 9007199254740993 0.1 0.30000000000000004 4.9e-324"),
]
DATES = [
    *_each(
        "now today yesterday tomorrow epoch never 0000-00-00 0000-01-01 0001-01-01 0024-03-15 1582-10-10 1600-02-29"
    ),
    *_each("1677-09-21 1899-12-30 1900-02-29 1969-12-31T23:59:59 1970-01-01 2000-02-29 2023-02-29 2024-02-29 2024-2-9"),
    *_each("9999-12-31 10000-01-01 123456-01-01 294247-01-11 999999-01-01 -2024-03-15 +2024-03-15 02024-03-15"),
    *_each("2024 2024-03 20240315 1710496800 1710496800000 1710496800.5 45366 2024-W11-5 2024-075 24-03-15 15/03/2024"),
    *_each("03/15/2024 15.03.2024 2024/03/15 2024-13-15 2024-00-10 2024-03-32 2024-04-31 2024-03-15T 2024-03-15Z"),
    *_each("10:00:00 10:00 9:1 T10 T10:00 T1:2:3.4Z 24:00 10:00:00Z"),
    "Mar 15, 2024",
    "Fri, 15 Mar 2024 10:00:00 GMT",
    "12:00:00 Europe/Paris",
    "\u0662\u0660\u0662\u0664-\u0660\u0663-\u0661\u0665",
    "2024-03-15\u00a010:00:00",
    "2024\u201103\u201115",
]
CLOCKS = [
    *_each("10:00:00 0:0:0 23:59:59 24:00:00 23:59:60 12:60:00 10:00 10 10:0 1:2:3 10:00:00.1 10:00:00.123456789"),
    *_each("10:00:00. 10:00:00,5 10:00:00.5.5 010:00:00 10:00:001 10h00"),
]
ZONES = [
    *_each(
        "Z z UTC utc GMT UT +00:00 -00:00 +01:00 -08:00 -0800 +01 +1 +1:00 +01:0 +18:00 +18:01 +19:00 -18:00 +05:30"
    ),
    *_each("+00:00:30 +013 + UTC+1 UTC+01:00 GMT-3 Europe/Paris America/New_York Asia/Kolkata Mars/Olympus EST PST A"),
]


def moments() -> st.SearchStrategy[str]:
    """Dates of every kind, with and without a clock and a zone."""
    days = st.sampled_from(
        ["2024-03-15", "2024-03-14", "2024-03-16", "2024-02-29", "2023-11-05", "2024-3-5", "1970-01-01"]
    )
    clocks = st.builds(
        "".join, st.tuples(days, st.sampled_from(["T", " ", "  ", "t"]), st.sampled_from(CLOCKS), zones())
    )
    iso = st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31)).map(dt.datetime.isoformat)
    return st.one_of(st.sampled_from(DATES), clocks, iso)


def zones() -> st.SearchStrategy[str]:
    return st.one_of(st.just(""), st.builds("".join, st.tuples(st.sampled_from(["", " "]), st.sampled_from(ZONES))))


def numbers() -> st.SearchStrategy[str]:
    """Numbers as people, tills and floating point write them."""
    return st.one_of(
        st.sampled_from(NUMBERS),
        st.integers(-(2**33), 2**33).map(str),
        st.integers(-3, 300).map(str),
        st.floats().map(repr),
        st.decimals(-10, 2_000_000, places=2).map(str),
    )


def words() -> st.SearchStrategy[str]:
    """Texts that are trouble somewhere: for SQL, HTML, CSV, a terminal, a length."""
    nasty = st.text(st.sampled_from("aZ9 ,;\t|\"'\\\r<&\u00e9\u20ac\u200d\u0130\U0001f375\x0b\x1f"), max_size=8)
    sizes = st.sampled_from([199, 200, 201, 500, 501, 2000, 2001]).map(lambda size: "w" * size)
    return st.one_of(
        st.sampled_from(WORDS), nasty, nasty, sizes, st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
    )


def ids(known: list[str]) -> st.SearchStrategy[str]:
    return st.one_of(st.sampled_from(known), st.sampled_from(LOOK_ALIKE), words())


def dirtied(clean: st.SearchStrategy[str], dirty: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """A field: mostly clean, else dirty, with something that shows as nothing around it, or empty."""
    around = st.builds("".join, st.tuples(st.sampled_from(EDGES), st.one_of(clean, dirty), st.sampled_from(EDGES)))
    return st.sampled_from([clean] * 34 + [dirty] * 4 + [around, st.just("")]).flatmap(lambda chosen: chosen)


QUOTINGS: list[Callable[[str], str]] = [
    lambda value: value,
    lambda value: '"' + value.replace('"', '""') + '"',
    lambda value: '"' + value + '"',  # its own quotes not doubled
    lambda value: '"' + value,  # never closed
    lambda value: value + '"',
    lambda value: '"' + value + '" ',
    lambda value: '"' + value[:3] + "\n" + value[3:] + '"',  # a line feed within
    lambda value: value[:2] + "\r" + value[2:],
]


def quoted(value: st.SearchStrategy[str], delimiter: str) -> st.SearchStrategy[str]:
    """As it stands in the file: quoted where it must be, and seldom otherwise."""

    def stand(text: str, draw: int) -> str:
        must = any(character in text for character in (delimiter, '"', "\n"))
        return QUOTINGS[draw if draw < len(QUOTINGS) else must](text)

    return st.builds(stand, value, st.integers(0, 200))


def damaged(line: str, damage: int, where: int, bad: list[str]) -> str:
    """A line as a file may have it: mostly as it is, else cut, doubled, blank, with bytes that are no text, or NULs."""
    cut = where % (len(line) + 1)
    kinds = {
        0: line[:cut],
        1: line + line,
        2: "",
        3: " \t" * (where % 3),
        4: f"{line[:cut]}\0{line[cut:]}",
        5: "\0" * (where % 50 + 1),
        6: "\ufeff" + line,
        7: tiny_shop.HEADER,
        **{8 + place: f"{line[:cut]}{marks}{line[cut:]}" for place, marks in enumerate(bad * 3)},
    }
    return kinds.get(damage, line)


def till_lines(delimiter: str, bad: list[str]) -> st.SearchStrategy[str]:
    """Lines of a sales file; `bad` are what stands for bytes that are no text."""
    hour = st.integers(0, 23).map(lambda hour: f"{DAY} {hour:02}:00:00")
    columns = [
        dirtied(st.uuids().map(str), words()),
        dirtied(st.integers(1, 24).map(lambda user: f"U{user:02}"), ids(["U01"])),
        dirtied(
            st.integers(1, 30).map(lambda item: f"S{item:02}"), ids(["S01", "V01", "S99", "D01", "D02", "D03", "D04"])
        ),
        dirtied(st.integers(1, 3).map(str), numbers()),
        dirtied(st.sampled_from(["1.5", "3.0", "4.25", "19.99"]), numbers()),
        dirtied(st.sampled_from(["T0", "T1"]), words()),
        dirtied(hour, moments()),
    ]
    return _lines(columns, delimiter, bad)


def catalogue_lines(delimiter: str, bad: list[str]) -> st.SearchStrategy[str]:
    """Lines of a catalogue: few ids, so that many lines describe one item."""
    few = st.integers(1, 40).map(lambda item: f"D{item:02}")
    columns = [
        dirtied(few, ids(["S01", "V01"])),
        dirtied(st.sampled_from(["Green Tea", "Rye bread"]), words()),
        dirtied(st.sampled_from(["tea", "bread", "service"]), words()),
    ]
    return _lines(columns, delimiter, bad)


def _lines(columns: list[st.SearchStrategy[str]], delimiter: str, bad: list[str]) -> st.SearchStrategy[str]:
    whole = st.tuples(*(quoted(column, delimiter) for column in columns)).map(delimiter.join)
    return st.builds(damaged, whole, st.integers(0, 250), st.integers(0, 200), st.just(bad))


def drawn(lines: st.SearchStrategy[Drawn], count: int, number: int) -> list[Drawn]:
    """`count` draws, the same ones for the same number: hypothesis draws, nothing shrinks (a row names itself)."""
    found: list[Drawn] = []

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(lines)
    def gather(line: Drawn) -> None:
        found.append(line)

    gather()
    return found


def as_file(header: str, lines: list[str], encoding: str, number: int) -> bytes:
    """A raw file: some lines stand twice, a few have a megabyte in one of their fields, ends vary."""
    rng = random.Random(number)
    parts = [header, rng.choice(["\n", "\r\n"])]
    for line in lines:
        repeats = 2 if rng.random() < 0.02 else 1
        cut = rng.randint(0, len(line)) if rng.random() < 0.001 else len(line) + 1
        written = line if cut > len(line) else line[:cut] + "x" * MEGABYTE + line[cut:]
        parts += [written, rng.choice(["\n"] * 8 + ["\r\n"])] * repeats
    if rng.random() < 0.5:
        parts.pop()  # no end on the last line
    return encoded("".join(parts), encoding)


def encoded(text: str, encoding: str) -> bytes:
    """U+DC80 to U+DCFF as the bytes 80 to FF (in UTF-16: as a lone surrogate); what the encoding lacks as `?`."""
    if encoding.startswith("utf-16"):
        return text.encode(encoding, "surrogatepass")
    known = {c: c.encode(encoding, "replace").decode(encoding) for c in set(text) if not "\udc80" <= c <= "\udcff"}
    return text.translate(str.maketrans(known)).encode(encoding, "surrogateescape")
