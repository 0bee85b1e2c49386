"""Lists of past purchases: what a user who asked for it would have been shown, and what the user then bought of it.

A shop without a search log learns from them what sells of a query and how far a user's own history decides. What a
list may know ends at its cut; what was bought is of the days after it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

from udfs.days import NEVER
from udfs.horizon import HORIZON_DAYS
from udfs.interactions import Interactions
from udfs.search.fit_ranker import Lists
from udfs.search.ranker import QUERY_ITEM
from udfs.search.user_features import assembled

Doubles = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

SHOWN = 40  # most popular items of a query in a list
NEAR = 300  # new items that suit a user best: about what generators propose
POPULAR_DAYS = 28  # whose buyers are an item's popularity
HALF_LIFE = 7.0  # days after which a purchase counts half in what sells of late
GAP_PRIOR = 45.0  # days between two purchases of an item of whom one alone is known
USERS_AT_A_TIME = 256


@dataclass(frozen=True)
class PastLists:
    """Lists, and whose and what each row is: user, query and item codes; bought: items that the list's user bought of
    the query in the horizon, in the list or not; own: whether the user had bought the item before.
    """

    lists: Lists
    user: Places
    query: Places
    item: Places
    bought: Places
    own: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Sample:
    """At most so many lists, of at most so many users."""

    lists: int = 8_000
    users: int = 100_000
    seed: int = 0


def interactions(lines: pd.DataFrame, items: npt.NDArray[np.str_]) -> Interactions:
    """Lines of user_id (missing for a guest), item_id, basket and day, of these items, ascending and unique."""
    item = pd.Index(items).get_indexer(pd.Index(lines["item_id"]))
    lines, item = lines[item >= 0], item[item >= 0]
    user, users = pd.factorize(lines["user_id"], sort=True)
    day, basket = lines["day"].to_numpy(np.int32), pd.factorize(lines["basket"], sort=True)[0]
    order = np.lexsort((basket, item, user, day))
    ones, never = np.ones(len(day), np.float32), np.full(len(day), NEVER, np.int32)
    codes = user[order].astype(np.int32), item[order].astype(np.int32), day[order], basket[order].astype(np.int64)
    return Interactions(np.asarray(users, np.str_), items, *codes, ones, day[order], never)


def popularity(purchases: Interactions, cut: int, share: float = 1.0) -> tuple[Doubles, Doubles]:
    """[items] twice: buyers on the POPULAR_DAYS days before `cut`; and their days, of which older ones count less.

    share: of all buyers, those in `purchases`.
    """
    seen = np.flatnonzero((purchases.day < cut) & (purchases.day >= cut - POPULAR_DAYS))
    item, age = purchases.item[seen].astype(np.int64), cut - 1 - purchases.day[seen]
    pair = np.unique(purchases.buyer()[seen], return_inverse=True)[1] * len(purchases.items) + item
    days = np.unique(pair * POPULAR_DAYS + age)
    pair, age = np.divmod(days, POPULAR_DAYS)
    width = len(purchases.items)
    lately = np.bincount(pair % width, 0.5 ** (age / HALF_LIFE), minlength=width)
    buyers = np.bincount(np.unique(pair) % width, minlength=width)
    return buyers / share, np.asarray(lately / share, float)


def past_lists(
    purchases: Interactions,
    of_query: sp.csr_matrix,
    cut: int,
    sample: Sample,
    *,
    new: bool = False,
    share: float = 1.0,
) -> PastLists:
    """Lists of the users who bought something of a query in the HORIZON_DAYS from `cut`; a sample of them.

    of_query: [queries, items], which items a query asks for. `new`: of items that the user never bought before alone.
    share: of all buyers, those in `purchases`.
    """
    known = purchases.known()
    before, after = known.part(known.day < cut), known.within(cut, cut + HORIZON_DAYS)
    shape = (len(purchases.users), len(purchases.items))
    history = _History.of(before, shape, cut)
    truth = _cells(after.user, after.item, shape)
    if new:
        truth = truth - truth.multiply(history.times > 0)
        truth.eliminate_zeros()
    asked = (truth @ of_query.T).tocoo()  # [users, queries]: items bought of it
    draw = np.random.default_rng(sample.seed)
    some = draw.permutation(np.unique(asked.row))[: sample.users]
    chosen = np.sort(draw.permutation(np.flatnonzero(np.isin(asked.row, some)))[: sample.lists])
    users, queries, bought = asked.row[chosen].astype(np.int64), asked.col[chosen].astype(np.int64), asked.data[chosen]
    sold, lately = popularity(purchases, cut, share)
    near = _nearest(history.times, np.unique(users))
    items = _shown(of_query, lately, history.times, near, users, queries, new)
    sizes = np.array([len(each) for each in items], np.int64)
    number, item = np.repeat(np.arange(len(items)), sizes), np.concatenate([np.zeros(0, np.int64), *items])
    user = users[number]
    most_sold = np.maximum.reduceat(sold[item], np.cumsum(sizes) - sizes)[number] if len(item) else sold[item]
    columns = {
        "lexical": np.ones(len(item)),
        "covered": np.ones(len(item)),
        "complete": np.ones(len(item)),
        "popular": np.log1p(sold[item]),
        "lately": np.log1p(lately[item]),
        "share": sold[item] / np.maximum(most_sold, 1e-9),
    }
    nothing = np.full(len(item), np.nan)
    query_item = np.column_stack([columns.get(name, nothing) for name in QUERY_ITEM]).astype(np.float32)
    times, since, gap = history.at(user, item)
    suiting = np.array([len(each) for each in near.values()], np.int64)
    cells = np.repeat(list(near), suiting), np.concatenate([np.zeros(0, np.int64), *near.values()])
    places = np.arange(1, suiting.sum() + 1) - np.repeat(np.cumsum(suiting) - suiting, suiting)
    rank = _at(sp.csr_matrix((places.astype(float), cells), shape), user, item)
    rank[rank == 0] = np.nan
    label = _at(truth, user, item)
    lists = Lists(number, query_item, assembled(times, since, gap, rank), label)
    return PastLists(lists, user, queries[number], item, bought[number].astype(np.int64), times > 0)


def _cells(rows: npt.NDArray[np.integer], columns: npt.NDArray[np.integer], shape: tuple[int, int]) -> sp.csr_matrix:
    """[rows, columns]: 1 where there is any."""
    matrix = sp.csr_matrix((np.ones(len(rows)), (rows, columns)), shape)
    matrix.data[:] = 1
    return matrix


def _at(matrix: sp.csr_matrix, rows: Places, columns: Places) -> Doubles:
    """Its values at these cells; SciPy gives a matrix for none."""
    return np.asarray(matrix[rows, columns], float).ravel() if len(rows) else np.zeros(0)


@dataclass(frozen=True)
class _History:
    """[users, items] of days on which it was bought, and of the last and the first such day less 1970, plus 1."""

    times: sp.csr_matrix
    last: sp.csr_matrix
    first: sp.csr_matrix
    cut: int

    @classmethod
    def of(cls, before: Interactions, shape: tuple[int, int], cut: int) -> _History:
        """Of purchases before `cut`."""
        pair = before.user.astype(np.int64) * shape[1] + before.item
        pairs, day = np.divmod(np.unique(pair * (cut + 1) + before.day), cut + 1)
        pairs, start, times = np.unique(pairs, return_index=True, return_counts=True)
        cells = np.divmod(pairs, shape[1])
        values = times, day[start + times - 1] + 1, day[start] + 1
        counts, last, first = (sp.csr_matrix((value.astype(float), cells), shape) for value in values)
        return cls(counts, last, first, cut)

    def at(self, user: Places, item: Places) -> tuple[Doubles, Doubles, Doubles]:
        """Days bought, days since the last one and usual gap of pairs; 0, and NaN twice, where never bought."""
        times, last, first = (_at(matrix, user, item) for matrix in (self.times, self.last, self.first))
        own = times > 0
        gap = (last - first + GAP_PRIOR) / np.maximum(times, 1)
        return times, np.where(own, self.cut - last, np.nan), np.where(own, gap, np.nan)


def _nearest(times: sp.csr_matrix, users: Places) -> dict[int, Places]:
    """The NEAR items that each user never bought and that users like them bought, the best first.

    Users are alike by the cosine of what they bought, common items counting less.
    """
    buyers = np.maximum(np.asarray((times > 0).sum(axis=0)).ravel(), 1)
    weighed = times.sign() @ sp.diags_array(np.log1p(times.shape[0] / buyers))
    norm = np.sqrt(np.asarray(weighed.multiply(weighed).sum(axis=1)).ravel())
    unit = (sp.diags_array(1 / np.maximum(norm, 1e-9)) @ weighed).tocsr()
    ones = times.sign().T.tocsr()
    found: dict[int, Places] = {}
    for start in range(0, len(users), USERS_AT_A_TIME):
        block = users[start : start + USERS_AT_A_TIME]
        alike = np.asarray((unit[block] @ unit.T).todense()) ** 2
        scores = (ones @ alike.T).T
        for row, user in enumerate(block.tolist()):
            scores[row, times.indices[times.indptr[user] : times.indptr[user + 1]]] = 0
            best = np.argpartition(-scores[row], min(NEAR, scores.shape[1] - 1))[:NEAR]
            best = best[scores[row, best] > 0]
            found[user] = best[np.argsort(-scores[row, best], kind="stable")]
    return found


def _shown(
    of_query: sp.csr_matrix,
    sold: Doubles,
    times: sp.csr_matrix,
    near: dict[int, Places],
    users: Places,
    queries: Places,
    new: bool,
) -> list[Places]:
    """Items of each list: of the query the most popular, the user's own, and those that suit the user."""
    items_of = {
        query: of_query.indices[of_query.indptr[query] : of_query.indptr[query + 1]] for query in set(queries.tolist())
    }
    best = {query: np.sort(items[np.argsort(-sold[items], kind="stable")[:SHOWN]]) for query, items in items_of.items()}
    sorted_items = {query: np.sort(items) for query, items in items_of.items()}
    shown = []
    for user, query in zip(users.tolist(), queries.tolist(), strict=True):
        own = times.indices[times.indptr[user] : times.indptr[user + 1]]
        mine = np.intersect1d(np.concatenate([own, near[user]]), sorted_items[query], assume_unique=True)
        items = np.union1d(best[query], mine)
        shown.append((np.setdiff1d(items, own) if new else items).astype(np.int64))
    return shown
