"""What a file's problem says of its first line, which is stored and sent."""

from __future__ import annotations

from udfs.records import header_problem

COLUMNS = ["at", "customer", "sku"]


def test_a_first_line_that_may_be_a_record_is_not_shown() -> None:
    said = header_problem(["2024-03-01 10:00:00", "anna.schmidt@example.org", "S01"], COLUMNS)
    assert said == "wrong header: lacks at, customer, sku; its first line names none of them and may be a record"


def test_a_header_of_other_names_is() -> None:
    assert header_problem(["at", "client", "sku"], COLUMNS) == "wrong header: lacks customer; it has at, client, sku"
    assert header_problem(["when", "who", "what"], COLUMNS) == (
        "wrong header: lacks at, customer, sku; it has when, who, what"
    )
    assert header_problem(COLUMNS, COLUMNS) is None
