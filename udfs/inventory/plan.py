"""Stock plan: the actions for each item at each location (none, alert, order, or transfer from another location).

An order of this run arrives after the lead time and the next one is placed review_days later, so stock on hand and
on order must last for lead_time_days + review_days: `needed` is the newsvendor's quantity, the service level's
quantile of the demand over those days (Arrow, Harris and Marschak 1951). Stock on order was ordered at most a
lead time ago and arrives within it.

- transfer (one row a giver): planned before any order, to a pair with less than the quantile of the lead time alone,
  since no order can arrive earlier; from locations with more on hand than their own `needed`, which they retain. The
  most integer units that can be moved, at the least cost, exactly: see udfs/inventory/transfers.py. No transfer where
  it takes (transfer_days) as long as an order.
- replenish: order up to `needed`, counting transfers received; in full packs. A pack is one unit where the stock
  has no pack_size, and may be a fraction of one: 0.1 where cheese is counted in kg and ordered by 100 g.
- alert: the probability to run out within the lead time is above alert_above, counting transfers received; quantity
  is the shortage for that time. It is issued beside the order, which arrives too late to help.
- ok, quantity 0: a pair without any of these. So every pair has at least one row.

stockout_probability: P(demand over the lead time > on hand + on order), before the actions of this run. A pair
without a forecast gets ok and no probability: its demand is unknown, not zero, so it neither orders nor gives. A
negative count is a counting error, and read as 0.
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
    """The actions for one block of items, with all their locations: COLUMNS, by (item_id, location_id, action, from).

    stock: location_id, item_id, on_hand, on_order, lead_time_days, one row a pair; it may have pack_size. forecast:
    location_id, item_id, category, target_week (the week's first day), expected_units, dispersion, overdispersion
    (null: 0); profile: category, target_date, share of the week. A day's demand is the product; days up to run_date are
    left out, days past the last count as the mean day.
    way_costs: transfer costs: from_location_id, to_location_id, cost of one unit; None: equal costs everywhere; no
    transfer between locations without a cost.
    """
    if not 0 <= alert_above <= 1:
        raise ValueError(f"alert_above is a probability; it is {alert_above}")
    stock = _one_row_a_pair(stock)
    pairs = needs(stock, forecast, profile, run_date, service_level, review_days)
    moves = _moves(pairs, stock, transfer_days, way_costs)
    given = np.bincount(moves.giver, moves.units, len(stock)).astype(np.int64)
    received = np.bincount(moves.receiver, moves.units, len(stock)).astype(np.int64)
    order = _ordered(np.maximum(pairs.needed - pairs.position - received, 0), stock)
    chance = chance_of_more(pairs.expected_lead, pairs.dispersion_lead, pairs.position)
    chance_left = chance_of_more(pairs.expected_lead, pairs.dispersion_lead, pairs.position + received)
    alerts, orders = np.flatnonzero(chance_left > alert_above), np.flatnonzero(order)
    covered = np.setdiff1d(np.arange(len(stock)), np.concatenate([alerts, orders, moves.receiver]))
    locations = stock["location_id"].to_numpy()
    sentences_of = stock_reasons.Reasons(pairs, locations, service_level, review_days, given, received)
    missing = np.maximum(pairs.needed_lead - pairs.position - received, 0).round(3)
    blocks = (
        (OK, covered, np.zeros(len(covered)), sentences_of.ok(covered)),
        (ALERT, alerts, missing[alerts], sentences_of.alert(alerts, chance_left, alert_above, missing)),
        (REPLENISH, orders, order[orders], sentences_of.replenish(orders, order)),
        (TRANSFER, moves.receiver, moves.units, sentences_of.transfer(moves)),
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
    """Transfers between rows of the snapshot."""
    # Stock on order cannot be given, nor relied on to arrive before the giver's own need.
    spare = np.floor(np.where(pairs.known, np.maximum(pairs.on_hand - pairs.needed, 0), 0)).astype(np.int64)
    late = pairs.lead_days > transfer_days
    short = np.ceil(np.where(late, np.maximum(pairs.needed_lead - pairs.position, 0), 0)).astype(np.int64)
    if way_costs is None:
        urgency = chance_of_more(pairs.expected_lead, pairs.dispersion_lead, pairs.position)
        return transfers.fewest(pairs.item, spare, short, urgency)
    places = pd.Index(pd.factorize(stock["location_id"], sort=True)[1])
    cost = np.full((len(places), len(places)), np.inf)
    start, end = (places.get_indexer(pd.Index(way_costs[f"{side}_location_id"])) for side in ("from", "to"))
    known = (start >= 0) & (end >= 0)
    cost[start[known], end[known]] = way_costs["cost"].to_numpy(np.float64)[known]
    return transfers.cheapest(pairs.item, spare, short, pairs.place, cost)


def _ordered(missing: Doubles, stock: pd.DataFrame) -> Doubles:
    """Units to order for the missing units: full packs, of one unit without pack_size. Exact to a thousandth."""
    pack = np.full(len(stock), 1_000, np.int64)
    if "pack_size" in stock:
        size = stock["pack_size"].to_numpy(np.float64, na_value=np.nan)
        pack = np.where(size > 0, np.maximum(np.rint(np.nan_to_num(size) * 1_000), 1), 1_000).astype(np.int64)
    wanted = np.rint(missing * 1_000).astype(np.int64)
    ordered: Doubles = -(-wanted // pack) * pack / 1_000
    return ordered
