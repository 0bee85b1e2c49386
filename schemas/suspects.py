"""[suspects]: which buyers are not counted when lists and trends say what many buy; silver.suspects. No Spark."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from pydantic import Field

from schemas.bronze import RUN_DATE
from schemas.contract import Column, Table, between
from schemas.silver import GIVEN
from schemas.strict import Strict

RULES = ("acts_a_minute", "baskets_a_day", "same_baskets")
SUSPECTS = Table(
    "silver.suspects",
    "one user who acts as no person does, by what was known on run_date; no row where [suspects] has no since",
    (
        RUN_DATE,
        Column("user_id", "STRING", "Identifies the user", rules=GIVEN, personal=True),
        Column("rules", "ARRAY<STRING>", "Which limits of [suspects] the user is at or above"),
        Column("score", "DOUBLE", "The largest figure of the user over its limit", rules=(between(1, None),)),
        Column(
            "since",
            "DATE",
            "First run_date on which the user was one; each date since that has suspects names the user",
        ),
        Column(
            "acts", "BOOLEAN", "Whether counts of buyers leave the user out: not trusted, and the weeks in shadow over"
        ),
    ),
    key=("user_id",),
)
TABLES = (SUSPECTS,)


class Suspects(Strict):
    """[suspects]: users who are no persons, and buyers whom nobody knows yet.

    since: first run_date of which silver.suspects names users (none: never); shadow_weeks: weeks from then on in which
    they are named and still counted; trusted: user_ids that always count, such as a wholesaler. A user is a suspect
    with `acts_a_minute` baskets or other events in one minute, with `baskets_a_day`, or where most of the user's
    baskets of three items and more are those of `same_basket_users` others, item by item; the last 28 days decide.

    known_days (0: off): a buyer who first bought fewer days ago is new. New buyers of an item do not count where they
    are more of its buyers than chance explains by their share of the shop's.
    """

    since: dt.date | None = None
    shadow_weeks: int = Field(default=4, ge=0)
    acts_a_minute: int = Field(default=30, ge=2)
    baskets_a_day: int = Field(default=20, ge=2)
    same_basket_users: int = Field(default=5, ge=1)
    trusted: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list)
    known_days: int = Field(default=0, ge=0, le=365)

    def named_on(self, day: dt.date) -> bool:
        """Whether silver.suspects of this run_date names users."""
        return self.since is not None and self.since <= day

    def act_on(self, day: dt.date) -> bool:
        """Whether counts of this run_date leave suspects out."""
        return self.since is not None and self.since + dt.timedelta(weeks=self.shadow_weeks) <= day
