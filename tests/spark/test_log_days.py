"""Records of a log that were told before: which of them are repeats, also where their place is everywhere."""

from __future__ import annotations

import datetime as dt

import pytest

from jobs.transforms import ledger, log_days
from jobs.transforms.log_days import _without_repeats
from jobs.transforms.reasons import REASONS
from schemas import TABLES, bronze, silver
from tests.conftest import broken

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


DAYS_FIRST = [f"05/08/2026 {hour}:00:00" for hour in range(11, 17)]  # of 5 August, read as of 8 May


@pytest.mark.parametrize(
    ("moments", "very_late", "warned"),
    [
        (DAYS_FIRST, 6, True),
        ([*DAYS_FIRST[:3], *["08/05/2026 11:00:00"] * 3], 3, False),  # no more than half
        (["08/02/2026 11:00:00"] * 6, 0, False),  # a store that uploads three days late
        (["07/05/2026 11:00:00"] * 6, 0, False),  # a month late
    ],
)
@pytest.mark.parametrize("log", [ledger.EVENTS, ledger.AD_EVENTS], ids=lambda log: log.kind)
def test_a_day_with_days_and_months_swapped_is_a_warning(rows, deployment, log, moments, very_late, warned):
    source, day = deployment.sources["events"], dt.date(2026, 8, 5)
    swapped = {name: source.map[name] for name in ("user_id", "item_id")}
    swapped |= {"occurred_at": "try_to_timestamp(at, 'MM/dd/yyyy HH:mm:ss')"}
    if log is ledger.EVENTS:
        swapped |= {name: source.map[name] for name in ("event_type", "quantity", "unit_price")}
    else:
        swapped |= {"event_type": "'click'", "campaign_id": "till"}
    shop = deployment.model_copy(update={"sources": {log.kind: source.model_copy(update={"map": swapped})}})
    records = [
        {"run_date": day, "source_file": "sales", "source_row": row, "source": log.kind, "raw": f"{row} {at}"}
        | {"fields": [f"d{row}", f"U0{row}", f"S0{row}", "1", "2.00", "T0", at]}
        for row, at in enumerate(moments, start=2)
    ]
    files = rows(bronze.FILES, {"run_date": day, "source": log.kind, "record_count": len(records)})
    past = rows(silver.RECORDS_OF[log.kind])
    table = bronze.EVENTS if log is ledger.EVENTS else bronze.RECORDS
    made = log_days.split(log, rows(table, *records), files, past, shop)[log.ledger]
    (found,) = made.collect()
    assert (found.rows_kept, found.very_late) == (6, very_late)
    assert any("days and months" in reason for reason in broken(TABLES[log.ledger], made)) == warned
