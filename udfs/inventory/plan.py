"""What to do about each item at each location: nothing, alert, order, or take from another location.

An order made tonight comes after the lead time and the next one is made review_days later, so what is on hand and
on order must last for lead_time_days + review_days: `needed` is the newsvendor's quantity, the service level's
quantile of the demand over those days (Arrow, Harris and Marschak 1951). What is on order was ordered at most a
lead time ago and comes within it.

- transfer (one row a giver): before anything is bought, to a pair that has fewer than the quantile of the lead time
  alone, which no order can help before it comes; from locations with more on hand than their own `needed`, which
  keep it. As many whole units as can be moved, at the least cost, exactly: see udfs/inventory/transfers.py. No
  transfer where it takes (transfer_days) as long as an order.
- replenish: order up to `needed`, the transfers received counted; in whole packs. A pack is one unit where the stock
  has no pack_size, and may be a fraction of one: 0.1 where cheese is counted in kg and ordered by 100 g.
- alert: the chance to run out within the lead time is above alert_above, the transfers received counted; quantity
  is what is missing for that time. It stands beside the order, which comes too late to help.
- ok, quantity 0: a pair without any of these. So every pair has at least one row.

stockout_probability: P(demand over the lead time > on hand + on order), before any of tonight's actions. A pair
that the forecast does not know is left alone (ok, no probability): to be unknown is not to be without demand, so it
neither buys nor gives. A negative count is an error of counting, and read as 0.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from udfs.demand.counts import chance_of_more
from udfs.inventory import reasons as stock_reasons
from udfs.inventory import transfers
from udfs.inventory.needs import Pairs, needs
from udfs.inventory.transfers import Moves

Doubles = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]

OK, ALERT, REPLENISH, TRANSFER = "ok", "alert", "replenish", "transfer"
COLUMNS: Final = (
    "location_id",
    "item_id",
    "action",
    "quantity",
    "from_location_id",
    "stockout_probability",
    "reason",
)
KEY: Final = ["item_id", "location_id", "action", "from_location_id"]


def plan(
    stock: pd.DataFrame,
    forecast: pd.DataFrame,
    profile: pd.DataFrame,
    *,
    run_date: dt.date,
    service_level: float,
    alert_above: float,
    review_days: int = 1,
    transfer_days: int = 1,
    way_costs: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """The actions for one block of whole items (all their locations): COLUMNS, by (item_id, location_id, action, from).

    stock: location_id, item_id, on_hand, on_order, lead_time_days, one row a pair; it may have pack_size. forecast:
    location_id, item_id, category, target_week (the week's first day), expected_units, dispersion; profile: category,
    target_date, share of the week. A day's demand is the product; days up to run_date are left out, days past the last
    count as the mean day.
    way_costs: from_location_id, to_location_id, cost of one unit; None: all ways cost the same; a pair that is not in
    it is no way.
    """
    if not 0 <= alert_above <= 1:
        raise ValueError(f"alert_above is a probability; it is {alert_above}")
    stock = _one_row_a_pair(stock)
    pairs = needs(stock, forecast, profile, run_date, service_level, review_days)
    moves = _moves(pairs, stock, transfer_days, way_costs)
    given = np.bincount(moves.giver, moves.units, len(stock)).astype(np.int64)
    received = np.bincount(moves.receiver, moves.units, len(stock)).astype(np.int64)
    order = _ordered(np.maximum(pairs.needed - pairs.position - received, 0), stock)
    chance = chance_of_more(pairs.expected_lead, pairs.dispersion, pairs.position)
    left = chance_of_more(pairs.expected_lead, pairs.dispersion, pairs.position + received)
    alerts, orders = np.flatnonzero(left > alert_above), np.flatnonzero(order)
    rest = np.setdiff1d(np.arange(len(stock)), np.concatenate([alerts, orders, moves.receiver]))
    locations = stock["location_id"].to_numpy()
    says = stock_reasons.Reasons(pairs, locations, service_level, review_days, given, received)
    missing = np.maximum(pairs.needed_lead - pairs.position - received, 0).round(3)
    blocks = (
        (OK, rest, np.zeros(len(rest)), says.ok(rest)),
        (ALERT, alerts, missing[alerts], says.alert(alerts, left, alert_above, missing)),
        (REPLENISH, orders, order[orders], says.replenish(orders, order)),
        (TRANSFER, moves.receiver, moves.units, says.transfer(moves)),
    )
    row = np.concatenate([rows for _, rows, _, _ in blocks])
    givers = np.full(len(row), None, object)
    givers[len(row) - len(moves.giver) :] = locations[moves.giver]
    actions = pd.DataFrame(
        {
            "location_id": locations[row],
            "item_id": stock["item_id"].to_numpy()[row],
            "action": np.repeat([block[0] for block in blocks], [len(rows) for _, rows, _, _ in blocks]),
            "quantity": np.concatenate([quantity for _, _, quantity, _ in blocks]),
            "from_location_id": pd.Series(givers, dtype=object),
            "stockout_probability": np.where(pairs.known, chance, np.nan)[row],
            "reason": [sentence for *_, sentences in blocks for sentence in sentences],
        },
        columns=list(COLUMNS),
    )
    return actions.sort_values(KEY, ignore_index=True)


def _one_row_a_pair(stock: pd.DataFrame) -> pd.DataFrame:
    """The stock by (item_id, location_id). ValueError where a pair has two rows."""
    stock = stock.sort_values(["item_id", "location_id"], ignore_index=True)
    twice = stock.duplicated(["item_id", "location_id"])
    if twice.any():
        first = stock[twice].iloc[0]
        raise ValueError(f"two stock rows of item {first.item_id} at location {first.location_id}; one a pair expected")
    return stock


def _moves(pairs: Pairs, stock: pd.DataFrame, transfer_days: int, way_costs: pd.DataFrame | None) -> Moves:
    """Rows of the snapshot: who gives how many to whom."""
    # On order is no giver's to give, and is not counted on to come before its own need.
    spare = np.floor(np.where(pairs.known, np.maximum(pairs.on_hand - pairs.needed, 0), 0)).astype(np.int64)
    late = pairs.lead_days > transfer_days
    short = np.ceil(np.where(late, np.maximum(pairs.needed_lead - pairs.position, 0), 0)).astype(np.int64)
    if way_costs is None:
        urgency = chance_of_more(pairs.expected_lead, pairs.dispersion, pairs.position)
        return transfers.fewest(pairs.item, spare, short, urgency)
    places = pd.Index(pd.factorize(stock["location_id"], sort=True)[1])
    cost = np.full((len(places), len(places)), np.inf)
    start, end = (places.get_indexer(pd.Index(way_costs[f"{side}_location_id"])) for side in ("from", "to"))
    both = (start >= 0) & (end >= 0)
    cost[start[both], end[both]] = way_costs["cost"].to_numpy(np.float64)[both]
    return transfers.cheapest(pairs.item, spare, short, pairs.place, cost)


def _ordered(missing: Doubles, stock: pd.DataFrame) -> Doubles:
    """Units to order for what is missing: in whole packs, of one unit where a pair has none. Exact to a thousandth."""
    pack = np.full(len(stock), 1_000, np.int64)
    if "pack_size" in stock:
        size = stock["pack_size"].to_numpy(np.float64, na_value=np.nan)
        pack = np.where(size > 0, np.maximum(np.rint(np.nan_to_num(size) * 1_000), 1), 1_000).astype(np.int64)
    wanted = np.rint(missing * 1_000).astype(np.int64)
    ordered: Doubles = -(-wanted // pack) * pack / 1_000
    return ordered
