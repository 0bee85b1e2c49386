"""Searches as they are taken in: what people type into a search box, and what of it is personal and never silver."""

from __future__ import annotations

import datetime as dt
import re

import pytest

from jobs.clean_judgements import clean_judgements
from jobs.transforms import ledger, log_days
from schemas import bronze, silver
from schemas.deployment import Deployment, load
from schemas.searched import MOST_QUERY, PERSONAL
from tests.conftest import Rows, run_of
from tests.support import tiny_shop

DAY = dt.date(2026, 3, 5)
CONF = """
[sources.searches]
kind = "events"
files = "searches/*.csv"
columns = ["at", "what", "terms"]
map = { occurred_at = "at", event_type = "what", query = "terms" }

[sources.judgements]
files = "judgements/*.csv"
columns = ["query", "sku", "rating"]
map = { query = "query", item_id = "sku", rating = "rating" }
"""
SOUND = [
    "laptop " * 142 + "laptop",  # 1,000 characters
    "\U0001f45f red \U0001f468\u200d\U0001f469\u200d\U0001f467 shoes",
    "'; DROP TABLE silver.events; -- $(rm -rf /) {{ 7 * 7 }} %s",
    "HP-C4872A/100#ABB",
    "5901234123457",  # a bar code
    "00012345678905",
    "978-3-16-148410-0",
    "12-345-678",
    "\u043a\u0440\u0443\u0436\u043a\u0430",  # Cyrillic, Arabic, Chinese, Thai
    "\u0643\u0648\u0628",
    "\u7ea2\u8272 \u676f\u5b50",
    "\u0e41\u0e01\u0e49\u0e27",
    "a@b",
    "tv 65 4k 2024",
    "100 x 200 x 300 cm",
]
PERSONAL_ONES = [
    "anna.meier@shop.test",
    "order of Anna.Meier+1@mail.shop.test please",
    "+49 170 1234567",
    "0049 170 1234567",
    "(030) 1234567",
    "0170/1234567",
    "call (555) 234-5678",
    "555-234-5678",
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """The tiny shop with a search log and judged queries."""
    conf = tiny_shop.make(tmp_path_factory.mktemp("searches"), days=1)
    text = conf.read_text()
    place = text.index("[sources.items]")
    conf.write_text(text[:place] + CONF + "\n" + text[place:])
    return load(conf)


def records(*fields: list[str], source: str) -> list[dict[str, object]]:
    place = {"run_date": DAY, "source_file": f"{source}.csv", "source": source}
    rows = enumerate(fields, start=2)
    return [place | {"source_row": n, "raw": ",".join(each), "fields": each, "problem": None} for n, each in rows]


def searched(rows: Rows, shop: Deployment, queries: list[str]) -> dict[str, object]:
    landed = records(*([f"{DAY} 10:00:00", "search", query] for query in queries), source="searches")
    files = rows(bronze.FILES, {"run_date": DAY, "source": "searches", "record_count": len(landed)})
    return log_days.split(ledger.EVENTS, rows(bronze.EVENTS, *landed), files, rows(silver.EVENTS), shop)


def test_queries_are_stored_as_they_were_typed(rows, shop):
    made = searched(rows, shop, SOUND)
    stored = made["silver.events"].orderBy("source_row").collect()
    assert [row.query for row in stored] == SOUND
    assert {row.event_type for row in stored} == {"search"}
    assert made["silver.rejected_events"].count() == 0


def test_personal_queries_are_rejected_counted_and_not_copied(rows, shop):
    made = searched(rows, shop, [*PERSONAL_ONES, "mug", "x" * (MOST_QUERY + 1)])
    assert [row.query for row in made["silver.events"].collect()] == ["mug"]
    refused = made["silver.rejected_events"].orderBy("source_row").collect()
    assert [row.codes for row in refused] == [*[["query_personal_data"]] * len(PERSONAL_ONES), ["query_not_blank"]]
    assert {row.raw for row in refused[:-1]} == {""}
    (day,) = made["silver.cleaned_days"].collect()
    assert (day.rows_kept, day.rows_rejected) == (1, len(PERSONAL_ONES) + 1)
    assert day.codes["query_personal_data"] == len(PERSONAL_ONES)


@pytest.mark.parametrize("query", [*SOUND, *PERSONAL_ONES])
def test_the_expression_means_the_same_in_python(query):
    assert bool(re.search(PERSONAL, query)) is (query in PERSONAL_ONES)


def test_the_newest_list_of_judgements_is_one_row_a_query_and_item(rows, shop):
    lines = [["mug", "S01", "3"], ["mug", "S01", "1"], ["mug", "S99", "2"], ["mug", "S02", "good"], ["", "S02", "2"]]
    landed = records(*lines, source="judgements")
    items = rows(silver.ITEMS, {"item_id": "S01"}, {"item_id": "S02"})
    made = clean_judgements(rows(bronze.RECORDS, *landed), items, rows(silver.REJECTED_ITEMS), run=run_of(DAY, shop))
    assert [(row.query, row.item_id, row.rating) for row in made["silver.judgements"].collect()] == [("mug", "S01", 3)]
    refused = made["silver.rejected_judgements"].orderBy("source_row").collect()
    assert [row.codes for row in refused] == [
        ["overlaps_in_judgements"],
        ["item_unlisted"],
        ["rating_not_converted"],
        ["query_present"],
    ]
