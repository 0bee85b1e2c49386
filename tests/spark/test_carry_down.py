"""Fields on the first line of a group alone: the others have them by `carry_down`, within their file and group."""

from __future__ import annotations

import pytest
from pyspark.sql import functions as F

from jobs.transforms import mapping
from schemas import bronze, silver
from schemas.source import Source

ORDER = ["nr", "email", "status", "at", "sku"]
SOURCE = {
    "files": "*",
    "columns": ORDER,
    "map": {
        "occurred_at": "at",
        "event_type": "'purchase'",
        "user_id": "email",
        "item_id": "sku",
        "basket_id": "nr",
    },
    "reject": {"refunded": "log.status = 'refunded'"},
}
CARRIED = {"carry_down": ["email", "status", "at"], "carry_down_within": "nr"}
T1, T2 = "2026-03-03 08:00:00", "2026-03-03 09:00:00"


@pytest.fixture
def mapped(rows):
    """(user, item, hour, reasons) of each record of a file's lines, by line; a line is (file, fields)."""

    def read(*lines: tuple[str, list[str] | None], **keys: object) -> list[tuple]:
        bronze_rows = [
            {"source_file": file, "source_row": row, "fields": fields, "problem": None if fields else "damaged"}
            for row, (file, fields) in enumerate(lines, start=2)
        ]
        frame = mapping.canonical(rows(bronze.EVENTS, *bronze_rows), Source(**SOURCE | keys), silver.EVENTS)
        shown = frame.select("user_id", "item_id", F.hour("occurred_at"), F.col("broken.code"), "source_row")
        return [tuple(row)[:4] for row in shown.orderBy("source_row").collect()]

    return read


def test_each_line_has_its_orders_customer_time_and_status(mapped):
    lines = [
        ("a", ["#1", "u1", "paid", T1, "MUG"]),
        ("a", ["#1", "", "", "", "PLATE"]),
        ("a", ["#2", "u2", "refunded", T2, "MUG"]),
        ("a", ["#2", "", " ", "", "PLATE"]),
        ("a", ["#1", "", "", "", "SPOON"]),  # order 1 goes on
    ]
    refunded = ["own.refunded"]
    assert mapped(*lines, **CARRIED) == [
        ("u1", "MUG", 8, []),
        ("u1", "PLATE", 8, []),
        ("u2", "MUG", 9, refunded),
        ("u2", "PLATE", 9, refunded),
        ("u1", "SPOON", 8, []),
    ]
    assert [row[0] for row in mapped(*lines)] == ["u1", None, "u2", None, None]


def test_nothing_is_carried_over_a_files_or_a_groups_end_nor_upwards(mapped):
    lines = [
        ("a", ["#1", "", "paid", T1, "MUG"]),  # a guest
        ("a", ["#1", "u1", "", "", "PLATE"]),
        ("a", ["", "", "", "", "SPOON"]),  # no group
        ("a", None),
        ("a", ["#2", "", "", T2, "MUG"]),  # a guest again
        ("b", ["#1", "", "", T2, "MUG"]),
    ]
    assert [(row[0], row[2]) for row in mapped(*lines, **CARRIED)] == [
        (None, 8),
        ("u1", 8),
        (None, None),
        (None, None),
        (None, 9),
        (None, 9),
    ]
