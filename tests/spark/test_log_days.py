"""Records of a log that were told before: which of them are repeats, also where their place is everywhere."""

from __future__ import annotations

import datetime as dt

from jobs.transforms import ledger, log_days
from jobs.transforms.log_days import _without_repeats
from jobs.transforms.reasons import REASONS
from schemas import bronze, silver

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
