"""A shop on the driver: what training and evaluation fit their models on, of a bounded number of users."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame

from jobs.transforms.purchases import known_purchases, sampled
from udfs.catalogue import ATTRIBUTES, Catalogue, catalogue_of
from udfs.encoder import encoder, stored_vectors
from udfs.horizon import HORIZON_DAYS
from udfs.interactions import Codes, Floats, Interactions, from_frame
from udfs.recommend import candidates, ranker, scoring


@dataclass(frozen=True)
class Shop:
    """Purchases, the catalogue that their item codes stand for, and a text per item."""

    interactions: Interactions
    catalogue: Catalogue
    texts: list[str]

    def with_vectors_of(self, item_vectors: pd.DataFrame) -> Catalogue:
        """The catalogue with the vectors (item_id, vector as stored); an item without one had no text then."""
        cells = item_vectors.set_index("item_id")["vector"].reindex(self.catalogue.items)
        code, distinct = pd.factorize(cells)
        dims = len(distinct[0]) // 2
        return self.catalogue.with_vectors(stored_vectors.from_bytes(distinct, dims), code.astype(np.int32))

    def by_text(self, limit: int) -> tuple[list[str], Interactions]:
        """The `limit` texts bought most, and their purchases as if each text were one item: a tower sees no more."""
        code, distinct = pd.factorize(np.array(self.texts, dtype=object), sort=True)
        bought = np.bincount(code[self.interactions.item], minlength=len(distinct))
        kept = np.sort(np.lexsort((np.arange(len(bought)), -bought))[:limit])
        place = np.full(len(distinct), -1, np.int32)
        place[kept] = np.arange(len(kept))
        names = np.array([f"{number:09}" for number in range(len(kept))])
        return list(distinct[kept]), self.interactions.recoded(names, place[code])

    def texts_before(self, day: int) -> list[str]:
        """The different texts of the items that were sold or described before `day`, sorted."""
        known = self.catalogue.described < day
        known[self.interactions.before(day).item] = True
        return sorted({text for text, there in zip(self.texts, known, strict=True) if there})

    def text_vectors(self, folder: Path) -> tuple[Floats, Codes]:
        """The vectors of the different texts as the encoder of `folder` reads them, and each item's row of them."""
        model = encoder.load_encoder(folder)
        code, distinct = pd.factorize(np.array(self.texts, dtype=object), sort=True)
        return model.encode(list(distinct), model.settings.max_item_tokens), code.astype(np.int32)

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
        """The night before `day` as it would have been with these vectors, and what followed.

        buyers_only: of users who bought anything in the 28 days from `day`; nobody else teaches an order.
        """
        state = scoring.fit_state(self.interactions, known, day)
        history, later = self.interactions.before(day), self.interactions.within(day, day + HORIZON_DAYS)
        if buyers_only:
            history = history.part(np.isin(history.user, np.unique(later.known().user)))
        pairs, features = scoring.propose(history, state, day, generators)
        return PastNight(day, pairs, ranker.Night(pairs.user, features, later.holds(pairs.user, pairs.item)))


@dataclass(frozen=True)
class PastNight:
    """What the night before `day` proposes, and for each candidate whether it was bought in the 28 days from it."""

    day: int
    pairs: candidates.Candidates
    night: ranker.Night

    @property
    def own(self) -> ranker.Labels:
        """Whether the user had bought the item before."""
        return np.asarray(self.night.features[:, list(candidates.FEATURES).index("is_own")] > 0)


def collect(events: DataFrame, items: DataFrame, max_users: int) -> Shop:
    """Purchases of at most about `max_users` users, and all items."""
    lines = known_purchases(events, items).persist()
    users = lines.select("user_id").where("user_id IS NOT NULL").distinct().count()
    told = items.select("item_id", *ATTRIBUTES, "described_on", "text").toPandas()
    told = told.sort_values("item_id", ignore_index=True)
    known = catalogue_of(told)
    table: pd.DataFrame = sampled(lines, users, max_users).toPandas()
    return Shop(from_frame(table, known.items), known, told["text"].tolist())
