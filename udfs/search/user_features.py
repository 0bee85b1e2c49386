"""Features of a user and an item for the search ranker: what the user bought of it, and what else suits the user."""

from __future__ import annotations

import datetime as dt

import numpy as np
import numpy.typing as npt
import pandas as pd

from udfs.interactions import Floats
from udfs.search.ranker import USER_ITEM

RECENT_DAYS = 30.0  # after which a purchase counts half in own_recent
LAST_RANK = 500.0  # from which on an item suits no more than others

Doubles = npt.NDArray[np.float64]


def user_features(candidates: pd.DataFrame, run_date: dt.date) -> Floats:
    """[rows, USER_ITEM] of rows with user_id, score, times_bought, last_bought_on and usual_gap of features.candidates.

    All rows of a user belong here: what a user never bought counts by its place among such items.
    """
    times = candidates["times_bought"].fillna(0).to_numpy(float)
    since = np.asarray((pd.Timestamp(run_date) - pd.to_datetime(candidates["last_bought_on"])).dt.days, float)
    new = candidates["score"].where(times == 0)
    rank = new.groupby(candidates["user_id"], sort=False).rank(ascending=False, method="first")
    return assembled(times, since, candidates["usual_gap"].to_numpy(float), rank.to_numpy(float))


def assembled(times: Doubles, since: Doubles, gap: Doubles, rank: Doubles) -> Floats:
    """[rows, USER_ITEM]: own_times (log of the days on which it was bought), own_recent (1, halved every RECENT_DAYS),
    own_due (days since over the usual gap), suits (from 1 for the best new item down to 0).

    times: days bought; since: days since the last one; gap: usual days between two; rank: from 1, of new items that
    suit the user. NaN, or 0 in times: not known; the first three are NaN where the user never bought it, the last where
    the user did, or where it is not among those that suit.
    """
    own = times > 0
    columns = {
        "own_times": np.where(own, np.log1p(times), np.nan),
        "own_recent": np.where(own, 0.5 ** (np.maximum(since, 0) / RECENT_DAYS), np.nan),
        "own_due": np.where(own, np.minimum(since / np.maximum(gap, 1), 5), np.nan),
        "suits": np.where(own, np.nan, 1 - np.log(rank) / np.log(LAST_RANK)).clip(0),
    }
    return np.column_stack([columns[name] for name in USER_ITEM]).astype(np.float32)
