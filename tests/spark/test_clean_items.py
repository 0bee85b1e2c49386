"""The catalogue: what is new, gone or out of stock, what is cut, and bad records that come again every day."""

from __future__ import annotations

import datetime as dt

import pytest

from jobs.clean_items import clean_items
from jobs.transforms import catalogue
from schemas import bronze, silver
from schemas.deployment import Deployment, load
from schemas.errors import ConfError
from tests.conftest import broken, run_of
from tests.support import tiny_shop

D0 = tiny_shop.day(0)
FIRST = ("S01", "Green tea", "tea")
BAD = ("S09", "", "")  # without a text


def day(number: int) -> dt.date:
    return D0 + dt.timedelta(days=number)


def shop(deployment: Deployment, columns: tuple[str, ...] = ("sku", "name", "kind"), **changes) -> Deployment:
    """The tiny shop whose catalogue has these raw columns and these keys; `map` is merged."""
    source = deployment.sources["items"]
    mapped = {**source.map, **changes.pop("map", {})}
    changed = source.model_copy(update={"columns": list(columns), "map": mapped, **changes})
    return deployment.model_copy(update={"sources": {**deployment.sources, "items": changed}})


def told(rows, *days: list[tuple[str, ...]], source: str = "items"):
    """Bronze records: of each day a file with these lines."""
    records = [
        {"run_date": day(number), "source_file": f"{source}{number}", "source_row": row, "source": source}
        | {"raw": ",".join(fields), "fields": list(fields)}
        for number, lines in enumerate(days)
        for row, fields in enumerate(lines, start=2)
    ]
    return rows(bronze.ITEMS, *records)


def cleaned(records, deployment: Deployment, run_date: dt.date):
    made = clean_items(records, run=run_of(run_date, deployment))
    assert broken(silver.ITEMS, made["silver.items"]) == []
    assert broken(silver.REJECTED_ITEMS, made["silver.rejected_items"]) == []
    items = {row.item_id: row for row in made["silver.items"].collect()}
    return items, made["silver.rejected_items"].orderBy("source_file", "source_row").collect()


def test_a_daily_dump_makes_nothing_new_and_adds_nothing_to_what_was_rejected(rows, deployment):
    dumps = [[FIRST, BAD, BAD], [FIRST, BAD, BAD], [FIRST, ("S02", "Rye", "bread"), BAD, BAD]]
    for nights in (1, 2, 3):
        items, rejected = cleaned(told(rows, *dumps[:nights]), deployment, day(nights - 1))
        newest = day(nights - 1)
        first = items["S01"]
        assert (first.listed_on, first.described_on, first.last_listed_on) == (D0, newest, newest)
        assert [(row.source_file, row.source_row, row.record_count) for row in rejected] == [
            (f"items{nights - 1}", 3 + (nights == 3), nights),
            (f"items{nights - 1}", 4 + (nights == 3), nights),
        ]
        assert first.record_count + sum(row.record_count for row in rejected) == 3 * nights
    assert items["S02"].listed_on == day(2)


def test_what_a_full_catalogue_lacks_is_gone_until_it_is_back(rows, deployment):
    two = [FIRST, ("S02", "Rye", "bread")]
    full = shop(deployment, full=True)
    records = told(rows, two, [FIRST], two)
    for number, actives in enumerate(({"S01", "S02"}, {"S01"}, {"S01", "S02"})):
        seen = records.where(f"run_date <= DATE'{day(number)}'")
        items, _ = cleaned(seen, full, day(number + 9))
        assert set(items) == {"S01", "S02"}, "its sales stay sound"
        assert {name for name, row in items.items() if row.active} == actives
        parts, _ = cleaned(seen, deployment, day(number + 9))
        assert all(row.active for row in parts.values()), "a catalogue in parts says nothing of what it lacks"


def test_an_item_whose_newest_record_is_bad_is_listed_still(rows, deployment):
    items, rejected = cleaned(told(rows, [FIRST], [("S01", "", "")]), shop(deployment, full=True), day(1))
    assert (items["S01"].active, items["S01"].described_on, items["S01"].last_listed_on) == (True, D0, day(1))
    assert len(rejected) == 1


def test_an_item_is_gone_when_no_source_has_it(rows, deployment):
    full = shop(deployment, full=True)
    more = full.sources["items"].model_copy(update={"kind": "items"})
    both = full.model_copy(update={"sources": {**full.sources, "more": more}})
    one = told(rows, [FIRST, ("S02", "Rye", "bread")], [("S02", "Rye", "bread")])
    items, _ = cleaned(one.unionByName(told(rows, [FIRST], source="more")), both, day(1))
    assert items["S01"].active, "the other catalogue's newest files have it"
    items, _ = cleaned(one.unionByName(told(rows, [FIRST], [("S03", "Brie", "cheese")], source="more")), both, day(1))
    assert {name for name, row in items.items() if row.active} == {"S02", "S03"}


@pytest.mark.parametrize(
    ("state", "there", "active"),
    [("live", "4", True), ("live", "0", False), ("draft", "4", False), ("", "", True), ("live", "many", True)],
)
def test_what_is_switched_off_or_out_of_stock_is_not_active(rows, deployment, state, there, active):
    words = {"active": "state = 'live'", "in_stock": "try_cast(there AS INT) > 0"}
    offered = shop(deployment, ("sku", "name", "kind", "state", "there"), map=words)
    items, rejected = cleaned(told(rows, [(*FIRST, "live", "9")], [(*FIRST, state, there)]), offered, day(1))
    assert (items["S01"].active, rejected) == (active, []), "the newest description counts"


def test_one_predicate_says_what_is_active(rows):
    listed = rows(
        silver.ITEMS,
        {"item_id": "yes", "active": True},
        {"item_id": "no", "active": False},
        {"item_id": "before", "active": None},
    )
    assert {row.item_id for row in catalogue.active(listed).collect()} == {"yes", "before"}


def test_long_texts_are_cut_at_a_word_and_their_items_are_kept(rows, deployment):
    words, one_word, exact = "rooibos " * 400, "x" * 2_500, f"{'y' * 499} z"
    lines = [("S01", words.strip(), "tea"), ("S02", one_word, ""), ("S03", exact, ""), ("S04", "z" * 500, "")]
    items, rejected = cleaned(told(rows, lines), deployment, D0)
    assert rejected == []
    assert items["S01"].text == ("rooibos " * 250).strip()
    assert items["S01"].title == ("rooibos " * 62).strip()
    assert (len(items["S02"].text), len(items["S02"].title)) == (2_000, 500)
    assert items["S03"].title == "y" * 499
    assert items["S04"].title == "z" * 500
    unnamed = shop(deployment, map={"title": "NULL"})
    items, rejected = cleaned(told(rows, lines), unnamed, D0)
    assert rejected == []
    assert len(items["S01"].title) <= 500, "the text is its title"


@pytest.mark.parametrize("kind", ["events", "items"])
def test_only_a_catalogue_may_be_complete(tmp_path, kind):
    conf = tiny_shop.make(tmp_path, days=1)
    conf.write_text(conf.read_text().replace(f"[sources.{kind}]", f"[sources.{kind}]\nfull = true"))
    if kind == "items":
        assert load(conf).full_catalogues == ["items"]
        return
    with pytest.raises(ConfError, match=r"\[sources.events\] full: only a source of items may be complete"):
        load(conf)


def test_a_variant_has_the_product_of_its_newest_description(rows, deployment):
    sizes = shop(deployment, ("sku", "name", "kind", "style"), map={"product_id": "style"})
    days = [
        [("S", "Tee S", "tee", "1"), ("M", "Tee M", "tee", "1")],
        [("M", "Tee M", "tee", "2"), ("C", "Cap", "", "")],
    ]
    items, rejected = cleaned(told(rows, *days), sizes, day(1))
    assert {name: row.product_id for name, row in items.items()} == {"S": "1", "M": "2", "C": None}
    assert rejected == []
    items, _ = cleaned(told(rows, [FIRST]), deployment, D0)
    assert items["S01"].product_id is None
