"""Ranker: its score is the probability that the user buys the item within the horizon; rows are ranked by it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from udfs import json_model
from udfs.interactions import Floats
from udfs.recommend.grouped import starts

Doubles = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]
Longs = npt.NDArray[np.int64]

OWN = "is_own"  # the feature that separates own from new items: each has its own linear weights
USER_FEATURE = "user_"  # features of the user alone begin so
# Features of the user that move the probabilities of a list up or down together: how much the user buys these weeks.
# Those that grow with the shop's history mean another thing in each run, and with more of them the rows of the least
# active users are off by a third (Complete Journey, run of 2017-11-05: purchases over probabilities by tenths 0.95 to
# 1.32 with six features, 0.94 to 1.13 with these).
ACTIVITY = ("user_recent", "user_size", "user_repeats_new")
LIST_SCORE, PLACE = "list_score", "place"  # inputs of the calibration beside features of the user
PLACES = 60  # further down a list all places are one
CLIP = 5.0  # standard deviations: a linear score must not follow an outlier
ROWS_AT_A_TIME = 1_024  # of the linear score: their copies stay in a core's cache
TIE_BREAK = 1e-3  # of the raw score in the log odds: trees tie many rows, and the order of the raw score must stay


@dataclass(frozen=True)
class Ranker:
    """A linear listwise model, LambdaMART trees that start from it, and trees that turn the sum into a probability."""

    names: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]  # of the standardised features: for own items, then for new ones
    trees: str  # LightGBM's text; "" before training
    calibration: str
    generators: tuple[str, ...]  # what proposes the candidates that it ranks

    def to_json(self) -> str:
        """All of it as one JSON object."""
        return json.dumps(asdict(self))


def from_json(text: str) -> Ranker:
    """What `Ranker.to_json` wrote. Raises ValueError on anything else."""
    return json_model.from_json(Ranker, text, "a ranker", "train it again")


def raw_score(ranker: Ranker, features: Floats, threads: int = 1) -> Doubles:
    """One number per row: what a user's items are ranked by; the same bits for any number of threads."""
    own = features[:, ranker.names.index(OWN)] > 0
    raw = np.empty(len(features))
    for start in range(0, len(features), ROWS_AT_A_TIME):
        part = slice(start, start + ROWS_AT_A_TIME)
        plain = standardised(features[part], *_numbers(ranker.mean, ranker.scale))
        # In float64: the last bits of a row must not depend on the number of rows.
        raw[part] = (plain.astype(np.float64) * _weights(ranker, own[part])).sum(axis=1)
    return raw + _predict(ranker.trees, features, threads) if ranker.trees else raw


def score(ranker: Ranker, features: Floats, user: npt.NDArray[np.integer]) -> Doubles:
    """One probability per row; within a user in the order of the raw score. user: one group of adjacent rows each."""
    booster = lgb.Booster(model_str=ranker.calibration)
    if LIST_SCORE in booster.feature_name():
        inputs = calibration_inputs(ranker, features, user)
    else:  # a model of before lists were calibrated: by the raw score and every feature of the user
        places = [place for place, name in enumerate(ranker.names) if name.startswith(USER_FEATURE)]
        inputs = np.column_stack([raw_score(ranker, features), features[:, places]]).astype(np.float64)
    odds = _predict(booster, inputs) + TIE_BREAK * inputs[:, 0]
    probability: Doubles = 1 / (1 + np.exp(-odds))
    return probability


def contributions(ranker: Ranker, features: Floats, threads: int = 1) -> Doubles:
    """[rows, F + 1]: the part of each feature in the raw score of a row, and last what all rows have in common.

    A row adds up to its raw score, but for rounding: the linear terms, which are 0 for an average value or a missing
    one, and LightGBM's own TreeSHAP of the trees (Lundberg et al., 2020), whose last column is their mean prediction.
    """
    own = features[:, ranker.names.index(OWN)] > 0
    parts = np.zeros((len(features), features.shape[1] + 1))
    plain = standardised(features, *_numbers(ranker.mean, ranker.scale))
    parts[:, :-1] = plain.astype(np.float64) * _weights(ranker, own)
    if ranker.trees and len(features):
        booster = lgb.Booster(model_str=ranker.trees)
        parts += np.asarray(booster.predict(features, pred_contrib=True, num_threads=threads), np.float64)
    return parts


def importance(ranker: Ranker, features: Floats, threads: int = 1) -> dict[str, float]:
    """Mean absolute SHAP value of each feature on the raw score, largest first.

    TreeSHAP for the trees; for the linear part, of which it is exact, the term less its mean. Both are added row by
    row before the mean is taken.
    """
    own = features[:, ranker.names.index(OWN)] > 0
    terms = standardised(features, *_numbers(ranker.mean, ranker.scale)) * _weights(ranker, own)
    values = (terms - terms.mean(axis=0)).astype(np.float64)
    if ranker.trees:
        booster = lgb.Booster(model_str=ranker.trees)
        values += np.asarray(booster.predict(features, pred_contrib=True, num_threads=threads))[:, :-1]
    total = np.abs(values).mean(axis=0)
    return {ranker.names[place]: float(total[place]) for place in np.argsort(-total, kind="stable")}


def _numbers(*columns: Sequence[float]) -> list[Floats]:
    return [np.asarray(column, np.float32) for column in columns]


def standardised(features: Floats, mean: Floats, scale: Floats) -> Floats:
    """[rows, F]: features less their mean, in standard deviations; 0 where not given."""
    plain = features - mean
    plain /= scale
    np.nan_to_num(plain, copy=False, nan=0.0)
    return np.clip(plain, -CLIP, CLIP, out=plain)


def _weights(ranker: Ranker, own: Labels) -> Floats:
    """[rows, F]: the linear weights that a row is scored with."""
    of_own, of_new = np.split(_numbers(ranker.weights)[0], 2)
    return np.where(own[:, None], of_own, of_new)


def calibration_names(ranker: Ranker) -> list[str]:
    """The columns of `calibration_inputs`."""
    return [LIST_SCORE, *(name for name in ACTIVITY if name in ranker.names), PLACE]


def calibration_inputs(ranker: Ranker, features: Floats, user: npt.NDArray[np.integer], threads: int = 1) -> Doubles:
    """[rows, calibration_names]: the raw score within its list, features of the user, the place in the list.

    The raw score orders one list; its level is not comparable between users, and rises as histories grow. Within the
    list it is the logarithm of the softmax, by which the ranker learns: raw - log(sum of exp(raw) over the list).
    """
    names = calibration_names(ranker)
    raw = raw_score(ranker, features, threads)
    if not len(raw):
        return np.empty((0, len(names)))
    first, number = starts(user)
    most = np.maximum.reduceat(raw, first)
    mass = np.log(np.add.reduceat(np.exp(raw - most[number]), first))
    own = features[:, [ranker.names.index(name) for name in names[1:-1]]]
    order = np.lexsort((-raw, number))  # of equal scores the earlier row first
    place = np.empty(len(raw))
    place[order] = np.minimum(np.arange(len(raw)) - first[number[order]] + 1, PLACES)
    columns: Doubles = np.column_stack([raw - (most + mass)[number], own, place]).astype(np.float64)
    return columns


def _predict(model: str | lgb.Booster, features: npt.NDArray[np.floating], threads: int = 1) -> Doubles:
    if not len(features):
        return np.empty(0)
    booster = lgb.Booster(model_str=model) if isinstance(model, str) else model
    return np.asarray(booster.predict(features, raw_score=True, num_threads=threads), np.float64)
