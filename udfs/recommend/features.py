"""Features of candidates, pairs of a user and an item, as of a day. One column a feature."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from udfs.interactions import Codes, Floats, Interactions
from udfs.recommend.candidates import OWN_HALF_LIFE, Candidates
from udfs.recommend.feature_meanings import (
    ALS_BLENDS,
    ATTRIBUTES,
    FEATURES,
    HALF_LIVES,
    LAST_BASKETS,
    MEANINGS,
    OWN_BLENDS,
)
from udfs.recommend.generators import GENERATORS, popularity
from udfs.recommend.grouped import Longs, ranks, starts
from udfs.recommend.item_models import ItemModels
from udfs.recommend.user_matrix import decay

Columns: TypeAlias = dict[str, npt.NDArray[Any]]

PRIOR_GAPS = 2.0  # prior weight of an item's usual gap, in gaps of the user


def features(candidates: Candidates, history: Interactions, models: ItemModels, day: int) -> Floats:
    """[candidates, FEATURES], NaN where a feature does not apply (an item the user never bought has no last day)."""
    if not len(candidates):
        return np.empty((0, len(FEATURES)), np.float32)
    days = history.before(day).user_days()
    columns: Columns = {}
    columns |= generator_columns(candidates)
    columns |= _own_columns(candidates, days, models, day)
    columns |= _item_columns(candidates, models)
    columns |= _user_columns(candidates, days, models, day)
    columns |= _attribute_columns(candidates, days, models, day)
    columns |= blends(columns)
    table = np.empty((len(candidates), len(FEATURES)), np.float32)
    for place, name in enumerate(FEATURES):
        table[:, place] = columns[name]
    return table


def generator_columns(pairs: Candidates) -> Columns:
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


def blends(columns: Columns) -> Columns:
    """Sums and logarithms of other columns, which a tree would need many splits for."""
    popular = columns["popular_score"]
    blended: Columns = {f"own_popular_{b}": columns["own_score"] + b / 100 * popular for b in OWN_BLENDS}
    blended |= {f"als_popular_{b}": columns["als_score"] + b / 100 * popular for b in ALS_BLENDS}
    blended |= {f"own_log_{h}": np.log(columns[f"own_decay_{h}"] + 0.02) for h in HALF_LIVES}
    blended["knn_log"] = np.log(columns["knn_score"] + 0.01)
    blended["next_log"] = np.log(columns["next_score"] + 0.01)
    blended["own_rate_log"] = np.log(np.nan_to_num(columns["own_rate"]) + 0.01)
    blended["popular_off"] = popular - columns["user_taste_popular"]
    return blended


def _own_columns(pairs: Candidates, days: Interactions, models: ItemModels, day: int) -> Columns:
    """Features of the user's own purchases of the item."""
    width = len(days.items)
    order = np.lexsort((days.day, days.item, days.user))
    user, item, when = days.user[order].astype(np.int64), days.item[order], days.day[order]
    key = user * width + item
    first, number = starts(key)
    total = len(first)
    age = day - when
    # Shopping days of a user, newest 0: how many visits ago was each purchase
    *_, visits_ago = _visits(user, when)
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
    """Features of all buyers of the item."""
    week, month, before = (models.rate(name) for name in ("buyers_7", "buyers_28", "buyers_56"))
    columns = {
        "item_rate_7": np.log1p(week),
        "item_rate_28": np.log1p(month),
        "item_rate_84": np.log1p(models.rate("buyers_84")),
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
    """Features of the user, the same in all of the user's rows."""
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
    gap = (oldest - last + 30.0) / visits  # prior: one gap of 30 days
    rows = models.rows(days.item)
    known = rows >= 0
    popular = np.bincount(number[known], popularity(models)[rows[known]], minlength=size)
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
        shop = np.bincount(kind[kind >= 0], models.rate("buyers_84")[kind >= 0], minlength=width)
        shop = (shop + 1) / (shop.sum() + width)
        mine = kind[pairs.row]
        wanted = pairs.user.astype(np.int64) * width + mine
        spot = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
        is_known = (keys[spot] == wanted) & (mine >= 0) if len(keys) else np.zeros(len(pairs), bool)
        user_share = np.where(is_known, share[spot], 0.0) if len(keys) else np.zeros(len(pairs))
        columns[stem] = user_share
        columns[f"{stem}_lift"] = np.log((user_share + 1e-3) / (shop[mine] + 1e-3))
        columns[f"{stem}_last"] = np.where(is_known, last[spot], np.nan) if len(keys) else np.full(len(pairs), np.nan)
    return columns
