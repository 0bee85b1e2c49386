"""Rows of one kind's trends, from counts by key and day."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from udfs.search.trends import FEWEST_DAYS, PAST_DAYS, WINDOWS, trends

SPAN_DAYS = PAST_DAYS + max(WINDOWS)  # days of counts that are read
COLUMNS = ("key", "window_days", "direction", "count", "expected", "ratio", "low", "high", "q_value", "expected_next_7")


def trend_rows(counts: pd.DataFrame, sessions: pd.DataFrame, last_day: int) -> pd.DataFrame:
    """COLUMNS of the keys that rise or fall on `last_day`, by key; none in a shop with fewer than 28 days of past.

    counts: key, day, count; sessions: day, sessions; days since 1970-01-01, one row each, none after `last_day`.
    """
    first = max(int(sessions["day"].min()), last_day - SPAN_DAYS + 1) if len(sessions) else last_day
    days = last_day - first + 1
    if days < FEWEST_DAYS + WINDOWS[0]:
        return pd.DataFrame({name: [] for name in COLUMNS})
    lately = counts[counts["day"] >= first]
    code, keys = pd.factorize(lately["key"], sort=True)
    cells = (lately["count"].to_numpy(float), (code, lately["day"].to_numpy() - first))
    matrix = sp.csr_matrix(cells, (len(keys), days))
    by_day = np.zeros(days)
    known = sessions[sessions["day"] >= first]
    by_day[known["day"].to_numpy() - first] = known["sessions"].to_numpy(float)
    if not by_day[-WINDOWS[0] :].sum():
        return pd.DataFrame({name: [] for name in COLUMNS})
    found = trends(matrix, by_day)
    chosen = np.flatnonzero(found.rises | found.falls)
    return pd.DataFrame(
        {
            "key": np.asarray(keys, object)[chosen],
            "window_days": WINDOWS[0],
            "direction": np.where(found.rises[chosen], "rising", "falling"),
            "count": found.count[chosen].astype(np.int64),
            "expected": found.expected[chosen].round(4),
            "ratio": found.ratio[chosen].round(4),
            "low": found.low[chosen].round(4),
            "high": found.high[chosen].round(4),
            "q_value": found.q[chosen],
            "expected_next_7": found.next_week[chosen].round(4),
        }
    )
