"""Sections of a run's page from made-up rows: what they show, their SQL, and where users are named."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import Any

import pytest

from jobs.commands import page as page_command
from jobs.reports import night_page, shop_sections
from jobs.reports.shop_sections import ACTIONS, BOUGHT, EXPECTED, LISTED, LISTS, SOLD, TRENDS, URGENT
from schemas.prices import Prices
from tests.unit.test_report import CUT, EVIL, read

WEEK = dt.timedelta(days=7)
ROWS = {
    SOLD: [{"week": CUT - n * WEEK, "units": 100 + n} for n in (2, 1)],
    EXPECTED: [{"target_week": CUT + n * WEEK, "units": 1234.5 + n} for n in range(4)],
    ACTIONS: [{"action": "ok", "rows": 40, "units": 0}, {"action": "replenish", "rows": 1200, "units": 3456}],
    URGENT: [
        {"location_id": "L1", "item_id": EVIL, "action": "replenish", "quantity": 12, "reason": f"{EVIL} sells"}
        | {"stockout_probability": probability}
        for probability in (0.87, None)
    ],
    TRENDS: [
        {
            "kind": "item",
            "key": f"$ {EVIL}",
            "direction": "rising",
            "count": 5000,
            "ratio": 2.5,
            "low": 2.0,
            "high": 3.0,
        }
        | {"reason": "2.5 times its own past"}
    ],
    LISTED: [{"item_id": "I1", "title": None, "lists": 12345, "score": 0.25}],
}
LISTED_TO = [
    {"user_id": user, "rank": rank, "item_id": f"I{rank}", "title": EVIL, "score": 0.5, "reason": f"because {rank}"}
    for user in ("U1", "U2")
    for rank in (1, 2)
]
PURCHASED = [{"user_id": "U1", "event_date": CUT, "item_id": "I9", "title": None}]


def test_each_section_shows_its_rows_and_the_query_that_gives_them() -> None:
    sections = shop_sections.of_shop(CUT, ROWS)
    assert [section.title for section in sections] == ["Demand", "Stock", "Trends", "Most recommended items"]
    page = night_page.pages(CUT, [], [], [], [], [], "EUR", sections, "../../people/x.html")
    page = page[f"data_docs/{CUT}/index.html"]
    text = " ".join(" ".join(read(page).texts).split())
    for shown in ("1,234", "replenish 1,200 3,456", "12 87%", "2.50 2.5 times its own past", "I1 I1 12,345 0.250"):
        assert shown in text, shown
    assert EVIL not in page
    assert page.count("<svg") == 2
    for query in ROWS:
        assert query.format(day=CUT)[:60].split("\n")[0] in text.replace("\n", " ")
    assert "../../people/x.html" in [value for name, value in read(page).attributes if name == "href"]
    assert "prefers-color-scheme: dark" in page
    assert len(page.encode()) < 2_000_000
    assert (
        page
        == night_page.pages(CUT, [], [], [], [], [], "EUR", sections, "../../people/x.html")[
            f"data_docs/{CUT}/index.html"
        ]
    )


def test_a_shop_without_stock_or_searches_has_no_such_section() -> None:
    assert shop_sections.of_shop(CUT, {}) == []
    assert [section.title for section in shop_sections.of_shop(CUT, {EXPECTED: ROWS[EXPECTED]})] == ["Demand"]
    plain = night_page.pages(CUT, [], [], [], [], [], "EUR")[f"data_docs/{CUT}/index.html"]
    assert "people/" not in plain


def test_users_are_named_on_a_page_of_their_own_alone() -> None:
    page = shop_sections.of_users(CUT, LISTED_TO, PURCHASED)
    text = " ".join(" ".join(read(page).texts).split())
    assert f"U1 last bought: {CUT} I9 rank item title score reason 1 I1 {EVIL} 0.500 because 1 2 I2" in text
    assert text.index("U1") < text.index("U2")
    assert text.count("last bought") == 1
    assert EVIL not in page
    assert not any("user" in query for query in shop_sections.QUERIES if query not in (LISTS, BOUGHT))


def test_both_pages_are_written_and_one_alone_names_users(monkeypatch: pytest.MonkeyPatch) -> None:
    written: dict[str, str] = {}
    found = {**ROWS, SOLD: [{"week": CUT - WEEK, "units": None}], LISTS: LISTED_TO, BOUGHT: PURCHASED}
    monkeypatch.setattr(page_command, "rows_of", lambda _lake, _day, query: found[query])
    lake: Any = SimpleNamespace(
        storage=SimpleNamespace(write_text=written.__setitem__),
        rows=lambda *_: [],
        deployment=SimpleNamespace(prices=Prices(), public_lake="s3://shop/lake"),
    )
    assert page_command.write(lake, CUT) == f"s3://shop/lake/data_docs/{CUT}/index.html"
    assert list(written) == [f"data_docs/{CUT}/index.html", f"people/{CUT}.html"]
    page, people = written.values()
    assert f'href="../../people/{CUT}.html"' in page
    assert ">U1<" in people
    assert ">U1<" not in page
    found[LISTS] = []
    written.clear()
    page_command.write(lake, CUT)
    assert list(written) == [f"data_docs/{CUT}/index.html"]
    assert "people/" not in written.popitem()[1]
