"""Records of a file as ingest_logs has them, each with its file, and the file's report at the end."""

from __future__ import annotations

import datetime as dt

import pytest

from jobs.ingest_logs import ARROW, _file_batches
from tests.unit.test_fast_records import COLUMNS, FORM


@pytest.mark.parametrize("mark", ["", '"'])
def test_ingest_logs_adds_the_file_to_each_record_and_its_report_at_the_end(mark):
    described = {"bytes": 9, "modified_at": dt.datetime(2024, 3, 16, tzinfo=dt.UTC), "sha256": "ab"}
    place = {"run_date": dt.date(2024, 3, 15), "source": "events", "source_file": "sales/a.csv"}
    file = {**place, **described, "content": f"at,id,more\n1,{mark}a{mark},x\n2\n".encode()}
    batches = list(_file_batches(file, FORM))
    assert [batch.schema for batch in batches] == [ARROW] * len(batches)
    found = [{key: value for key, value in row.items() if value is not None} for b in batches for row in b.to_pylist()]
    assert found == [
        {**place, "source_row": 2, "raw": f"1,{mark}a{mark},x", "fields": ["a", "1"]},
        {**place, "source_row": 3, "raw": "2", "problem": "1 fields, the header has 3"},
        {
            **place,
            **described,
            "record_count": 2,
            "unreadable_count": 1,
            "skipped_count": 0,
            "extra_columns": ["more"],
            "columns": COLUMNS,
            "content_sha256": "ab",
        },
    ]


def test_ingest_logs_reports_a_file_without_records():
    file = {"run_date": dt.date(2024, 3, 15), "source": "events", "source_file": "a.csv", "bytes": 3, "sha256": "ab"}
    (batch,) = _file_batches({**file, "modified_at": None, "content": b"id\n"}, FORM)
    (row,) = batch.to_pylist()
    assert row["problem"] == "wrong header: lacks at; it has id"
    assert (row["record_count"], row["unreadable_count"], row["extra_columns"], row["bytes"]) == (0, 0, [], 3)
