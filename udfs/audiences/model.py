"""Audience model: the probability that a user answers a campaign, and the expected worth of an answer.

A ridge logistic regression over the pair's features with an intercept per campaign and per kind of campaign, both
penalised: slopes are learned within campaigns, and a new campaign gets the intercept of its kind, shrunk to the mean
of all (a mixed model, fitted by its penalised likelihood). Its log odds are calibrated by Platt's
a x + b on rows whose campaign was left out of the fit, the situation of a new campaign.

A running campaign is scored by Bayes' rule: past campaigns show what share of the answers come late, so the odds of a
user who has not answered yet fall as it runs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import minimize

from udfs import json_model
from udfs.audiences.campaigns import PRIOR_RATE
from udfs.audiences.features import CAMPAIGN, FEATURES, SPENT, VECTORS

Doubles = npt.NDArray[np.float64]

CLIP = 4.0  # standard deviations: log odds must not follow an outlier
GRID: Final = 20  # steps by which the time of an answer is stored
PRIOR_TIMES = 5.0  # prior answers, spread evenly over a campaign
PRIOR_AGAIN = 0.3  # prior share of users with an answer who answer again
PRIOR_VALUE, PRIOR_VALUES = 10.0, 5.0  # prior worth of an answer, and its weight in answers
# Dropped on the validation campaigns: counts that grow with the logs, and redundant features.
UNUSED: Final = frozenset({"contacts", "trend", "breadth", "price_level", "item_share", *CAMPAIGN})
LEARNED: Final = tuple(name for name in FEATURES if name not in UNUSED)
WITHOUT_VECTORS: Final = tuple(name for name in LEARNED if name not in VECTORS)
TIMES: Final = {"converted": ("first_share", "last_share"), "clicked": ("first_click_share", "last_click_share")}
SMALLEST = 1e-5  # a probability is never 0 nor 1


@dataclass(frozen=True)
class Settings:
    """How a model is fitted; the defaults were chosen on the validation campaigns of udfs/audiences/backtest.py."""

    ridge: float = 10.0  # of the slopes, in rows: a standard normal prior would be 1
    campaign_ridge: float = 8.0  # of each campaign's intercept: its standard deviation is 0.35 in log odds
    kind_ridge: float = 4.0
    trust_contacts: float = 200.0  # prior rows of PRIOR_RATE, in the common intercept
    calibration_ridge: float = 10.0  # towards a = 1, b = 0
    value_days: float = 3.0  # prior days of shopping at the common value, of each user
    features: tuple[str, ...] = LEARNED


@dataclass(frozen=True)
class AudienceModel:
    """Slopes over standardised features, intercepts by kind, Platt's a and b, times and worth of answers.

    answered: share of first answers that are in by the end of each step of a campaign; again: share of users with an
    answer by then who answer once more; value: mean worth of an answer; value_ratio: that worth over a usual day's
    spend on the campaign's items; rows, answers, campaigns: size of the training set; without rows every probability is
    the prior rate.
    """

    event: str
    names: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float
    kinds: dict[str, float]
    slope: float
    shift: float
    answered: tuple[float, ...]
    again: tuple[float, ...]
    value: float
    value_ratio: float
    value_days: float
    rows: int
    answers: int
    campaigns: int

    @property
    def is_prior(self) -> bool:
        """Whether there were no training rows: all probabilities are the prior rate."""
        return not self.rows

    def to_json(self) -> str:
        """The model as one JSON object."""
        return json.dumps(asdict(self))


def from_json(text: str) -> AudienceModel:
    """Model from the text of `AudienceModel.to_json`. ValueError on any other text."""
    return json_model.from_json(AudienceModel, text, "an audience model", "train it again")


def fit(rows: pd.DataFrame, event: str = "converted", settings: Settings | None = None) -> AudienceModel | None:
    """A model of udfs.audiences.rows.TRAINED rows, in any order; None where the event is `clicked` and no row has it.

    Few campaigns or answers give probabilities near PRIOR_RATE, no rows the prior itself.
    """
    settings = settings or Settings()
    rows = rows.sort_values(["campaign_id", "user_id"], ignore_index=True)
    label = rows[event].to_numpy(np.float64)
    if event == "clicked" and not label.any():
        return None
    plain, mean, scale = _standardised(rows, settings.features)
    group, ids = pd.factorize(rows["campaign_id"])
    kind_of_row, kinds = pd.factorize(rows["kind"], sort=True)
    first = np.unique(group, return_index=True)[1]
    kind = kind_of_row[first]
    theta = _solve(plain, label, group, kind, len(kinds), settings)
    left_out = np.empty(len(rows))
    for number in range(len(ids)):
        inside = group == number
        without = _solve(plain[~inside], label[~inside], group[~inside], kind, len(kinds), settings)
        left_out[inside] = _log_odds(without, plain[inside], kind_of_row[inside], len(kinds))
    slope, shift = _platt(left_out, label, settings.calibration_ridge) if len(rows) else (1.0, 0.0)
    slopes, effects = theta[1 : 1 + plain.shape[1]], theta[1 + plain.shape[1] : 1 + plain.shape[1] + len(kinds)]
    worth = rows[rows["value"].notna()]
    average = float((worth["value"].sum() + PRIOR_VALUE * PRIOR_VALUES) / (len(worth) + PRIOR_VALUES))
    baskets = _baskets(worth, average, settings.value_days)
    some = PRIOR_VALUES * average
    answered, again = _times(rows, event)
    return AudienceModel(
        event=event,
        names=tuple(settings.features),
        mean=_plain(mean),
        scale=_plain(scale),
        weights=_plain(slopes),
        intercept=float(theta[0]),
        kinds=dict(zip(map(str, kinds), _plain(effects), strict=True)),
        slope=slope,
        shift=shift,
        answered=answered,
        again=again,
        value=average,
        value_ratio=float((worth["value"].sum() + some) / (baskets.sum() + some)),
        value_days=settings.value_days,
        rows=len(rows),
        answers=int(label.sum()),
        campaigns=len(ids),
    )


def probability(model: AudienceModel, rows: pd.DataFrame) -> Doubles:
    """[rows] probability that the user answers between a campaign's first and last day, as known at its start."""
    plain = _plain_features(rows, model.names, np.array(model.mean), np.array(model.scale))
    effect = rows["kind"].map(model.kinds).fillna(0.0).to_numpy(np.float64)
    odds = model.intercept + effect + (plain * np.array(model.weights)).sum(axis=1)
    return np.clip(_sigmoid(model.slope * odds + model.shift), SMALLEST, 1 - SMALLEST)


def predict(model: AudienceModel, rows: pd.DataFrame) -> Doubles:
    """[rows] probability that the user answers (after an earlier answer: once more) in the remaining campaign.

    rows: udfs.audiences.rows.SCORED, on the eve of the day for which they are scored.
    """
    at_start = probability(model, rows)
    elapsed = rows["elapsed_share"].to_numpy(np.float64)
    steps = np.linspace(0, 1, GRID + 1)
    gone = np.interp(elapsed, steps, [0.0, *model.answered])
    again = np.interp(elapsed, steps, [model.again[0], *model.again])
    had = rows["has_converted" if model.event == "converted" else "has_clicked"].to_numpy(bool)
    return np.where(had, again, within(at_start, gone, 1.0))


def within(at_start: Doubles, gone: Doubles | float, until: Doubles | float) -> Doubles:
    """[rows] probability of an answer between the shares `gone` and `until` of all answers, given none before."""
    updated: Doubles = at_start * (until - gone) / np.maximum(1 - at_start * gone, SMALLEST)
    return np.clip(updated, 0.0, 1.0)


def answered_by(model: AudienceModel, share: Doubles | float) -> Doubles:
    """The share of a campaign's first answers that are in when this share of its days is over."""
    return np.asarray(np.interp(share, np.linspace(0, 1, GRID + 1), [0.0, *model.answered]), np.float64)


def expected_value(
    model: AudienceModel, rows: pd.DataFrame, p_conversion: Doubles, contact_cost: float = 0.0
) -> Doubles:
    """[rows] p_conversion x worth of the conversion, less contact_cost.

    Worth: the user's spend on the campaign's items on a day with such a purchase, recent days weighted more, shrunk to
    the campaign's usual value with the weight of `value_days` days, times the ratio of past conversions' worth to that.
    The spend without the campaign is unknown here; the control group measures it.
    """
    return p_conversion * model.value_ratio * _baskets(rows, model.value, model.value_days) - contact_cost


def _baskets(rows: pd.DataFrame, average: float, value_days: float) -> Doubles:
    """[rows] expected spend of the user on the campaign's items on a day with such a purchase."""
    spend, visits = (rows[name].to_numpy(np.float64) for name in SPENT)
    usual = rows["usual_basket"].fillna(average).to_numpy(np.float64)
    return np.asarray((spend + value_days * usual) / (visits + value_days), np.float64)


def _standardised(rows: pd.DataFrame, names: Sequence[str]) -> tuple[Doubles, Doubles, Doubles]:
    table = rows[list(names)].to_numpy(np.float64)
    given = np.isfinite(table)
    count = np.maximum(given.sum(axis=0), 1)
    mean = np.where(given, table, 0).sum(axis=0) / count
    scale = np.sqrt(np.where(given, (table - mean) ** 2, 0).sum(axis=0) / count)
    scale = np.where(scale > 1e-6, scale, 1.0)
    return _plain_features(rows, names, mean, scale), mean, scale


def _plain_features(rows: pd.DataFrame, names: Sequence[str], mean: Doubles, scale: Doubles) -> Doubles:
    """[rows, F]: features less their mean, in standard deviations; 0 where missing."""
    table = (rows[list(names)].to_numpy(np.float64) - mean) / scale
    return np.clip(np.nan_to_num(table, nan=0.0), -CLIP, CLIP)


def _solve(
    plain: Doubles, label: Doubles, group: npt.NDArray[np.int64], kind: npt.NDArray[np.int64], kinds: int, how: Settings
) -> Doubles:
    """Penalised maximum likelihood: intercept, slopes, effects of kinds, effects of campaigns."""
    width, campaigns = plain.shape[1], len(kind)
    penalty = np.concatenate(
        [[0.0], np.full(width, how.ridge), np.full(kinds, how.kind_ridge), np.full(campaigns, how.campaign_ridge)]
    )
    trust = how.trust_contacts

    def loss(theta: Doubles) -> tuple[float, Doubles]:
        effects, own = theta[1 + width : 1 + width + kinds], theta[1 + width + kinds :]
        odds = theta[0] + plain @ theta[1 : 1 + width] + (effects[kind] + own)[group]
        chance = _sigmoid(odds)
        off = chance - label
        start = _sigmoid(theta[:1])[0]
        by_campaign = np.bincount(group, off, campaigns)
        slope = [[off.sum() + trust * (start - PRIOR_RATE)], plain.T @ off, np.bincount(kind, by_campaign, kinds)]
        value = float(np.logaddexp(0, odds).sum() - label @ odds)
        value += trust * float(np.logaddexp(0, theta[0]) - PRIOR_RATE * theta[0])
        value += float(penalty @ theta**2) / 2
        return value, np.concatenate([*slope, by_campaign]) + penalty * theta

    begin = np.zeros(1 + width + kinds + campaigns)
    begin[0] = np.log(PRIOR_RATE / (1 - PRIOR_RATE))
    fitted = minimize(loss, begin, jac=True, method="L-BFGS-B", options={"maxiter": 2_000, "gtol": 1e-6, "ftol": 1e-12})
    return np.asarray(fitted.x, np.float64)


def _log_odds(theta: Doubles, plain: Doubles, kind: npt.NDArray[np.int64], kinds: int) -> Doubles:
    """Log odds of rows of new campaigns."""
    width = plain.shape[1]
    return np.asarray(theta[0] + plain @ theta[1 : 1 + width] + theta[1 + width : 1 + width + kinds][kind], np.float64)


def _platt(odds: Doubles, label: Doubles, ridge: float) -> tuple[float, float]:
    """Platt's a > 0 and b, shrunk to 1 and 0: one or two campaigns must not reverse the order."""

    def loss(line: Doubles) -> tuple[float, Doubles]:
        scaled = line[0] * odds + line[1]
        off = _sigmoid(scaled) - label
        away = line - np.array([1.0, 0.0])
        value = float(np.logaddexp(0, scaled).sum() - label @ scaled) + ridge / 2 * float(away @ away)
        return value, np.array([off @ odds, off.sum()]) + ridge * away

    fitted = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0.1, 3.0), (-2.0, 2.0)])
    return float(fitted.x[0]), float(fitted.x[1])


def _times(rows: pd.DataFrame, event: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """For each step of a campaign: the share of first answers in, and the share of answering users who answer again."""
    first, last = (rows[name].dropna().to_numpy(np.float64) for name in TIMES[event])
    steps = np.linspace(0, 1, GRID + 1)[1:]
    come = np.array([(first <= step).sum() for step in steps])
    more = np.array([((first <= step) & (last > step)).sum() for step in steps])
    answered = (come + PRIOR_TIMES * steps) / (len(first) + PRIOR_TIMES)
    again = (more + PRIOR_TIMES * PRIOR_AGAIN * (1 - steps)) / (come + PRIOR_TIMES)
    return _plain(answered), _plain(again)


def _sigmoid(odds: Doubles) -> Doubles:
    return 1 / (1 + np.exp(-np.clip(odds, -30, 30)))


def _plain(numbers: npt.NDArray[np.floating]) -> tuple[float, ...]:
    return tuple(float(number) for number in numbers)
