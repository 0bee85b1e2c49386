"""Features of a user and an item for the search ranker: what the user bought of it, and what else suits the user."""

from __future__ import annotations

import datetime as dt

import numpy as np
import numpy.typing as npt
import pandas as pd

from udfs.interactions import Floats
from udfs.search.ranker import USER_ITEM

RECENT_DAYS = 30.0  # after which a purchase counts half in own_recent
LEAST_SCORE = 1e-6


def user_features(candidates: pd.DataFrame, run_date: dt.date) -> Floats:
    """[rows, USER_ITEM] of rows with the columns score, times_bought, last_bought_on and usual_gap of candidates.

    own_score, new_score: log odds of the probability that the user buys it, where the user bought it and where not;
    own_times: log of the days on which it was bought; own_recent: decayed by the days since; own_due: days since over
    the usual gap. NaN where the user never bought it.
    """
    score = candidates["score"].to_numpy(float).clip(LEAST_SCORE, 1 - LEAST_SCORE)
    odds = np.log(score / (1 - score)) - np.log(LEAST_SCORE)  # above 0: the more, the likelier
    times = candidates["times_bought"].fillna(0).to_numpy(float)
    since = (pd.Timestamp(run_date) - pd.to_datetime(candidates["last_bought_on"])).dt.days
    gap = candidates["usual_gap"].to_numpy(float)
    return assembled(times, np.asarray(since, float), gap, odds)


def assembled(
    times: npt.NDArray[np.float64],
    since: npt.NDArray[np.float64],
    gap: npt.NDArray[np.float64],
    suits: npt.NDArray[np.float64],
) -> Floats:
    """[rows, USER_ITEM] from days bought, days since the last one, usual gap in days, and how well it suits."""
    own = times > 0
    columns = {
        "own_score": np.where(own, suits, np.nan),
        "own_times": np.where(own, np.log1p(times), np.nan),
        "own_recent": np.where(own, 0.5 ** (np.maximum(since, 0) / RECENT_DAYS), np.nan),
        "own_due": np.where(own, np.minimum(since / np.maximum(gap, 1), 5), np.nan),
        "new_score": np.where(own, np.nan, suits),
    }
    return np.column_stack([columns[name] for name in USER_ITEM]).astype(np.float32)
