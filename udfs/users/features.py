"""What is known of a user at a cut: how often, how lately, how regularly and for how much they buy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from udfs.users import btyd
from udfs.users.btyd import WEEK, Parameters
from udfs.users.history import Codes, Days, Doubles

WINDOWS: Final = (7, 14, 28, 56, 91, 182, 364)
HALF_LIVES: Final = (14, 45, 150)
FEATURES: Final = (
    *("days", "since_last", "age", "mean_gap", "gap_spread", "last_gap", "late", "two_gaps"),
    *(f"days_{window}" for window in WINDOWS),
    *(f"decayed_{half}" for half in HALF_LIVES),
    *("spend_day", "spend_last", "spend_28", "spend_91", "spend_most", "baskets_day", "weekday_share", "same_weekday"),
    *("p_alive", "rate_weeks", "share_of_history", "year_ago_28", "year_ago_91"),
)
YEAR: Final = 364  # 52 weeks: the same weekday


@dataclass(frozen=True)
class Seen:
    """Users with a purchase before the cut (codes), their features, and the counts that BTYD models read (weeks)."""

    cut: int
    user: Codes
    values: npt.NDArray[np.float32]  # [users, FEATURES]
    frequency: Doubles
    recency: Doubles
    age: Doubles
    weekday: Doubles  # [users, 7] purchase days by weekday, the cut's weekday first

    def column(self, name: str) -> Doubles:
        """One feature."""
        return self.values[:, FEATURES.index(name)].astype(np.float64)


def counts(days: Days, cut: int) -> tuple[Codes, Doubles, Doubles, Doubles]:
    """Users with a purchase day, and their frequency, recency and age in weeks."""
    user = np.flatnonzero(np.diff(days.start) > 0)
    first, last = days.day[days.start[user]], days.day[days.start[user + 1] - 1]
    frequency = (days.start[user + 1] - days.start[user] - 1).astype(np.float64)
    return user.astype(np.int64), frequency, (last - first) / WEEK, (cut - first) / WEEK


def features(days: Days, cut: int, shop_since: int, model: Parameters) -> Seen:
    """Features as of `cut` of every user with a purchase before it; shop_since: the first day with sales."""
    user, frequency, recency, age = counts(days, cut)
    first, last = days.day[days.start[user]], days.day[days.start[user + 1] - 1]
    bought, since = frequency + 1, (cut - last).astype(np.float64)
    ago = (cut - days.day).astype(np.float64)

    def summed(chosen: npt.NDArray[np.bool_], values: Doubles | None = None) -> Doubles:
        part = chosen.astype(np.float64) if values is None else chosen * values
        return days.per_user(part)[user]

    spend = days.per_user(days.spend)[user]
    gap = np.full(len(days.day), np.nan)
    gap[1:] = np.diff(days.day)
    gap[days.start[:-1][np.diff(days.start) > 0]] = np.nan
    mean_gap = np.where(frequency > 0, recency * WEEK / np.maximum(frequency, 1), np.nan)
    squares = days.per_user(np.nan_to_num(gap) ** 2)[user] / np.maximum(frequency, 1)
    spread = np.sqrt(np.maximum(squares - np.nan_to_num(mean_gap) ** 2, 0)) / np.maximum(mean_gap, 1)
    last_row = days.start[user + 1] - 1
    last_gap = gap[last_row]
    before_it = np.where(frequency > 1, gap[np.maximum(last_row - 1, 0)], np.nan)
    most = np.full(days.users, 0.0)
    np.maximum.at(most, days.user, days.spend)
    weekday = np.zeros((days.users, 7))
    np.add.at(weekday, (days.user, (days.day - cut) % 7), 1)
    weekday = weekday[user]
    rate = btyd.expected_purchases(frequency, recency, age, 4.0, model)
    columns = [
        *(np.log(bought), np.log(since), np.log((cut - first).astype(np.float64)), np.log1p(mean_gap), spread),
        *(
            np.log1p(last_gap),
            np.log(since) - np.log(np.maximum(mean_gap, 1)),
            np.log1p(last_gap) - np.log1p(before_it),
        ),
        *(np.log1p(summed(ago <= window)) for window in WINDOWS),
        *(np.log1p(days.per_user(0.5 ** (ago / half))[user]) for half in HALF_LIVES),
        *(np.log1p(spend / bought), np.log1p(days.spend[last_row])),
        *(np.log1p(summed(ago <= window, days.spend)) for window in (28, 91)),
        *(np.log1p(most[user]), np.log(days.per_user(days.baskets)[user] / bought)),
        *((weekday.max(axis=1) + 1) / (bought + 7), (weekday[:, 0] + 1) / (bought + 7)),
        *(btyd.p_alive(frequency, recency, age, model), np.log(rate + 1e-4)),
        (cut - first) / max(cut - shop_since, 1),
        *(_year_ago(days, user, cut, span, shop_since) for span in (28, 91)),
    ]
    return Seen(cut, user, np.column_stack(columns).astype(np.float32), frequency, recency, age, weekday)


def _year_ago(days: Days, user: Codes, cut: int, span: int, shop_since: int) -> Doubles:
    """[users] purchase days in the `span` days that followed the same weekday a year before; NaN before the shop."""
    if shop_since > cut - YEAR:
        return np.full(len(user), np.nan)
    inside = (days.day >= cut - YEAR) & (days.day < cut - YEAR + span)
    return np.log1p(days.per_user(inside.astype(np.float64))[user])
