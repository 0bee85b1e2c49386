"""The rankers of one training: the days they learn from, one that is judged, and one that is served."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from jobs.offline.promotion import Verdict
from jobs.offline.training_data import PastNight, Shop
from schemas.errors import DataError
from udfs.catalogue import Catalogue
from udfs.days import date_of, day_number
from udfs.encoder.user_encoder import UserReader
from udfs.horizon import HORIZON_DAYS
from udfs.recommend import fit_ranker, ranker
from udfs.recommend.feature_meanings import FEATURES


@dataclass(frozen=True)
class Days:
    """Days of a training as numbers: `tomorrow` is the day after run_date.

    nights: the past nights that the ranker learns from, newest first, each with its 28 days after it before
    `calibration`, the night that none of them has seen.
    """

    tomorrow: int
    calibration: int
    nights: tuple[int, ...]

    @classmethod
    def of(cls, run_date: dt.date, nights: int, days_between: int) -> Days:
        """Those of a training as of run_date, its past nights so many days apart."""
        tomorrow = day_number(run_date) + 1
        newest = tomorrow - 2 * HORIZON_DAYS
        chosen = tuple(newest - days_between * number for number in range(nights))
        return cls(tomorrow, tomorrow - HORIZON_DAYS, chosen)

    @property
    def first(self) -> int:
        """The oldest night: the encoder that it is ranked with knows purchases before it."""
        return min(self.nights)

    def check(self, shop: Shop) -> None:
        """DataError where the shop has no purchases that are old enough."""
        oldest = self.first - HORIZON_DAYS
        if not len(shop.interactions.before(oldest).known()):
            raise DataError(
                f"silver.events has too few purchases to train on: some by known users before "
                f"{date_of(oldest)} are needed for a model as of {date_of(self.tomorrow - 1)}"
            )

    def past_nights(
        self,
        shop: Shop,
        known: Catalogue,
        generators: Sequence[str],
        done: Callable[[float], None],
        reader: UserReader | None = None,
    ) -> dict[int, PastNight]:
        """Each night by its day, with these vectors: of buyers only, but for the one that calibrates."""
        wanted = dict.fromkeys(self.nights, True) | {self.calibration: False}  # probabilities are for all users
        cores = os.cpu_count() or 1
        return shop.past_nights(
            known, wanted, generators, cores=cores, reader=reader, done=lambda count: done(count / len(wanted))
        )


@dataclass(frozen=True)
class Rankers:
    """`judged`: what the calibrating night decides on, by `verdict`; `served`: one that has learned from it too."""

    judged: ranker.Ranker
    served: ranker.Ranker
    verdict: Verdict


def fit_rankers(
    days: Days,
    past: dict[int, PastNight],
    generators: Sequence[str],
    *,
    trees: int,
    max_rows: int,
    judge: Callable[[ranker.Ranker], Verdict],
) -> Rankers:
    """The rankers of these nights; a ranker learns from at most `max_rows` candidates, drawn by user."""
    names, last = tuple(FEATURES), past[days.calibration].night
    nights = [past[day].night for day in days.nights]
    settings = fit_ranker.Settings(trees=trees, max_rows=max_rows, threads=max(1, (os.cpu_count() or 1) // 2))
    # Side by side, each on half of the cores: on two neither waits for a thread of its own.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(2) as pool:
        newest_too = pool.submit(fit_ranker.fit_order, [*nights, last], names, generators, settings)
        judged = fit_ranker.fit(nights, [last], names, generators, settings)
        verdict = judge(judged)
        return Rankers(judged, replace(newest_too.result(), calibration=judged.calibration), verdict)
