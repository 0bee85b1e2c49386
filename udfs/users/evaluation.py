"""Profiles of a past cut against a naive rate, BG/NBD and MBG/NBD, on what followed it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from udfs.evaluation.auc import auc
from udfs.evaluation.calibration import BINS, calibration_error, reliability
from udfs.users import btyd, judge
from udfs.users.features import Seen
from udfs.users.history import Codes, Doubles, History, between
from udfs.users.model import Settings, predict
from udfs.users.training_rows import mean_spend

Mask = npt.NDArray[np.bool_]

OURS, NAIVE, PEER = "nightshelf", "naive rate", "MBG/NBD"
OWN_GAP, CONSTANT = "own gap", "best constant in hindsight"
AUC, MAE, CALIBRATION, GINI = "AUC", "MAE of days", "calibration error", "Gini of value"
TOTAL, NEXT, INSIDE = "days, forecast / real", "next purchase, median days off", "next purchase within low and high"
LEAST_WEEKS: Final = 4.0  # of the time that a naive rate is taken over


@dataclass(frozen=True)
class Outcome:
    """What each contender expected of the users of a cut, [users] each, and what followed within the horizon."""

    chance: dict[str, Doubles]
    days: dict[str, Doubles]
    value: dict[str, Doubles]
    bought_days: Doubles
    spent: Doubles
    next_off: dict[str, float]  # median days off; of OURS, OWN_GAP and CONSTANT
    inside: float  # share of next purchases within low and high

    @property
    def bought(self) -> Mask:
        """Who bought."""
        return self.bought_days > 0


def outcome(history: History, cut: int, horizon: int, settings: Settings | None = None) -> Outcome:
    """Every contender at a cut, each fitted to what was known before it. horizon: 28 or 90 days from the cut on."""
    model = judge.fit_history(history, cut, settings)
    seen = judge.seen_at(history, cut, model)
    forecast, after = predict(model, seen), between(history, cut, cut + horizon)
    bought_days = after.per_user()[seen.user]
    rate = (seen.frequency + 1) / np.maximum(seen.age, LEAST_WEEKS) * horizon / btyd.WEEK
    chance = {NAIVE: 1 - np.exp(-rate)}
    days = {NAIVE: np.minimum(rate, horizon)}
    facts = (seen.frequency, seen.recency, seen.age)
    for name, modified in (("BG/NBD", False), (PEER, True)):
        of = btyd.fit(btyd.counts_of(*facts), modified=modified)
        chance[name] = btyd.p_active(*facts, horizon / btyd.WEEK, of)
        days[name] = btyd.expected_purchases(*facts, horizon / btyd.WEEK, of)
    spend = mean_spend(seen)
    value = {name: each * spend for name, each in days.items()} | {OURS: forecast.value[:, 0] * horizon / 90}
    chance[OURS], days[OURS] = forecast.ahead.active(horizon), forecast.days[:, 0 if horizon == 28 else 1]
    buyer = bought_days > 0
    real = after.day[after.start[seen.user[buyer]]] - cut + 1
    off, inside = _next(seen, forecast.ahead.dates(horizon)[buyer], buyer, real)
    return Outcome(chance, days, value, bought_days, after.per_user(after.spend)[seen.user], off, inside)


def _next(seen: Seen, dates: Codes, buyer: Mask, real: Codes) -> tuple[dict[str, float], float]:
    """Median days off of the next purchase and the share within the interval; of nobody NaN."""
    if not len(real):
        return dict.fromkeys((OURS, OWN_GAP, CONSTANT), float("nan")), float("nan")
    low, middle, high = dates.T
    gap = np.expm1(np.nan_to_num(seen.column("mean_gap"), nan=np.log(29.0)))
    own = np.maximum(gap - np.exp(seen.column("since_last")) + 1, 1)[buyer]
    best = min(float(np.median(np.abs(each - real))) for each in range(1, int(real.max()) + 1))
    off = {OURS: float(np.median(np.abs(middle - real))), OWN_GAP: float(np.median(np.abs(own - real))), CONSTANT: best}
    return off, float(((real >= low) & (real <= high)).mean())


def gini(expected: Doubles, spent: Doubles) -> float:
    """Normalised Gini: how far the order by expectation concentrates what was spent, over the real order."""

    def area(order: Doubles) -> float:
        sums = np.cumsum(spent[np.argsort(-order, kind="stable")]) / max(float(spent.sum()), 1e-12)
        return float(sums.mean() - 0.5)

    return area(expected) / area(spent)


def measures(of: Outcome, name: str, rows: Codes | slice = slice(None)) -> dict[str, float]:
    """The measures of one contender, over some rows of users."""
    bought, chance, days = of.bought[rows], of.chance[name][rows], of.days[name][rows]
    return {
        AUC: auc(chance, bought),
        MAE: float(np.abs(days - of.bought_days[rows]).mean()),
        CALIBRATION: calibration_error(reliability(chance, bought, BINS)),
        GINI: gini(of.value[name][rows], of.spent[rows]),
        TOTAL: float(days.sum() / max(of.bought_days[rows].sum(), 1)),
    }


def leads(outcomes: list[Outcome], draws: int = 100) -> dict[str, tuple[float, float, float]]:
    """Each measure of OURS less that of PEER, the mean over outcomes, with its 95 % interval over users, paired."""

    def gain(rows: list[Codes | slice]) -> npt.NDArray[np.float64]:
        found = [
            [np.array(list(measures(of, name, some).values())) for name in (OURS, PEER)]
            for of, some in zip(outcomes, rows, strict=True)
        ]
        mean: npt.NDArray[np.float64] = np.array([ours - peer for ours, peer in found]).mean(axis=0)
        return mean

    draw = np.random.default_rng(0)
    drawn = [gain([draw.integers(0, len(of.spent), len(of.spent)) for of in outcomes]) for _ in range(draws)]
    value = gain([slice(None)] * len(outcomes))
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    names = measures(outcomes[0], OURS)
    return {name: tuple(map(float, ends)) for name, *ends in zip(names, value, low, high, strict=True)}  # type: ignore[misc]
