"""Keys that say how a source's files are written: what does not fit is refused with file and key."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from jobs.ingest_logs import format_of
from schemas.deployment import load
from schemas.errors import ConfError
from tests.support import tiny_shop
from udfs.records import FileFormat

FILES = 'files = "sales/*"'


def changed(tmp_path: Path, keys: str) -> Path:
    conf = tiny_shop.make(tmp_path, days=1)
    conf.write_text(conf.read_text().replace(FILES, f"{FILES}\n{keys}", 1))
    return conf


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("escape = 'xy'", r"sources\.events\.escape: String should have at most 1 character"),
        ("escape = ','", r"sources\.events: escape = ',' is the delimiter too"),
        ("delimiter = '\"'", r"sources\.events\.delimiter: '\"' cannot divide or escape"),
        ("skip_lines = -1", r"sources\.events\.skip_lines: Input should be greater than or equal to 0, not -1"),
        ("skip_lines = 2\nheader = false", r"skip_lines: of files with a header alone, and header is false"),
        ("headers = false", r"sources\.events\.headers: unknown key"),
        ("short_lines = 'pad'", r"sources\.events\.short_lines: Input should be 'refuse' or 'fill', not 'pad'"),
        ("carry_downs = ['at']", r"sources\.events\.carry_downs: unknown key"),
        ("carry_down = ['at']", r"sources\.events: carry_down and carry_down_within: neither is anything without"),
        ("carry_down = ['when']\ncarry_down_within = 'sku'", r"sources\.events: carry_down: columns has no 'when'"),
        ("carry_down = ['at']\ncarry_down_within = 'order'", r"events: carry_down_within: columns has no 'order'"),
        ("carry_down = ['at']\ncarry_down_within = 'at'", r"events: carry_down_within = 'at' is in carry_down"),
    ],
)
def test_what_does_not_fit_is_refused_with_file_and_key(tmp_path: Path, keys: str, message: str) -> None:
    with pytest.raises(ConfError, match=message) as caught:
        load(changed(tmp_path, keys))
    assert "tiny_shop.toml" in str(caught.value)


def test_a_shop_that_says_nothing_has_plain_files(tmp_path: Path) -> None:
    source = load(tiny_shop.make(tmp_path, days=1)).sources["events"]
    assert format_of(source) == FileFormat(source.columns)
    assert source.carry_down == []


def test_files_may_be_written_otherwise_from_a_day_on(tmp_path: Path) -> None:
    conf = changed(tmp_path, "skip_lines = 2")
    change = "[[sources.events.changes]]\nfrom = 2024-03-02\nescape = '\\'\nskip_lines = 0\nshort_lines = 'fill'\n\n"
    conf.write_text(conf.read_text().replace("[sources.items]", f"{change}[sources.items]", 1))
    source = load(conf).sources["events"]
    before, after = (format_of(source.on(dt.date(2024, 3, day))) for day in (1, 2))
    assert (before.skip_lines, before.escape, before.fill_short_lines) == (2, "", False)
    assert (after.skip_lines, after.escape, after.fill_short_lines) == (0, "\\", True)
