"""From the hazards of the next 13 weeks to probabilities and dates that agree with each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from udfs.users.history import Codes, Doubles

DAYS: Final = 91
SHOP_DAYS: Final = 5.0  # weight, in purchase days, of the shop's weekdays in a user's
INTERVAL: Final = (0.1, 0.9)
HALF: Final = 0.5


@dataclass(frozen=True)
class Ahead:
    """[users, DAYS] probability that the next purchase is on this day or before it."""

    by_day: Doubles

    def active(self, horizon: int) -> Doubles:
        """[users] probability of a purchase within `horizon` days, at most DAYS."""
        return np.asarray(self.by_day[:, horizon - 1], np.float64)

    def drawn_to(self, days: Sequence[int], log_odds: Doubles) -> Ahead:
        """The same, half-way in log odds to these of a purchase within `days`, [users, days], ascending.

        Between the days the gap is interpolated, so that all stays one distribution.
        """
        chance = np.clip(self.by_day, 1e-9, 1 - 1e-9)
        own = np.log(chance / (1 - chance))
        gap = (log_odds - own[:, np.asarray(days) - 1]) / 2
        every = np.arange(1, self.by_day.shape[1] + 1)
        weight = np.stack([np.interp(every, days, unit) for unit in np.eye(len(days))])
        return Ahead(np.maximum.accumulate(1 / (1 + np.exp(-(own + gap @ weight))), axis=1))

    def dates(self, horizon: int = DAYS) -> Codes:
        """[users, 3] days from the cut (the first is 1) of the next purchase, if there is one by `horizon`.

        INTERVAL's quantiles, and between them the middle of the fewest days that hold HALF of the probability: the day
        from which half of the next purchases are least far. The times to a purchase are skewed, and the median is not.
        """
        within = self.by_day[:, :horizon]
        share = within / np.maximum(within[:, -1:], 1e-12)
        low, high = (1 + (share < level - 1e-9).sum(axis=1).clip(max=horizon - 1) for level in INTERVAL)
        begun = np.column_stack([np.zeros(len(share)), share])
        shortest, middle = np.full(len(share), horizon + 1), low.copy()
        for day in range(horizon):  # the fewest days from this one on
            days = (share < begun[:, day : day + 1] + HALF - 1e-9).sum(axis=1) - day + 1
            better = (days < shortest) & (begun[:, day] + HALF <= 1 + 1e-9)
            shortest = np.where(better, days, shortest)
            middle = np.where(better, day + 1 + (days - 1) // 2, middle)
        return np.stack([low, np.clip(middle, low, high), high], axis=1)


def ahead(hazard: Doubles, weekday: Doubles) -> Ahead:
    """The distribution of the next purchase's day, from the hazards of weeks.

    hazard: [users, weeks] probability of a purchase in a week after none before; weekday: [users, 7] days by weekday.
    Within a week the next purchase falls on a day as the user's and the shop's weekdays have it.
    """
    survival = np.cumprod(1 - hazard, axis=1)
    begun = np.column_stack([np.ones(len(hazard)), survival[:, :-1]])
    shop = weekday.sum(axis=0) + 1
    share = weekday + SHOP_DAYS * shop / shop.sum()
    passed = np.cumsum(share / share.sum(axis=1, keepdims=True), axis=1)
    gone = 1 - begun[:, :, None] + (begun - survival)[:, :, None] * passed[:, None, :]
    return Ahead(gone.reshape(len(hazard), 7 * hazard.shape[1])[:, :DAYS])
