"""Backtest of demand forecasts: one figure per contender, level, metric and cut (a past day), and over all cuts.

On each cut every contender learns from what was known then; the 4 weeks after it are the truth. Levels: PAIR, weekly
units of each pair sold in the 26 weeks before the cut (gold.demand_forecast); ITEM, of each item with such a pair, in
all locations, also those where it was not sold lately (gold.item_demand); ITEM_LISTED, of the item's listed pairs
alone: the sum of gold.demand_forecast, its pairs taken as independent. New items, whose first sale is at most 4 weeks
old, are also reported separately. Of our forecasts also whether sums over 7, 14, 21 and 28 days have the spread that
the tables give them, by level and by band of their mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from udfs.days import NEVER
from udfs.demand.block import LEVELS, WEEK, WEEKS_AHEAD, Block, Codes, Doubles, Mask, Shop, added, in_sample
from udfs.demand.counts import quantiles
from udfs.demand.day_shares import Holiday
from udfs.demand.dispersion import Spread
from udfs.demand.forecast import fit, forecast, forecast_items, sample_share, training_rows
from udfs.demand.metrics import Judged, coverage, errors, figures
from udfs.demand.model import Settings
from udfs.demand.peers import PEERS, PeerForecast
from udfs.evaluation.metrics import KEPT_VALUES, Bootstrap, Interval
from udfs.horizon import HORIZON_DAYS

PAIR, ITEM, ITEM_LISTED = "pair_week", "item_week", "item_week_listed"
NEW = "_new"  # behind a level: its items first sold in the 28 days before the cut
OURS: Final = "nightshelf"
SLOW: Final = ("auto_ets",)  # milliseconds a series: run on a sample of the series, on which ours is measured too
ALL_CUTS: Final = 0
HISTORY_WEEKS: Final = 52
LEAST_WEEKS: Final = 7  # before a cut: AutoETS takes no shorter series
SERIES_BLOCK: Final = 50_000
DRAWS: Final = 1_000

ErrorSums = dict[str, tuple[Doubles, Doubles]]
Peers = Mapping[str, Callable[[Doubles], PeerForecast]]


class Row(NamedTuple):
    """A figure with the ends of its 95 % interval; cut is a day, or ALL_CUTS; item_count: items behind the figure.

    Metrics are those of `metrics.errors` and, of ours, `metrics.coverage`; a level with a band, such as "pair_week,
    mean 0.1 to 1", has the latter of the sums whose mean is in it.

    A peer's gain_wape, gain_wape_mean and gain_pinball are the share by which ours is below the peer, by its published
    point, by its expected units, and in pinball loss. A contender's name followed by a peer's in brackets is that
    contender on the sample of series that the peer was run on.
    """

    contender: str
    level: str
    metric: str
    cut: int
    value: float
    low: float
    high: float
    item_count: int


@dataclass(frozen=True)
class Backtest:
    """Rows of the backtest, and for plots per level [cuts, 4] the units and expected units of all series."""

    rows: list[Row]
    outside: list[float]  # a cut's share of units sold by pairs that are not forecast
    units: dict[str, Doubles]
    expected: dict[str, Doubles]


class _Series(NamedTuple):
    """Series of one level on one cut: their units, earlier units, and our forecast."""

    level: str
    item: Codes  # of each series
    names: list[str]  # hashed to draw a sample
    history: Doubles
    units: Doubles
    expected: Doubles
    spread: Spread


def backtest(
    block: Block,
    shop: Shop,
    cuts: Sequence[int],
    *,
    settings: Settings | None = None,
    holidays: Sequence[Holiday] = (),
    peers: Peers = PEERS,
    slow_series: int = 4_000,
    draws: int = DRAWS,
) -> Backtest:
    """Rows of every contender, level and metric, per cut and for all cuts together.

    block: all items, or a sample of items, complete, where they are too many for one process; its sales go 28 days past
    the last cut. Peers named in SLOW are run on about `slow_series` series of a level, drawn by a hash. A cut with less
    than LEAST_WEEKS of sales before it, or with no pair to forecast, is left out; without any cut there are no rows.
    """
    cuts = [cut for cut in cuts if cut - shop.as_of(cut).first_day >= LEAST_WEEKS * WEEK - 1 and len(block.listed(cut))]
    error_sums: dict[tuple[str, str, int], ErrorSums] = {}
    new: dict[int, Mask] = {}
    outside: list[float] = []
    units: dict[str, list[Doubles]] = {}
    expected: dict[str, list[Doubles]] = {}
    for cut in cuts:
        series, share = _series(block, shop, cut, settings, holidays)
        outside.append(share)
        first = np.full(len(block.items), np.iinfo(np.int64).max)
        np.minimum.at(first, block.pair_item[block.pair], block.day)
        new[cut] = (first > cut - HORIZON_DAYS) & (first <= cut)
        for part in series:
            units.setdefault(part.level, []).append(part.units.sum(axis=0))
            expected.setdefault(part.level, []).append(part.expected.sum(axis=0))
            for contender, errors_of in _judge(part, len(block.items), peers, slow_series).items():
                error_sums[contender, part.level, cut] = errors_of
            for band, shares in coverage(part.units, part.expected, part.spread, part.item, len(block.items)).items():
                level = part.level + band
                error_sums[OURS, level, cut] = error_sums.get((OURS, level, cut), {}) | shares
    resamples = Bootstrap(len(block.items), draws=max(min(draws, KEPT_VALUES // max(len(block.items), 1)), 100))
    rows = []
    for contender, level in dict.fromkeys((contender, level) for contender, level, _ in error_sums):
        everything = _added([error_sums[contender, level, cut] for cut in cuts])
        for cut in (*cuts, ALL_CUTS):
            of_cut = everything if cut == ALL_CUTS else error_sums[contender, level, cut]
            ours = _ours(error_sums, contender, level, cuts if cut == ALL_CUTS else (cut,))
            of_cut_rows = _rows(contender, level, cut, of_cut, ours, resamples)
            rows += [row for row in of_cut_rows if level in units or row.item_count]  # a band may be empty
        if level in units:
            fresh = _added([_only(error_sums[contender, level, cut], new[cut]) for cut in cuts])
            rows += _rows(contender, level + NEW, ALL_CUTS, fresh, None, resamples)
    stacked = [{level: np.stack(parts) for level, parts in by_level.items()} for by_level in (units, expected)]
    return Backtest(rows, outside, stacked[0], stacked[1])


def weekly(block: Block, cut: int, weeks: int, series: Codes, count: int) -> Doubles:
    """[count, weeks] units of each series (a pair's, -1 for none) in the weeks up to cut, oldest first.

    block: `as_of` the cut for what was known then, or of today for the sales as they are now known.
    """
    chosen = block.window(cut - weeks * WEEK, cut)
    chosen &= series[block.pair] >= 0
    week = weeks - 1 - (cut - block.day[chosen]) // WEEK
    return added(series[block.pair[chosen]] * weeks + week, count * weeks, block.units[chosen]).reshape(count, weeks)


def _series(
    block: Block, shop: Shop, cut: int, settings: Settings | None, holidays: Sequence[Holiday]
) -> tuple[list[_Series], float]:
    """The series of each level, and the share of units sold outside the listed pairs."""
    listed, seen, current = block.listed(cut), block.as_of(cut), block.as_of(NEVER - 1)
    first_day = shop.as_of(cut).first_day
    rows = training_rows(block, shop, cut, sample_share(len(listed), settings), settings)
    model = fit(rows, cut, settings)
    pair_forecast = forecast(block, shop, model, cut, holidays)
    of_pairs = pair_forecast.expected
    items, of_items, item_spread = forecast_items(block, shop, model, cut, holidays)
    item = np.searchsorted(items, block.pair_item[listed])
    names = [str(item_id) for item_id in block.items[items]]
    pair_names = [f"{pair[0]}|{pair[1]}" for pair in zip(pair_forecast.item_id, pair_forecast.location_id, strict=True)]

    def series(level: str, key: Codes, of: Codes, names: list[str], expected: Doubles, spread: Spread) -> _Series:
        """One level. key: the series of each pair of the block, or -1; of: the item of each series."""
        weeks = min(HISTORY_WEEKS, (cut - first_day + 1) // WEEK)
        before = weekly(seen, cut, weeks, key, len(of))
        after = weekly(current, cut + HORIZON_DAYS, WEEKS_AHEAD, key, len(of))
        return _Series(level, of, names, before, after, expected, spread)

    of_pair, of_listed, of_any = (np.full(len(block.pair_item), -1) for _ in range(3))
    of_pair[listed], of_listed[listed] = np.arange(len(listed)), item
    place = np.searchsorted(items, block.pair_item)
    known = items[np.minimum(place, len(items) - 1)] == block.pair_item
    of_any[known] = place[known]
    summed = np.stack([added(item, len(items), week) for week in of_pairs.T], axis=1)
    own, spread = of_pairs[:, 0], pair_forecast.spread
    mean = np.maximum(added(item, len(items), own), 1e-12)
    of_sum = Spread(
        np.maximum(added(item, len(items), own * spread.dispersion) / mean, 1),
        added(item, len(items), own**2 * spread.overdispersion) / mean**2,
    )
    levels = [
        series(PAIR, of_pair, block.pair_item[listed], pair_names, of_pairs, spread),
        series(ITEM, of_any, items, names, of_items, item_spread),
        series(ITEM_LISTED, of_listed, items, names, summed, of_sum),
    ]
    sold = block.weeks_ahead(cut).sum()
    return levels, 1 - float(levels[0].units.sum() / max(sold, 1e-9))


def _judge(part: _Series, items: int, peers: Peers, slow_series: int) -> dict[str, ErrorSums]:
    """Errors of every contender on the series; on a sample for slow peers, with ours on the same sample."""
    dispersion = part.spread.of(part.expected)
    low, middle, high = quantiles(part.expected, dispersion, LEVELS)
    ours = Judged(middle, low, middle, high, part.expected, dispersion)
    error_sums = {OURS: errors(part.units, ours, part.item, items)}
    for name, peer in peers.items():
        rows = np.arange(len(part.item))
        if name in SLOW:
            drawn = np.flatnonzero([in_sample(series, slow_series / len(rows)) for series in part.names])
            rows = drawn if len(drawn) else rows[:1]
            error_sums[f"{OURS} ({name})"] = errors(part.units[rows], ours.rows(rows), part.item[rows], items)
        blocks = [peer(part.history[rows[at : at + SERIES_BLOCK]]) for at in range(0, len(rows), SERIES_BLOCK)]
        columns = [np.concatenate(column) for column in zip(*(block.columns() for block in blocks), strict=True)]
        error_sums[name] = errors(part.units[rows], Judged(*columns), part.item[rows], items)
    return error_sums


def _ours(
    by_cut: Mapping[tuple[str, str, int], ErrorSums], peer: str, level: str, cuts: Sequence[int]
) -> ErrorSums | None:
    """Our errors on the series that the peer was run on, all cuts added; None where the contender is ours."""
    if peer.startswith(OURS):
        return None
    beside = f"{OURS} ({peer})" if peer in SLOW else OURS
    return _added([by_cut[beside, level, cut] for cut in cuts])


def _rows(contender: str, level: str, cut: int, sums: ErrorSums, ours: ErrorSums | None, draws: Bootstrap) -> list[Row]:
    figures_by_metric = figures(sums, draws)
    if ours is not None:
        for metric in ("wape", "wape_mean", "pinball"):
            theirs = sums["pinball" if metric == "pinball" else "wape"][0]
            worse = draws.relative(ours[metric][0], theirs)
            figures_by_metric[f"gain_{metric}"] = Interval(-worse.value, -worse.high, -worse.low, worse.user_count)
    return [Row(contender, level, metric, cut, *_numbers(figure)) for metric, figure in figures_by_metric.items()]


def _numbers(figure: Interval) -> tuple[float, float, float, int]:
    return figure.value, figure.low, figure.high, figure.user_count


def _added(parts: Sequence[ErrorSums]) -> ErrorSums:
    return {
        metric: (
            sum((part[metric][0] for part in parts), np.zeros(1)),
            sum((part[metric][1] for part in parts), np.zeros(1)),
        )
        for metric in parts[0]
    }


def _only(sums: ErrorSums, items: Mask) -> ErrorSums:
    return {metric: (np.where(items, top, 0), np.where(items, bottom, 0)) for metric, (top, bottom) in sums.items()}
