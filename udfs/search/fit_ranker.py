"""Fit of the search ranker: a linear listwise model drawn to its start, then LambdaMART on top of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from udfs.interactions import Floats
from udfs.search.ranker import RISING, SearchRanker, standardised
from udfs.trees_text import trees_text

Doubles = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

FIXED: Final[dict[str, Any]] = {"deterministic": True, "force_row_wise": True, "verbosity": -1, "max_bin": 63}


@dataclass(frozen=True)
class Lists:
    """Lists of items shown or bought for a query, by one user or by many.

    list: number of each row's list, adjacent rows; query_item, user_item: features, NaN where not known; label: what an
    item is worth, 0 for nothing; position: 1 for the first one shown, None where nothing was shown.
    """

    list: Places
    query_item: Floats
    user_item: Floats
    label: Doubles
    position: Places | None = None


@dataclass(frozen=True)
class Settings:
    """How the ranker is fitted."""

    trees: int = 80
    learning_rate: float = 0.05
    leaves: int = 15
    truncation: int = 20  # LambdaMART looks at pairs with one of them in the first so many
    ridge: float = 1e-2  # draws the linear weights to their start; of the mean list
    steps: int = 100
    fewest_lists: int = 500  # with fewer, trees lose to the linear model
    threads: int = 1
    seed: int = 7


def fit(lists: Lists, start: SearchRanker, settings: Settings | None = None) -> SearchRanker:
    """Ranker of these lists; `start` gives the names, and the weights that too few lists do not change.

    Lists in which all labels are equal teach nothing and are left out.
    """
    settings = settings or Settings()
    lists = _useful(lists)
    if not len(lists.label):
        return start
    features = np.concatenate([lists.query_item, lists.user_item], axis=1)
    mean, scale = _moments(features, len(start.query_names))
    # The same linear model in these units.
    first = np.asarray(start.weights) * scale / np.asarray(start.scale)
    plain = standardised(features, tuple(mean), tuple(scale))
    weights = _linear(plain, lists, first, settings)
    fitted = replace(start, mean=tuple(mean), scale=tuple(scale), weights=tuple(map(float, weights)), trees="")
    sizes = np.unique(lists.list, return_counts=True)[1]
    if not settings.trees or len(sizes) < settings.fewest_lists:
        return fitted
    return replace(fitted, trees=_trees(features, plain @ weights, lists, sizes, start, settings))


def _useful(lists: Lists) -> Lists:
    """The lists with different labels, numbered anew."""
    _, number = np.unique(lists.list, return_inverse=True)
    most, least = np.full(number.max(initial=-1) + 1, -np.inf), np.full(number.max(initial=-1) + 1, np.inf)
    np.maximum.at(most, number, lists.label)
    np.minimum.at(least, number, lists.label)
    rows = np.flatnonzero((most > least)[number])
    rows = rows[np.argsort(number[rows], kind="stable")]
    _, number = np.unique(number[rows], return_inverse=True)
    position = None if lists.position is None else lists.position[rows]
    return Lists(number, lists.query_item[rows], lists.user_item[rows], lists.label[rows], position)


def _moments(features: Floats, of_query: int) -> tuple[list[float], list[float]]:
    """Mean and deviation of each feature where it is known; 0 for a user's: what is not known adds nothing."""
    known = features.astype(np.float64)
    count = np.maximum(np.isfinite(known).sum(axis=0), 1)
    mean = np.nansum(known, axis=0) / count
    mean[of_query:] = 0.0
    scale = np.sqrt(np.nansum((known - mean) ** 2, axis=0) / count)
    return mean.tolist(), np.where(scale > 1e-6, scale, 1.0).tolist()


def _linear(plain: Doubles, lists: Lists, first: Doubles, settings: Settings) -> Doubles:
    """Weights that make what is worth most likely in a softmax over the list; each list counts once.

    With clicks, the examination of the position is part of the softmax: a constant for each position (up to 20).
    """
    starts = np.flatnonzero(np.r_[True, np.diff(lists.list) != 0])
    worth = np.maximum(lists.label, 0)
    wanted = worth / np.add.reduceat(worth, starts)[lists.list]
    places = np.zeros((len(plain), 0))
    if lists.position is not None:
        places = (np.minimum(lists.position, 20)[:, None] == np.arange(2, 21)).astype(float)
    design = np.concatenate([plain, places], axis=1)
    target = np.concatenate([first, np.zeros(places.shape[1])])
    ridge = np.concatenate([np.full(len(first), settings.ridge), np.full(places.shape[1], 1e-4)])

    def loss(weights: Doubles) -> tuple[float, Doubles]:
        score = design @ weights
        score = score - np.maximum.reduceat(score, starts)[lists.list]
        power = np.exp(score)
        room = np.add.reduceat(power, starts)
        slope = design.T @ (power / room[lists.list] - wanted) / len(starts)
        value = (np.log(room).sum() - wanted @ score) / len(starts)
        away = weights - target
        return value + float(ridge @ away**2) / 2, slope + ridge * away

    optimum = minimize(loss, target, jac=True, method="L-BFGS-B", options={"maxiter": settings.steps})
    return np.asarray(optimum.x[: len(first)], float)


def _trees(
    features: Floats, score: Doubles, lists: Lists, sizes: Places, start: SearchRanker, settings: Settings
) -> str:
    """LightGBM's text of the trees that continue from a linear score; each tree is of one side's features alone."""
    names = [*start.query_names, *start.user_names]
    sides = len(start.query_names)
    params = FIXED | {
        "seed": settings.seed,
        "objective": "lambdarank",
        "lambdarank_truncation_level": settings.truncation,
        "learning_rate": settings.learning_rate,
        "num_leaves": settings.leaves,
        "min_data_in_leaf": min(200, max(len(features) // 100, 1)),
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "lambda_l2": 10.0,
        "monotone_constraints": [int(name in RISING) for name in names],
        "interaction_constraints": [list(range(sides)), list(range(sides, len(names)))],
        "num_threads": settings.threads,
    }
    grade = np.ceil(lists.label).clip(0, 30).astype(np.int32)
    data = lgb.Dataset(
        features,
        grade,
        group=sizes,
        init_score=score,
        position=None if lists.position is None else np.minimum(lists.position, 20),
        feature_name=names,
        params=params,
    )
    return trees_text(lgb.train(params, data, settings.trees))


def concatenated(parts: Sequence[Lists]) -> Lists:
    """The lists of several past days as one; all with positions, or none."""
    offsets = np.cumsum([0, *(int(part.list.max(initial=-1)) + 1 for part in parts[:-1])])
    positions = [part.position for part in parts]
    return Lists(
        np.concatenate([part.list + offset for part, offset in zip(parts, offsets, strict=True)]),
        np.concatenate([part.query_item for part in parts]),
        np.concatenate([part.user_item for part in parts]),
        np.concatenate([part.label for part in parts]),
        None if any(p is None for p in positions) else np.concatenate([p for p in positions if p is not None]),
    )
