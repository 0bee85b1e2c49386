"""A file that comes twice is known by its content: renamed, compressed, or read before there was a hash of that."""

from __future__ import annotations

import datetime as dt

import pytest

from jobs.ingest_logs import copies_among
from schemas import bronze
from schemas.source import Source

D1, D2, D3 = (dt.date(2026, 3, day) for day in (1, 2, 3))


def file(day: dt.date, name: str, sha256: str, content: str | None = None, **more: object) -> dict:
    known = {"run_date": day, "source": "events", "source_file": name, "sha256": sha256, "content_sha256": content}
    return known | {"bytes": 9, "duplicate_of": None, "problem": None} | more


@pytest.mark.parametrize(
    ("listed", "known", "copies"),
    [
        ([file(D2, "b", "x", "x")], [file(D1, "a", "x", "x")], {"b": "a"}),
        ([file(D2, "b.gz", "y", "x")], [file(D1, "a", "x", "x")], {"b.gz": "a"}),
        ([file(D2, "b", "x", "x")], [file(D1, "a.gz", "y", "x")], {"b": "a.gz"}),
        ([file(D2, "b.gz", "z", "x")], [file(D1, "a.gz", "y", "x")], {"b.gz": "a.gz"}),
        ([file(D2, "b.gz", "y", "x")], [file(D1, "a", "x")], {"b.gz": "a"}),  # read before there was the hash
        ([file(D2, "b.gz", "y", "x")], [file(D1, "a.gz", "y")], {"b.gz": "a.gz"}),
        ([file(D2, "b", "x", "x")], [file(D3, "c", "x", "x")], {"b": "c"}),  # what is in bronze stays
        ([file(D1, "a", "x", "x"), file(D2, "b.gz", "y", "x"), file(D2, "c", "x", "x")], [], {"b.gz": "a", "c": "a"}),
        ([file(D2, "b", "x", "x")], [file(D2, "a", "x", "x")], {}),  # its day is read anew
        ([file(D2, "b", "x", "x")], [file(D1, "a", "x", "x", duplicate_of="o")], {}),
        ([file(D2, "b", "x", "x")], [file(D1, "a", "x", "x", source="web")], {}),
        ([file(D1, "a", "x", "x", bytes=0), file(D2, "b", "x", "x", bytes=0)], [], {}),
    ],
)
def test_a_copy_names_its_original(rows, listed, known, copies):
    found = copies_among(rows(bronze.FILES, *listed), rows(bronze.FILES, *known), {}).collect()
    assert {row.source_file: row.duplicate_of for row in found} == copies


def test_equal_files_of_two_stores_are_no_copies_where_the_name_says_the_store(rows):
    names = ["store1", "store2", "store1_again", "s2/store2"]
    listed = rows(bronze.FILES, *(file(D1, name, "x", "x") for name in names))
    sources = {"events": Source.model_construct(from_name={"store": r"(store\d+)"})}
    found = copies_among(listed, rows(bronze.FILES), sources).collect()
    assert {row.source_file: row.duplicate_of for row in found} == {"store1_again": "store1", "store2": "s2/store2"}
