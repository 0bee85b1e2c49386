"""Comparison of a newly fitted audience model with the one in use, on campaigns that neither has learned from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from udfs.audiences import model as audience
from udfs.audiences.model import AudienceModel
from udfs.evaluation.metrics import Bootstrap

HELD_OUT: Final = 3  # one in so many of the finished campaigns, the newest
DRAWS: Final = 1_000

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """A model of the campaigns that were over before a day; campaigns that began on it or later may judge the model."""

    before: int
    model: AudienceModel

    def to_json(self) -> str:
        """The model and its day as one JSON object."""
        return json.dumps({"before": self.before, "model": self.model.to_json()})


def from_json(text: str) -> Judged:
    """Judged from the text of `Judged.to_json`. ValueError on any other text."""
    values = json.loads(text)
    if not isinstance(values, dict) or set(values) != {"before", "model"}:
        raise ValueError("this is no audience model with the day of its campaigns: train it again")
    return Judged(values["before"], audience.from_json(values["model"]))


def fit_judged(rows: pd.DataFrame) -> Judged | None:
    """A model without the newest third of the campaigns or any that overlap them; None without training rows.

    rows: udfs.audiences.rows.TRAINED, and the first and last day of the row's campaign (starts, ends).
    """
    begun = rows.groupby("campaign_id")["starts"].first().sort_values()
    newest = begun.tail(len(begun) // HELD_OUT)
    if newest.empty:
        return None
    before = int(newest.iloc[0])
    earlier = rows[rows["ends"] < before]
    fitted = audience.fit(earlier) if len(earlier) else None
    return Judged(before, fitted) if fitted else None


def judge(fitted: Judged | None, current: Judged | None, rows: pd.DataFrame) -> tuple[bool, dict[str, float]]:
    """Whether the new model is promoted, and the figures behind the decision.

    It is promoted unless its log loss is significantly higher than that of the model in use, over the contacts of
    campaigns that neither has learned from. log_loss; gain_log_loss, _low, _high: by how much it is lower, with the
    95 % interval over users.
    """
    if fitted is None:
        return True, {}
    since = max(fitted.before, current.before if current else fitted.before)
    held = rows[rows["starts"] >= since]
    if held.empty:
        return True, {}
    figures = {"log_loss": float(_log_loss(fitted.model, held).mean())}
    if current is None:
        return True, figures
    user, users = pd.factorize(held["user_id"], sort=True)
    lower = _log_loss(current.model, held) - _log_loss(fitted.model, held)
    of_users = np.bincount(user, lower, len(users)).astype(np.float64)
    contacts = np.bincount(user, minlength=len(users)).astype(np.float64)
    gain = Bootstrap(len(users), draws=DRAWS).ratio(of_users, contacts)
    figures |= {"gain_log_loss": gain.value, "gain_log_loss_low": gain.low, "gain_log_loss_high": gain.high}
    return not gain.high < 0, figures


def _log_loss(model: AudienceModel, rows: pd.DataFrame) -> Doubles:
    """[rows] -log of the probability of the outcome, as predicted at the campaign's start."""
    chance, label = audience.probability(model, rows), rows["converted"].to_numpy(bool)
    return np.asarray(-np.where(label, np.log(chance), np.log1p(-chance)), np.float64)
