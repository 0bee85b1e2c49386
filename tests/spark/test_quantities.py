"""Units may be fractions: 0.45 kg is a sale, sums of it are exact, and what is ordered of it is complete packs."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from jobs.clean_items import clean_items
from jobs.plan_stock import left_tonight, plan_stock
from jobs.runner.lake import check_schema
from jobs.transforms import ledger, log_days
from jobs.transforms.demand_inputs import daily_sales, shop_totals
from jobs.transforms.purchases import known_purchases
from schemas import bronze, gold, silver
from schemas.deployment import Source
from tests.conftest import Rows, run_of

DAY = dt.date(2024, 3, 10)


def line(row: int, units: str) -> dict[str, Any]:
    fields = [str(row), "U01", "S01", units, "3.00", "T0", f"{DAY} 10:00:00"]
    return {"run_date": DAY, "source_file": "a", "source_row": row, "raw": ",".join(fields), "fields": fields}


def bought(item: str, quantity: float, location: str = "T0", user: str = "u1") -> dict[str, Any]:
    where = {"location_id": location, "user_id": user, "event_date": DAY, "run_date": DAY}
    return where | {"event_type": "purchase", "item_id": item, "quantity": quantity, "unit_price": 1.0}


def test_what_is_weighed_is_sold_and_brought_back_by_fractions(rows: Rows, deployment) -> None:
    given = ["0.45", "-0.25", "1.5e0", "2", "0.0004", "0,45", "0.0005"]
    records = rows(bronze.EVENTS, *(line(row, units) for row, units in enumerate(given, start=2)))
    files = rows(bronze.FILES, {"run_date": DAY, "source": "events", "record_count": len(given)})
    made = log_days.split(ledger.EVENTS, records, files, rows(silver.EVENTS), deployment)
    kept = {row.source_row: (row.event_type, row.quantity) for row in made["silver.events"].collect()}
    assert kept == {
        2: ("purchase", Decimal("0.450")),
        3: ("return", Decimal("0.250")),
        4: ("purchase", Decimal("1.500")),
        5: ("purchase", Decimal(2)),
        8: ("purchase", Decimal("0.001")),
    }
    refused = {row.source_row: row.codes for row in made["silver.rejected_events"].collect()}
    assert refused[6] == ["quantity_in_range"]
    assert refused[7] == ["quantity_not_converted", "unit_price_not_converted", "sale_complete"]


def test_sums_of_fractions_are_exact_and_doubles_where_models_read_them(rows: Rows) -> None:
    items = rows(silver.ITEMS, {"item_id": "i", "category": "c"}, {"item_id": "j", "category": "c"})
    events = rows(silver.EVENTS, *(bought("i", units) for units in (0.1, 0.2, 0.7)), bought("j", 0.1), bought("j", 0.2))
    sales = daily_sales(events, items, DAY, run_of(DAY).deployment)
    assert dict(sales.dtypes)["units"] == "double"
    assert {row.item_id: row.units for row in sales.collect()} == {"i": 1.0, "j": 0.3}
    assert [row.units for row in shop_totals(sales)[0].collect()] == [1.3]
    assert dict(known_purchases(events, items, run_of(DAY).deployment).dtypes)["quantity"] == "double"


def test_a_kilo_sold_since_the_snapshot_is_no_longer_there(rows: Rows) -> None:
    evening = {"lead_time_days": 6, "snapshot_date": DAY - dt.timedelta(days=1), "location_id": "T0"}
    stock = rows(
        silver.STOCK,
        evening | {"item_id": "i", "on_hand": 3, "on_order": 0.5, "pack_size": 0.1},
        evening | {"item_id": "j", "on_hand": 0.25, "on_order": 1},
    )
    events = rows(silver.EVENTS, bought("i", 0.45), bought("j", 0.3))
    left = {
        row.item_id: (row.on_hand, row.on_order, row.pack_size) for row in left_tonight(stock, events, DAY, 7).collect()
    }
    assert left == {"i": (2.55, 0.5, 0.1), "j": (0.0, 0.95, None)}


def test_what_is_weighed_is_ordered_by_its_own_packs(rows: Rows, deployment) -> None:
    source = Source(files="stock/*.csv", columns=["till"], map={"location_id": "till"})
    stocked = deployment.model_copy(update={"sources": {**deployment.sources, "stock": source}})
    pair = {"location_id": "T0", "lead_time_days": 6, "snapshot_date": DAY, "on_hand": 0.55, "on_order": 0}
    stock = rows(silver.STOCK, pair | {"item_id": "cheese", "pack_size": 0.25}, pair | {"item_id": "soap"})
    weeks = [
        {
            "location_id": "T0",
            "item_id": item,
            "expected_units": 3.5,
            "dispersion": 1.0,
            "target_week": DAY + dt.timedelta(n),
        }
        for item in ("cheese", "soap")
        for n in (1, 8, 15, 22)
    ]
    shares = [
        {"location_id": None, "category": None, "share": 1 / 7, "target_date": DAY + dt.timedelta(n)}
        for n in range(1, 29)
    ]
    forecast, profile = rows(gold.DEMAND_FORECAST, *weeks), rows(gold.DEMAND_PROFILE, *shares)
    run = run_of(DAY, stocked)
    actions = plan_stock(forecast, profile, stock, rows(silver.WAYS), rows(silver.EVENTS), run=run)
    check_schema(gold.INVENTORY_ACTIONS, actions, "in a test")
    ordered = {row.item_id: (row.quantity, row.reason) for row in actions.where("action = 'replenish'").collect()}
    assert ordered["cheese"][0] == Decimal("6.500"), "7 needed, 0.55 there: 6.45 missing"
    assert ordered["soap"][0] == Decimal(7), "no half a piece"
    assert ordered["cheese"][1].startswith("0.55 on hand, 0 on order; ")
    assert ordered["cheese"][1].endswith("order 6.5 (6.45 missing; whole packs)")


def test_the_unit_of_an_item_is_told_where_the_catalogue_has_it(rows: Rows, deployment) -> None:
    source = deployment.sources["items"]
    weighed = source.model_copy(update={"map": {**source.map, "unit": "CASE kind WHEN 'cheese' THEN 'kg' END"}})
    shop = deployment.model_copy(update={"sources": {**deployment.sources, "items": weighed}})
    listed = [["c", "gouda", "cheese"], ["s", "hand soap", "soap"]]
    records = [{"run_date": DAY, "source_row": row, "fields": fields} for row, fields in enumerate(listed, start=2)]
    items = clean_items(rows(bronze.ITEMS, *records), run=run_of(DAY, shop))["silver.items"]
    assert {row.item_id: row.unit for row in items.collect()} == {"c": "kg", "s": None}
    plain = clean_items(rows(bronze.ITEMS, *records), run=run_of(DAY, deployment))["silver.items"]
    assert {row.unit for row in plain.collect()} == {None}
