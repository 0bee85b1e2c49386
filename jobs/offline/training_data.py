"""Training data on the driver: the purchases of a bounded number of users, and the catalogue with its texts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from jobs.transforms.item_counts import item_counts
from jobs.transforms.purchases import known_history, within
from jobs.transforms.shop_sample import sampled, shop_size
from schemas.deployment import Deployment
from udfs.catalogue import ATTRIBUTES, LISTING, Catalogue, catalogue_of
from udfs.days import day_number
from udfs.encoder import stored_vectors, text_vectors
from udfs.encoder.user_encoder import UserReader
from udfs.horizon import HABIT_DAYS, HORIZON_DAYS
from udfs.interactions import Codes, Floats, Interactions, from_frame
from udfs.recommend import candidates, fit_ranker, item_models, ranker, scoring
from udfs.recommend.feature_meanings import FEATURES
from udfs.recommend.item_statistics import ItemCounts, counts_of
from udfs.recommend.sample_budget import SampleBudget

# Memory for past runs computed in parallel: some 340 candidates a user of 1.5 kB each, with features and their inputs.
NIGHTS_BYTES, BYTES_PER_USER = 4 << 30, 340 * 1_500


@dataclass(frozen=True)
class Shop:
    """Purchases of a sample, the catalogue that their item codes index, and a text per item.

    counts: what everybody did with each item before a day, by day; empty where the purchases are everybody's.
    """

    interactions: Interactions
    catalogue: Catalogue
    texts: list[str]
    counts: Mapping[int, ItemCounts] = field(default_factory=dict)

    def with_vectors_of(self, item_vectors: pd.DataFrame) -> Catalogue:
        """The catalogue with the vectors (item_id, vector as stored); an item without a vector had no text then."""
        cells = item_vectors.set_index("item_id")["vector"].reindex(self.catalogue.items)
        code, distinct = pd.factorize(cells)
        dims = len(distinct[0]) // 2
        return self.catalogue.with_vectors(stored_vectors.from_bytes(distinct, dims), code.astype(np.int32))

    def by_text(self, limit: int) -> tuple[list[str], Interactions]:
        """The `limit` texts bought most, and their purchases with each text as one item, which is all a tower sees."""
        code, distinct = pd.factorize(np.array(self.texts, dtype=object), sort=True)
        bought = np.bincount(code[self.interactions.item], minlength=len(distinct))
        most_bought = np.sort(np.lexsort((np.arange(len(bought)), -bought))[:limit])
        place = np.full(len(distinct), -1, np.int32)
        place[most_bought] = np.arange(len(most_bought))
        names = np.array([f"{number:09}" for number in range(len(most_bought))])
        return list(distinct[most_bought]), self.interactions.recoded(names, place[code])

    def texts_before(self, day: int) -> list[str]:
        """The different texts of the items that were sold or described before `day`, sorted."""
        known = self.catalogue.described < day
        known[self.interactions.before(day).item] = True
        return sorted({text for text, is_known in zip(self.texts, known, strict=True) if is_known})

    def text_vectors(self, folder: Path) -> tuple[Floats, Codes]:
        """The vectors of the different texts as the encoder of `folder` reads them, and each item's row in them."""
        code, distinct = self.different_texts()
        return text_vectors.encode(folder, distinct), code

    def different_texts(self) -> tuple[Codes, list[str]]:
        """Each item's row in the different texts, and these texts, sorted."""
        code, distinct = pd.factorize(np.array(self.texts, dtype=object), sort=True)
        return code.astype(np.int32), list(distinct)

    def encoded(self, folder: Path) -> Catalogue:
        """The catalogue with a vector for every item, as the encoder of `folder` reads its text."""
        return self.catalogue.with_vectors(*self.text_vectors(folder))

    def past_night(
        self,
        known: Catalogue,
        day: int,
        generators: Collection[str] = candidates.GENERATORS,
        *,
        buyers_only: bool = False,
        reader: UserReader | None = None,
    ) -> PastNight:
        """The run before `day` as it was, with these vectors, and the purchases that followed as known today.

        buyers_only: of users who bought anything in the 28 days from `day`; a ranker learns nothing from other users.
        reader: the learned user encoder; without it, the mean vectors serve.
        """
        left_out = [name for name in candidates.GENERATORS if name not in generators]
        settings = item_models.FitSettings().without(left_out)
        lines = self.interactions.part(self.interactions.day >= day - HABIT_DAYS)
        counts = self.counts[day] if self.counts else None
        state = scoring.fit_state(lines, known, day, settings, counts)
        history, later = lines.before(day), lines.within(day, day + HORIZON_DAYS)
        if buyers_only:
            history = history.part(np.isin(history.user, np.unique(later.known().user)))
        vectors = None if reader is None else reader(history, known.item_vectors(), day)
        pairs, features = scoring.propose(history, state, day, generators, vectors)
        return PastNight(day, pairs, fit_ranker.Night(pairs.user, features, later.holds(pairs.user, pairs.item)))

    def past_nights(
        self,
        known: Catalogue,
        days: Mapping[int, bool],
        generators: Collection[str] = candidates.GENERATORS,
        *,
        cores: int = 1,
        reader: UserReader | None = None,
        done: Callable[[int], None] = lambda _count: None,
    ) -> dict[int, PastNight]:
        """`past_night` of each day, by day; the value in `days` is its buyers_only.

        Runs in parallel, bounded by `cores` and NIGHTS_BYTES. Each has one thread of linear algebra, so the bits do not
        depend on how many run at once. done: called with the number completed.
        """
        users = len(np.unique(self.interactions.known().user))
        at_once = max(1, min(cores, len(days), NIGHTS_BYTES // max(users * BYTES_PER_USER, 1)))
        with threadpool_limits(1), ThreadPoolExecutor(at_once) as pool:
            running = {
                pool.submit(self.past_night, known, day, generators, buyers_only=buyers_only, reader=reader): day
                for day, buyers_only in days.items()
            }
            nights: dict[int, PastNight] = {}
            for future in as_completed(running):
                nights[running[future]] = future.result()
                done(len(nights))
        return {day: nights[day] for day in days}


@dataclass(frozen=True)
class PastNight:
    """Candidates of the run before `day`, and for each whether it was bought in the 28 days from `day`."""

    day: int
    pairs: candidates.Candidates
    night: fit_ranker.Night

    def part(self, rows: ranker.Labels) -> PastNight:
        """These candidates of the run."""
        night = fit_ranker.Night(self.night.user[rows], self.night.features[rows], self.night.label[rows])
        return PastNight(self.day, self.pairs.part(rows), night)

    @property
    def own(self) -> ranker.Labels:
        """Whether the user had bought the item before."""
        return np.asarray(self.night.features[:, list(FEATURES).index("is_own")] > 0)


def collect(
    events: DataFrame,
    items: DataFrame,
    budget: SampleBudget,
    deployment: Deployment,
    run_date: dt.date,
    days: Sequence[int] = (),
) -> Shop:
    """The purchases up to run_date of a sample of this budget, all items, and what everybody did before each of `days`.

    Purchases go back HABIT_DAYS before the first of `days`. The driver holds the sample and a row an item and day.
    """
    tomorrow = day_number(run_date) + 1
    window = HABIT_DAYS + tomorrow - min(days, default=tomorrow)
    lines = known_history(within(events, run_date, window), items, deployment).persist()
    size = shop_size(lines, days)
    item_rows = items.select("item_id", *ATTRIBUTES, *LISTING, "text").toPandas()
    item_rows = item_rows.sort_values("item_id", ignore_index=True)
    known = catalogue_of(item_rows)
    table = sampled(lines, size, budget).toArrow().to_pandas(date_as_object=False)
    counted = item_counts(lines, days).toPandas() if days else pd.DataFrame({"day": []})
    counts = {day: counts_of(counted[counted["day"] == day], known.items, size.buyers[day]) for day in days}
    lines.unpersist()
    return Shop(from_frame(table, known.items), known, item_rows["text"].tolist(), counts)
