"""Ratings of the items of one category: stars drawn to the category's mean, intervals, changes and why, in words."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

Doubles = npt.NDArray[np.float64]

LATELY_DAYS = 90
FEWEST_EACH = 5  # reviews lately, and before, of what may have changed
OVERALL = "overall"
PRIOR: Final = (2.0, 100.0)  # bounds of the reviews that the category's mean is worth
LEAST_VARIANCE = 0.01  # of the sentiment of a review
SHRINK = 5.0  # reviews that the variance of all is worth in an item's own


def rated(rows: pd.DataFrame, category: str) -> pd.DataFrame:
    """The rows of one category, one per item and aspect, with RATED.

    rows: item_id, aspect, reviews, mentions, copies, negatives, and sums over reviews: starred, stars, stars_squares;
    read, sentiments, sentiment_squares, and of the last LATELY_DAYS recent, recent_sentiments.
    """
    out = rows.sort_values(["aspect", "item_id"], ignore_index=True)
    parts = [_of_aspect(part.reset_index(drop=True), category) for _, part in out.groupby("aspect", sort=True)]
    done = pd.concat(parts, ignore_index=True) if parts else out.assign(**dict.fromkeys(RATED))
    done["change_q"] = _discovery_rates(done.pop("_p").to_numpy(np.float64)) if parts else None
    return done


RATED: Final = (
    *("stars_mean", "stars_adjusted", "sentiment", "low", "high", "negative_share"),
    *("change_90d", "change_q", "reason"),
)


def _of_aspect(rows: pd.DataFrame, category: str) -> pd.DataFrame:
    with np.errstate(divide="ignore", invalid="ignore"):
        count, mean, variance = _moments(rows, "starred", "stars", "stars_squares")
        rows["stars_mean"] = mean
        rows["stars_adjusted"] = drawn_to_mean(count, mean, variance)
        read, sentiment, spread = _moments(rows, "read", "sentiments", "sentiment_squares")
        shared = _pooled(read, spread, LEAST_VARIANCE)
        own = (np.nan_to_num(spread) * read + shared * SHRINK) / (read + SHRINK)
        half = 1.96 * np.sqrt(np.maximum(own, LEAST_VARIANCE) / read)
        rows["sentiment"] = sentiment
        rows["low"], rows["high"] = np.maximum(sentiment - half, -1), np.minimum(sentiment + half, 1)
        whole = (
            rows["reviews"].to_numpy(float) if rows["aspect"].iloc[0] == OVERALL else rows["mentions"].to_numpy(float)
        )
        rows["negative_share"] = np.clip(rows["negatives"].to_numpy(float) / whole, 0, 1)
        rows["change_90d"], rows["_p"] = _change(rows, np.maximum(own, LEAST_VARIANCE))
    rows["reason"] = _reasons(rows, category)
    return rows


def _moments(rows: pd.DataFrame, count: str, total: str, squares: str) -> tuple[Doubles, Doubles, Doubles]:
    """Count, mean and variance of each row; NaN without any."""
    n, s, q = (rows[name].to_numpy(np.float64) for name in (count, total, squares))
    mean = np.where(n > 0, s / n, np.nan)
    return n, mean, np.where(n > 1, np.maximum(q - n * mean**2, 0) / (n - 1), np.nan)


def _pooled(count: Doubles, variance: Doubles, least: float) -> float:
    """The variance within items, over all items."""
    weight = np.where(np.isfinite(variance), count - 1, 0)
    if weight.sum() <= 0:
        return max(least, 1.0)
    return max(least, float((np.nan_to_num(variance) * weight).sum() / weight.sum()))


def drawn_to_mean(count: Doubles, mean: Doubles, variance: Doubles) -> Doubles:
    """Means drawn to that of all reviews by empirical Bayes: the fewer reviews, and the more alike items, the more."""
    if not (count > 0).any():
        return np.full(len(count), np.nan)
    total = float(np.nansum(count * np.nan_to_num(mean)) / count.sum())
    within = _pooled(count, variance, 1e-6)
    known = count > 0
    between = float((count[known] * (mean[known] - total) ** 2).sum() - within * known.sum())
    between /= max(float(count.sum() - (count**2).sum() / count.sum()), 1e-9)
    prior = float(np.clip(within / max(between, 1e-9), *PRIOR))
    return np.where(known, (count * np.nan_to_num(mean) + prior * total) / (count + prior), np.nan)


def _change(rows: pd.DataFrame, variance: Doubles) -> tuple[Doubles, Doubles]:
    """Mean sentiment of late less that before, and the two-sided p of no change; NaN where reviews are too few."""
    recent, s = rows["recent"].to_numpy(float), rows["recent_sentiments"].to_numpy(float)
    before, t = rows["read"].to_numpy(float) - recent, rows["sentiments"].to_numpy(float) - s
    enough = (recent >= FEWEST_EACH) & (before >= FEWEST_EACH)
    change = np.where(enough, s / recent - t / before, np.nan)
    deviations = np.abs(change) / np.sqrt(variance * (1 / recent + 1 / before))
    return change, np.where(enough, 2 * stats.norm.sf(deviations), np.nan)


def _discovery_rates(p: Doubles) -> Doubles:
    """q-values of those that may have changed (Benjamini and Hochberg 1995); NaN for the others."""
    q = np.full(len(p), np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    raw = p[order] * len(order) / np.arange(1, len(order) + 1)
    q[order] = np.minimum(np.minimum.accumulate(raw[::-1])[::-1], 1)
    return q


def _reasons(rows: pd.DataFrame, category: str) -> list[str]:
    """Of an aspect "size: 41 of 63 clauses are negative; 18 % in Dresses"; of an item its stars."""
    sums = rows[["negatives", "mentions", "reviews", "starred", "stars"]].sum()
    of_all = 100 * sums["negatives"] / max(sums["mentions"], 1)
    typical = sums["stars"] / sums["starred"] if sums["starred"] else float("nan")
    found = []
    for row in rows.to_dict("records"):
        negatives, stars, starred = (float(row[name]) for name in ("negatives", "stars", "starred"))
        if row["aspect"] != OVERALL:
            counted = f"{negatives:.0f} of {row['mentions']} clauses are negative"
            found.append(f"{row['aspect']}: {counted}; {of_all:.0f} % in {category}")
            continue
        counted = f"{negatives:.0f} of {row['reviews']} reviews are negative"
        if starred:
            given = f"{stars / starred:.2f} stars of {starred:.0f} reviews ({typical:.2f} in {category})"
            found.append(f"{given}, {counted}")
        else:
            found.append(f"{counted}, by their texts")
    return found
