"""Training data on the driver: the purchases of a bounded number of users, and the catalogue with its texts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from jobs.transforms.purchases import known_history, sampled
from schemas.deployment import Deployment
from udfs.catalogue import ATTRIBUTES, LISTING, Catalogue, catalogue_of
from udfs.encoder import stored_vectors, text_vectors
from udfs.horizon import HORIZON_DAYS
from udfs.interactions import Codes, Floats, Interactions, from_frame
from udfs.recommend import candidates, fit_ranker, item_models, ranker, scoring
from udfs.recommend.feature_meanings import FEATURES

# Memory for past runs computed in parallel: some 340 candidates a user of 1.5 kB each, with features and their inputs.
NIGHTS_BYTES, BYTES_PER_USER = 4 << 30, 340 * 1_500


@dataclass(frozen=True)
class Shop:
    """Purchases, the catalogue that their item codes index, and a text per item."""

    interactions: Interactions
    catalogue: Catalogue
    texts: list[str]

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
    ) -> PastNight:
        """The run before `day` as it was, with these vectors, and the purchases that followed as known today.

        buyers_only: of users who bought anything in the 28 days from `day`; a ranker learns nothing from other users.
        """
        left_out = [name for name in candidates.GENERATORS if name not in generators]
        settings = item_models.FitSettings().without(left_out)
        state = scoring.fit_state(self.interactions, known, day, settings)
        history, later = self.interactions.before(day), self.interactions.within(day, day + HORIZON_DAYS)
        if buyers_only:
            history = history.part(np.isin(history.user, np.unique(later.known().user)))
        pairs, features = scoring.propose(history, state, day, generators)
        return PastNight(day, pairs, fit_ranker.Night(pairs.user, features, later.holds(pairs.user, pairs.item)))

    def past_nights(
        self,
        known: Catalogue,
        days: Mapping[int, bool],
        generators: Collection[str] = candidates.GENERATORS,
        *,
        cores: int = 1,
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
                pool.submit(self.past_night, known, day, generators, buyers_only=buyers_only): day
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
        pairs = candidates.Candidates(*(getattr(self.pairs, each.name)[rows] for each in fields(self.pairs)))
        night = fit_ranker.Night(self.night.user[rows], self.night.features[rows], self.night.label[rows])
        return PastNight(self.day, pairs, night)

    @property
    def own(self) -> ranker.Labels:
        """Whether the user had bought the item before."""
        return np.asarray(self.night.features[:, list(FEATURES).index("is_own")] > 0)


def collect(events: DataFrame, items: DataFrame, max_users: int, deployment: Deployment) -> Shop:
    """Purchases of at most about `max_users` users, and all items."""
    lines = known_history(events, items, deployment).persist()
    users = lines.select("user_id").where("user_id IS NOT NULL").distinct().count()
    item_rows = items.select("item_id", *ATTRIBUTES, *LISTING, "text").toPandas()
    item_rows = item_rows.sort_values("item_id", ignore_index=True)
    known = catalogue_of(item_rows)
    table: pd.DataFrame = sampled(lines, users, max_users).toPandas()
    return Shop(from_frame(table, known.items), known, item_rows["text"].tolist())
