"""Records of a log that were told before: which of them are repeats, also where their place is everywhere."""

from __future__ import annotations

import datetime as dt

import pytest

from jobs.transforms import ledger, log_days
from jobs.transforms.log_days import _without_repeats
from jobs.transforms.reasons import REASONS
from schemas import TABLES, bronze, silver
from schemas.cleaned_days import FEW_VERY_LATE

STARTS = dt.date(2024, 3, 4)


def told(day: int, location: str | None, item: str = "i1") -> dict:
    """A promotion from day 4 on, in the file of a day of March."""
    return {"run_date": dt.date(2024, 3, day), "location_id": location, "item_id": item, "starts_on": STARTS}


def test_a_late_promotion_everywhere_is_a_repeat_of_itself_and_of_no_other(rows):
    judged = rows(silver.PROMOTIONS, told(6, None), told(6, "T0"), told(6, "T1"), told(6, None, "i2"))
    judged = judged.selectExpr("*", f"cast(array() AS {REASONS}) AS reasons")
    past = rows(silver.PROMOTIONS, told(5, None), told(5, "T0"), told(5, "T1", "i3"))
    found = _without_repeats(ledger.PROMOTIONS, judged, past)
    repeats = {(row.location_id, row.item_id) for row in found.where("size(reasons) > 0").collect()}
    assert repeats == {(None, "i1"), ("T0", "i1")}
    assert found.columns == judged.columns
    assert found.count() == 4


def till_line(row: int, source: str, units: int, till: str, at: str = "10:00:00") -> dict:
    day = dt.date(2024, 3, 6)
    fields = ["1", "U01", "S01", str(units), str(abs(units) * 1.5), till, f"{day} {at}"]
    place = {"run_date": day, "source_file": source, "source_row": row, "raw": f"{source} {row}"}
    return {**place, "fields": fields, "source": source}


def test_the_ledger_has_the_figures_of_each_source(rows, deployment):
    """Three purchases of one till and a return, one of another, and a record of the web that is none."""
    source = deployment.sources["events"]
    web = source.model_copy(update={"kind": "events"})
    shop = deployment.model_copy(update={"sources": {"events": source, "web": web}})
    told = [till_line(2, "events", 2, "T0"), till_line(3, "events", 3, "T0"), till_line(4, "events", -1, "T0")]
    told += [till_line(5, "events", 5, "T1"), till_line(2, "web", 4, "T2"), till_line(3, "web", 1, "T3", "noon")]
    files = rows(
        bronze.FILES,
        {"run_date": dt.date(2024, 3, 6), "source": "events", "record_count": 4},
        {"run_date": dt.date(2024, 3, 6), "source": "web", "record_count": 2},
    )
    split = log_days.split(ledger.EVENTS, rows(bronze.EVENTS, *told), files, rows(silver.EVENTS), shop)
    (day,) = split["silver.cleaned_days"].collect()
    assert (day.rows_in, day.rows_kept, day.rows_rejected) == (6, 5, 1)
    tills = {"rows": 4, "kept_share": 1, "locations": 2, "units": 10, "money": 15, "purchase": 3, "return": 1}
    online = {"rows": 2, "kept_share": 0.5, "locations": 1, "units": 4, "money": 6, "purchase": 1}
    assert day.figures == {f"events.{k}": v for k, v in tills.items()} | {f"web.{k}": v for k, v in online.items()}


MOMENTS = {  # of August: the times of a day's file, and how many of its events are very late
    5: (["05/08/2026 11:00:00"] * 6, 6),  # of 5 August, read as of 8 May
    6: (["05/08/2026 11:00:00"] * 3 + ["08/06/2026 11:00:00"] * 3, 3),  # no more than half
    7: (["08/04/2026 11:00:00"] * 6, 0),  # a store that uploads three days late
    8: (["07/08/2026 11:00:00"] * 6, 0),  # a month late
}


@pytest.mark.parametrize("log", [ledger.EVENTS, ledger.AD_EVENTS], ids=lambda log: log.kind)
def test_a_day_with_days_and_months_swapped_is_a_warning(rows, deployment, log):
    source = deployment.sources["events"]
    mapped = {"user_id": "customer", "item_id": "sku", "occurred_at": "try_to_timestamp(at, 'MM/dd/yyyy HH:mm:ss')"}
    if log is ledger.EVENTS:
        mapped |= {"event_type": "'purchase'", "quantity": "units", "unit_price": "amount"}
    else:
        mapped |= {"event_type": "'click'", "campaign_id": "till"}
    shop = deployment.model_copy(update={"sources": {log.kind: source.model_copy(update={"map": mapped})}})
    records = [
        {"run_date": dt.date(2026, 8, day), "source_file": f"f{day}", "source_row": row, "source": log.kind}
        | {"raw": f"{day} {row}", "fields": [f"d{row}", f"U0{row}", f"S0{row}", "1", "2.00", "T0", at]}
        for day, (moments, _) in MOMENTS.items()
        for row, at in enumerate(moments, start=2)
    ]
    files = [{"run_date": dt.date(2026, 8, day), "source": log.kind, "record_count": 6} for day in MOMENTS]
    table = bronze.EVENTS if log is ledger.EVENTS else bronze.RECORDS
    past = rows(silver.RECORDS_OF[log.kind])
    made = log_days.split(log, rows(table, *records), rows(bronze.FILES, *files), past, shop)[log.ledger]
    days = made.selectExpr("day(run_date) AS day", "very_late", f"{FEW_VERY_LATE.sql} AS passed").collect()
    assert {row.day: (row.very_late, row.passed) for row in days} == {
        day: (count, day != 5) for day, (_, count) in MOMENTS.items()
    }
    assert FEW_VERY_LATE in TABLES[log.ledger].row_checks()
