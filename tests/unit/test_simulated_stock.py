"""The simulated stock levels: a stated policy, and nothing of the future in any state."""

from importlib.util import find_spec

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from examples import journey_tables
from examples import simulated_stock as stock

PRODUCTS = pa.table({"product_id": [11, 12, 13], "department": ["FROZEN", "FUEL", None]})


def sales(*rows):
    """(date, store, product, quantity) each, as the package's table and the dates of its lines."""
    table = pd.DataFrame(rows, columns=["date", "store_id", "product_id", "quantity"]).assign(sales_value=1.0)
    dates = table.pop("date").to_numpy().astype("datetime64[D]")
    return pa.Table.from_pandas(table, preserve_index=False), dates


def states(monkeypatch, sundays, *rows):
    monkeypatch.setattr(stock, "SUNDAYS", sundays)
    table, dates = stock.simulated_stock(*sales(*rows), PRODUCTS)
    return table.to_pandas().assign(date=dates.astype(str))


def test_a_pair_is_listed_from_its_first_sale_and_leaves_half_a_year_after_its_last(monkeypatch) -> None:
    rows = [("2017-01-01", 5, 11, 2), ("2017-03-05", 5, 13, 1), ("2017-12-31", 6, 11, 1)]
    found = states(monkeypatch, ("2017-01-01", "2017-03-05", "2017-07-02", "2017-12-31"), *rows)
    listed = found.groupby("date").apply(lambda day: list(zip(day.store_id, day.product_id, strict=True)))
    assert listed.to_dict() == {
        "2017-01-01": [(5, 11)],
        "2017-03-05": [(5, 11), (5, 13)],
        "2017-07-02": [(5, 13)],  # 182 days after its last sale
        "2017-12-31": [(6, 11)],
    }
    assert found.on_hand.between(0, 3).all()


def test_fuel_amounts_beyond_reason_and_gifts_are_no_stock(monkeypatch) -> None:
    rows = [
        ("2017-01-01", 5, 12, 9_000),
        ("2017-01-01", 5, 12, 1),
        ("2017-01-01", 5, 11, 1_001),
        ("2017-01-01", 5, 13, 1),
    ]
    assert states(monkeypatch, ("2017-01-01",), *rows).product_id.tolist() == [13]


def test_an_order_comes_after_its_lead_time(monkeypatch) -> None:
    days = [str(day) for day in np.arange("2017-01-01", "2017-04-01", dtype="datetime64[D]")]
    monkeypatch.setattr(stock, "FORGOTTEN", 0)
    found = states(monkeypatch, tuple(days), *((day, 5, 11, 3) for day in days))
    lead = found.lead_time_days.unique()
    assert len(lead) == 1
    assert stock.LEAD_DAYS[0] <= lead[0] <= stock.LEAD_DAYS[1]
    ordered, arrived = (np.flatnonzero(np.diff(found.on_order) * sign > 0) for sign in (1, -1))
    assert (np.isin(ordered + lead[0], arrived) | (ordered + lead[0] > arrived.max())).all()
    # What is there today is what was there, less the sales, plus what came.
    came = np.maximum(found.on_hand.diff() + np.minimum(found.on_hand.shift(), 3), 0)[1:]
    assert came.sum() > 0
    assert set(np.flatnonzero(came)) <= set(arrived)


def test_draws_are_even_and_follow_the_keys_alone() -> None:
    ids = np.arange(20_000)
    drawn = stock.draws(3, ids)
    assert drawn[::7].tolist() == stock.draws(3, ids[::7]).tolist()
    assert np.histogram(drawn, 10, (0, 1))[0] == pytest.approx(2_000, rel=0.1)
    assert abs(np.corrcoef(drawn, stock.draws(4, ids))[0, 1]) < 0.03


def test_the_real_states_follow_from_the_days_up_to_them() -> None:
    if find_spec(journey_tables.PACKAGE) is None:
        pytest.skip(f"{journey_tables.PACKAGE} is not installed: make setup")
    data = journey_tables.package_data()
    products = journey_tables.read_table(data, "products")
    lines = journey_tables.read_table(data, "transactions")
    dates = journey_tables.local_days(lines["transaction_timestamp"])
    whole, of_whole = stock.simulated_stock(lines, dates, products)
    counts = dict(zip(*np.unique(of_whole.astype(str), return_counts=True), strict=True))
    assert counts == {"2017-11-05": 374_451, "2017-12-03": 378_214, "2017-12-31": 382_823}
    until = dates <= np.datetime64("2017-11-05")
    part, _ = stock.simulated_stock(lines.filter(pa.array(until)), dates[until], products)
    assert part.equals(whole.slice(0, len(part)))
    on_hand = whole["on_hand"].to_numpy()
    assert on_hand.min() == 0  # some are short
    assert 0.01 < (on_hand == 0).mean() < 0.2
