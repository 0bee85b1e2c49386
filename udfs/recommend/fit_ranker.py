"""The fit of a ranker: a linear listwise model, LambdaMART on top of it, and the calibration to probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from udfs.interactions import Floats
from udfs.recommend.ranker import (
    OWN,
    PLACES,
    Doubles,
    Labels,
    Longs,
    Ranker,
    calibration_inputs,
    calibration_names,
    standardised,
)
from udfs.trees_text import trees_text

FIXED: Final[dict[str, Any]] = {"deterministic": True, "force_row_wise": True, "verbosity": -1}


@dataclass(frozen=True)
class Night:
    """The candidates of one past day: features from models that ended before it, labels from the days after it.

    user: one group of adjacent rows each; features: [rows, F]; label: whether the user bought the item in the horizon.
    """

    user: npt.NDArray[np.integer]
    features: Floats
    label: Labels

    def __len__(self) -> int:
        """Rows."""
        return len(self.user)


@dataclass(frozen=True)
class Settings:
    """How the ranker is fitted; the defaults were tuned on validation cuts of two shops."""

    trees: int = 100
    learning_rate: float = 0.05
    leaves: int = 15
    truncation: int = 20  # LambdaMART looks at pairs with one of them in the first so many
    new_weight: float = 1.0  # of each user's list of new items, relative to the list of all
    ridge: float = 3e-3
    steps: int = 80  # of the linear fit
    max_rows: int = 1_200_000  # beyond it a sample of complete users is drawn
    calibration_trees: int = 100
    deeper_share: float = 0.1  # of the rows below PLACES: they are many, and the calibration is for what is published
    threads: int = 1  # the trees are the same, however many (FIXED)
    seed: int = 7  # of the sample of users, and of what each tree sees


class _Lists(NamedTuple):
    """One list per user: the rows of all lists, the size and start of each list, and each row's list."""

    rows: Longs
    sizes: Longs
    starts: Longs
    number: Longs


def fit(
    nights: Sequence[Night],
    calibration: Sequence[Night],
    names: Sequence[str],
    generators: Sequence[str],
    settings: Settings | None = None,
) -> Ranker:
    """A ranker fitted to `nights` (to users who bought something), calibrated on later nights it never saw.

    The horizons of the two must not overlap. `calibration` must hold every user with a history, also those who buy
    nothing: the score is a probability for all of them.
    """
    return calibrate(fit_order(nights, names, generators, settings), calibration, settings)


def fit_order(
    nights: Sequence[Night], names: Sequence[str], generators: Sequence[str], settings: Settings | None = None
) -> Ranker:
    """The ranker before calibration: it orders a user's items, its scores mean nothing across users."""
    settings = settings or Settings()
    user, features, label = _buyers(nights, settings)
    own = features[:, list(names).index(OWN)] > 0
    mean, scale = _moments(features)
    everything = np.arange(len(label), dtype=np.int64)
    lists = [(_lists(everything, user, label), 1.0)]
    if settings.new_weight > 0:
        lists.append((_lists(np.flatnonzero(~own), user, label), settings.new_weight))
    kinds = [(rows, standardised(features[rows], mean, scale)) for rows in (np.flatnonzero(own), np.flatnonzero(~own))]
    weights = _fit_linear(kinds, label, lists, settings)
    start = _linear(kinds, weights)
    del kinds
    trees = ""
    if settings.trees:
        rows = np.concatenate([part.rows for part, _ in lists])
        params = FIXED | {
            "seed": settings.seed,
            "objective": "lambdarank",
            "lambdarank_truncation_level": settings.truncation,
            "learning_rate": settings.learning_rate,
            "num_leaves": settings.leaves,
            "min_data_in_leaf": min(200, max(len(rows) // 100, 1)),
            "feature_fraction": 0.4,
            "bagging_fraction": 0.7,
            "bagging_freq": 1,
            "lambda_l2": 10.0,
            "max_bin": 63,
            "num_threads": settings.threads,
        }
        data = lgb.Dataset(
            features[rows],
            label[rows].astype(np.float32),
            group=np.concatenate([part.sizes for part, _ in lists]),
            init_score=start[rows].astype(np.float64),
            feature_name=list(names),
            params=params,
        )
        del features, start  # Dataset holds its own bins: the second copy of every row goes before the trees grow
        trees = trees_text(lgb.train(params, data.construct(), settings.trees))
    plain = [tuple(float(number) for number in column) for column in (mean, scale, weights)]
    return Ranker(tuple(names), plain[0], plain[1], plain[2], trees, "", tuple(generators))


def calibrate(ranker: Ranker, nights: Sequence[Night], settings: Settings | None = None) -> Ranker:
    """A ranker of the same order, whose scores are probabilities as observed on `nights`.

    Of the rows far down the lists a sample is enough, and has its place as an input: all of them would decide where the
    trees look closely, and the few rows that are published would be off.
    """
    settings = settings or Settings()
    inputs = np.concatenate(
        [calibration_inputs(ranker, night.features, night.user, settings.threads) for night in nights]
    )
    label = np.concatenate([night.label for night in nights]).astype(np.float32)
    deep = inputs[:, -1] >= PLACES
    drawn = ~deep | (np.random.default_rng(settings.seed).random(len(deep)) < settings.deeper_share)
    params = FIXED | {
        "seed": settings.seed,
        "objective": "binary",
        "learning_rate": 0.05,
        "num_leaves": 7,
        "min_data_in_leaf": min(1_000, max(int(drawn.sum()) // 50, 1)),
        "lambda_l2": 10.0,
        "max_bin": 255,
        # A probability never falls where the raw score rises or the place is nearer: that keeps each user's order.
        "monotone_constraints": [1, *[0] * (inputs.shape[1] - 2), -1],
        "num_threads": settings.threads,
    }
    names = calibration_names(ranker)
    data = lgb.Dataset(inputs[drawn], label[drawn], feature_name=names, params=params)
    trees = lgb.train(params, data, settings.calibration_trees)
    return Ranker(**(asdict(ranker) | {"calibration": trees_text(trees)}))


def sample(nights: Sequence[Night], settings: Settings) -> list[Labels]:
    """The rows of each night that a ranker learns from: of users who bought a candidate, a sample up to max_rows."""
    chosen = []
    for number, night in enumerate(nights):
        users, group = np.unique(night.user, return_inverse=True)
        bought = np.bincount(group, night.label, minlength=len(users)) > 0
        share = settings.max_rows / len(nights) / max(int(bought[group].sum()), 1)
        drawn = np.zeros(len(users), bool)
        drawn[bought] = np.random.default_rng([settings.seed, number]).random(int(bought.sum())) < share
        chosen.append(drawn[group])
    return chosen


def _buyers(nights: Sequence[Night], settings: Settings) -> tuple[Longs, Floats, Labels]:
    """User (apart by night), features and label of the rows of `sample`."""
    chosen = sample(nights, settings)
    user = [
        night.user[rows].astype(np.int64) + (number << 32)
        for number, (night, rows) in enumerate(zip(nights, chosen, strict=True))
    ]
    features = [night.features[rows] for night, rows in zip(nights, chosen, strict=True)]
    label = [night.label[rows] for night, rows in zip(nights, chosen, strict=True)]
    if not sum(len(rows) for rows in label):
        raise ValueError(f"no user bought a candidate in any of {len(nights)} past nights: nothing to learn from")
    return np.concatenate(user), np.concatenate(features), np.concatenate(label)


def _moments(features: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each feature where it is given; 0 and 1 where it never is."""
    given = np.isfinite(features)
    count = np.maximum(given.sum(axis=0), 1)
    mean = np.where(given, features, 0).sum(axis=0, dtype=np.float64) / count
    square = np.where(given, (features - mean.astype(np.float32)) ** 2, 0).sum(axis=0, dtype=np.float64) / count
    scale = np.sqrt(square)
    return mean.astype(np.float32), np.where(scale > 1e-6, scale, 1).astype(np.float32)


def _linear(kinds: Sequence[tuple[Longs, Floats]], weights: Floats) -> Floats:
    """One number per row: the standardised features of own items times the first weights, of new ones the second."""
    score = np.empty(sum(len(rows) for rows, _ in kinds), np.float32)
    for (rows, plain), part in zip(kinds, np.split(weights, len(kinds)), strict=True):
        score[rows] = plain @ part
    return score


def _lists(rows: Longs, user: Longs, label: Labels) -> _Lists:
    """The lists of the users who bought one of `rows`."""
    first = np.concatenate([[True], np.diff(user[rows]) != 0]) if len(rows) else np.empty(0, bool)
    number = np.cumsum(first) - 1
    rows = rows[(np.bincount(number, label[rows]) > 0)[number]] if len(rows) else rows
    starts = np.flatnonzero(np.concatenate([[True], np.diff(user[rows]) != 0])) if len(rows) else rows
    sizes = np.diff(np.append(starts, len(rows)))
    return _Lists(rows, sizes, starts, np.repeat(np.arange(len(sizes)), sizes))


def _fit_linear(
    kinds: Sequence[tuple[Longs, Floats]],
    label: Labels,
    lists: Sequence[tuple[_Lists, float]],
    settings: Settings,
) -> Floats:
    """Weights that make what was bought likely in a softmax over the user's list (each list counts sqrt(bought)).

    kinds: the rows of own items and their standardised features, then those of new ones.
    """
    lists = [(part, weight) for part, weight in lists if len(part.rows)]
    total = sum(len(part.sizes) for part, _ in lists)
    wanted = []
    for part, weight in lists:
        bought = np.bincount(part.number, label[part.rows])
        wanted.append((weight * label[part.rows] / np.sqrt(bought)[part.number]).astype(np.float32))

    def loss(weights: Doubles) -> tuple[float, Doubles]:
        score = _linear(kinds, weights.astype(np.float32))
        value, slope = 0.0, np.zeros(len(score), np.float32)
        for (part, _), want in zip(lists, wanted, strict=True):
            own = score[part.rows]
            own -= np.maximum.reduceat(own, part.starts)[part.number]
            power = np.exp(own)
            room = np.add.reduceat(power, part.starts)
            mass = np.add.reduceat(want, part.starts)
            value += float((mass * np.log(room)).sum()) - float((want * own).sum())
            slope[part.rows] += (mass / room)[part.number] * power - want
        gradient = np.concatenate([plain.T @ slope[rows] for rows, plain in kinds]).astype(np.float64)
        gradient = gradient / total + settings.ridge * weights
        return value / total + settings.ridge / 2 * float(weights @ weights), gradient

    start = np.zeros(sum(plain.shape[1] for _, plain in kinds))
    optimum = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": settings.steps})
    return np.asarray(optimum.x, np.float32)
