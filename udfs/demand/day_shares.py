"""A day's share of its week's expected units: by its weekday, and by a holiday on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from udfs.demand.block import HISTORY_DAYS, WEEK, WEEKS_AHEAD, Daily, Doubles, Ids, Shop, places

PROFILE_DAYS: Final = 182
PROFILE_PRIOR: Final = 2_000.0  # units: a category's own profile has half the weight where it sold so many
AROUND_WEEKS: Final = 4  # a holiday is compared with the same weekday of so many weeks before and after
MOST_FACTOR: Final = 5.0


class Holiday(NamedTuple):
    """A day that differs from its weekday; holidays of one name are alike from year to year. Closed: no sales."""

    day: int
    name: str
    closed: bool = False


@dataclass(frozen=True)
class Profile:
    """Shares of the days after run_day, per category: [categories + 1, 28], the last row for any other category.

    The shares of a week add up to 1; they are all 0 in a week that is closed throughout. categories ascend; "" is the
    category of items without one. holidays: [28] names, None for none.
    """

    run_day: int
    categories: Ids
    shares: Doubles
    holidays: Ids

    def days(self, expected: Doubles, category: Ids) -> Doubles:
        """[series, 28]: the daily means of series with these means [series, 4] of their weeks and these categories."""
        daily: Doubles = np.repeat(expected, WEEK, axis=1) * self.shares[places(self.categories, category)]
        return daily

    def to_frame(self) -> pd.DataFrame:
        """One row a category and day: category (None for items without one), target_day, share, holiday."""
        count, width = len(self.categories), self.shares.shape[1]
        named = np.array([name or None for name in self.categories], object)
        return pd.DataFrame(
            {
                "category": np.repeat(named, width),
                "target_day": np.tile(self.run_day + 1 + np.arange(width), count),
                "share": self.shares[:count].ravel(),
                "holiday": np.tile(self.holidays, count),
            }
        )


def profile(shop: Shop, run_day: int, holidays: Sequence[Holiday] = ()) -> Profile:
    """The shares of the 28 days after run_day, for every category that the shop has sold."""
    shop = shop.as_of(run_day)
    known = shop.categories.keys
    weights = day_weights(shop, np.append(known, np.array([None], object)), run_day, holidays)
    by_week = weights.reshape(len(weights), WEEKS_AHEAD, WEEK)
    total = by_week.sum(axis=2, keepdims=True)
    shares = np.divide(by_week, total, out=np.zeros_like(by_week), where=total > 0).reshape(weights.shape)
    ahead = range(run_day + 1, run_day + 1 + weights.shape[1])
    names = [", ".join(sorted(holiday.name for holiday in holidays if holiday.day == day)) or None for day in ahead]
    return Profile(run_day, known, shares, np.array(names, object))


def day_weights(shop: Shop, categories: Ids, run_day: int, holidays: Sequence[Holiday] = ()) -> Doubles:
    """[categories, 28]: weight of each day after run_day, relative to a seventh of the week's expectation; about 1.

    A category's weekday profile is shrunk to the shop's. A holiday multiplies its day by the mean ratio of past days of
    its name to ordinary days, and by 0 where it is closed, so its week differs from an ordinary one.
    """
    shop = shop.as_of(run_day)
    table = shop.categories
    days = np.arange(run_day - PROFILE_DAYS + 1, run_day + 1)
    special = {holiday.day for holiday in holidays}
    ordinary = np.array([day for day in days if day not in special and day >= shop.first_day], np.int64)
    units = _columns(table, ordinary)
    count = np.bincount(ordinary % WEEK, minlength=WEEK)
    per_day = np.zeros((len(table.keys), WEEK))
    for weekday in range(WEEK):
        per_day[:, weekday] = units[:, ordinary % WEEK == weekday].sum(axis=1) / max(count[weekday], 1)
    per_day[:, count == 0] = units.sum(axis=1, keepdims=True) / max(len(ordinary), 1)  # logs shorter than a week
    overall = _profile(per_day.sum(axis=0))
    sold = units.sum(axis=1, keepdims=True)
    own = np.stack([_profile(row) for row in per_day]) if len(per_day) else np.zeros((0, WEEK))
    profile = (sold * own + PROFILE_PRIOR * overall) / (sold + PROFILE_PRIOR)
    place = table.places(categories)
    chosen = np.vstack([profile, overall])[place]  # -1, unknown, is the last
    ahead = np.arange(run_day + 1, run_day + 1 + WEEKS_AHEAD * WEEK)
    weights: Doubles = chosen[:, ahead % WEEK] * _factors(table, ahead, run_day, holidays)
    return weights


def _factors(table: Daily, ahead: np.ndarray, run_day: int, holidays: Sequence[Holiday]) -> Doubles:
    """For each day ahead, the product of its holidays' factors from past years; 1 without a past."""
    factors = np.ones(len(ahead))
    special = {holiday.day for holiday in holidays}
    for coming in holidays:
        if coming.day not in ahead:
            continue
        ratios = []
        for past in holidays:
            known = table.first_day <= past.day <= run_day and past.day > run_day - 2 * HISTORY_DAYS - 2 * WEEK
            if past.name == coming.name and known:
                steps = [WEEK * step for step in range(-AROUND_WEEKS, AROUND_WEEKS + 1) if step]
                near = [past.day + step for step in steps if past.day + step not in special]
                near = [day for day in near if table.first_day <= day <= run_day]
                ordinary = _columns(table, np.array(near, np.int64)).sum(axis=0).mean() if near else 0.0
                if ordinary > 0:
                    ratios.append(_columns(table, np.array([past.day])).sum() / ordinary)
        factor = min(float(np.mean(ratios)), MOST_FACTOR) if ratios else 1.0
        factors[ahead == coming.day] *= 0.0 if coming.closed else factor
    return factors


def _columns(table: Daily, days: np.ndarray) -> Doubles:
    """[keys, days] units, 0 outside the table."""
    inside = (days >= table.first_day) & (days < table.first_day + table.values.shape[1])
    result = np.zeros((len(table.keys), len(days)))
    result[:, inside] = table.values[:, days[inside] - table.first_day]
    return result


def _profile(per_day: Doubles) -> Doubles:
    """[7] of mean 1; even where nothing was sold."""
    mean = per_day.mean()
    return per_day / mean if mean > 0 else np.ones(len(per_day))
