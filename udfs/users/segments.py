"""Segments: rules on the chance to buy, the value and the tenure of a user, as SQL conditions that anybody can check.

Thresholds are quantiles of the night that the model was trained on, but for chances with which nobody is called less
than active, or lapsed. A user stays in a segment until the figures are beyond its limits by a margin, so that few move
back and forth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

ACTIVE, LAPSED, VALUABLE = "active", "lapsed", "valuable"
BELOW, ABOVE = "_below", "_above"
P, VALUE = "p_active_90", "value_90"
Bounds = Mapping[str, tuple[str | None, str | None]]  # thresholds by column: from (inclusive), up to (exclusive)
CODES: Final = ("new", "top", "regular", "at_risk", "lapsed")


@dataclass(frozen=True)
class Limits:
    """Quantiles of the chance to buy (active, lapsed) and of the value; from which chance on a user is active, or not
    lapsed, whatever the quantile; how much further, in quantiles and chances, a user leaves a segment.
    """

    quantiles: tuple[float, float, float]
    surely_active: float
    never_lapsed: float
    margin: float


@dataclass(frozen=True)
class Rule:
    """Conditions of one segment: `enters`, for a user of another one, and `stays`, for one who is in it."""

    code: str
    enters: str
    stays: str

    def definition(self, name: str) -> str:
        """SQL over gold.user_profiles that is true for every user of the segment."""
        return f"CASE WHEN previous_segment = '{name}' THEN {self.stays} ELSE {self.enters} END"


def thresholds(p_active: pd.Series, value: pd.Series, limits: Limits) -> dict[str, float]:
    """Thresholds at quantiles, and at those `margin` below and above; 0 without users.

    None is beyond the chance that makes a user active, or not lapsed, for certain: in a shop where nearly all come
    back, a quantile alone would call likely buyers lapsed.
    """
    found = {}
    certain = (limits.surely_active, limits.never_lapsed, np.inf)
    figures = (p_active, p_active, value)
    for name, values, level, most in zip((ACTIVE, LAPSED, VALUABLE), figures, limits.quantiles, certain, strict=True):
        for end, by in ((BELOW, -limits.margin), ("", 0.0), (ABOVE, limits.margin)):
            at = min(max(level + by, 0.0), 1.0)
            least = float(np.quantile(values, at)) if len(values) else 0.0
            found[name + end] = min(least, most - limits.margin + by)
    return found


def rules(limits: Mapping[str, float], new_days: int) -> list[Rule]:
    """A rule per segment of CODES; each user fulfils `enters` of exactly one."""
    bounds: dict[str, Bounds] = {
        "new": {},
        "top": {P: (ACTIVE, None), VALUE: (VALUABLE, None)},
        "regular": {P: (ACTIVE, None), VALUE: (None, VALUABLE)},
        "at_risk": {P: (LAPSED, ACTIVE)},
        "lapsed": {P: (None, LAPSED)},
    }
    found = []
    for code in CODES:
        tenure = f"tenure_days {'<' if code == 'new' else '>='} {new_days}"
        exact, wider = (_sql(bounds[code], limits, *ends) for ends in (("", ""), (BELOW, ABOVE)))
        found.append(Rule(code, " AND ".join([tenure, *exact]), " AND ".join([tenure, *wider])))
    return found


def _sql(bounds: Bounds, limits: Mapping[str, float], below: str, above: str) -> list[str]:
    parts = []
    for column, (low, high) in bounds.items():
        if low:
            parts.append(f"{column} >= {limits[low + below]!r}")
        if high:
            parts.append(f"{column} < {limits[high + above]!r}")
    return parts
