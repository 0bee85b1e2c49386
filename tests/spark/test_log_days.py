"""Records of a log that were told before: which of them are repeats, also where their place is everywhere."""

from __future__ import annotations

import datetime as dt

from jobs.transforms import ledger
from jobs.transforms.log_days import _without_repeats
from jobs.transforms.reasons import REASONS
from schemas import silver

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
