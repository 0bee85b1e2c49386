"""Which texts are one id: in whatever form and with whatever blanks they were typed; and which are no id."""

from __future__ import annotations

import datetime as dt
from typing import Any

from pyspark.sql import DataFrame

from jobs.clean_items import clean_items
from jobs.transforms import ledger, log_days
from schemas import bronze, silver
from schemas.deployment import Deployment, load
from tests.conftest import Rows, run_of
from tests.support import tiny_shop
from udfs.fast_records import read_batches
from udfs.records import FileFormat, FileReport

DAY = dt.date(2026, 3, 5)
SALES = ["line_id", "customer", "sku", "units", "amount", "till", "at"]
NFD, NFC = "Cafe\u0301", "Caf\u00e9"


def landed(columns: list[str], *lines: str) -> list[dict[str, Any]]:
    """Records of a file with these lines, as ingest_logs reads it."""
    content = "\n".join([",".join(columns), *lines]).encode()
    batches = read_batches(content, "a.csv", FileFormat(columns), FileReport())
    return [{"run_date": DAY, "source_file": "a.csv", **row} for batch in batches for row in batch.to_pylist()]


def catalogue(rows: Rows, deployment: Deployment, *lines: str) -> dict[str, DataFrame]:
    records = landed(["sku", "name", "kind"], *lines)
    return clean_items(rows(bronze.ITEMS, *records), run=run_of(DAY, deployment))


def sold(rows: Rows, deployment: Deployment, items: dict[str, DataFrame], *lines: str) -> dict[str, DataFrame]:
    records = [record | {"source": "events"} for record in landed(SALES, *lines)]
    files = rows(bronze.FILES, {"run_date": DAY, "source": "events", "record_count": len(records)})
    known = items["silver.items"], items["silver.rejected_items"]
    return log_days.split(ledger.EVENTS, rows(bronze.EVENTS, *records), files, rows(silver.EVENTS), deployment, known)


def ids(frame: DataFrame) -> list[tuple[str, str]]:
    return sorted((row.item_id, row.title) for row in frame.collect())


def sale(sku: str, user: str = "U01", till: str = "T0") -> str:
    return f"1,{user},{sku},1,1.50,{till},{DAY} 10:01:00"


def codes(made: dict[str, DataFrame]) -> list[list[str]]:
    return [row.codes for row in made["silver.rejected_events"].orderBy("source_row").collect()]


def test_one_item_in_several_forms_is_one(rows, deployment):
    forms = [NFD, NFC, f" {NFD}\u00a0", f"\ufeff{NFC}\u200b"]
    items = catalogue(rows, deployment, *(f"{shown},Coffee,drink" for shown in forms))
    assert ids(items["silver.items"]) == [(NFC, "Coffee")]
    made = sold(rows, deployment, items, sale(NFD), *(sale(shown, user=NFD) for shown in forms))
    kept = made["silver.events"].orderBy("source_row").collect()
    assert [(row.item_id, row.user_id) for row in kept] == [(NFC, "U01"), *[(NFC, NFC)] * len(forms)]


def test_hangul_and_letters_with_two_marks_are_composed_too(rows, deployment):
    """Two Korean forms of one word, and a Vietnamese letter whose marks were typed in the other order."""
    items = catalogue(rows, deployment, "\uac00,rice,food", "\u1100\u1161,rice,food", "e\u0323\u0302,pho,food")
    assert ids(items["silver.items"]) == [("\u1ec7", "pho"), ("\uac00", "rice")]


def test_compatible_characters_stay_different(rows, deployment):
    """Half a litre is not 1/2, and x2 is no square: normal form C changes no meaning."""
    items = catalogue(rows, deployment, "\u00bd,half,food", "1\u20442,other,food", "x\u00b2,square,food", "x2,two,food")
    assert items["silver.items"].count() == 4


def test_ids_that_a_spreadsheet_has_shortened_are_refused(rows, deployment):
    lines = ["8.50E+12,Mug red,mug", "8.50E+12,Mug blue,mug", "8.50E+12,Plate,plate", "4.00E+12,Bowl,bowl"]
    items = catalogue(rows, deployment, *lines, "S23,Spoon,spoon")
    assert ids(items["silver.items"]) == [("S23", "Spoon")]
    refused = items["silver.rejected_items"].collect()
    assert [row.codes for row in refused] == [["item_id_not_shortened"]] * 4
    made = sold(rows, deployment, items, sale("8.50E+12"), sale("S23"))
    assert codes(made) == [["item_id_not_shortened", "item_refused"]]
    assert made["silver.events"].count() == 1


def test_so_are_users_and_locations_as_other_programs_write_them(rows, deployment):
    forms = ['"8,50E+12"', '"1E+15"', '"9.99999e+07"']
    items = catalogue(rows, deployment, "S23,Spoon,spoon", *(f"{shortened},Mug,mug" for shortened in forms))
    assert ids(items["silver.items"]) == [("S23", "Spoon")]
    sales = [sale("S23", **{column: shortened}) for shortened in forms for column in ("user", "till")]
    made = sold(rows, deployment, items, *sales)
    assert codes(made) == [["user_id_not_shortened"], ["location_id_not_shortened"]] * len(forms)


def test_ids_that_only_look_alike_stay(rows, deployment):
    items = catalogue(
        rows, deployment, *(f"{sku},{sku},mug" for sku in ("8E12", "A1E+5", "12E+3", "E+12", "1.E+4", "C++"))
    )
    assert items["silver.items"].count() == 6


def test_a_deployments_own_sql_compares_with_text_in_either_form(tmp_path):
    conf = tiny_shop.make(tmp_path / NFD, days=1)
    conf.write_text(conf.read_text().replace("log.kind = 'service'", f"log.kind = '{NFD}'"))
    deployment = load(conf)
    assert deployment.sources["items"].reject == {"no product": f"log.kind = '{NFC}'"}
    assert NFD in deployment.landing, "a folder has the name that it has"
