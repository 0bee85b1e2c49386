"""[[experiments]]: settings of lists that are compared on real users, and what decides between them. No Spark."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, model_validator

from schemas.strict import Strict

Metric: TypeAlias = Literal["spend", "units", "baskets"]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
JOB = "rank_recommendations"  # whose settings variants change


class Experiment(Strict):
    """One experiment: each user is in one variant by a hash of salt and user, the same on every date.

    from, to: run_dates whose lists differ; share: of the users who take part; variants: settings of
    rank_recommendations by name, the first being what the others are compared with; metric: of users, in the days after
    the first date; minimum_effect: the least change worth finding, relative to the first variant's mean.
    """

    id: Name
    salt: str = Field(min_length=1)
    from_: dt.date = Field(alias="from")
    to: dt.date
    share: float = Field(default=1.0, gt=0, le=1)
    variants: dict[Name, dict[str, Any]] = Field(min_length=2, max_length=10)
    metric: Metric = "spend"
    minimum_effect: float = Field(default=0.05, gt=0)

    @model_validator(mode="after")
    def _is_one(self) -> Experiment:
        if self.to < self.from_:
            raise ValueError(f"to = {self.to} is before from = {self.from_}")
        if any("top_k" in settings for settings in self.variants.values()):
            raise ValueError("variants: top_k is the same for all users; gold.recommendations has one length of lists")
        return self

    @property
    def settings(self) -> set[str]:
        """Names of the settings that any of its variants has."""
        return {name for settings in self.variants.values() for name in settings}

    def runs_on(self, day: dt.date) -> bool:
        """Whether the lists of this run_date differ."""
        return self.from_ <= day <= self.to


def refuse_overlaps(experiments: Sequence[Experiment]) -> None:
    """ValueError for two of one id, or for two on one setting or of one salt at one time: neither could be read."""
    for number, one in enumerate(experiments):
        for other in experiments[:number]:
            if one.id == other.id:
                raise ValueError(f"[[experiments]] id = {one.id!r}: there are two")
            if one.to < other.from_ or other.to < one.from_:
                continue
            if both := one.settings & other.settings:
                raise ValueError(f"[[experiments]] {other.id} and {one.id}: both change {min(both)} at one time")
            if one.salt == other.salt:
                raise ValueError(
                    f"[[experiments]] {other.id} and {one.id}: one salt, so the same users would be in both"
                )
