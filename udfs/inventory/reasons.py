"""Reasons of stock actions: one sentence each, with figures that can be checked by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from udfs.inventory.needs import Pairs
from udfs.inventory.transfers import Moves

Doubles = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Reasons:
    """Sentences about pairs, each by its row; location: its id; given, received: units by all its transfers.

    level: the service level, the probability that the units needed suffice.
    """

    pairs: Pairs
    location: npt.NDArray[Any]
    level: float
    review_days: int
    given: Longs
    received: Longs

    def ok(self, rows: Longs) -> list[str]:
        """Why a pair has no action."""
        pairs, sentences = self.pairs, []
        for row, has, needs, known in zip(rows, self._has(rows), self._needs(rows), pairs.known[rows], strict=True):
            if not known:
                sentences.append(f"{has}; no forecast: left alone")
            elif self.given[row]:
                (retained,) = shown(pairs.on_hand[[row]] - self.given[row])
                sentences.append(f"{has}; {needs}: gives {self.given[row]} and keeps {retained}")
            else:
                sentences.append(f"{has}; {needs}: nothing to do")
        return sentences

    def replenish(self, rows: Longs, order: Doubles) -> list[str]:
        """The shortage, and the units ordered for it."""
        missing = np.maximum(self.pairs.needed - self.pairs.position - self.received, 0).round(3)[rows]
        more = order[rows] > missing
        return [
            f"{has}; {needs}: order {units}" + (f" ({short} missing; whole packs)" if above else "")
            for has, needs, units, short, above in zip(
                self._has(rows), self._needs(rows), shown(order[rows]), shown(missing), more.tolist(), strict=True
            )
        ]

    def alert(self, rows: Longs, chance: Doubles, limit: float, missing: Doubles) -> list[str]:
        """The probability to run out before an order could arrive, and the shortage until then."""
        return [
            f"{has}; {lead}: {percent(likely)} chance to run out, above {percent(limit)}; {units} short of "
            f"{percent(self.level)}"
            for has, lead, likely, units in zip(
                self._has(rows),
                self._lead(rows),
                chance[rows].tolist(),
                shown(missing[rows]),
                strict=True,
            )
        ]

    def transfer(self, moves: Moves) -> list[str]:
        """Why the receiver needs units before an order could arrive, and why the giver can spare them."""
        pairs, giver, receiver, level = self.pairs, moves.giver, moves.receiver, percent(self.level)
        has = self._has(receiver, received=False)
        retained = pairs.on_hand[giver] - self.given[giver]
        return [
            f"{here}; {lead}, {needed} needed for {level}: {units} of the {received} it gets from {name}, which keeps "
            f"{keeps} on hand and needs {own} for {level} of its own {days} days ({expected:.2f} expected)"
            for here, lead, needed, units, received, name, keeps, own, days, expected in zip(
                has,
                self._lead(receiver),
                pairs.needed_lead[receiver].tolist(),
                moves.units.tolist(),
                self.received[receiver].tolist(),
                self.location[giver].tolist(),
                shown(retained),
                pairs.needed[giver].tolist(),
                (pairs.lead_days[giver] + self.review_days).tolist(),
                pairs.expected[giver].tolist(),
                strict=True,
            )
        ]

    def _has(self, rows: Longs, *, received: bool = True) -> list[str]:
        """`3 on hand, 0 on order`, and units by transfer."""
        coming = self.received[rows] if received else np.zeros(len(rows), np.int64)
        return [
            f"{hand} on hand, {order} on order" + (f", {units} by transfer" if units else "")
            for hand, order, units in zip(
                shown(self.pairs.on_hand[rows]), shown(self.pairs.on_order[rows]), coming.tolist(), strict=True
            )
        ]

    def _lead(self, rows: Longs) -> list[str]:
        """`4.20 expected (sd 2.60) in 7 days of lead time`."""
        pairs = self.pairs
        spread = np.sqrt(pairs.expected_lead[rows] * pairs.dispersion_lead[rows])
        return [
            f"{mean:.2f} expected (sd {sd:.2f}) in {days} days of lead time"
            for mean, sd, days in zip(
                pairs.expected_lead[rows].tolist(), spread.tolist(), pairs.lead_days[rows].tolist(), strict=True
            )
        ]

    def _needs(self, rows: Longs) -> list[str]:
        """`4.80 expected (sd 2.80) in 7 days of lead time and 1 of review, 10 needed for 95 %`."""
        pairs = self.pairs
        spread = np.sqrt(pairs.expected[rows] * pairs.dispersion[rows])
        return [
            f"{mean:.2f} expected (sd {sd:.2f}) in {days} days of lead time and {self.review_days} of review, "
            f"{units} needed for {percent(self.level)}"
            for mean, sd, days, units in zip(
                pairs.expected[rows].tolist(),
                spread.tolist(),
                pairs.lead_days[rows].tolist(),
                pairs.needed[rows].tolist(),
                strict=True,
            )
        ]


def shown(units: Doubles) -> list[str]:
    """Units as printed in sentences: `3`, or `0.45` of a weighed item."""
    return [f"{value:.3f}".rstrip("0").rstrip(".") for value in units.tolist()]


def percent(share: float) -> str:
    """`95 %`, with up to four significant digits."""
    return f"{100 * share:.4g} %"
