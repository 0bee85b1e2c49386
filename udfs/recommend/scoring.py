"""Scoring of one block of users in a run: one result row is one candidate of one user with its probability."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from udfs.catalogue import Catalogue
from udfs.encoder.copurchase import user_vectors
from udfs.encoder.model_folder import ModelError, check_files
from udfs.encoder.stored_vectors import from_bytes
from udfs.interactions import Codes, Floats, Interactions, from_frame
from udfs.recommend import candidates, factors, fit_item_models, item_models, ranker
from udfs.recommend.best_rows import VectorsOfRows
from udfs.recommend.feature_meanings import FEATURES
from udfs.recommend.features import features
from udfs.recommend.item_statistics import ItemCounts, count_items
from udfs.recommend.sample_budget import SampleBudget
from udfs.top_k.exact import Rows

Halves = npt.NDArray[np.float16]

FRESH_DAYS = 28  # an item first described so lately and never sold is a candidate
ROWS_IN_MEMORY = 65_536  # candidate items, 100 MB of vectors
USERS_PER_BATCH = 1_024  # some 340 candidates of 90 features each are held for each of them
# In a model folder beside the encoder: the ranker; what was trained on what; the vectors that the ranker learned with.
RANKER, TRAINING, EARLIER = "ranker.json", "training.json", "earlier.npz"

LINES = ("user_id", "item_id", "event_date", "quantity")  # what `score_users` reads: no score needs baskets
# The columns of what `score_users` gives.
SCORED = (
    "user_id",
    "item_id",
    "score",
    "sources",
    "reason_item_id",
    "times_bought",
    "last_bought_on",
    "usual_gap",
    "recent_buyers",
    "raw_score",
    "factors",
)


@dataclass(frozen=True)
class State:
    """What scoring needs beside the users' own purchases, as of one day: catalogue and item models."""

    catalogue: Catalogue
    models: item_models.ItemModels

    @cached_property
    def row_vectors(self) -> Rows:
        """The vectors of the models' rows, in memory if there are at most ROWS_IN_MEMORY."""
        rows = VectorsOfRows(self.catalogue, self.models.items)
        if len(rows) > ROWS_IN_MEMORY:
            return rows
        return rows.take(np.arange(len(rows)))


def fit_state(
    interactions: Interactions,
    known: Catalogue,
    day: int,
    settings: item_models.FitSettings | None = None,
    counts: ItemCounts | None = None,
    threads: int = 1,
) -> State:
    """The state of the run before `day`, from purchases before it; `interactions` has the catalogue's item codes.

    counts: of everybody, where `interactions` are those of a sample. threads: models fitted side by side.
    """
    counts = counts or count_items(interactions.before(day), day)
    never = counts.column("buyers") == 0
    never[known.inactive(day)] = False
    fresh = np.flatnonzero(never & (known.described < day) & (known.described >= day - FRESH_DAYS))
    models = fit_item_models.fit(
        interactions,
        day,
        settings=settings,
        counts=counts,
        catalogue=fresh,
        attributes=known.attributes,
        threads=threads,
    )
    return State(known, models)


def propose(
    history: Interactions,
    state: State,
    day: int,
    generators: Collection[str] = candidates.GENERATORS,
    vectors: Floats | None = None,
) -> tuple[candidates.Candidates, Floats]:
    """Candidates of the users of `history` and their features [candidates, FEATURES].

    vectors: of the users by a learned encoder, [all users, dims]; without them, those are the mean vectors.
    """
    known = state.catalogue
    if vectors is None and len(known.vectors):
        bought, item = np.unique(history.item, return_inverse=True)
        narrow = replace(history, items=known.items[bought], item=item.astype(np.int32))
        vectors = user_vectors(narrow, known.take(bought), day)
    pairs = candidates.propose(
        history,
        state.models,
        day,
        user_vectors=vectors,
        item_vectors=None if vectors is None else state.row_vectors,
        generators=generators,
    )
    return pairs, features(pairs, history, state.models, day)


def arrivals(pairs: candidates.Candidates, models: item_models.ItemModels) -> npt.NDArray[np.bool_]:
    """[candidates]: proposed by their text, as they have no buyers yet."""
    by_text = pairs.proposed[:, candidates.GENERATORS.index("fresh")]
    return np.asarray(by_text & (models.column("buyers")[pairs.row] == 0))


def best_first(
    user: Codes, item: Codes, score: npt.NDArray[np.floating]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The rows in the order (user, score desc, item), and the place of each of these in its user's list, from 0."""
    order = np.lexsort((item, -score, user))
    return order, _places(user[order])


def _places(user: Codes) -> npt.NDArray[np.int64]:
    """How many rows of the same user precede each row; `user` is ascending."""
    return np.arange(len(user)) - np.searchsorted(user, user)


def lists(user: Codes, item: Codes, score: npt.NDArray[np.floating], users: Codes, k: int) -> npt.NDArray[np.int64]:
    """[users, k]: the item codes of each user's best pairs by (score desc, item asc), -1 where there are too few."""
    order, place = best_first(user, item, score)
    row = np.searchsorted(users, user[order])
    kept = (place < k) & (users[np.minimum(row, len(users) - 1)] == user[order])
    best_items = np.full((len(users), k), -1, np.int64)
    best_items[row[kept], place[kept]] = item[order][kept]
    return best_items


@lru_cache(maxsize=1)
def read_ranker(folder: str) -> ranker.Ranker:
    """The ranker of a model folder; ModelError where a file differs from the manifest, or features are others."""
    check_files(Path(folder))
    fitted = ranker.from_json((Path(folder) / RANKER).read_text("utf-8"))
    if fitted.names != tuple(FEATURES):
        raise ModelError(_other_features(folder))
    return fitted


def read_budget(folder: str) -> SampleBudget:
    """The sample that a model was trained on, by which its item models are fitted in every run.

    ModelError where the model was trained by a version with other features.
    """
    story = json.loads((Path(folder) / TRAINING).read_text("utf-8"))
    if list(story["features"]) != list(FEATURES) or "sample" not in story:
        raise ModelError(_other_features(folder))
    return SampleBudget(**story["sample"])


def _other_features(folder: str) -> str:
    return f"model {Path(folder).name} was trained by a version with other features than this one computes"


@dataclass(frozen=True)
class Ranked:
    """Candidates of some users and their features, as a run ranks them.

    order: the rows that a list may show, by user, then best first; place: of each of these in its user's list, from 0.
    """

    pairs: candidates.Candidates
    table: Floats
    score: npt.NDArray[np.float64]
    order: npt.NDArray[np.int64]
    place: npt.NDArray[np.int64]


def ranked(
    history: Interactions, state: State, fitted: ranker.Ranker, day: int, vectors: Floats | None = None
) -> Iterator[Ranked]:
    """All candidates of the users of `history`, USERS_PER_BATCH users at a time, which bounds the memory."""
    inactive = state.catalogue.inactive(day)
    for start in range(0, len(history.users), USERS_PER_BATCH):
        some = history.part((history.user >= start) & (history.user < start + USERS_PER_BATCH))
        pairs, table = propose(some, state, day, fitted.generators, vectors)
        score = np.round(ranker.score(fitted, table, pairs.user), 9)
        offered = np.flatnonzero(~np.isin(pairs.item, inactive))
        order, place = best_first(pairs.user[offered], pairs.item[offered], score[offered])
        yield Ranked(pairs, table, score, offered[order], place)


def score_users(
    lines: pd.DataFrame,
    state: State,
    folder: str,
    day: int,
    keep: int,
    keep_new: int,
    keep_arrivals: int,
    learned: pd.DataFrame | None = None,
    explained: int = 0,
) -> Iterator[pa.RecordBatch]:
    """The most probable active candidates of each user of `lines`, in the order (user, score desc, item_id).

    Those are the `keep` best of all, the `keep_new` best of the items that the user never bought, and the
    `keep_arrivals` best of the items without any buyer.
    lines: LINES of complete users; learned: user_id and vector (as stored) of the model's user encoder, where it is not
    the mean vector; explained: how many of a user's best rows have raw_score and factors. Columns: SCORED. A batch
    holds USERS_PER_BATCH users, which bounds the memory.
    """
    history = history_of(lines, state.catalogue)
    fitted = read_ranker(folder)
    vectors = None if learned is None else _by_user(learned, history.users, state.catalogue.vectors.shape[1])
    for part in ranked(history, state, fitted, day, vectors):
        pairs, table, order, place = part.pairs, part.table, part.order, part.place
        kept, new = place < keep, table[order, list(FEATURES).index("is_own")] == 0
        kept[new] |= _places(pairs.user[order][new]) < keep_new
        arrival = arrivals(pairs, state.models)[order]
        kept[arrival] |= _places(pairs.user[order][arrival]) < keep_arrivals
        parts = factors.factors(fitted, table[order[place < explained]])
        rows = _scored(pairs, table, part.score, order[kept], history.users, state, day)
        yield _with_factors(rows, np.flatnonzero(place[kept] < explained), parts)


def _by_user(learned: pd.DataFrame, users: npt.NDArray[np.str_], dims: int) -> Floats:
    """[users, dims]: the vectors (user_id, vector) in the order of users; zeros for a user without one."""
    vectors = np.zeros((len(users), dims), np.float32)
    place = np.minimum(np.searchsorted(users, learned["user_id"].to_numpy(np.str_)), len(users) - 1)
    is_known = users[place] == learned["user_id"].to_numpy(np.str_)
    vectors[place[is_known]] = from_bytes(learned["vector"][is_known], dims)
    return vectors


def history_of(lines: pd.DataFrame, known: Catalogue) -> Interactions:
    """The lines with the catalogue's item codes, found without an index of the whole catalogue."""
    ids = np.sort(np.asarray(lines["item_id"].unique(), np.str_))
    code = np.minimum(np.searchsorted(known.items, ids), len(known.items) - 1)
    is_known = known.items[code] == ids
    history = from_frame(lines.assign(basket_id=""), ids[is_known])
    return replace(history, items=known.items, item=code[is_known][history.item].astype(np.int32))


def _scored(
    pairs: candidates.Candidates,
    table: Floats,
    score: npt.NDArray[np.float64],
    order: npt.NDArray[np.int64],
    users: npt.NDArray[np.str_],
    state: State,
    day: int,
) -> pa.RecordBatch:
    """The columns of SCORED for these rows of pairs, but for the last two."""
    column = dict(zip(FEATURES, table[order].T, strict=True))
    bought = column["own_days"] > 0
    row, source = np.nonzero(pairs.proposed[order])
    ends = np.searchsorted(row, np.arange(len(order) + 1)).astype(np.int32)
    sources = pa.array(candidates.GENERATORS).take(pa.array(source))
    ids = state.catalogue.items
    reason = pairs.reason[order]
    last = day - np.nan_to_num(column["own_last"]).astype(np.int64)
    recent = state.models.column("buyers_28")[pairs.row[order]]
    return pa.RecordBatch.from_arrays(
        [
            pa.array(users[pairs.user[order]]),
            pa.array(ids[pairs.item[order]]),
            pa.array(score[order]),
            pa.ListArray.from_arrays(pa.array(ends), sources),
            pa.array(ids[reason], mask=reason < 0),
            pa.array(column["own_days"].astype(np.int32)),
            pa.array(last.astype("datetime64[D]"), mask=~bought),
            pa.array(column["own_gap"].astype(np.float64).round(1), mask=column["own_days"] < 2),
            pa.array(recent.astype(np.int32)),
        ],
        names=list(SCORED[:-2]),
    )


def _with_factors(scored: pa.RecordBatch, rows: npt.NDArray[np.int64], parts: factors.Factors) -> pa.RecordBatch:
    """The columns of SCORED, from those of `_scored` and the factors of these of its rows."""
    place = np.full(scored.num_rows, len(rows))
    place[rows] = np.arange(len(rows))
    at = pa.array(place, mask=place == len(rows))
    columns = [*scored.columns, pa.array(parts.raw).take(at), parts.to_arrow().take(at)]
    return pa.RecordBatch.from_arrays(columns, names=list(SCORED))
