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
P, VALUE, TENURE = "p_active_90", "value_90", "tenure_days"
Bounds = Mapping[str, tuple[float | None, float | None]]  # by column: from (inclusive), up to (exclusive)
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


def thresholds(p_active: pd.Series, value: pd.Series, quantiles: tuple[float, ...]) -> dict[str, float]:
    """Thresholds at the quantiles (active, lapsed, valuable); without users 0."""
    found = zip((ACTIVE, LAPSED, VALUABLE), (p_active, p_active, value), quantiles, strict=True)
    return {name: float(np.quantile(figures, level)) if len(figures) else 0.0 for name, figures, level in found}


def rules(limits: Mapping[str, float], new_days: int, margin: float) -> list[Rule]:
    """A rule per segment of CODES; each user fulfils `enters` of exactly one."""
    old: Bounds = {TENURE: (new_days, None)}
    active, lapsed, valuable = (limits[name] for name in (ACTIVE, LAPSED, VALUABLE))
    bounds: dict[str, Bounds] = {
        "new": {TENURE: (None, new_days)},
        "top": {**old, P: (active, None), VALUE: (valuable, None)},
        "regular": {**old, P: (active, None), VALUE: (None, valuable)},
        "at_risk": {**old, P: (lapsed, active)},
        "lapsed": {**old, P: (None, lapsed)},
    }
    return [Rule(code, _sql(bounds[code], 0.0), _sql(bounds[code], margin)) for code in CODES]


def _sql(bounds: Bounds, margin: float) -> str:
    parts = []
    for column, (low, high) in bounds.items():
        wider = 0.0 if column == TENURE else margin
        if low is not None:
            parts.append(f"{column} >= {low * (1 - wider)!r}")
        if high is not None:
            parts.append(f"{column} < {high * (1 + wider)!r}")
    return " AND ".join(parts)
