"""Search ranker: f(query, item) + g(user, item), so that a user's list is a join of two tables.

Trees that may split on features of one side alone (LightGBM's interaction constraints) are a sum of trees of each side.
g is 0 for a user and an item of whom nothing is known: what the trees give them is part of f.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import pandas as pd

from udfs import json_model
from udfs.interactions import Floats
from udfs.search.index import CORRECTED, DENSE_WEIGHT, EXACT, RELAXED

Doubles = npt.NDArray[np.float64]

QUERY_ITEM = ("lexical", "covered", "cosine", "complete", "popular", "lately", "share", "clicked", "bought")
USER_ITEM = ("own_times", "own_recent", "own_due", "suits")
# Signs: more of it never lowers the score.
RISING = ("lexical", "covered", "cosine", "complete", "popular", "lately", "share", "clicked", "bought", "suits")
CLICKS_PRIOR = 10.0  # clicks, or purchases, of the query on all its items, that an item's own are drawn to
CLIP = 5.0  # standard deviations: a linear score must not follow an outlier


@dataclass(frozen=True)
class SearchRanker:
    """A linear model of standardised features, and trees on top of it; "" for none.

    dense_weight: of the cosine beside the words, by which a query's candidates are chosen (`SearchIndex.match`).
    """

    query_names: tuple[str, ...]
    user_names: tuple[str, ...]
    mean: tuple[float, ...]  # of both sides' features, the query's first
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    trees: str = ""
    dense_weight: float = DENSE_WEIGHT

    def score(self, features: Floats, threads: int = 1) -> Doubles:
        """[rows]: f, the log odds of a query's item; features [rows, query_names], NaN where not known."""
        sides = len(self.query_names)
        linear = standardised(features, self.mean[:sides], self.scale[:sides]) @ np.asarray(self.weights[:sides])
        return np.asarray(linear + self._trees(features, None, threads), float)

    def boost(self, features: Floats, threads: int = 1) -> Doubles:
        """[rows]: g, what a user adds to an item's score; features [rows, user_names]; 0 where all are NaN."""
        sides = len(self.query_names)
        linear = standardised(features, self.mean[sides:], self.scale[sides:]) @ np.asarray(self.weights[sides:])
        nothing = np.full((1, len(self.user_names)), np.nan, np.float32)
        added = self._trees(None, features, threads) - self._trees(None, nothing, threads)
        return np.where(np.isnan(features).all(axis=1), 0.0, linear + added)

    def pair_score(self, query_item: Floats, user_item: Floats, threads: int = 1) -> Doubles:
        """[rows]: the model's score of a query, an item and a user: `score` + `boost`, computed in one go."""
        both = np.concatenate([query_item, user_item], axis=1)
        linear = standardised(both, self.mean, self.scale) @ np.asarray(self.weights)
        return np.asarray(linear + self._trees(query_item, user_item, threads), float)

    def to_json(self) -> str:
        """All of it as one JSON object."""
        return json.dumps(asdict(self))

    def _trees(self, query_item: Floats | None, user_item: Floats | None, threads: int) -> Doubles:
        """The trees' sum with the other side unknown where it is None."""
        known = query_item if query_item is not None else user_item
        rows = len(known) if known is not None else 0
        if not self.trees or not rows:
            return np.zeros(rows)
        sides = [
            np.full((rows, len(names)), np.nan, np.float32) if side is None else side
            for side, names in ((query_item, self.query_names), (user_item, self.user_names))
        ]
        booster = lgb.Booster(model_str=self.trees)
        return np.asarray(booster.predict(np.concatenate(sides, axis=1), raw_score=True, num_threads=threads), float)


def from_json(text: str) -> SearchRanker:
    """What `SearchRanker.to_json` wrote. Raises ValueError on anything else, and on a ranker of other features."""
    ranker = json_model.from_json(SearchRanker, text, "a search ranker", "train it again")
    if (ranker.query_names, ranker.user_names) != (QUERY_ITEM, USER_ITEM):
        raise ValueError(f"the search ranker has {[*ranker.query_names, *ranker.user_names]}: train it again")
    return ranker


def untrained(dense_weight: float = DENSE_WEIGHT) -> SearchRanker:
    """The ranker of a shop without purchases or clicks: the fused score, then what sells; a user's own items first.

    Its features are in the units that they have: mean 0, scale 1.
    """
    of_query = {"lexical": 1.0, "cosine": dense_weight, "complete": 0.5, "share": 0.1}
    of_user = {"own_times": 0.5, "own_recent": 1.0, "suits": 0.2}
    names = (*QUERY_ITEM, *USER_ITEM)
    weights = tuple((of_query | of_user).get(name, 0.0) for name in names)
    units = (0.0,) * len(names), (1.0,) * len(names)
    return SearchRanker(QUERY_ITEM, USER_ITEM, *units, weights, dense_weight=dense_weight)


def standardised(features: Floats, mean: tuple[float, ...], scale: tuple[float, ...]) -> Doubles:
    """[rows, F] in float64: features less their mean, in standard deviations; 0 where not given."""
    plain = (features.astype(np.float64) - np.asarray(mean)) / np.asarray(scale)
    return np.asarray(np.clip(np.nan_to_num(plain, nan=0.0), -CLIP, CLIP), float)


def query_features(matched: pd.DataFrame) -> Floats:
    """[rows, QUERY_ITEM] of `SearchIndex.match`'s rows, in their order; needs all rows of a query.

    Optional columns: lately (`past_lists.popularity`), examined (impressions, weighted by how surely they were looked
    at), clicks, purchases. lexical and share are relative to the query's best item and to its items' sales.
    """
    groups = matched.groupby("query", sort=False)
    best = groups["bm25"].transform("max").to_numpy(float)
    sold = matched["popularity"].to_numpy(float)
    most = groups["popularity"].transform("max").to_numpy(float)
    full = matched["match"].map({EXACT: 1.0, CORRECTED: 1.0, RELAXED: 0.5}).fillna(0.0).to_numpy(float)
    columns = {
        "lexical": np.divide(matched["bm25"].to_numpy(float), best, out=np.zeros(len(matched)), where=best > 0),
        "covered": matched["covered"].to_numpy(float),
        "cosine": matched["cosine"].to_numpy(float),
        "complete": full,
        "popular": np.log1p(sold),
        "lately": np.log1p(matched["lately"].to_numpy(float)) if "lately" in matched else np.full(len(matched), np.nan),
        "share": np.divide(sold, most, out=np.zeros(len(matched)), where=most > 0),
        "clicked": _rate(matched, groups, "clicks"),
        "bought": _rate(matched, groups, "purchases"),
    }
    return np.column_stack([columns[name] for name in QUERY_ITEM]).astype(np.float32)


def _rate(matched: pd.DataFrame, groups: pd.api.typing.DataFrameGroupBy[Any, Any], name: str) -> Doubles:
    """[rows]: log of an item's events per examination against its query's, drawn to it; NaN without a log."""
    if name not in matched or "examined" not in matched:
        return np.full(len(matched), np.nan)
    events, examined = (matched[column].fillna(0).to_numpy(float) for column in (name, "examined"))
    totals = [groups[column].transform("sum").to_numpy(float) for column in (name, "examined")]
    usual = np.divide(totals[0], totals[1], out=np.zeros(len(matched)), where=totals[1] > 0)
    prior = np.divide(CLICKS_PRIOR, usual, out=np.zeros(len(matched)), where=usual > 0)
    rate = np.divide(events + CLICKS_PRIOR, (examined + prior) * usual, out=np.ones(len(matched)), where=usual > 0)
    return np.where(usual > 0, np.log(rate), np.nan)
