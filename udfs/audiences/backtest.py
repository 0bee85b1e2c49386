"""Backtest of audience models: how well each contender predicts which contacted users of a campaign convert.

Each test campaign is predicted by models of the campaigns that were over before it began, from what was known on the
day before. A campaign that outlasts the logs is judged by the days they cover, and every contender's probabilities are
scaled to the share of conversions expected by then; the slice FINISHED leaves it out.

Intervals are 95 % bootstrap intervals over users, with the same resamples for all contenders: differences are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import minimize

from udfs.audiences import model as audience_model
from udfs.audiences.campaigns import PRIOR_RATE, Book
from udfs.audiences.model import LEARNED, WITHOUT_VECTORS, Settings, answered_by, expected_value, probability
from udfs.evaluation.calibration import ReliabilityBin, reliability

Doubles = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Contender = Callable[[pd.DataFrame, pd.DataFrame], Doubles]  # training rows, rows to predict -> a probability each

OURS, UNREAD = "audience model", "audience model without BERT"
RFM, RFM_KIND = "logistic on recency, frequency, value", "the same, and the campaign's kind"
PAST_RATE, BASE_RATE = "user's past rate", "rate of the campaign's kind"
ALL, FINISHED = "all", "campaigns that ended within the logs"
METRICS: Final = ("auc", "auc_within", "log_loss", "brier", "calibration_error", "lift_top_tenth")
LOWER_IS_BETTER: Final = frozenset({"log_loss", "brier", "calibration_error"})
LEAD = "lead_"  # + a metric: ours less the contender's, signed so that more is better
WORTH = "worth_ratio"  # expected worth of the actual conversions, over the spend on their day
BINS = 10  # of like size
DRAWS = 1_000
CELLS = 10_000_000  # resamples x rows held at once: 80 MB a copy, of which there are several
RFM_FEATURES: Final = ("recency", "baskets", "spend")
STRENGTHS = np.geomspace(1, 300, 25)  # of the past rate's prior, in contacts


@dataclass(frozen=True)
class Measure:
    """One figure of one contender on a slice of the test rows; NaN ends where there is no interval."""

    contender: str
    metric: str
    slice: str
    value: float
    low: float
    high: float
    rows: int
    conversions: int


@dataclass(frozen=True)
class Backtest:
    """All figures, and the reliability of OURS: bins of rows with similar probability, predicted and observed."""

    measures: tuple[Measure, ...]
    reliability: tuple[ReliabilityBin, ...]
    campaigns: tuple[str, ...]


def backtest(
    rows: pd.DataFrame,
    book: Book,
    day: int,
    campaigns: Sequence[int],
    contenders: Mapping[str, Contender] | None = None,
    draws: int = DRAWS,
    seed: int = 7,
) -> Backtest:
    """Figures of the contenders on these campaigns, each predicted from the campaigns that were over before it began.

    rows: udfs.audiences.rows.training_rows of all campaigns since the logs began, those still running cut off at
    `day`, the first day not used. Figures of the slices ALL, FINISHED and each kind; leads of OURS over each.
    """
    predicted, chances = predictions(rows, book, day, campaigns, contenders or CONTENDERS)
    ends = dict(zip(book.ids.tolist(), book.ends.tolist(), strict=True))
    slices: dict[str, Mask] = {ALL: np.ones(len(predicted), bool)}
    slices[FINISHED] = (predicted["campaign_id"].map(ends) < day).to_numpy(bool)
    slices |= {f"kind: {kind}": (predicted["kind"] == kind).to_numpy(bool) for kind in sorted(set(predicted["kind"]))}
    measures: list[Measure] = []
    for name, chosen in slices.items():
        part = predicted[chosen]
        if part["converted"].any() and not part["converted"].all():
            measures += _measures(name, part, {key: value[chosen] for key, value in chances.items()}, draws, seed)
    worth = predicted["converted"].to_numpy(bool)
    if worth.any():
        expected, spent = predicted["expected_worth"][worth].sum(), predicted["value"][worth].sum()
        ratio = float(expected / spent) if spent > 0 else float("nan")
        measures.append(Measure(OURS, WORTH, ALL, ratio, np.nan, np.nan, len(predicted), int(worth.sum())))
    bins = reliability(chances[OURS], worth, BINS) if OURS in chances and len(predicted) else []
    return Backtest(tuple(measures), tuple(bins), tuple(str(book.ids[number]) for number in campaigns))


def predictions(
    rows: pd.DataFrame, book: Book, day: int, campaigns: Sequence[int], contenders: Mapping[str, Contender]
) -> tuple[pd.DataFrame, dict[str, Doubles]]:
    """The rows of the campaigns, with expected_worth of a conversion, and each contender's probabilities for them."""
    parts, chances = [], {name: [np.empty(0)] for name in contenders}
    campaign = rows["campaign_id"].map({name: number for number, name in enumerate(book.ids.tolist())}).to_numpy()
    for number in campaigns:
        start = int(book.starts[number])
        earlier = rows[(book.ends[campaign] < start) & (book.starts[campaign] > book.first_day)]
        part = rows[campaign == number]
        model = audience_model.fit(earlier)
        assert model is not None  # only a model of clicks can be
        share = min((day - start) / book.length_days(number), 1.0)
        for name, contender in contenders.items():
            chances[name].append(contender(earlier, part) * answered_by(model, share))
        parts.append(part.assign(expected_worth=expected_value(model, part, np.ones(len(part)))))
    predicted = pd.concat(parts, ignore_index=True) if parts else rows.iloc[:0].assign(expected_worth=0.0)
    return predicted, {name: np.concatenate(value) for name, value in chances.items()}


def ours(features: Sequence[str] = LEARNED) -> Contender:
    """The audience model with these features."""

    def tell(earlier: pd.DataFrame, rows: pd.DataFrame) -> Doubles:
        model = audience_model.fit(earlier, settings=Settings(features=tuple(features)))
        assert model is not None
        return probability(model, rows)

    return tell


def rfm(*, with_kind: bool) -> Contender:
    """Logistic regression on log days since the last purchase, baskets a week, log spend a week; hardly any penalty.

    with_kind: adds an intercept for each kind of campaign.
    """

    def table(rows: pd.DataFrame, mean: Doubles, scale: Doubles, kinds: Sequence[str]) -> Doubles:
        plain = (rows[list(RFM_FEATURES)].to_numpy(np.float64) - mean) / scale
        dummies = [(rows["kind"] == kind).to_numpy(np.float64)[:, None] for kind in kinds]
        return np.concatenate([np.ones((len(rows), 1)), plain, *dummies], axis=1)

    def tell(earlier: pd.DataFrame, rows: pd.DataFrame) -> Doubles:
        plain = earlier[list(RFM_FEATURES)].to_numpy(np.float64)
        if not len(plain):
            return np.full(len(rows), PRIOR_RATE)
        mean, scale = plain.mean(axis=0), np.maximum(plain.std(axis=0), 1e-6)
        kinds = sorted(set(earlier["kind"])) if with_kind else []
        known, label = table(earlier, mean, scale, kinds), earlier["converted"].to_numpy(np.float64)

        def loss(weights: Doubles) -> tuple[float, Doubles]:
            odds = known @ weights
            value = float(np.logaddexp(0, odds).sum() - label @ odds) + float(weights @ weights) / 2
            return value, known.T @ (1 / (1 + np.exp(-odds)) - label) + weights

        weights = minimize(loss, np.zeros(known.shape[1]), jac=True, method="L-BFGS-B").x
        return np.asarray(1 / (1 + np.exp(-(table(rows, mean, scale, kinds) @ weights))), np.float64)

    return tell


def past_rate(earlier: pd.DataFrame, rows: pd.DataFrame) -> Doubles:
    """The user's past conversions over contacts, shrunk to the mean rate as was best on earlier campaigns."""
    rate = _rate(earlier["converted"])
    label = earlier["converted"].to_numpy(bool)
    losses = [_log_loss(label, _smoothed(earlier, rate, strength)) for strength in STRENGTHS] if len(label) else [0.0]
    return _smoothed(rows, rate, float(STRENGTHS[int(np.argmin(losses))]))


def base_rate(earlier: pd.DataFrame, rows: pd.DataFrame) -> Doubles:
    """The rate of earlier campaigns of the same kind, shrunk to the mean rate with the weight of 100 contacts."""
    mean = _rate(earlier["converted"])
    kinds = earlier.groupby("kind")["converted"].agg(["sum", "count"])
    rate = (kinds["sum"] + 100 * mean) / (kinds["count"] + 100)
    return rows["kind"].map(rate).fillna(mean).to_numpy(np.float64)


CONTENDERS: Final[dict[str, Contender]] = {
    OURS: ours(),
    UNREAD: ours(WITHOUT_VECTORS),
    RFM: rfm(with_kind=False),
    RFM_KIND: rfm(with_kind=True),
    PAST_RATE: past_rate,
    BASE_RATE: base_rate,
}


def _rate(converted: pd.Series) -> float:
    return float((converted.sum() + PRIOR_RATE * 20) / (len(converted) + 20))


def _smoothed(rows: pd.DataFrame, rate: float, strength: float) -> Doubles:
    contacts, conversions = (np.expm1(rows[name].to_numpy(np.float64)) for name in ("contacts", "conversions"))
    smoothed = (conversions + strength * rate) / (np.maximum(contacts, conversions) + strength)
    return np.asarray(np.clip(smoothed, 1e-4, 1 - 1e-4), np.float64)


def _log_loss(label: Mask, chance: Doubles) -> float:
    return float(-np.mean(np.where(label, np.log(chance), np.log1p(-chance))))


def _measures(name: str, rows: pd.DataFrame, chances: Mapping[str, Doubles], draws: int, seed: int) -> list[Measure]:
    """The figures of one slice."""
    label, campaign = rows["converted"].to_numpy(bool), pd.factorize(rows["campaign_id"])[0]
    user = pd.factorize(rows["user_id"], sort=True)[0]
    parts = [
        {key: figures_of(label, chance, campaign, weight) for key, chance in chances.items()}
        for weight in _resamples(user, draws, seed)
    ]
    figures = {
        key: {metric: np.concatenate([part[key][metric] for part in parts]) for metric in METRICS} for key in chances
    }
    counts = (len(rows), int(label.sum()))
    measures = []
    for contender, figure in figures.items():
        measures += [_measure(contender, metric, name, figure[metric], counts) for metric in METRICS]
        if contender != OURS and OURS in figures:
            for metric in METRICS:
                lead = (figures[OURS][metric] - figure[metric]) * (-1 if metric in LOWER_IS_BETTER else 1)
                measures.append(_measure(contender, LEAD + metric, name, lead, counts))
    return measures


def _resamples(user: Longs, draws: int, seed: int) -> Iterator[Doubles]:
    """Weights [some, rows], how often each row counts: first once each, then by `draws` resamples of users."""
    size, step = int(user.max()) + 1, max(1, CELLS // len(user))
    random = np.random.default_rng(seed)
    yield np.ones((1, len(user)))
    for start in range(0, draws, step):
        drawn = random.multinomial(size, np.full(size, 1 / size), min(step, draws - start))
        yield drawn[:, user].astype(np.float64)


def _measure(contender: str, metric: str, name: str, values: Doubles, counts: tuple[int, int]) -> Measure:
    drawn = values[1:][np.isfinite(values[1:])]
    low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else (np.nan, np.nan)
    return Measure(contender, metric, name, float(values[0]), float(low), float(high), *counts)


def figures_of(label: Mask, chance: Doubles, campaign: Longs, weight: Doubles) -> dict[str, Doubles]:
    """Per metric one figure for each row of `weight` [draws, rows]: how often each row counts.

    auc_within: pairs of one campaign only, so that ranking campaigns gains nothing. calibration_error: BINS bins of
    similar size, the same ones in every draw. lift_top_tenth: the rate among the tenth of the rows with the highest
    probability, over the rate of all; rows of equal probability share the remaining places equally.
    """
    hit, total = weight * label, weight.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        pairs = [_concordant(label[rows], chance[rows], weight[:, rows]) for rows in _groups(campaign)]
        within = np.sum([good for good, _ in pairs], axis=0) / np.sum([every for _, every in pairs], axis=0)
        good, every = _concordant(label, chance, weight)
        loss = -np.where(label, np.log(chance), np.log1p(-chance))
        return {
            "auc": good / every,
            "auc_within": within,
            "log_loss": weight @ loss / total,
            "brier": weight @ np.square(chance - label) / total,
            "calibration_error": _off(label, chance, weight) / total,
            "lift_top_tenth": _top(chance, weight, hit) / (hit.sum(axis=1) / total),
        }


def _groups(code: Longs) -> list[Longs]:
    return [np.flatnonzero(code == number) for number in np.unique(code)]


def _concordant(label: Mask, chance: Doubles, weight: Doubles) -> tuple[Doubles, Doubles]:
    """[draws] (hit, miss) pairs where the hit has the higher probability (a tie is half), and all such pairs."""
    order = np.argsort(chance, kind="stable")
    starts = np.flatnonzero(np.diff(chance[order], prepend=-np.inf))
    hits = np.add.reduceat((weight * label)[:, order], starts, axis=1)
    misses = np.add.reduceat((weight * ~label)[:, order], starts, axis=1)
    below = np.cumsum(misses, axis=1) - misses / 2
    return (hits * below).sum(axis=1), hits.sum(axis=1) * misses.sum(axis=1)


def _off(label: Mask, chance: Doubles, weight: Doubles) -> Doubles:
    """[draws] the sum over bins of |predicted - observed|; bins are formed as in calibration.reliability."""
    order = np.argsort(chance, kind="stable")
    value = chance[order]
    starts = np.unique(np.searchsorted(value, value[np.arange(BINS) * len(value) // BINS]))
    off = (weight * (chance - label))[:, order]
    total: Doubles = np.abs(np.add.reduceat(off, starts, axis=1)).sum(axis=1)
    return total


def _top(chance: Doubles, weight: Doubles, hit: Doubles) -> Doubles:
    """[draws] the rate among the tenth of the rows with the highest probability."""
    order = np.argsort(-chance, kind="stable")
    starts = np.flatnonzero(np.diff(-chance[order], prepend=-np.inf))
    rows = np.add.reduceat(weight[:, order], starts, axis=1)
    hits = np.add.reduceat(hit[:, order], starts, axis=1)
    tenth = rows.sum(axis=1, keepdims=True) / 10
    before = np.cumsum(rows, axis=1) - rows
    taken = np.clip(tenth - before, 0, rows) / np.where(rows > 0, rows, 1)
    rate: Doubles = (hits * taken).sum(axis=1) / tenth[:, 0]
    return rate
