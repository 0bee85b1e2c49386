"""Stock needs of each pair of item and location: stock, expected sales and units needed for the service level."""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from udfs.demand.block import WEEK
from udfs.demand.counts import quantile
from udfs.demand.dispersion import Spread

Doubles = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class Pairs(NamedTuple):
    """Arrays with one entry a pair, by (item_id, location_id).

    item, place: codes from 0 in the order of the ids; on_hand, on_order: units, fractional for weighed items;
    needed_lead, needed: integer units, the service level's quantile of the demand over the lead time, and over the lead
    time and the review; known: the pair has a forecast; expected_lead, expected: mean units over the same days;
    dispersion_lead, dispersion: variance / mean of these demands.
    """

    item: Longs
    place: Longs
    on_hand: Doubles
    on_order: Doubles
    lead_days: Longs
    known: Mask
    expected_lead: Doubles
    expected: Doubles
    dispersion_lead: Doubles
    dispersion: Doubles
    needed_lead: Longs
    needed: Longs

    @property
    def position(self) -> Doubles:
        """On hand and on order: the stock available before an order of this run could arrive."""
        return self.on_hand + self.on_order


class DayShares:
    """Sums of a demand profile (category, target_date, share) over runs of days, counted from run_date (0) on."""

    def __init__(self, profile: pd.DataFrame, run_date: dt.date) -> None:
        day = _days_after(profile["target_date"], run_date)
        code, self._categories = pd.factorize(_named(profile["category"]), sort=True)
        self._first = int(day.min()) if len(day) else 1
        width = int(day.max()) - self._first + 1 if len(day) else 0
        shares = np.full((len(self._categories), width), np.nan)
        shares[code, day - self._first] = profile["share"].to_numpy(np.float64)
        self._sums = np.concatenate([np.zeros((len(shares), 1)), np.cumsum(shares, axis=1)], axis=1)

    def codes(self, category: pd.Series) -> Longs:
        """The row of each category; -1 where the profile does not have it."""
        codes: Longs = pd.Index(self._categories).get_indexer(pd.Index(_named(category))).astype(np.int64)
        return codes

    def sum(self, code: Longs, after: Longs, until: Longs) -> Doubles:
        """The shares of the days after `after` up to `until`, of each category; NaN outside the profile."""
        width = self._sums.shape[1]
        start, end = after + 1 - self._first, until + 1 - self._first
        inside = (code >= 0) & (start >= 0) & (end < width)
        sums: Doubles = np.full(len(code), np.nan)
        sums[inside] = np.maximum(self._sums[code[inside], end[inside]] - self._sums[code[inside], start[inside]], 0)
        return sums


def needs(
    stock: pd.DataFrame,
    forecast: pd.DataFrame,
    profile: pd.DataFrame,
    run_date: dt.date,
    service_level: float,
    review_days: int,
) -> Pairs:
    """The needs of the pairs of a snapshot in the order of (item_id, location_id): see `udfs.inventory.plan.plan`.

    ValueError where the profile lacks a day of a week of the forecast.
    """
    item, items = pd.factorize(stock["item_id"], sort=True)
    place, places = pd.factorize(stock["location_id"], sort=True)
    lead_days = whole(stock["lead_time_days"], np.ceil)

    code = item.astype(np.int64) * len(places) + place
    row, ours = _rows_of(forecast, code, items, places)
    start = _days_after(forecast["target_week"], run_date)
    ours &= start + WEEK > 1
    row, before, end = row[ours], np.maximum(start[ours] - 1, 0), start[ours] + WEEK - 1
    mean, *numbers = (_column(forecast, name)[ours] for name in ("expected_units", "dispersion", "overdispersion"))
    shares = DayShares(profile, run_date)
    category = shares.codes(forecast["category"][ours])
    ahead = mean * shares.sum(category, before, end)
    if np.isnan(ahead).any():
        lacking = forecast[ours][np.isnan(ahead)].iloc[0]
        raise ValueError(
            f"the profile lacks days of category {lacking.category!r} in the week of {lacking.target_week}"
        )

    count = len(stock)
    days_known = _sum(row, (end - before).astype(np.float64), count)
    total = _sum(row, ahead, count)
    spread = Spread(*(_mean(row, part, ahead, total) for part in numbers))
    last = np.zeros(count, np.int64)
    np.maximum.at(last, row, end)

    def expected(until: Longs) -> Doubles:
        beyond: Doubles = np.maximum(until - last, 0) * total / np.maximum(days_known, 1)
        return _sum(row, mean * shares.sum(category, before, np.clip(until[row], before, end)), count) + beyond

    known = days_known > 0
    in_lead, in_cover = expected(lead_days), expected(lead_days + review_days)
    of_lead, of_cover = np.maximum(spread.of(in_lead), 1), np.maximum(spread.of(in_cover), 1)
    return Pairs(
        item.astype(np.int64),
        place.astype(np.int64),
        _units(stock["on_hand"]),
        _units(stock["on_order"]),
        lead_days,
        known,
        in_lead,
        in_cover,
        of_lead,
        of_cover,
        quantile(in_lead, of_lead, service_level),
        quantile(in_cover, of_cover, service_level),
    )


def _rows_of(forecast: pd.DataFrame, code: Longs, items: pd.Index, places: pd.Index) -> tuple[Longs, Mask]:
    """For each row of a forecast the row of its pair in the snapshot, and whether the pair has one.

    The snapshot is in the order of `code`, an item's place x places + a location's: the lookup is by bisection.
    """
    item, place = (
        pd.Index(known).get_indexer(pd.Index(forecast[name])).astype(np.int64)
        for known, name in ((items, "item_id"), (places, "location_id"))
    )
    wanted = item * len(places) + place
    row = np.searchsorted(code, wanted)
    ours = (item >= 0) & (place >= 0)
    ours[ours] &= code[np.minimum(row[ours], len(code) - 1)] == wanted[ours]
    return row, ours


def _days_after(dates: pd.Series, run_date: dt.date) -> Longs:
    """Days from run_date to each date."""
    return (dates.to_numpy().astype("datetime64[D]") - np.datetime64(run_date, "D")).astype(np.int64)


def _named(category: pd.Series) -> pd.Series:
    """Categories as texts, "" for none."""
    named: pd.Series = category.astype(object).where(category.notna(), "")
    return named


def _sum(row: Longs, values: Doubles, count: int) -> Doubles:
    """[count]: the sum of the values of each row."""
    total: Doubles = np.bincount(row, weights=values, minlength=count).astype(np.float64)
    return total


def _column(forecast: pd.DataFrame, name: str) -> Doubles:
    """Numbers, at least 0; 0 for a missing value."""
    column: Doubles = np.maximum(np.nan_to_num(forecast[name].to_numpy(np.float64, na_value=np.nan)), 0)
    return column


def _mean(row: Longs, values: Doubles, weight: Doubles, total: Doubles) -> Doubles:
    """The weighted mean of the values of each row; 0 where the weights add up to nothing."""
    sums = _sum(row, values * weight, len(total))
    return np.divide(sums, total, out=np.zeros(len(total)), where=total > 0)


def _units(column: pd.Series) -> Doubles:
    """Units with three decimals, at least 0; 0 for a missing value."""
    units: Doubles = np.maximum(np.nan_to_num(column.to_numpy(np.float64, na_value=np.nan)), 0).round(3)
    return units


def whole(column: pd.Series, rounded: np.ufunc) -> Longs:
    """Integers, at least 0; 0 for a missing value."""
    numbers: Longs = rounded(np.maximum(np.nan_to_num(column.to_numpy(np.float64, na_value=np.nan)), 0)).astype(
        np.int64
    )
    return numbers
