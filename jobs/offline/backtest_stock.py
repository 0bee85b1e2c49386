"""Backtest of stock policies over eight real weeks: average stock at equal fill rates, ours against (s, S)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from jobs.transforms.demand_inputs import SALES
from udfs.days import NEVER
from udfs.demand.block import LISTED_DAYS, Block, Shop
from udfs.demand.day_shares import Holiday, profile
from udfs.demand.dispersion import Spread
from udfs.demand.forecast import fit, forecast, sample_share, training_rows
from udfs.inventory.simulation import (
    MEAN_DAYS,
    Comparison,
    Outcome,
    Policy,
    compare,
    curve,
    newsvendor,
    reorder_point,
    simulate,
    weekly_forecasts,
)

WEEKS = 8
FILL_RATES = (0.7, 0.8, 0.85, 0.9, 0.95)
SERVICE_LEVELS = (0.5, 0.8, 0.9, 0.95, 0.97, 0.98, 0.985, 0.99, 0.993, 0.996, 0.998, 0.999, 0.9995, 0.9999)
SAFETY_FACTORS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0)
OURS = "nightshelf"
# cover_days and floor of the peer. One day is a review every night, as ours; a week is what a buyer would take. For
# most pairs the 28-day mean is 0, so without a floor the textbook's policy cannot fill much at any safety factor.
PEERS = {
    "(s, S), 1 day of cover": (1.0, 0),
    "(s, S), 7 days of cover": (7.0, 0),
    "(s, S), 1 day, at least 1": (1.0, 1),
    "(s, S), 7 days, at least 1": (7.0, 1),
    "(s, S), 1 day, at least 2": (1.0, 2),
    "(s, S), 1 day, at least 3": (1.0, 3),
    "(s, S), 1 day, at least 5": (1.0, 5),
}
EVEN = "newsvendor on the 28-day mean"  # the gain of the policy alone, without the forecast
PROTOCOL = (
    "Eight weeks of real sales are the demand: what is wanted and not on the shelf is lost. Each policy starts with "
    "its own order-up-to level, reviews every night and gets its orders after the lead time, which is the stock "
    "snapshot's; the forecast is made anew every week by a model of what was known before the first. Each is run at "
    "many service levels, and the curves are read at the same fill rate."
)

Doubles = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PolicyCurve:
    """One policy's line: fill rate (share of the units wanted that were sold) and average units on hand, rising."""

    policy: str
    fill_rate: Doubles
    stock: Doubles


class StockRow(NamedTuple):
    """One figure: of OURS and each peer the average stock; of a peer also `change`, ours / the peer's - 1."""

    contender: str
    slice: str
    metric: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class StockBacktest:
    """Rows, and what a page shows: each policy's curve, and each comparison with its peer's name."""

    rows: list[StockRow]
    ours: PolicyCurve
    peers: list[PolicyCurve]
    comparisons: list[tuple[str, Comparison]]


def backtest_stock(
    sales: pd.DataFrame,
    shop: Shop,
    leads: pd.DataFrame,
    today: int,
    holidays: Sequence[Holiday],
    say: Callable[[str], None],
) -> StockBacktest | None:
    """The comparison over the 56 days up to `today`, of the pairs sold in the 26 weeks before them; None without any.

    sales: `daily_sales` of a sample of items; leads: location_id, item_id, lead_time_days;
    a pair without one has their median.
    """
    start = today - 7 * WEEKS + 1
    seen = sales[(sales["known"] < start) & (sales["undone"] >= start)]
    listed = seen[seen["day"].between(start - LISTED_DAYS, start - 1)]
    chosen = listed[["item_id", "location_id"]].drop_duplicates().sort_values(["item_id", "location_id"])
    if chosen.empty or leads.empty:
        return None
    pairs = pd.MultiIndex.from_frame(chosen)
    known = leads.groupby(["item_id", "location_id"])["lead_time_days"].first()
    lead = known.reindex(pairs).fillna(leads["lead_time_days"].median()).to_numpy().astype(np.int64)
    item = pd.factorize(chosen["item_id"])[0].astype(np.int64)
    units = _daily(sales[sales["undone"] == NEVER], pairs, start)
    demand = units[MEAN_DAYS:]
    say(f"stock: {len(pairs):,} pairs, {demand.sum():,.0f} units wanted in {len(demand)} days")
    expected, spreads = _forecasts(sales, shop, start, pairs, int(lead.max()), holidays)

    def even(day: int) -> tuple[Doubles, Doubles]:
        mean = units[day + 1 : day + 1 + MEAN_DAYS].mean(axis=0)
        ahead = mean * (lead + 1)
        return ahead, spreads[min((day + 1) // 7, WEEKS - 1)].of(ahead)

    policies: dict[str, Policy] = {
        OURS: newsvendor(weekly_forecasts(expected, spreads, lead), SERVICE_LEVELS),
        EVEN: newsvendor(even, SERVICE_LEVELS),
    }
    for name, (cover, floor) in PEERS.items():
        policies[name] = reorder_point(units, lead, SAFETY_FACTORS, cover_days=cover, floor=floor)
    outcomes = {name: simulate(demand, lead, policy) for name, policy in policies.items()}
    peers = [name for name in policies if name != OURS]
    compared = [
        (name, row) for name in peers for row in compare(outcomes[OURS], outcomes[name], demand, item, FILL_RATES)
    ]
    return StockBacktest(
        [figure for name, row in compared for figure in _figures(name, row)],
        _curve(OURS, outcomes[OURS], demand),
        [_curve(name, outcomes[name], demand) for name in peers],
        compared,
    )


def _daily(sales: pd.DataFrame, pairs: pd.MultiIndex, start: int) -> Doubles:
    """[MEAN_DAYS + 56, pairs] units a day, from MEAN_DAYS before the first on."""
    near = sales[sales["day"].between(start - MEAN_DAYS, start + 7 * WEEKS - 1)]
    pair = pairs.get_indexer(pd.MultiIndex.from_frame(near[["item_id", "location_id"]]))
    units = np.zeros((MEAN_DAYS + 7 * WEEKS, len(pairs)))
    day, count = (near["day"] - start + MEAN_DAYS).to_numpy(), near["units"].to_numpy(np.float64)
    np.add.at(units, (day[pair >= 0], pair[pair >= 0]), count[pair >= 0])
    return units


def _forecasts(
    sales: pd.DataFrame, shop: Shop, start: int, pairs: pd.MultiIndex, longest: int, holidays: Sequence[Holiday]
) -> tuple[list[Doubles], list[Spread]]:
    """Expected units [pairs, days] and their spread as forecast before each week, by a model of before the first.

    A pair that a later forecast no longer lists (no sale in 26 weeks) expects 0 units. Days past the 28 of the
    forecast get the mean of these.
    """
    items = sales[["item_id", "category"]].drop_duplicates("item_id")
    block = Block.of(sales[list(SALES)], items)
    model = fit(training_rows(block, shop, start - 1, sample_share(len(pairs))), start - 1)
    expected, spreads = [], []
    for week in range(WEEKS):
        ahead = forecast(block, shop, model, start - 1 + 7 * week, holidays)
        place = pairs.get_indexer(pd.MultiIndex.from_arrays([ahead.item_id, ahead.location_id]))
        daily = profile(shop, ahead.run_day, holidays).days(ahead.expected, ahead.category)
        days = daily.shape[1]
        mean, spread = np.zeros((len(pairs), max(days, longest + 9))), Spread(np.ones(len(pairs)), np.zeros(len(pairs)))
        mean[place[place >= 0], :days] = daily[place >= 0]
        mean[:, days:] = mean[:, :days].mean(axis=1, keepdims=True)
        for part, known in zip(spread, ahead.spread, strict=True):
            part[place[place >= 0]] = known[place >= 0]
        expected.append(mean)
        spreads.append(spread)
    return expected, spreads


def _curve(name: str, outcome: Outcome, demand: Doubles) -> PolicyCurve:
    fill, stock = curve(outcome, demand)
    return PolicyCurve(name, fill, stock)


def _figures(peer: str, row: Comparison) -> list[StockRow]:
    at = f"fill rate {row.fill_rate:.0%}"
    none = float("nan")
    ours = [StockRow(OURS, at, "average_stock", row.ours, none, none)] if peer == EVEN else []
    return [
        *ours,
        StockRow(peer, at, "average_stock", row.peer, none, none),
        StockRow(peer, at, "change", row.change, row.low, row.high),
    ]
