"""Decisions go by the codes of reasons: whatever the sentences beside them say, the same is decided."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest

from jobs.transforms import catalogue, ledger, log_days, reasons
from schemas import TABLES, bronze, silver
from schemas.deployment import Deployment, load
from schemas.errors import ConfError
from schemas.reason_codes import ITEM_UNLISTED, REPEATED, Reason, own, reasons_of
from tests.support import tiny_shop

DAY, BEFORE = tiny_shop.day(13), tiny_shop.day(12)
FIELDS = {"line_id": "1", "customer": "U01", "sku": "S01", "units": "2", "amount": "3.0", "till": "T0"}
# raw text of a record: what is wrong with it, and the codes that it is rejected for.
RECORDS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "good": ({}, []),
    "cut": ({"problem": "2 fields, the header has 7"}, ["unreadable"]),
    "many": (
        {"units": "many"},
        ["quantity_not_converted", "unit_price_not_converted", "sale_complete"],
    ),
    "no units": ({"units": ""}, ["sale_complete"]),
    "no time": ({"at": "10:00"}, ["occurred_at_not_converted"]),
    "no moment": ({"at": ""}, ["occurred_at_present"]),
    "unlisted": ({"sku": "S99"}, ["item_unlisted"]),
    "refused": ({"sku": "V01"}, ["item_refused"]),
    "negative": ({"amount": "-3"}, ["own.amount_is_negative", "unit_price_in_range"]),
    "again": ({"sku": "S02"}, []),
    "late": ({"at": f"{BEFORE} 10:00:00"}, ["duplicate_of_earlier_day"]),
}


def record(raw: str, row: int) -> dict[str, Any]:
    wrong = RECORDS[raw][0]
    place = {"run_date": DAY, "source_file": "a", "source_row": row, "raw": raw}
    if "problem" in wrong:
        return {**place, "problem": wrong["problem"]}
    return {**place, "fields": list({**FIELDS, "at": f"{DAY} 10:00:00", **wrong}.values())}


def decisions(rows, deployment: Deployment) -> tuple[dict[str, Any], set[str]]:
    """All that is decided of the records of one day, and the sentences that came with it."""
    told = rows(bronze.EVENTS, *(record(raw, row) for row, raw in enumerate([*RECORDS, "again"], start=2)))
    files = rows(bronze.FILES, {"run_date": DAY, "source": "events", "record_count": 12})
    past = rows(silver.EVENTS, {"event_id": "late", "event_date": BEFORE, "run_date": BEFORE})
    source = deployment.sources["events"]
    own_id = f"CASE WHEN at LIKE '{BEFORE}%' THEN 'late' WHEN sku = 'S02' THEN 'again' END"
    named = {**source.map, "event_id": own_id}
    sources = {**deployment.sources, "events": source.model_copy(update={"map": named})}
    deployment = deployment.model_copy(update={"sources": sources})
    items = rows(silver.ITEMS, {"item_id": "S01"}, {"item_id": "S02"})
    refused = rows(silver.REJECTED_ITEMS, {"item_id": "V01", "reasons": ["no product"], "codes": ["own.no_product"]})
    made = log_days.split(ledger.EVENTS, told, files, past, deployment, (items, refused))
    rejected = made["silver.rejected_events"].persist()
    kept = made["silver.events"].persist()
    listed = rows(silver.ITEMS, {"item_id": "S99"}, {"item_id": "S01"})
    (day,) = (row.asDict() for row in made["silver.cleaned_days"].collect())
    assert (day["rows_in"], day["rows_kept"] + day["rows_rejected"]) == (12, 12)
    assert sum(day["codes"].values()) == sum(day["reasons"].values())
    found = {
        "rejected": sorted((row.raw, tuple(row.codes)) for row in rejected.collect()),
        "kept": sorted(row.source_row for row in kept.collect()),
        "listed since": catalogue.days_of_items_listed_since(rejected, listed).collect(),
        "not listed": catalogue.days_of_items_listed_since(rejected, rows(silver.ITEMS, {"item_id": "S01"})).collect(),
        "touched": ledger.touched(kept, rejected, "event_date").collect(),
        "of items": ledger.has_item_reason(day),
        "ledger": day["codes"],
    }
    return found, {sentence for row in rejected.collect() for sentence in row.reasons}


def test_the_same_is_decided_when_every_sentence_is_reworded(rows, deployment, monkeypatch):
    plain, sentences = decisions(rows, deployment)
    wanted = [(raw, tuple(codes)) for raw, (_, codes) in RECORDS.items() if codes]
    assert plain["rejected"] == sorted([*wanted, ("again", ("duplicate",))])
    assert plain["kept"] == [2, 11]
    assert [row[0] for row in plain["listed since"]] == [DAY]
    assert plain["not listed"] == []
    assert [row[0] for row in plain["touched"]] == [DAY]
    assert plain["of items"]

    because = reasons.because

    def otherwise(reason: Reason, _why: object = None):
        return because(Reason(reason.code, f"Grund {reason.code[::-1]}"))

    ours = [module for name, module in sys.modules.items() if name.startswith("jobs.")]
    for module in (module for module in ours if getattr(module, "because", None) is because):
        monkeypatch.setattr(module, "because", otherwise)
    reworded, others = decisions(rows, deployment)
    assert reworded == plain
    assert all(sentence.startswith("Grund ") for sentence in others)
    assert not sentences & others


def test_rows_of_before_there_were_codes_are_cleaned_again(rows):
    old = {"codes": None, "reasons": ["whatever it said"]}
    rejected = rows(
        silver.REJECTED_EVENTS,
        {**old, "run_date": BEFORE, "item_id": "S99"},
        {**old, "run_date": DAY, "item_id": None},
    )
    items = rows(silver.ITEMS, {"item_id": "S99"})
    assert [row[0] for row in catalogue.days_of_items_listed_since(rejected, items).collect()] == [BEFORE]
    nothing = rows(silver.EVENTS)
    assert {row[0] for row in ledger.touched(nothing, rejected, "event_date").collect()} == {BEFORE, DAY}


@pytest.mark.parametrize(
    ("day", "has"),
    [
        ({"codes": {"item_unlisted": 1}}, True),
        ({"codes": [("sale_complete", 4), ("item_refused", 1)]}, True),  # a map as some readers have it
        ({"codes": {"sale_complete": 1, "item_id_present": 1}}, False),
        ({"codes": {}}, False),
        ({"codes": None}, True),
        ({}, True),
        ({"rows_rejected": 0}, False),
    ],
)
def test_a_day_with_records_rejected_for_their_item_is_known_by_its_ledger(day, has):
    assert ledger.has_item_reason({"rows_rejected": 1, **day}) is has


@pytest.mark.parametrize("kind", silver.RECORDS_OF)
def test_codes_are_snake_case_and_each_means_one_thing(kind):
    found = reasons_of(kind)
    codes = [reason.code for reason in found]
    assert len(set(codes)) == len(codes) == len({reason.sentence for reason in found})
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", code) for code in codes)


def test_names_of_all_checks_are_codes():
    for table in TABLES.values():
        assert all(re.fullmatch(r"[a-z][a-z0-9_]*", check.name) for check in table.checks())


def test_a_deployments_own_reasons_have_codes_of_their_own():
    assert own("quantity is impossible (over 1,000)").code == "own.quantity_is_impossible_over_1_000"
    assert own("Keine Menge: größer als 5").code == "own.keine_menge_grösser_als_5"
    assert not {own(reason.sentence).code for kind in silver.RECORDS_OF for reason in reasons_of(kind)} & {
        reason.code for kind in silver.RECORDS_OF for reason in reasons_of(kind)
    }


def test_a_deployments_reason_in_our_words_is_not_taken_for_ours(rows):
    theirs = [own(reason.sentence) for reason in (REPEATED, ITEM_UNLISTED)]
    refused = rows(
        silver.REJECTED_EVENTS,
        *({"reasons": [reason.sentence], "codes": [reason.code], "item_id": "S99"} for reason in theirs),
    )
    assert ledger.touched(rows(silver.EVENTS), refused, "event_date").collect() == []
    items = rows(silver.ITEMS, {"item_id": "S99"})
    assert catalogue.days_of_items_listed_since(refused, items).collect() == []
    assert not any(catalogue.is_of_item(reason.code) for reason in theirs)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            '"Amount is: negative!" = "log.amount < 1"',
            "sources.events: reject 'amount is negative' and 'Amount is: negative!' both have the code "
            "own.amount_is_negative: word one of them otherwise",
        ),
        ('"!?" = "log.amount < 1"', "sources.events: '![?]' has no letter or digit to make a code of"),
        (
            '[[sources.events.changes]]\nfrom = 2024-03-15\nreject."amount is negative!" = "true"',
            "sources.events: reject 'amount is negative' and 'amount is negative!' both have the code own.amount_is_ne",
        ),
    ],
)
def test_own_reasons_without_a_code_of_their_own_are_refused_with_file_and_key(tmp_path, more, message):
    conf = tiny_shop.make(tmp_path, days=1)
    text = conf.read_text()
    there = '"amount is negative" = "log.amount < 0"'
    assert there in text
    conf.write_text(text.replace(there, f"{there}\n{more}"))
    with pytest.raises(ConfError, match=message) as caught:
        load(conf)
    assert str(caught.value).startswith(f"{conf}: ")
