"""The job beside udfs/inventory/plan.py: what is left of the snapshot tonight, and whose locations are whose."""

from __future__ import annotations

import datetime as dt

import pytest

from jobs.plan_stock import left_tonight, plan_stock
from schemas import gold, silver
from schemas.errors import DataError
from schemas.run import RunContext
from schemas.source import Source

NIGHT = dt.date(2024, 3, 10)
EVENING = dt.date(2024, 3, 8)  # of the snapshot


@pytest.fixture
def stocked(deployment):
    """A deployment that has stock files."""
    source = Source(files="stock/*.csv", columns=["till"], map={"location_id": "till"})
    return deployment.model_copy(update={"sources": {**deployment.sources, "stock": source}})


def have(location: str, item: str, on_hand: int, on_order: int = 0) -> dict:
    pair = {"location_id": location, "item_id": item, "lead_time_days": 6, "snapshot_date": EVENING}
    return pair | {"on_hand": on_hand, "on_order": on_order}


def sale(location: str | None, item: str, quantity: int, date: dt.date = NIGHT) -> dict:
    line = {"event_type": "purchase", "unit_price": 1.0, "event_date": date, "run_date": date}
    return line | {"location_id": location, "item_id": item, "quantity": quantity}


def ahead(location: str, item: str, units: float) -> list[dict]:
    """The forecast of a pair: so many units a day, as a Poisson process; weeks are of seven such days."""
    pair = {"location_id": location, "item_id": item, "expected_units": 7 * units, "dispersion": 1.0}
    return [pair | {"target_week": NIGHT + dt.timedelta(days=day)} for day in (1, 8, 15, 22)]


def even() -> list[dict]:
    """A profile of days that are all alike."""
    shares = {"location_id": None, "category": None, "share": 1 / 7}
    return [shares | {"target_date": NIGHT + dt.timedelta(days=day)} for day in range(1, 29)]


def left(stock, events, **knobs) -> dict[str, tuple[int, int]]:
    """Item -> on hand, on order."""
    return {
        row.item_id: (row.on_hand, row.on_order) for row in left_tonight(stock, events, NIGHT, 7, **knobs).collect()
    }


def test_what_was_sold_beyond_what_was_on_hand_came_out_of_what_was_on_order(rows):
    stock = rows(
        silver.STOCK,
        have("T0", "enough", 9, 10),
        have("T0", "arrived", 2, 10),
        have("T0", "miscounted", 2, 3),
        have("T0", "unsold", 2, 10),
    )
    events = rows(
        silver.EVENTS,
        *(sale("T0", item, 8) for item in ("enough", "arrived", "miscounted")),
        sale("T0", "unsold", 8, EVENING),  # the snapshot is of that day's evening
        sale("T1", "unsold", 8),
    )
    assert left(stock, events) == {"enough": (1, 10), "arrived": (0, 4), "miscounted": (0, 0), "unsold": (2, 10)}


def test_sales_are_where_the_forecast_has_them(rows):
    """A shop of one location: its log has none, or the country of the buyer."""
    stock = rows(silver.STOCK, have("all", "i1", 9), have("all", "i2", 9))
    events = rows(silver.EVENTS, sale(None, "i1", 2), sale("France", "i2", 3))
    assert left(stock, events) == {"i1": (7, 0), "i2": (9, 0)}
    assert left(stock, events, by_location=False) == {"i1": (7, 0), "i2": (6, 0)}


def test_stock_that_is_nowhere_in_the_forecast_is_refused(rows, stocked):
    stock, events = rows(silver.STOCK, have("depot", "i1", 9)), rows(silver.EVENTS)
    elsewhere, shares = rows(gold.DEMAND_FORECAST, *ahead("T0", "i1", 0.5)), rows(gold.DEMAND_PROFILE, *even())
    run = RunContext(run_date=NIGHT, deployment=stocked)
    with pytest.raises(DataError, match=r"silver\.stock.*'depot'.*gold\.demand_forecast.*'T0'.*by_location"):
        plan_stock(elsewhere, shares, stock, rows(silver.WAYS), events, run=run)
    nothing = rows(gold.DEMAND_FORECAST)  # a shop that has not sold anything yet
    (told,) = plan_stock(nothing, shares, stock, rows(silver.WAYS), events, run=run).collect()
    assert (told.action, told.stockout_probability) == ("ok", None)


@pytest.mark.parametrize(("unknown", "refused"), [(9, False), (10, True)])
def test_stock_most_of_which_has_no_forecast_is_refused(rows, stocked, unknown, refused):
    pairs = [have("T0", "i0", 9), *(have("T0", f"sku {number}", 9) for number in range(unknown))]
    stock, forecast = rows(silver.STOCK, *pairs), rows(gold.DEMAND_FORECAST, *ahead("T0", "i0", 0.5))
    given = (forecast, rows(gold.DEMAND_PROFILE, *even()), stock, rows(silver.WAYS), rows(silver.EVENTS))
    run = RunContext(run_date=NIGHT, deployment=stocked)
    if refused:
        with pytest.raises(DataError, match=r"10 of 11 pairs .* no forecast.*max_unknown_share.*'sku \d'.*'i0'"):
            plan_stock(*given, run=run)
        assert plan_stock(*given, run=run, max_unknown_share=0.95).count() == 11
    else:
        assert plan_stock(*given, run=run).count() == 10


def test_stock_moves_on_the_ways_that_there_are_at_the_least_cost(rows, stocked):
    stock = rows(silver.STOCK, have("T0", "i1", 0), *(have(f"T{till}", "i1", 90) for till in (1, 2, 3)))
    forecast = rows(gold.DEMAND_FORECAST, *(line for till in range(4) for line in ahead(f"T{till}", "i1", 0.5)))

    def givers(*ways):
        told = [{"from_location_id": giver, "to_location_id": to, "cost": cost} for giver, to, cost in ways]
        events, shares = rows(silver.EVENTS), rows(gold.DEMAND_PROFILE, *even())
        run = RunContext(run_date=NIGHT, deployment=stocked)
        found = plan_stock(forecast, shares, stock, rows(silver.WAYS, *told), events, run=run)
        return [row.from_location_id for row in found.where("action = 'transfer'").collect()]

    assert givers() == ["T1"], "all ways cost the same"
    assert givers(("T1", "T0", 3.0), ("T2", "T0", 1.0), ("T3", "T1", 0.0)) == ["T2"]
    assert givers(("T0", "T1", 1.0)) == [], "no way leads there"
