"""Promotions: weeks in which a pair was promoted, and when each plan was known."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from udfs.demand.knowledge import holds, undone_by


@dataclass(frozen=True)
class Promotions:
    """Weeks in which a pair of the block was in the mailer or on display; `day` is the week's first.

    known: day of the first run that had the plan; undone: day of the first run that had it replaced, or NEVER.
    """

    pair: npt.NDArray[np.int64]
    day: npt.NDArray[np.int64]
    mailer: npt.NDArray[np.bool_]
    display: npt.NDArray[np.bool_]
    known: npt.NDArray[np.int64]
    undone: npt.NDArray[np.int64]

    def part(self, chosen: npt.NDArray[np.bool_]) -> Promotions:
        """The weeks where `chosen` is true."""
        return Promotions(*(values[chosen] for values in self.__dict__.values()))

    def as_known(self, day: int) -> Promotions:
        """All plans that the run of a day had, also those replaced by then."""
        seen = self.part(self.known <= day)
        return replace(seen, undone=undone_by(seen.undone, day))

    def as_of(self, day: int) -> Promotions:
        """The plans as the run of a day had them."""
        return self.part(holds(self.known, self.undone, day))
