"""Simulation of stock policies: stock and sales day by day on real demand, at many service levels at once.

A policy sets each evening, for every pair of item and location, the stock at which to order and the order-up-to level.
The day: orders of lead_days + 1 evenings ago arrive in the morning; sales take the stock on hand, unmet demand is lost;
stock is counted; then orders are placed. So stock on hand and on order must last for lead_days + 1 days, the same as in
udfs/inventory/plan.py with a daily review.

Two policies are compared at the same fill rate (units sold / units wanted): each is run over a sweep of its own service
parameter, which gives a curve from fill rate to average stock, and the curves are read at the same fill rates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from udfs.demand.counts import quantile
from udfs.demand.dispersion import Spread

Doubles = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]
Units = npt.NDArray[np.number[Any]]

MEAN_DAYS: Final = 28  # that the (s, S) policy looks back
REVIEW_DAYS: Final = 1
SEED: Final = 7
DRAWS_AT_ONCE: Final = 50


class Levels(NamedTuple):
    """Order levels of each setting and pair [settings, pairs], integer units: order at or below `at`, up to `up_to`."""

    at: Longs
    up_to: Longs


# The levels of the evening of a day, -1 being the evening before the first one.
Policy: TypeAlias = Callable[[int], Levels]
# Mean units of each pair over the lead_days + 1 days after the evening of a day, and variance / mean of their count.
DemandAhead: TypeAlias = Callable[[int], tuple[Doubles, Doubles]]


class Outcome(NamedTuple):
    """Units sold, and mean units on hand at the end of a day, of each setting and pair [settings, pairs]."""

    sold: Doubles
    stock: Doubles


class Comparison(NamedTuple):
    """Average stock of two policies at one fill rate, ours / the peer's - 1 and its 95 % interval; NaN: not reached."""

    fill_rate: float
    ours: float
    peer: float
    change: float
    low: float
    high: float


def newsvendor(demand_ahead: DemandAhead, service_levels: Sequence[float]) -> Policy:
    """Order up to the quantile of the demand ahead, whenever there is less: as udfs/inventory/plan.py does."""
    levels = np.asarray(service_levels, np.float64)[:, None]

    def policy(day: int) -> Levels:
        mean, dispersion = demand_ahead(day)
        up_to = quantile(mean, dispersion, levels)
        return Levels(up_to - 1, up_to)

    return policy


def weekly_forecasts(expected: Sequence[Doubles], spreads: Sequence[Spread], lead_days: Longs) -> DemandAhead:
    """The demand ahead by a forecast of each week's eve: expected [pairs, 8 days + the longest lead] and its spread."""
    sums = [np.concatenate([np.zeros((len(days), 1)), np.cumsum(days, axis=1)], axis=1) for days in expected]
    pairs = np.arange(len(lead_days))

    def ahead(day: int) -> tuple[Doubles, Doubles]:
        week, passed = divmod(day + 1, 7)
        if week == len(sums):  # the evening of the last day, whose orders no longer matter
            week, passed = week - 1, 7
        mean: Doubles = np.maximum(sums[week][pairs, passed + lead_days + REVIEW_DAYS] - sums[week][:, passed], 0)
        return mean, spreads[week].of(mean)

    return ahead


def reorder_point(
    sales: Units, lead_days: Longs, safety_factors: Sequence[float], *, cover_days: float, floor: int = 0
) -> Policy:
    """Textbook (s, S) policy on the mean of the last 28 days: the peer.

    sales [MEAN_DAYS + days, pairs]: the simulated days and as many as the mean needs before them. With the mean m and
    the standard deviation d of the last 28 days, s = m P + z d sqrt(P) for the P = lead_days + 1 days that stock must
    last, z being the safety factor, and S = s + m x cover_days, rounded up (Silver, Pyke and Thomas 2017, ch. 6).
    floor: lower bound of S, for pairs that sold nothing in 28 days: without it the policy drops them.
    """
    protected = (lead_days + REVIEW_DAYS).astype(np.float64)
    factors = np.asarray(safety_factors, np.float64)[:, None]

    def policy(day: int) -> Levels:
        window = sales[day + 1 : day + 1 + MEAN_DAYS].astype(np.float64)
        mean, deviation = window.mean(axis=0), window.std(axis=0)
        point = mean * protected + factors * deviation * np.sqrt(protected)
        up_to = np.maximum(np.ceil(np.round(point + mean * cover_days, 9)), floor).astype(np.int64)
        return Levels(np.minimum(np.floor(point).astype(np.int64), up_to - 1), up_to)

    return policy


def simulate(demand: Units, lead_days: Longs, policy: Policy) -> Outcome:
    """Sales and stock of the policy on the demand [days, pairs]; it starts with its own order-up-to level on hand.

    Cost: each day a few passes over [settings, pairs]; orders and sales touch only the pairs that have any.
    """
    levels = policy(-1)
    on_hand = levels.up_to.astype(np.float64)  # float: weighed items sell in fractions
    position = on_hand.copy()  # on hand and on order
    sold, stock = np.zeros(on_hand.shape), np.zeros(on_hand.shape)
    arrivals: dict[int, list[tuple[Longs, Longs, Doubles]]] = {}
    for day, wanted in enumerate(demand):
        for setting, pair, units in arrivals.pop(day, []):
            on_hand[setting, pair] += units
        buyers = np.flatnonzero(wanted)
        taken = np.minimum(on_hand[:, buyers], wanted[buyers])
        on_hand[:, buyers] -= taken
        position[:, buyers] -= taken
        sold[:, buyers] += taken
        stock += on_hand
        if day == len(demand) - 1:
            break
        levels = policy(day)
        setting, pair = np.nonzero((position <= levels.at) & (position < levels.up_to))
        units = (levels.up_to - position)[setting, pair]
        position[setting, pair] += units
        due = day + lead_days[pair] + REVIEW_DAYS
        for morning in np.unique(due).tolist():
            now = due == morning
            arrivals.setdefault(morning, []).append((setting[now], pair[now], units[now]))
    return Outcome(sold, stock / max(len(demand), 1))


def curve(outcome: Outcome, demand: Units) -> tuple[Doubles, Doubles]:
    """Fill rate and average stock of all pairs together, of each setting, by rising fill rate: a line of the plot."""
    fill = outcome.sold.sum(axis=1) / max(float(demand.sum()), 1.0)
    order = np.argsort(fill, kind="stable")
    return fill[order], outcome.stock.sum(axis=1)[order]


def compare(
    ours: Outcome, peer: Outcome, demand: Units, item: Longs, fill_rates: Sequence[float], draws: int = 1_000
) -> list[Comparison]:
    """One row a fill rate: the stock of both policies at it, interpolated linearly between settings.

    item [pairs]: code from 0; the interval is a paired bootstrap over items, since the locations of an item are
    correlated. Each draw of items gives both curves. No figure where a curve does not reach the fill rate.
    """
    count = int(item.max(initial=-1)) + 1
    wanted = np.bincount(item, demand.sum(axis=0), count)[None]
    parts = [_per_item(table, item, count) for outcome in (ours, peer) for table in outcome]
    table = np.concatenate([wanted, *parts]).T  # [items, 1 + settings x 4]
    bounds = np.cumsum([1, *(len(part) for part in parts)])
    rates = np.asarray(fill_rates, np.float64)
    generator = np.random.default_rng(SEED)
    weights = [np.ones((1, count))]
    drawn = []
    for start in range(0, draws, DRAWS_AT_ONCE):
        weights.append(generator.poisson(1.0, (min(DRAWS_AT_ONCE, draws - start), count)).astype(np.float64))
    for block in weights:
        for total in block @ table:
            sold_ours, stock_ours, sold_peer, stock_peer = np.split(total[1:], bounds[1:-1] - 1)
            filled = max(float(total[0]), 1.0)
            drawn.append([_read(sold_ours / filled, stock_ours, rates), _read(sold_peer / filled, stock_peer, rates)])
    stocks = np.array(drawn)  # [1 + draws, 2, rates]
    change = stocks[:, 0] / stocks[:, 1] - 1
    rows = []
    for place, rate in enumerate(rates.tolist()):
        reached = np.isfinite(change[1:, place])
        # With more than 2.5 % of the draws out of reach, the others would give too narrow an interval.
        enough = draws > 0 and reached.mean() >= 0.975
        low, high = np.quantile(change[1:, place][reached], [0.025, 0.975]) if enough else (np.nan, np.nan)
        first = (float(stocks[0, 0, place]), float(stocks[0, 1, place]), float(change[0, place]))
        rows.append(Comparison(rate, *first, float(low), float(high)))
    return rows


def _per_item(table: Doubles, item: Longs, count: int) -> Doubles:
    """[settings, items]: the sums of the items' pairs."""
    return np.stack([np.bincount(item, row, count).astype(np.float64) for row in table])


def _read(fill: Doubles, stock: Doubles, rates: Doubles) -> Doubles:
    """The stock at each fill rate, NaN beyond the curve's ends."""
    order = np.lexsort((stock, fill))
    return np.interp(rates, fill[order], stock[order], left=np.nan, right=np.nan)
