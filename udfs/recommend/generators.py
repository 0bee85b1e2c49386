"""The generators of candidates: what each proposes to a user, and its scores."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from udfs.interactions import Codes, Floats
from udfs.recommend.best_rows import best, merged, on_common_grid, searched
from udfs.recommend.grouped import Longs
from udfs.recommend.item_models import VOTES, ItemModels
from udfs.top_k.exact import Rows
from udfs.top_k.products import best_products, on_grid
from udfs.top_k.scan import Doubles

# How many items of a user each proposes.
PER_SOURCE: Final = {
    "own": 200,  # what the user bought before
    "knn": 100,  # ItemKNN over users
    "next": 100,  # what the buyers of the user's items turn to lately
    "basket": 50,  # what lies in one basket with the user's items
    "ease": 60,  # EASE over the most-bought items
    "als": 100,  # implicit ALS, folded in
    "popular": 60,  # buyers in the last 28 days
    "trend": 20,  # more buyers this week than earlier weeks predict
    "bert": 60,  # cosine of the user's and the item's vector
    "fresh": 20,  # the same among items first sold in the last 14 days or never
}
GENERATORS: Final = tuple(PER_SOURCE)
FRESH_DAYS = 14
REASON_NEIGHBOURS = 50
USERS_PER_SUM = 64  # whose sums of votes are held at a time


def fold_in(taste: sp.csr_matrix, models: ItemModels) -> Floats:
    """[users, factors]: each user's ALS factors in closed form, from the user's row of `taste` alone."""
    alpha, regularization = float(models.confidence[0]), float(models.confidence[1])
    size = models.factors.shape[1]
    ridge = models.gram.astype(np.float64) + regularization * np.eye(size)
    result = np.zeros((taste.shape[0], size), np.float32)
    for user in range(taste.shape[0]):
        part = slice(taste.indptr[user], taste.indptr[user + 1])
        own = models.factors[taste.indices[part]].astype(np.float64)
        confidence = alpha * taste.data[part].astype(np.float64)
        if len(confidence):
            # implicit: confidence c = alpha x weight is 1 + (c - 1): Y'CY = Y'Y + Y'(C - 1)Y
            left = ridge + (own * (confidence - 1)[:, None]).T @ own
            result[user] = np.linalg.solve(left, own.T @ confidence)
    return result


def popularity(models: ItemModels) -> Floats:
    """A number per candidate item: log of the rate of buyers in the last 28 days, and a little of that in 84."""
    popular = np.log1p(models.rate("buyers_28")) + 0.01 * np.log1p(models.rate("buyers_84"))
    return popular.astype(np.float32)


def trend(models: ItemModels) -> Floats:
    """A number per candidate item: more buyers this week than the weeks before predict, in standard deviations."""
    usual = models.rate("buyers_84") / 12
    score = (models.rate("buyers_7") - usual) / np.sqrt(usual + 1)
    return score.astype(np.float32)


def _row(matrix: sp.csr_matrix, number: int) -> tuple[Longs, Floats]:
    """Columns and values of a row of a matrix."""
    part = slice(matrix.indptr[number], matrix.indptr[number + 1])
    return matrix.indices[part], matrix.data[part]


class Proposer:
    """The generators that are asked for, over some item models; what users share is computed once.

    A user's scores lie in arrays over the items that are zero between users, so a user costs what they have bought and
    its neighbours, not what the catalogue holds.
    """

    def __init__(self, models: ItemModels, limits: dict[str, int], most_own: int) -> None:
        """limits: how many items of a user each generator proposes; most_own: the most candidate items of a user."""
        self.models, self.limits = models, limits
        scores = {"popular": popularity, "trend": trend}
        self.shop = {name: score(models) for name, score in scores.items() if name in limits}
        self.shop_best = {name: best(score, models.items, limits[name] + most_own) for name, score in self.shop.items()}
        self.fresh = models.column("first_age") <= FRESH_DAYS
        by_item = np.argsort(models.items, kind="stable")
        self.by_age = by_item[self.fresh[by_item]], by_item[~self.fresh[by_item]]
        self.factors, self.unit = on_common_grid(models.factors)
        self.wide = self.factors.astype(np.float64)
        self.taste, self.own = np.zeros(len(models), np.float32), np.zeros(len(models), np.float32)
        self.votes = {name: np.zeros(models.fitted, np.float32) for name in VOTES if name in limits}

    def block(
        self, users: Codes, taste: sp.csr_matrix, own: sp.csr_matrix, vectors: tuple[Doubles, Rows] | None
    ) -> tuple[npt.NDArray[Any], ...]:
        """The columns of Candidates for these users.

        taste, own: [users, rows of the models]; vectors: those of the users, on a grid, and of the rows.
        """
        of_user = np.repeat(np.arange(len(users)), np.diff(own.indptr)), own.indices.astype(np.int64)
        factors = on_grid(fold_in(taste, self.models)) if "als" in self.limits else None
        lists = self._searched(factors, vectors, of_user)
        fitted = taste[:, : self.models.fitted]
        columns: list[tuple[npt.NDArray[Any], ...]] = []
        for number, user in enumerate(users):
            at = number % USERS_PER_SUM
            if at == 0:
                some = fitted[number : number + USERS_PER_SUM]
                sums = {name: (some @ self.models.votes[name]).tocsr() for name in self.votes}
            own_rows, own_score = _row(own, number)
            taste_rows, weight = _row(taste, number)
            self.own[own_rows], self.taste[taste_rows] = own_score, weight
            proposed = {name: rows[number][rows[number] >= 0] for name, rows in lists.items()}
            if "own" in self.limits:
                proposed["own"] = own_rows[best(own_score, self.models.items[own_rows], self.limits["own"])]
            for name, rows in self.shop_best.items():
                proposed[name] = rows[self.own[rows] == 0][: self.limits[name]]
            for name, votes in self.votes.items():
                rows, votes_of_user = _row(sums[name], at)
                votes[rows] = votes_of_user
                is_new = (votes_of_user > 0) & (self.own[rows] == 0)
                rows, votes_of_user = rows[is_new], votes_of_user[is_new]
                proposed[name] = rows[best(votes_of_user, rows, self.limits[name])]
            row, by = self._union(proposed)
            values = self._values(row, None if factors is None else factors[number])
            columns.append((np.full(len(row), user), self.models.items[row], row, values, by, *self._reasons(row)))
            self.own[own_rows], self.taste[taste_rows] = 0, 0
            for name, votes in self.votes.items():
                votes[_row(sums[name], at)[0]] = 0
        joined = tuple(np.concatenate(column) for column in zip(*columns, strict=True))
        if vectors is not None:
            self._add_cosines(joined[3], joined[2], [len(column[0]) for column in columns], *vectors)
        return joined

    def _searched(
        self, factors: Doubles | None, vectors: tuple[Doubles, Rows] | None, own: tuple[Longs, Longs]
    ) -> dict[str, Longs]:
        """Rows [users, limit] of the generators that multiply vectors, -1 where there are fewer.

        Rows without factors have the product 0 with everybody.
        """
        lists, items = {}, self.models.items
        if factors is not None:
            fitted, limit = self.models.fitted, self.limits["als"]
            mine = own[1] < fitted
            rows, products = best_products(factors, self.factors, limit, (own[0][mine], own[1][mine]))
            if fitted < len(self.models):
                others = np.arange(fitted, len(self.models))[: limit + int(np.bincount(own[0]).max(initial=0))]
                rest = np.tile(others, (len(factors), 1))
                theirs = (own[1] >= fitted) & (own[1] < fitted + len(others))
                rest[own[0][theirs], own[1][theirs] - fitted] = -1
                zeros = np.where(rest >= 0, np.float32(0), np.float32(-np.inf))
                rows, _ = merged(items, limit, (rows, products), (rest, zeros))
            lists["als"] = rows
        if vectors is not None and {"bert", "fresh"} & set(self.limits):
            limit = max(self.limits.get(name, 0) for name in ("bert", "fresh"))
            fresh = searched(*vectors, self.by_age[0], limit, own)
            if "fresh" in self.limits:
                lists["fresh"] = fresh[0][:, : self.limits["fresh"]]
            if "bert" in self.limits:
                other = searched(*vectors, self.by_age[1], self.limits["bert"], own)
                lists["bert"] = merged(items, self.limits["bert"], fresh, other)[0]
        return lists

    def _union(self, proposed: dict[str, Longs]) -> tuple[Codes, npt.NDArray[np.bool_]]:
        """The rows that any generator proposes, by item, and which generators do: [rows, GENERATORS]."""
        rows = np.concatenate(list(proposed.values()))
        places = np.repeat([GENERATORS.index(name) for name in proposed], [len(part) for part in proposed.values()])
        _, first, number = np.unique(self.models.items[rows], return_index=True, return_inverse=True)
        by = np.zeros((len(first), len(GENERATORS)), bool)
        by[number, places] = True
        return rows[first].astype(np.int32), by

    def _values(self, row: Codes, factors: Doubles | None) -> Floats:
        """[rows, GENERATORS]: the scores of the user in hand, those by text vectors left out."""
        values = np.full((len(row), len(GENERATORS)), np.nan, np.float32)
        if "own" in self.limits:
            values[:, GENERATORS.index("own")] = self.own[row]
        for name, score in self.shop.items():
            values[:, GENERATORS.index(name)] = score[row]
        is_fitted = row < self.models.fitted
        fitted = row[is_fitted]
        for name, votes in self.votes.items():
            values[:, GENERATORS.index(name)] = 0
            values[is_fitted, GENERATORS.index(name)] = votes[fitted]
        if factors is not None:
            values[:, GENERATORS.index("als")] = 0
            values[is_fitted, GENERATORS.index("als")] = self.wide[fitted] @ factors * self.unit
        return values

    def _add_cosines(self, values: Floats, row: Codes, counts: list[int], users: Doubles, vectors: Rows) -> None:
        """Fill in the scores by text vectors of all pairs of a block; `counts`: how many each user has."""
        distinct, place = np.unique(row, return_inverse=True)
        table = vectors.take(distinct.astype(np.int64), axis=0)  # each is read and converted once
        ends = np.cumsum(counts)
        cosine = np.empty(len(row), np.float32)
        for vector, start, end in zip(users, ends - counts, ends, strict=True):
            cosine[start:end] = table[place[start:end]].astype(np.float64) @ vector
        if "bert" in self.limits:
            values[:, GENERATORS.index("bert")] = cosine
        if "fresh" in self.limits:
            values[:, GENERATORS.index("fresh")] = np.where(self.fresh[row], cosine, np.float32(-np.inf))

    def _reasons(self, row: Codes) -> tuple[Codes, Floats, Floats]:
        """The own item with the largest part of an item's ItemKNN score, its share, and how many own items carry it.

        Of the user in hand; [rows] each.
        """
        models, fitted = self.models, row[row < self.models.fitted]
        near = models.neighbours[fitted, :REASON_NEIGHBOURS]
        weights = np.zeros((len(row), near.shape[1]), np.float32)
        parts = self.taste[near] * (near >= 0) * models.similarities[fitted, :REASON_NEIGHBOURS]
        weights[row < models.fitted] = parts
        best = weights.argmax(axis=1)
        most = weights[np.arange(len(row)), best]
        total = weights.sum(axis=1)
        own = np.full(len(row), -1, np.int32)
        own[row < models.fitted] = near[np.arange(len(fitted)), best[row < models.fitted]]
        reason = np.where(most > 0, models.items[own], -1)
        share = most / np.maximum(total, np.float32(1e-9))
        carriers = total**2 / np.maximum((weights**2).sum(axis=1), np.float32(1e-12))
        return reason.astype(np.int32), share.astype(np.float32), carriers.astype(np.float32)
