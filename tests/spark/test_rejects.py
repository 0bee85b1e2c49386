"""How many records may be rejected: one whole number, on the driver and in Spark SQL, and a least count beside it."""

from __future__ import annotations

import itertools
import math
from decimal import Decimal

import pytest
from pyspark.sql import functions as F

from jobs.flow import JOBS
from jobs.runner import publish, quality
from jobs.runner.findings import few_rejected, outside
from jobs.transforms import ledger, log_days
from schemas import bronze, silver
from schemas.contract import Check
from schemas.rejects import most_rejected, most_rejected_sql
from tests.support import tiny_shop

SHARES = (0.0, 0.01, 0.05, 0.07, 0.1, 0.29, 1 / 3, 0.57, 0.58, 0.999, 1.0)
COUNTS = (0, 1, 2, 7, 19, 20, 99, 100, 101, 1_000, 999_999, 30_000_000)


def test_the_driver_and_spark_sql_make_the_same_number(spark):
    frame = spark.createDataFrame(list(itertools.product(SHARES, COUNTS)), "share DOUBLE, records BIGINT")
    found = frame.select("*", F.expr(most_rejected_sql("share", "records", 3)).alias("most")).collect()
    assert [row.most for row in found] == [most_rejected(row.share, row.records, 3) for row in found]


@pytest.mark.parametrize("share", SHARES)
def test_a_share_is_what_its_decimals_say(share):
    for count in COUNTS[:-1]:
        assert most_rejected(share, count) in {math.floor(Decimal(str(share)) * count), math.floor(share * count)}
    assert most_rejected(0.29, 100) == 29
    assert most_rejected(0.58, 100) == 58


@pytest.mark.parametrize(
    ("rejected", "passed", "severity"), [(5, True, "critical"), (6, False, "warning"), (10, False, "warning")]
)
def test_more_than_the_share_and_no_more_than_the_least_count_is_a_warning(rejected, passed, severity):
    found = few_rejected(rejected, 100, most_rejected(0.05, 100, 10), most_rejected(0.05, 100))
    assert (found.passed, found.check.severity) == (passed, severity)
    refused = few_rejected(11, 100, 10, 5)
    assert (refused.passed, refused.check.severity) == (False, "critical")
    assert refused.check.reason.endswith("max_rejected_share lets 5 pass, min_rejected 10")


def test_what_is_outside_of_files_with_quotes_in_their_names_is_counted(rows):
    names = ["a.csv", "it's.csv", "back\\slash'.csv", "other.csv"]
    frame = rows(silver.REJECTED_ITEMS, *({"source_file": name, "reasons": ["x"], "codes": ["x"]} for name in names))
    check = outside(names[:3])
    assert quality.audit(silver.REJECTED_ITEMS, frame, counted=[check]).counted == {check.name: 3}
    nothing = outside([])
    assert quality.audit(silver.REJECTED_ITEMS, frame, counted=[nothing]).counted == {nothing.name: 0}


def checks_of_a_day(rows, deployment, sound: int, bad: int) -> dict[str, bool]:
    """What the ledger's audit says of a day with so many sound and bad records."""
    day = tiny_shop.day(3)
    fields = ["1", "U01", "S01", "1", "3.0", "T0", f"{day} 10:00:00"]
    records = [
        {"run_date": day, "source_file": "a", "source_row": row, "raw": str(row), "fields": fields}
        for row in range(2, 2 + sound + bad)
    ]
    for record in records[sound:]:
        record["fields"] = [*fields[:6], "no time"]
    files = rows(bronze.FILES, {"run_date": day, "source": "events", "record_count": sound + bad})
    split = log_days.split(ledger.EVENTS, rows(bronze.EVENTS, *records), files, rows(silver.EVENTS), deployment, None)
    found = quality.audit(silver.CLEANED_DAYS, split["silver.cleaned_days"])
    return {
        finding.check.name: finding.passed
        for finding in found.findings
        if finding.check.name.startswith("few_rejected")
    }


@pytest.mark.parametrize(
    ("sound", "bad", "refused", "warned"),
    [(0, 1, False, True), (0, 3, False, True), (0, 4, True, True), (96, 4, False, False), (94, 6, True, True)],
)
def test_a_day_is_refused_for_many_rejected_records_and_not_for_a_few(rows, deployment, sound, bad, refused, warned):
    source = deployment.sources["events"].model_copy(update={"max_rejected_share": 0.05, "min_rejected": 3})
    shop = deployment.model_copy(update={"sources": {**deployment.sources, "events": source}})
    passed = checks_of_a_day(rows, shop, sound, bad)
    assert passed == {"few_rejected": not refused, "few_rejected_by_share": not warned}


def test_only_broken_rows_are_counted_beside_the_checks(rows):
    frame = rows(silver.REJECTED_ITEMS, {"reasons": ["x"], "codes": ["x"], "item_id": "a"})
    found = quality.audit(silver.REJECTED_ITEMS, frame, counted=[Check("b", "", "", sql="item_id = 'b'")])
    assert found.counted == {"b": 1}
    assert "b" not in {finding.check.name for finding in found.findings}


@pytest.mark.parametrize(("bad", "severity"), [(25, "critical"), (10, "warning")])
def test_a_broken_catalogue_is_not_hidden_by_the_sound_ones_of_the_days_before(rows, deployment, bad, severity):
    """Six daily catalogues of 20 were sound; of the seventh's 25 records so many are rejected."""
    listed = [{"item_id": f"S{n:02}", "record_count": 6} for n in range(20)]
    listed += [{"item_id": f"T{n:02}", "record_count": 1} for n in range(25 - bad)]
    lost = [{"source_file": "seventh", "reasons": ["x"], "codes": ["x"], "record_count": 1} for _ in range(bad)]
    ready = {"silver.items": rows(silver.ITEMS, *listed), "silver.rejected_items": rows(silver.REJECTED_ITEMS, *lost)}
    newest = {"items": [{"source_file": "seventh", "record_count": 25}]}
    audits = publish.audit_all(JOBS["clean_items"], deployment, ready, {"items": 145}, newest)
    found = {finding.check.name: finding for finding in audits["silver.rejected_items"].findings}["few_rejected"]
    assert (found.passed, found.check.severity) == (False, severity)
    assert found.check.reason.startswith(f"{bad} of 25 records of the newest files are rejected, max_rejected_share")
    assert all(finding.passed for finding in audits["silver.items"].findings), "the balance holds"
