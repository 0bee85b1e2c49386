"""Profiles of users at a run's date: what they did, and what the model expects of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from udfs.users.features import features
from udfs.users.history import History, before
from udfs.users.model import ProfileModel, predict
from udfs.users.segments import Limits, thresholds

THURSDAY = 3  # of 1970-01-01, where Monday is 0
TYPES = {
    "user_id": "STRING",
    "first_day": "INT",
    "last_day": "INT",
    "purchase_days": "BIGINT",
    "spend": "DOUBLE",
    "mean_basket": "DOUBLE",
    "usual_gap_days": "DOUBLE",
    "p_active_28": "DOUBLE",
    "p_active_90": "DOUBLE",
    "p_alive": "DOUBLE",
    **{f"expected_purchases_{days}": "DOUBLE" for days in (28, 90, 365)},
    **dict.fromkeys(("next_day", "next_day_low", "next_day_high", "favourite_weekday"), "INT"),
    **{f"value_{days}{end}": "DOUBLE" for days in (90, 365) for end in ("", "_low", "_high")},
}


def profiles(history: History, model: ProfileModel, run_day: int, shop_since: int) -> pd.DataFrame:
    """A row per user with a purchase up to run_day, of TYPES; days are days since 1970.

    usual_gap_days: the mean of the days between two purchase days; NaN after one purchase.
    """
    cut = run_day + 1
    days = before(history, cut)
    seen = features(days, cut, shop_since, model.parameters)
    forecast = predict(model, seen)
    bought = seen.frequency + 1
    spend, baskets = (days.per_user(values)[seen.user] for values in (days.spend, days.baskets))
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = np.where(seen.frequency > 0, seen.recency * 7 / seen.frequency, np.nan)
    ahead = forecast.ahead.dates() + run_day
    weekday = (cut + seen.weekday.argmax(axis=1) + THURSDAY) % 7 + 1
    columns = {
        "user_id": history.users[seen.user],
        "first_day": days.day[days.start[seen.user]],
        "last_day": days.day[days.start[seen.user + 1] - 1],
        "purchase_days": bought.astype(np.int64),
        "spend": spend,
        "mean_basket": spend / np.maximum(baskets, 1),
        "usual_gap_days": gap,
        "p_active_28": forecast.ahead.active(28),
        "p_active_90": forecast.ahead.active(90),
        "p_alive": forecast.p_alive,
        **{f"expected_purchases_{span}": forecast.days[:, place] for place, span in enumerate((28, 90, 365))},
        **{name: ahead[:, place] for place, name in ((1, "next_day"), (0, "next_day_low"), (2, "next_day_high"))},
    }
    columns["favourite_weekday"] = weekday
    for place, span in enumerate((90, 365)):
        columns[f"value_{span}"] = forecast.value[:, place]
        columns[f"value_{span}_low"] = forecast.low[:, place]
        columns[f"value_{span}_high"] = forecast.high[:, place]
    return pd.DataFrame(columns)[list(TYPES)]


def with_thresholds(model: ProfileModel, history: History, today: int, limits: Limits) -> ProfileModel:
    """The model with the thresholds of segments: quantiles over the users of the night that it was trained on."""
    rows = profiles(history, model, today - 1, int(history.day.min(initial=today)))
    return replace(model, thresholds=thresholds(rows["p_active_90"], rows["value_90"], limits))
