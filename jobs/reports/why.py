"""Why an item is, or is not, on a user's list: the lines that a person reads."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from udfs.recommend.feature_meanings import GROUPS
from udfs.recommend.what_if import Place

MOST_DATES = 5  # of the purchases behind a reason
COMMON = {"other": "all other groups together", "base": "what every row of the model has"}


@dataclass(frozen=True)
class Bought:
    """The user's purchases of one item: the days, newest first."""

    item_id: str
    title: str
    days: Sequence[dt.date]

    def line(self) -> str:
        """The purchases as a line."""
        days = ", ".join(map(str, self.days[:MOST_DATES]))
        more = f" and {len(self.days) - MOST_DATES} earlier" if len(self.days) > MOST_DATES else ""
        return f"{self.title or self.item_id} ({self.item_id}), on {len(self.days)} days: {days}{more}"


@dataclass(frozen=True)
class Why:
    """What is known of one user and one item in the run of one date.

    verdict: sentences, the answer first; factors: of the stored score; behind: the purchases behind the stated reason;
    what_if: by what the user would have bought or not, the place of the item then; notes: what could not be computed.
    """

    verdict: Sequence[str]
    factors: Sequence[tuple[str, float]] = ()
    behind: Bought | None = None
    now: Place | None = None
    what_if: Mapping[str, Place] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def lines(self) -> Iterator[str]:
        """The answer, the factors, the purchases, the counterfactuals, the notes."""
        yield from self.verdict
        if self.factors:
            yield f"score before it is a probability: {sum(value for _, value in self.factors):.4f}, the sum of"
            for name, value in self.factors:
                yield f"  {value:+8.4f}  {name.replace('_', ' ')}: {GROUPS.get(name) or COMMON.get(name, '')}"
        if self.behind:
            yield f"purchases behind the reason: {self.behind.line()}"
        if self.now:
            yield f"now: {_placed(self.now)}"
        for what, place in self.what_if.items():
            yield f"  {what}: {_placed(place)}"
        yield from self.notes


def _placed(place: Place) -> str:
    if place.place is None:
        return f"no candidate (of {place.of})"
    return f"place {place.place} of {place.of}, probability {place.score:.4f}"
