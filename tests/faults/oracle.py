"""What becomes of each record of a tiny shop's raw files, in plain Python: kept with these values, or why not.

Written from what is documented (the contract's reasons, the deployment's rules, Spark's casts of text in
spark_text.py), and calls nothing of what it judges.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from tests.faults import spark_text
from tests.faults.oracle_records import ITEM_COLUMNS, Record

DUPLICATE = "duplicate of an earlier record"
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def too_long(name: str, value: str | None, most: int) -> list[str]:
    wrong = value is not None and not 1 <= len(value) <= most
    return [f"{name} must have 1 to {most} characters"] * wrong


def cut(value: str | None, most: int) -> str | None:
    """A text that is too long ends before the word that would go beyond; one word alone is cut within."""
    if value is None or len(value) <= most:
        return value
    head = value[: most + 1]
    return (re.sub(r"[ \t\n\x0b\f\r]+[^ \t\n\x0b\f\r]*\Z", "", head) or head)[:most]


def told_once(judged: list[Record]) -> list[Record]:
    """Of rejected records that came on several days, the newest day's; equal lines of one day are told apart."""
    newest: dict[tuple[Any, ...], Record] = {}
    nth: Counter[tuple[Any, ...]] = Counter()
    for record in sorted(judged, key=lambda r: (r.day, r.file, r.row)):
        alike = (record.raw, record.values.get("item_id"), *record.reasons)
        nth[record.day, *alike] += 1
        newest[nth[record.day, *alike], *alike] = record
    return [record for record in newest.values() if record.reasons]


def bad_id(name: str, value: str | None) -> list[str]:
    shortened = value is not None and re.fullmatch(r"[0-9]([.,][0-9]+)?[eE][+][0-9]+", value) is not None
    what = "a number that a spreadsheet has shortened, such as 8.50E+12: it may stand for several"
    return too_long(name, value, 200) + [f"{name} must not be {what}"] * shortened


def judge_item(record: Record) -> None:
    """item_id = sku, text = lower(name, kind), title = name or else the text, category = kind; services are refused."""
    if not record.readable:
        return
    sku, name, kind = (record.fields[column] for column in ITEM_COLUMNS)
    text = ", ".join(part for part in (name, kind) if part).lower()
    title = name if name is not None else text
    text, title = cut(text, 2000), cut(title, 500)
    record.values = {"item_id": sku, "text": text, "title": title, "category": kind}
    record.reasons += ["no product"] * (kind == "service")
    record.reasons += ["item_id is missing"] * (sku is None) + bad_id("item_id", sku)
    record.reasons += too_long("text", text, 2000) + too_long("title", title, 500) + too_long("category", kind, 200)


def catalogue(judged: list[Record]) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Sound items by id (newest day, then most frequent, then first in the alphabet), and why others are none."""
    described: dict[str, Counter[tuple[Any, ...]]] = defaultdict(Counter)
    refused: dict[str, str] = {}
    for record in judged:
        if record.readable and not record.reasons:
            shape = tuple(record.values[name] for name in ("text", "title", "category"))
            described[record.values["item_id"]][(record.day, *shape)] += 1
    for record in judged:
        item = record.values.get("item_id")
        if record.reasons and item is not None and item not in described:
            why = ", ".join(record.reasons)
            refused[item] = min(refused.get(item, why), why)
    items = {}
    for item, shapes in described.items():
        day, *shape = min(
            shapes,
            key=lambda s: (-s[0].toordinal(), -shapes[s], *((value is not None, value or "") for value in s[1:])),
        )
        items[item] = dict(zip(("text", "title", "category"), shape, strict=True))
        items[item] |= {"described_on": day, "record_count": sum(shapes.values())}
    return items, refused


def judge_event(record: Record, items: Mapping[str, Any], refused: Mapping[str, str], own_id: bool) -> None:
    """The tiny shop's mapping and rules, then the contract's, then what the catalogue says of the item."""
    record.values["event_id"] = hashlib.md5(record.raw.encode()).hexdigest()
    if not record.readable:
        return
    log, reasons = record.fields, record.reasons
    if own_id and log["line_id"] is not None:
        record.values["event_id"] = log["line_id"]
    unclear = spark_text.zone_unclear(log["at"])
    moment = None if unclear else spark_text.timestamp(log["at"])  # microseconds since 1970
    date = moment // 86_400_000_000 if moment is not None else (record.day - EPOCH.date()).days
    units, paid = spark_text.double(log["units"]), spark_text.double(log["amount"])
    exact = spark_text.decimal(log["units"])
    quantity = None if exact is None else abs(exact)
    price = paid / abs(units) if paid is not None and units else None
    returned = units is not None and units < 0
    item = log["sku"]
    record.values |= {
        "occurred_at": moment,
        "event_date": date,
        "user_id": log["customer"],
        "item_id": item,
        "event_type": "return" if returned else "purchase",
        "quantity": quantity,
        "unit_price": price,
        "location_id": log["till"],
    }
    if unclear:
        reasons.append("occurred_at has a zone's abbreviation that is not the timezone's own")
    elif moment is None:
        reasons.append("occurred_at is missing" if log["at"] is None else "occurred_at is no TIMESTAMP")
    if (spark_text.integer(log["amount"], cut=True) or 0) < 0:
        reasons.append("amount is negative")
    for name in ("event_id", "user_id", "item_id", "location_id"):
        reasons += bad_id(name, record.values[name])
    if quantity is not None and not Decimal("0.001") <= quantity <= 100_000:
        reasons.append("quantity must be at least 0.001 and at most 100000")
    if price is not None and not 0 <= price <= 1_000_000:  # NaN is neither
        reasons.append("unit_price must be at least 0 and at most 1000000")
    if date > (record.day - EPOCH.date()).days:
        reasons.append("an event must not be dated after its file")
    if date < 0:
        reasons.append("an event must not be dated before 1970")
    if item is None:
        reasons.append("item_id is missing (only a search may lack it)")
    if quantity is None or price is None:
        reasons.append("a purchase or return needs quantity and unit_price")
        reasons += ["quantity is no DECIMAL(18,3)"] * (log["units"] is not None and exact is None)
        both = log["units"] is not None and log["amount"] is not None
        unfit = spark_text.double(log["units"]) is None or paid is None
        reasons += ["unit_price is no DOUBLE"] * (price is None and both and unfit)
    if item in refused:
        reasons.append(f"item: {refused[item]}")
    elif item is not None and item not in items:
        reasons.append("item_id is not in the catalogue")


def mark_duplicates(judged: list[Record]) -> None:
    """Of a day's records with one event_id only the first counts: sound ones first, then by file and line.

    Without one, a record is told by its text and its number among the equal lines of its file.
    """
    numbers: Counter[tuple[str, str]] = Counter()
    for record in judged:
        text = record.raw.encode()
        if record.values["event_id"] == hashlib.md5(text).hexdigest():
            numbers[record.file, record.raw] += 1
            if (number := numbers[record.file, record.raw]) > 1:
                record.values["event_id"] = hashlib.md5(text + f"\0{number}".encode()).hexdigest()
    first: set[tuple[dt.date, str]] = set()
    for record in sorted(judged, key=lambda r: (bool(r.reasons), r.file, r.row)):
        key = (record.day, record.values["event_id"])
        if key in first:
            record.reasons.append(DUPLICATE)
        first.add(key)
