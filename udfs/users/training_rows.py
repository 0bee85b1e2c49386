"""Training rows of past cuts: features as each cut knew them, labels as they are known today."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import numpy.typing as npt

from udfs.users import btyd
from udfs.users.btyd import WEEK, Parameters
from udfs.users.features import FEATURES, Seen, counts, features
from udfs.users.history import Codes, Days, Doubles, History, before, between

WEEKS: Final = 13
HORIZONS: Final = (7, 28, 90)  # days over which purchases and value are learned, where they have passed
INPUTS: Final = (*FEATURES, "span", "late_then")  # of the hazard: its week; of the others: their horizon
CUT_STEP: Final = 14
NEWEST_CUT: Final = 7  # days before today: the first week after it is known
LEAST_HISTORY: Final = 7  # days of sales before a cut
HALF_LIFE: Final = 90.0
SPANS_HALF_LIFE: Final = 180.0

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Rows:
    """Hazard rows (a user, cut and week with no purchase in the weeks before) and rows of a user, cut and horizon.

    base: expected purchase days by MBG/NBD; base_value: these times the user's mean spend a day, drawn to the shop's.
    hazard_weight, weight: of each row; a cut HALF_LIFE, or of horizons SPANS_HALF_LIFE, days older than another counts
    half.
    """

    hazard: Floats  # [rows, INPUTS]
    bought: npt.NDArray[np.bool_]
    spans: Floats  # [rows, INPUTS]
    horizon: Doubles
    base: Doubles
    base_value: Doubles
    days: Doubles
    value: Doubles
    hazard_weight: Doubles
    weight: Doubles

    def __len__(self) -> int:
        """Rows of both kinds."""
        return len(self.hazard) + len(self.spans)


def cuts(first_day: int, today: int, most: int) -> list[int]:
    """Past cuts, newest first, every CUT_STEP days: each with LEAST_HISTORY days before it and a week after it."""
    return list(range(today - NEWEST_CUT, first_day + LEAST_HISTORY - 1, -CUT_STEP))[:most]


def inputs(seen: Seen, rows: Codes, span: Doubles) -> Floats:
    """[rows, INPUTS] of the users `rows` of `seen`; span: weeks ahead, or days of the horizon."""
    since, gap = np.exp(seen.column("since_last")), np.exp(np.nan_to_num(seen.column("mean_gap"), nan=np.log(91.0)))
    late = np.log((since[rows] + WEEK * span) / gap[rows])
    return np.column_stack([seen.values[rows], span, late]).astype(np.float32)


def mean_spend(seen: Seen) -> Doubles:
    """[users] spend a purchase day, drawn to the mean of the users by the weight of two days."""
    own, bought = np.expm1(seen.column("spend_day")), seen.frequency + 1
    average = float((own * bought).sum() / max(bought.sum(), 1))
    return np.asarray((own * bought + 2 * average) / (bought + 2), np.float64)


def base_days(seen: Seen, horizon: float, model: Parameters) -> Doubles:
    """[users] expected purchase days within the horizon by MBG/NBD, at least one in ten thousand."""
    expected = btyd.expected_purchases(seen.frequency, seen.recency, seen.age, horizon / WEEK, model)
    return np.maximum(expected, 1e-4)


def training_rows(history: History, today: int, most_cuts: int) -> tuple[Rows, Parameters]:
    """Rows of past cuts of a history, and MBG/NBD fitted to what was known before each; `today` is the next day."""
    first_day = int(history.day.min(initial=today))
    newest = model = fit_counts(before(history, today), today)
    parts: list[Rows] = []
    for cut in cuts(first_day, today, most_cuts):
        days = before(history, cut)
        if len(days.day):
            model = fit_counts(days, cut, model)
            parts.append(_of_cut(history, features(days, cut, first_day, model), today, model))
    return _joined(parts), newest


def fit_counts(days: Days, cut: int, near: Parameters | None = None) -> Parameters:
    """MBG/NBD of the purchase days known before a cut; near: that of a cut close by."""
    _, frequency, recency, age = counts(days, cut)
    if not len(age):
        return btyd.parameters(btyd.PRIOR)
    return btyd.fit(btyd.counts_of(frequency, recency, age), near=near)


def _of_cut(history: History, seen: Seen, today: int, model: Parameters) -> Rows:
    after, cut = between(history, seen.cut, today), seen.cut
    known = np.arange(len(seen.user))
    weeks = min(WEEKS, (today - cut) // int(WEEK))
    has = np.diff(after.start)[seen.user] > 0
    first = np.full(len(known), WEEKS)
    first[has] = (after.day[after.start[seen.user[has]]] - cut) // int(WEEK)
    at_risk = np.minimum(first + 1, weeks)
    row = np.repeat(known, at_risk)
    week = np.arange(len(row)) - np.repeat(np.cumsum(at_risk) - at_risk, at_risk)
    spend = mean_spend(seen)
    spans, columns = [np.empty((0, len(INPUTS)), np.float32)], []
    for horizon in (each for each in HORIZONS if cut + each <= today):
        soon = between(history, cut, cut + horizon)
        base = base_days(seen, horizon, model)
        spans.append(inputs(seen, known, np.full(len(known), float(horizon))))
        columns.append(
            [
                *(np.full(len(known), horizon), base, base * spend),
                *(soon.per_user()[seen.user], soon.per_user(soon.spend)[seen.user]),
            ]
        )
    horizons, base, base_value, bought_days, value = (
        [np.concatenate(part) for part in zip(*columns, strict=True)] if columns else [np.zeros(0)] * 5
    )
    return Rows(
        hazard=inputs(seen, row, week.astype(np.float64)),
        bought=week == first[row],
        spans=np.concatenate(spans),
        horizon=horizons,
        base=base,
        base_value=base_value,
        days=bought_days,
        value=value,
        hazard_weight=np.full(len(row), 0.5 ** ((today - cut) / HALF_LIFE)),
        weight=np.full(len(horizons), 0.5 ** ((today - cut) / SPANS_HALF_LIFE)),
    )


def _joined(parts: list[Rows]) -> Rows:
    if not parts:
        nothing, empty = np.empty((0, len(INPUTS)), np.float32), np.zeros(0)
        return Rows(nothing, empty.astype(bool), nothing, empty, empty, empty, empty, empty, empty, empty)
    return Rows(**{field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Rows)})
