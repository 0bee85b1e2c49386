"""[segments]: how users are grouped in gold.segments, and what the groups are called. No Spark."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from schemas.strict import Strict

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9 _-]{0,99}$")]


class Segments(Strict):
    """A user whose first purchase is fewer than `new_days` days ago is new; others by quantiles of the training night.

    `active`, `lapsed`: of the chance to buy within 90 days: at least the first is active, below the second lapsed,
    between them at risk. Whatever the quantiles, a chance of `surely_active` is active and one of `never_lapsed` not
    lapsed. `valuable`: of the value of 90 days: an active user with at least that is top, else regular.
    `margin`: a user leaves a segment at the quantile that is so much further. The rest are the segments' names.
    """

    new_days: int = Field(default=28, ge=1)
    active: float = Field(default=0.6, gt=0, lt=1)
    lapsed: float = Field(default=0.3, gt=0, lt=1)
    valuable: float = Field(default=0.8, gt=0, lt=1)
    surely_active: float = Field(default=0.9, gt=0, le=1)
    never_lapsed: float = Field(default=0.5, gt=0, le=1)
    margin: float = Field(default=0.05, ge=0, lt=0.5)
    new_name: Name = "new"
    top_name: Name = "top"
    regular_name: Name = "regular"
    at_risk_name: Name = "at risk"
    lapsed_name: Name = "lapsed"

    @model_validator(mode="after")
    def _in_order(self) -> Segments:
        if self.lapsed >= self.active:
            raise ValueError(f"lapsed ({self.lapsed}) must be below active ({self.active})")
        if self.never_lapsed > self.surely_active:
            raise ValueError(
                f"never_lapsed ({self.never_lapsed}) must not be above surely_active ({self.surely_active})"
            )
        if len(set(self.names.values())) < len(self.names):
            raise ValueError(f"two segments have the same name: {', '.join(self.names.values())}")
        return self

    @property
    def names(self) -> dict[str, str]:
        """The name of each segment, by the code of udfs/users/segments.py."""
        codes = ("new", "top", "regular", "at_risk", "lapsed")
        return {code: getattr(self, f"{code}_name") for code in codes}

    @property
    def quantiles(self) -> tuple[float, float, float]:
        """Of the chance to buy (active, lapsed) and of the value."""
        return self.active, self.lapsed, self.valuable
