"""One row is one user and one item that some generator proposes for that user, and what is known of the pair."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from udfs.interactions import Codes, Floats, Interactions
from udfs.recommend.item_models import Halves, ItemModels, Longs, decay, ranks, starts, user_matrix

Columns: TypeAlias = dict[str, npt.NDArray[Any]]

# A generator scores every item for every user; the figure is how many items of a user it proposes.
PER_SOURCE: Final = {
    "own": 200,  # what the user bought before
    "knn": 100,  # ItemKNN over users
    "next": 100,  # what the buyers of the user's items turn to lately
    "basket": 50,  # what lies in one basket with the user's items
    "ease": 60,  # EASE over the most-bought items
    "als": 100,  # implicit ALS, folded in
    "popular": 60,  # buyers in the last 28 days
    "trend": 20,  # more buyers this week than weeks before let expect
    "bert": 60,  # cosine of the user's and the item's vector
    "fresh": 20,  # the same among items first sold in the last 14 days or never
}
GENERATORS: Final = tuple(PER_SOURCE)
FRESH_DAYS = 14
OWN_HALF_LIFE = 120.0
USERS_PER_BLOCK = 128  # [block, items] of float32 for each generator is held at a time
HALF_LIVES = (14, 45, 180)
LAST_BASKETS = (3, 10)
OWN_BLENDS = (3, 10, 30)  # hundredths of popularity added to a score
ALS_BLENDS = (2, 5, 10)
REASON_NEIGHBOURS = 50
PRIOR_GAPS = 2.0  # how many of an item's usual gaps stand beside the user's own


@dataclass(frozen=True)
class Candidates:
    """One row is one pair, by (user, item); users without known purchases have none.

    user, item: codes; row: the item's row in ItemModels; scores: [rows, GENERATORS], NaN where a generator was
    not asked for or needs vectors that were not given; reason: code of the own item whose neighbour this one is most,
    -1 where none; carried: that own item's share of the sum; carriers: how many own items are neighbours.
    """

    user: Codes
    item: Codes
    row: Codes
    scores: Floats
    proposed: npt.NDArray[np.bool_]
    reason: Codes
    carried: Floats
    carriers: Floats

    def __len__(self) -> int:
        """Pairs."""
        return len(self.user)


def propose(
    history: Interactions,
    models: ItemModels,
    day: int,
    *,
    user_vectors: Floats | None = None,
    item_vectors: Floats | None = None,
    generators: Collection[str] = GENERATORS,
    per_source: dict[str, int] | None = None,
) -> Candidates:
    """The union of these generators for the users of `history`, from their purchases before `day`.

    user_vectors: [all users, dims] by user code; item_vectors: [all items, dims] by item code, a zero row where an
    item has none. A user's rows depend on that user's purchases and on the models only.
    """
    days = history.before(day).user_days()
    users = np.unique(days.user)
    limits = PER_SOURCE | (per_source or {})
    half_life = float(models.confidence[2])
    taste = user_matrix(days, day, half_life)[users][:, models.items].tocsr()
    own = days.matrix(decay(day - days.day, OWN_HALF_LIFE))[users][:, models.items].tocsr()
    near = _transposed(models.neighbours, models.similarities)
    near_next = _transposed(models.next_neighbours, models.next_similarities)
    near_basket = _transposed(models.basket_neighbours, models.basket_similarities)
    near_ease = _transposed(models.ease_neighbours, models.ease_weights)
    popular, trend = _popular(models), _trend(models)
    factors = models.factors.astype(np.float64)
    vectors = None if item_vectors is None else item_vectors[models.items].astype(np.float64)
    with_vectors = vectors is not None and user_vectors is not None
    fresh = models.column("first_age") <= FRESH_DAYS
    parts = []
    for start in range(0, len(users), USERS_PER_BLOCK):
        block = slice(start, min(start + USERS_PER_BLOCK, len(users)))
        weight = taste[block]
        scores: dict[str, Floats] = {
            "own": own[block].toarray(),
            "knn": (weight @ near).toarray(),
            "next": (weight @ near_next).toarray(),
            "basket": (weight @ near_basket).toarray(),
            "ease": (weight @ near_ease).toarray(),
            "als": _products(fold_in(weight, models), factors),
            "popular": np.broadcast_to(popular, (weight.shape[0], len(models))),
            "trend": np.broadcast_to(trend, (weight.shape[0], len(models))),
        }
        if with_vectors:
            assert user_vectors is not None
            assert vectors is not None
            scores["bert"] = _products(user_vectors[users[block]], vectors)
            scores["fresh"] = np.where(fresh, scores["bert"], np.float32(-np.inf))
        scores = {name: score for name, score in scores.items() if name in generators}
        parts.append(_block(scores, limits, weight.toarray(), models, users[block]))
    if not parts:  # nobody with a history
        none = np.empty(0, np.int32)
        wide = np.empty((0, len(GENERATORS)), np.float32)
        return Candidates(none, none, none, wide, wide > 0, none, wide[:, 0], wide[:, 0])
    joined = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return Candidates(*joined)


def _products(users: Floats, items: npt.NDArray[np.float64]) -> Floats:
    """[users, items]: the product of each pair, rounded from float64.

    In float32 its last bit would follow how many users stand in the block, and so would the places of near ties.
    """
    return np.asarray(users.astype(np.float64) @ items.T, np.float32)


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
            # implicit: confidence c = alpha x weight stands for 1 + (c - 1): Y'CY = Y'Y + Y'(C - 1)Y
            left = ridge + (own * (confidence - 1)[:, None]).T @ own
            result[user] = np.linalg.solve(left, own.T @ confidence)
    return result


def _transposed(rows: Codes, values: Halves) -> sp.csr_matrix:
    """[own items, items]: the similarity where the own item is among the item's neighbours."""
    there = rows >= 0
    ends = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
    near = sp.csr_matrix((values[there].astype(np.float32), rows[there], ends), shape=(len(rows), len(rows)))
    return near.T.tocsr()


def _popular(models: ItemModels) -> Floats:
    popular = np.log1p(models.column("buyers_28")) + 0.01 * np.log1p(models.column("buyers_84"))
    return popular.astype(np.float32)


def _trend(models: ItemModels) -> Floats:
    usual = models.column("buyers_84") / 12
    trend = (models.column("buyers_7") - usual) / np.sqrt(usual + 1)
    return trend.astype(np.float32)


def _top(scores: Floats, count: int) -> npt.NDArray[np.bool_]:
    """True for the `count` best of each row by (score desc, item asc), of those above -inf."""
    rows, width = scores.shape
    if count >= width:
        return scores > -np.inf
    chosen = np.zeros(scores.shape, bool)
    if count <= 0:
        return chosen
    # The count-th best of the chunks' maxima is no more than the count-th best score: few scores are left to sort.
    chunk = max(1, width // (8 * count))
    whole = width // chunk * chunk
    maxima = scores[:, :whole].reshape(rows, -1, chunk).max(axis=2)
    edge = np.partition(maxima, maxima.shape[1] - count, axis=1)[:, -count][:, None]
    row, item = np.nonzero((scores >= edge) & (scores > -np.inf))
    kept = ranks(row, scores[row, item]) <= count
    chosen[row[kept], item[kept]] = True
    return chosen


def _block(
    scores: dict[str, Floats], limits: dict[str, int], taste: Floats, models: ItemModels, users: Codes
) -> tuple[npt.NDArray[Any], ...]:
    """The columns of Candidates for the users of one block."""
    mine = scores["own"] > 0
    proposed = {}
    for name, score in scores.items():
        wanted = np.where(mine, score, np.float32(-np.inf)) if name == "own" else score
        if name in ("knn", "next", "basket", "ease"):
            wanted = np.where(score > 0, score, np.float32(-np.inf))
        if name != "own":  # own items have their generator; the rest look for others
            wanted = np.where(mine, np.float32(-np.inf), wanted)
        proposed[name] = _top(wanted, limits[name])
    union = np.logical_or.reduce(list(proposed.values()))
    user, row = np.nonzero(union)
    values = np.full((len(user), len(GENERATORS)), np.nan, np.float32)
    by = np.zeros(values.shape, bool)
    for place, name in enumerate(GENERATORS):
        if name in scores:
            score = scores[name]
            values[:, place] = score[user, row]
            by[:, place] = proposed[name][user, row]
    reason, carried, carriers = _reasons(user, row, taste, models)
    item = models.items[row]
    return (users[user], item, row.astype(np.int32), values, by, reason, carried, carriers)


def _reasons(user: Longs, row: Longs, taste: Floats, models: ItemModels) -> tuple[Codes, Floats, Floats]:
    """The own item that gives an item's ItemKNN score most, its share of the score, and how many give some."""
    near = models.neighbours[row, :REASON_NEIGHBOURS]
    weights = taste[user[:, None], near] * (near >= 0) * models.similarities[row, :REASON_NEIGHBOURS]
    best = weights.argmax(axis=1)
    most = weights[np.arange(len(row)), best]
    total = weights.sum(axis=1)
    reason = np.where(most > 0, models.items[near[np.arange(len(row)), best]], -1)
    share = most / np.maximum(total, np.float32(1e-9))
    return reason.astype(np.int32), share.astype(np.float32), (weights > 0).sum(axis=1).astype(np.float32)


def _described(stem: str, meaning: str) -> dict[str, str]:
    return {
        f"{stem}_score": meaning,
        f"{stem}_rank": f"place of {stem}_score among the user's candidates, 1 is best",
        f"{stem}_z": f"{stem}_score less the mean of the user's candidates, over their standard deviation",
        f"{stem}_kind_rank": f"place of {stem}_score among the user's own, or among the user's new candidates",
    }


MEANINGS: Final = {
    "own": "decayed number of days on which the user bought the item",
    "knn": "similarity to the user's items over users, weighted by how newly they were bought",
    "next": "how much the buyers of the user's items turn to it lately, weighted alike",
    "basket": "similarity over baskets, weighted alike",
    "ease": "EASE: the sum of the user's items' weights for this one",
    "als": "implicit ALS: the user's factors times the item's",
    "popular": "log of buyers in the last 28 days",
    "trend": "buyers of the last 7 days against the weeks before, in standard deviations",
    "bert": "cosine of the user's and the item's text vector",
}
FEATURES: Final[dict[str, str]] = {
    **{name: text for stem, meaning in MEANINGS.items() for name, text in _described(stem, meaning).items()},
    "is_own": "1 if the user bought the item before",
    "own_days": "days on which the user bought it",
    **{f"own_decay_{h}": f"those days, each halved every {h} days of age" for h in HALF_LIVES},
    **{f"own_log_{h}": f"log of own_decay_{h} + 0.02" for h in HALF_LIVES},
    **{f"own_popular_{b}": f"own_score + 0.{b:02} popular_score" for b in OWN_BLENDS},
    **{f"als_popular_{b}": f"als_score + 0.{b:02} popular_score" for b in ALS_BLENDS},
    "knn_log": "log of knn_score + 0.01",
    "next_log": "log of next_score + 0.01",
    "own_rate_log": "log of own_rate + 0.01",
    "own_quantity": "log of 1 + the user's mean units of it a day",
    "own_last": "days since the user bought it last",
    "own_first": "days since the user bought it first",
    "own_gap": "the user's mean days between buying it, drawn to the item's",
    "own_due": "own_last over own_gap: 1 is due",
    "own_due_off": "absolute log of own_due",
    "own_rate": "share of the user's shopping days since own_first on which it was bought",
    **{f"own_in_{n}": f"share of the user's last {n} shopping days with it" for n in LAST_BASKETS},
    "own_missed": "shopping days of the user since the last one with it",
    "own_expected": "buys in the next 28 days at the user's rate: 28 over own_gap, times what is left of the habit",
    "carried": "share of the ItemKNN score that comes from one own item",
    "carriers": "own items among the item's nearest neighbours",
    "proposals": "generators that propose the item",
    "item_buyers_7": "log of 1 + buyers in the last 7 days",
    "item_buyers_28": "the same, 28 days",
    "item_buyers_84": "the same, 84 days",
    "item_change": "log of buyers in the last 28 days over those in the 28 before",
    "item_speed": "log of buyers in the last 7 days over a quarter of those in the last 28",
    "item_first_age": "days since the item was first sold",
    "item_last_age": "days since it was last sold",
    "item_repeat_rate": "share of its buyers who came back for it",
    "item_gap": "mean days between two purchases of it by one user",
    "item_quantity": "mean log of units a day",
    "user_baskets": "log of 1 + the user's shopping days",
    "user_items": "log of 1 + distinct items of the user",
    "user_last": "days since the user last bought",
    "user_first": "days since the user first bought",
    "user_gap": "mean days between two shopping days of the user",
    "user_due": "user_last over user_gap",
    "user_size": "items a shopping day",
    "user_repeats": "share of the user's purchases that repeat an earlier one",
    "user_repeats_new": "the same of the last 56 days",
    "user_recent": "shopping days in the last 28 days",
    "user_taste_popular": "mean popular_score of the user's items",
    "popular_off": "popular_score less user_taste_popular",
    "attribute_1": "decayed share of the user's purchases with the item's first attribute",
    "attribute_2": "the same, second attribute",
    "attribute_3": "the same, third attribute",
    "attribute_1_lift": "log of attribute_1 over the same share in the whole shop",
    "attribute_2_lift": "the same, second attribute",
    "attribute_3_lift": "the same, third attribute",
    "attribute_1_last": "days since the user bought anything with the first attribute",
    "attribute_2_last": "the same, second attribute",
    "attribute_3_last": "the same, third attribute",
}
ATTRIBUTES = 3


def features(candidates: Candidates, history: Interactions, models: ItemModels, day: int) -> Floats:
    """[candidates, FEATURES], NaN where a feature does not apply (an item the user never bought has no last day)."""
    if not len(candidates):
        return np.empty((0, len(FEATURES)), np.float32)
    days = history.before(day).user_days()
    columns: Columns = {}
    columns |= _generator_columns(candidates)
    columns |= _own_columns(candidates, days, models, day)
    columns |= _item_columns(candidates, models)
    columns |= _user_columns(candidates, days, models, day)
    columns |= _attribute_columns(candidates, days, models, day)
    columns |= _blends(columns)
    columns["popular_off"] = columns["popular_score"] - columns["user_taste_popular"]
    table = np.empty((len(candidates), len(FEATURES)), np.float32)
    for place, name in enumerate(FEATURES):
        table[:, place] = columns[name]
    return table


def _generator_columns(pairs: Candidates) -> Columns:
    """Score, place, z-score and place among own or new items, of each generator of MEANINGS."""
    columns: Columns = {}
    number = starts(pairs.user)[1]
    count = np.bincount(number)
    kind = number * 2 + (pairs.scores[:, GENERATORS.index("own")] > 0)
    by_kind = np.argsort(kind, kind="stable")
    for name in MEANINGS:
        score = pairs.scores[:, GENERATORS.index(name)]
        columns[f"{name}_score"] = score
        if np.isnan(score).all():
            nothing = np.full(len(score), np.nan, np.float32)
            columns |= {f"{name}_{part}": nothing for part in ("rank", "z", "kind_rank")}
            continue
        wide = score.astype(np.float64)
        mean = np.bincount(number, wide) / count
        spread = np.sqrt(np.maximum(np.bincount(number, wide**2) / count - mean**2, 1e-12))
        columns[f"{name}_z"] = (wide - mean[number]) / spread[number]
        columns[f"{name}_rank"] = ranks(number, score)
        columns[f"{name}_kind_rank"] = np.empty(len(score))
        columns[f"{name}_kind_rank"][by_kind] = ranks(kind[by_kind], score[by_kind])
    columns["proposals"] = pairs.proposed.sum(axis=1)
    columns["carried"], columns["carriers"] = pairs.carried, pairs.carriers
    return columns


def _blends(columns: Columns) -> Columns:
    """Sums and logarithms that a tree would need many splits for."""
    popular = columns["popular_score"]
    blends: Columns = {f"own_popular_{b}": columns["own_score"] + b / 100 * popular for b in OWN_BLENDS}
    blends |= {f"als_popular_{b}": columns["als_score"] + b / 100 * popular for b in ALS_BLENDS}
    blends |= {f"own_log_{h}": np.log(columns[f"own_decay_{h}"] + 0.02) for h in HALF_LIVES}
    blends["knn_log"] = np.log(columns["knn_score"] + 0.01)
    blends["next_log"] = np.log(columns["next_score"] + 0.01)
    blends["own_rate_log"] = np.log(np.nan_to_num(columns["own_rate"]) + 0.01)
    return blends


def _own_columns(pairs: Candidates, days: Interactions, models: ItemModels, day: int) -> Columns:
    """What the user's own purchases of the item say."""
    width = len(days.items)
    order = np.lexsort((days.day, days.item, days.user))
    user, item, when = days.user[order].astype(np.int64), days.item[order], days.day[order]
    key = user * width + item
    first, number = starts(key)
    total = len(first)
    age = day - when
    # Shopping days of a user, newest 0: how many visits ago was each purchase
    visit_user, visit_number, visits_ago = _visits(user, when)
    del visit_user, visit_number
    own: Columns = {}
    count = np.bincount(number, minlength=total).astype(np.float64)
    last = np.minimum.reduceat(age, first) if total else np.empty(0)
    oldest = np.maximum.reduceat(age, first) if total else np.empty(0)
    ago = np.minimum.reduceat(visits_ago, first) if total else np.empty(0)
    since = np.maximum.reduceat(visits_ago, first) + 1 if total else np.empty(0)
    own["own_days"] = count
    for half_life in HALF_LIVES:
        own[f"own_decay_{half_life}"] = np.bincount(number, decay(age, half_life), minlength=total)
    own["own_quantity"] = np.bincount(number, np.log1p(days.quantity[order]), minlength=total) / np.maximum(count, 1)
    own["own_last"], own["own_first"], own["own_missed"] = last, oldest, ago
    own["own_rate"] = count / np.maximum(since, 1)
    for n in LAST_BASKETS:
        own[f"own_in_{n}"] = np.bincount(number, visits_ago < n, minlength=total) / n
    own["own_span"] = oldest - last
    keys = key[first]
    wanted = pairs.user.astype(np.int64) * width + pairs.item
    place = np.minimum(np.searchsorted(keys, wanted), max(total - 1, 0))
    mine = keys[place] == wanted if total else np.zeros(len(wanted), bool)
    columns: Columns = {name: np.where(mine, values[place], np.nan) for name, values in own.items()}
    for name in ("own_days", *(f"own_decay_{h}" for h in HALF_LIVES), *(f"own_in_{n}" for n in LAST_BASKETS)):
        columns[name] = np.nan_to_num(columns[name])
    usual = models.column("gap")[pairs.row]
    gap = (columns.pop("own_span") + PRIOR_GAPS * usual) / (columns["own_days"] - 1 + PRIOR_GAPS)
    due = columns["own_last"] / np.maximum(gap, 1)
    columns["is_own"], columns["own_gap"], columns["own_due"] = mine, gap, due
    columns["own_due_off"] = np.abs(np.log(np.maximum(due, 1e-3)))
    columns["own_expected"] = 28 / np.maximum(gap, 1) * np.exp2(-np.maximum(due - 1, 0))
    return columns


def _visits(user: Longs, when: Codes) -> tuple[Longs, Longs, Longs]:
    """The distinct (user, day): its user, its day, and for each row given how many later days the user shopped on."""
    key = user * 100_000 + when
    distinct, inverse = np.unique(key, return_inverse=True)
    first, number = starts(distinct // 100_000)
    ends = np.append(first[1:], len(distinct)) if len(first) else first
    ago = ends[number] - 1 - np.arange(len(distinct)) if len(first) else np.empty(0, np.int64)
    return distinct // 100_000, distinct % 100_000, ago[inverse]


def _item_columns(pairs: Candidates, models: ItemModels) -> Columns:
    """What all buyers of the item say."""
    week, month, before = (models.column(name) for name in ("buyers_7", "buyers_28", "buyers_56"))
    columns = {
        "item_buyers_7": np.log1p(week),
        "item_buyers_28": np.log1p(month),
        "item_buyers_84": np.log1p(models.column("buyers_84")),
        "item_change": np.log((month + 2) / (before + 2)),
        "item_speed": np.log((week + 1) / (month / 4 + 1)),
        "item_first_age": models.column("first_age"),
        "item_last_age": models.column("last_age"),
        "item_repeat_rate": models.column("repeat_rate"),
        "item_gap": models.column("gap"),
        "item_quantity": models.column("quantity"),
    }
    return {name: values[pairs.row] for name, values in columns.items()}


def _user_columns(pairs: Candidates, days: Interactions, models: ItemModels, day: int) -> Columns:
    """What the user's purchases say of the user, the same for all of the user's rows."""
    user = days.user.astype(np.int64)
    visit_user, visit_day, _ = _visits(user, days.day)
    codes, visit_number = np.unique(visit_user, return_inverse=True)
    number = np.searchsorted(codes, user)
    size = len(codes)
    first, _ = starts(visit_user)
    ends = np.append(first[1:], len(visit_user))
    visits = np.bincount(visit_number, minlength=size)
    lines = np.bincount(number, minlength=size)
    order = np.lexsort((days.day, days.item, user))
    fresh = np.zeros(len(user), bool)
    pair_first, _ = starts(user[order] * len(days.items) + days.item[order])
    fresh[order[pair_first]] = True
    distinct = np.bincount(number, fresh, minlength=size)
    late = day - days.day <= 56
    lines_late = np.bincount(number[late], minlength=size)
    again_late = np.bincount(number[late], ~fresh[late], minlength=size)
    last, oldest = day - visit_day[ends - 1], day - visit_day[first]
    gap = (oldest - last + 30.0) / visits  # one gap of 30 days stands beside the user's own
    rows = models.rows(days.item)
    known = rows >= 0
    popular = np.bincount(number[known], _popular(models)[rows[known]], minlength=size)
    columns = {
        "user_baskets": np.log1p(visits),
        "user_items": np.log1p(distinct),
        "user_last": last,
        "user_first": oldest,
        "user_gap": gap,
        "user_due": last / gap,
        "user_size": lines / visits,
        "user_repeats": 1 - distinct / lines,
        "user_repeats_new": again_late / np.maximum(lines_late, 1),
        "user_recent": np.bincount(visit_number, day - visit_day <= 28, minlength=size),
        "user_taste_popular": popular / np.maximum(np.bincount(number[known], minlength=size), 1),
    }
    place = np.searchsorted(codes, pairs.user)
    return {name: values[place] for name, values in columns.items()}


def _attribute_columns(pairs: Candidates, days: Interactions, models: ItemModels, day: int) -> Columns:
    """How much of the user's buying has the item's attribute; NaN without attributes."""
    columns: Columns = {}
    rows = models.rows(days.item)
    weight = decay(day - days.day, OWN_HALF_LIFE).astype(np.float64)
    for place in range(ATTRIBUTES):
        stem = f"attribute_{place + 1}"
        if place >= models.attributes.shape[1]:
            nothing = np.full(len(pairs), np.nan, np.float32)
            columns |= {stem: nothing, f"{stem}_lift": nothing, f"{stem}_last": nothing}
            continue
        kind = models.attributes[:, place]
        width = int(kind.max(initial=0)) + 1
        line = (rows >= 0) & (kind[rows] >= 0)
        key = days.user[line].astype(np.int64) * width + kind[rows[line]]
        keys, inverse = np.unique(key, return_inverse=True)
        total = np.bincount(days.user[line], weight[line], minlength=len(days.users))
        share = np.bincount(inverse, weight[line], minlength=len(keys)) / total[keys // width] if len(keys) else keys
        last = np.full(len(keys), 1_000_000)
        np.minimum.at(last, inverse, day - days.day[line])
        shop = np.bincount(kind[kind >= 0], models.column("buyers_84")[kind >= 0], minlength=width)
        shop = (shop + 1) / (shop.sum() + width)
        mine = kind[pairs.row]
        wanted = pairs.user.astype(np.int64) * width + mine
        spot = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
        there = (keys[spot] == wanted) & (mine >= 0) if len(keys) else np.zeros(len(pairs), bool)
        found = np.where(there, share[spot], 0.0) if len(keys) else np.zeros(len(pairs))
        columns[stem] = found
        columns[f"{stem}_lift"] = np.log((found + 1e-3) / (shop[mine] + 1e-3))
        columns[f"{stem}_last"] = np.where(there, last[spot], np.nan) if len(keys) else np.full(len(pairs), np.nan)
    return columns
