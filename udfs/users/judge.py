"""Comparison of a newly fitted profile model with the one in use, on four weeks that neither has learned from."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from udfs.days import NEVER
from udfs.evaluation.metrics import Bootstrap
from udfs.horizon import HORIZON_DAYS
from udfs.users.features import Seen, features
from udfs.users.history import Doubles, History, before, between
from udfs.users.model import ProfileModel, Settings, fit, predict
from udfs.users.training_rows import training_rows

DRAWS: Final = 1_000
SMALLEST: Final = 1e-6


def as_known(history: History, cut: int) -> History:
    """The lines known before `cut`, with the returns known by then."""
    seen = history.known < cut
    parts = {name: getattr(history, name)[seen] for name in ("user", "day", "spend", "baskets", "known", "undone")}
    return replace(history, **parts | {"undone": np.where(parts["undone"] < cut, parts["undone"], NEVER)})


def fit_history(history: History, today: int, settings: Settings | None = None) -> ProfileModel:
    """A model of what a run knew whose next day is `today`."""
    how = settings or Settings()
    rows, counts = training_rows(as_known(history, today), today, how.cuts)
    return fit(rows, counts, today - 1, how)


def fit_judged(history: History, today: int, settings: Settings | None = None) -> ProfileModel | None:
    """A model without the newest four weeks; None where the shop has no earlier purchase."""
    earlier = as_known(history, today - HORIZON_DAYS)
    return fit_history(earlier, today - HORIZON_DAYS, settings) if len(earlier.day) else None


def judge(
    fitted: ProfileModel | None, current: ProfileModel | None, history: History, today: int
) -> tuple[bool, dict[str, float]]:
    """Whether the new model is promoted, and the figures behind the decision.

    It is promoted unless its log loss of "buys within four weeks" is higher beyond chance than that of the model in
    use: gain_log_loss, _low and _high say by how much it is lower, with the 95 % interval over users. Both are of
    `fit_judged`; one that knows more than was known four weeks ago cannot be compared with.
    """
    cut = today - HORIZON_DAYS
    if fitted is None:
        return True, {}
    seen = seen_at(history, cut, fitted)
    bought = between(history, cut, today).per_user()[seen.user] > 0
    ours = _log_loss(fitted, seen, bought)
    figures = {"log_loss": float(ours.mean())}
    if current is None or current.run_day >= cut:
        return True, figures
    gain = _log_loss(current, seen_at(history, cut, current), bought) - ours
    interval = Bootstrap(len(gain), draws=DRAWS).ratio(gain, np.ones(len(gain)))
    figures |= {"gain_log_loss": interval.value, "gain_log_loss_low": interval.low, "gain_log_loss_high": interval.high}
    return not interval.high < 0, figures


def seen_at(history: History, cut: int, model: ProfileModel) -> Seen:
    """The features that a model reads of a history as it was known at a cut."""
    first_day = int(history.day.min(initial=cut))
    return features(before(history, cut), cut, first_day, model.parameters)


def _log_loss(model: ProfileModel, seen: Seen, bought: np.ndarray) -> Doubles:
    chance = np.clip(predict(model, seen).ahead.active(HORIZON_DAYS), SMALLEST, 1 - SMALLEST)
    return np.asarray(-np.where(bought, np.log(chance), np.log1p(-chance)), np.float64)
