"""Segments: rules on the chance to buy, the value and the tenure of a user, as SQL conditions that anybody can check.

Thresholds are quantiles of the night that the model was trained on. A user stays in a segment until the figures are
beyond its limits by a margin, so that few move back and forth.
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
class Rule:
    """Conditions of one segment: `enters`, for a user of another one, and `stays`, for one who is in it."""

    code: str
    enters: str
    stays: str

    def definition(self, name: str) -> str:
        """SQL over gold.user_profiles that is true for every user of the segment."""
        return f"CASE WHEN previous_segment = '{name}' THEN {self.stays} ELSE {self.enters} END"


def thresholds(p_active: pd.Series, value: pd.Series, quantiles: tuple[float, ...], margin: float) -> dict[str, float]:
    """Thresholds at quantiles (active, lapsed, valuable), and at those `margin` below and above; 0 without users."""
    found = {}
    for name, figures, level in zip((ACTIVE, LAPSED, VALUABLE), (p_active, p_active, value), quantiles, strict=True):
        for end, by in (("", 0.0), (BELOW, -margin), (ABOVE, margin)):
            at = min(max(level + by, 0.0), 1.0)
            found[name + end] = float(np.quantile(figures, at)) if len(figures) else 0.0
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
