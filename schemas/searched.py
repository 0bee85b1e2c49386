"""Searches in logs: their columns of an event, what makes a query personal, and judged results of queries."""

from __future__ import annotations

from schemas.bronze import RUN_DATE, SOURCE_FILE, SOURCE_ROW
from schemas.contract import Column, Table, between, not_blank, not_shortened
from schemas.rejected_records import rejected

MOST_QUERY = 2_000  # characters of a query
QUERY = (
    Column("query", "STRING", "The words searched for", True, (not_blank(MOST_QUERY),), personal=True),
    Column("position", "INT", "Place in the list that was shown, from 1", True, (between(1, None),)),
)
VISIT = (
    Column("session_id", "STRING", "Visit of the shop that it belongs to", True, (not_blank(200),), personal=True),
    Column("channel", "STRING", "Where it was done, such as web, app or store", True, (not_blank(200),)),
    Column("result_count", "INT", "Results that a search had", True, (between(0, None),)),
)

# Regular expressions of Java and Python. Digits alone may be an article or a bar code, and are no telephone number.
E_MAIL = r"[^\s@]+@[^\s@]+\.[^\s@]{2,}"
_DIGITS = r"(?:[ ()/.-]{0,2}\d)"
_PHONES = (
    rf"\+\(?\d{_DIGITS}{{7,14}}",  # +49 170 1234567
    rf"00[1-9]\d{{0,2}}[ ()/.-]{{1,2}}\d{_DIGITS}{{6,12}}",  # 0049 170 1234567
    r"\(?0\d{1,4}\)?[ /-]{1,2}\d(?:[ /-]?\d){5,9}",  # (030) 1234567
    r"\(?[2-9]\d{2}\)?[ .-]{1,2}[2-9]\d{2}[ .-]\d{4}",  # (555) 234-5678
)
PHONE = rf"(?<![\w.,-])(?:{'|'.join(_PHONES)})(?![\w-])"
PERSONAL = rf"{E_MAIL}|{PHONE}"

JUDGEMENTS = Table(
    "silver.judgements",
    "what people judged one item to be worth to those who search for one query, by the newest list up to run_date",
    (
        RUN_DATE,
        Column("query", "STRING", "The query that was judged", rules=(not_blank(MOST_QUERY),)),
        Column("item_id", "STRING", "Identifies the item", rules=(not_blank(200), not_shortened())),
        Column("rating", "DOUBLE", "How well it answers the query; 0: not at all", rules=(between(0, 100),)),
        SOURCE_FILE,
        SOURCE_ROW,
    ),
    key=("query", "item_id"),
)
REJECTED_JUDGEMENTS = rejected("judgements", "one record of the newest list of judgements that was rejected")
