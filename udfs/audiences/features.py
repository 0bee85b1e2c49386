"""Audience features: one row per pair of a user and a campaign, from what was known on the day before a cut.

A row depends only on the user's own lines and on a `Book` that every task holds, so users can be processed in blocks
of any composition. No record dated on or after the cut is used.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

from udfs.audiences.campaigns import CATEGORY, CONVERSION, IMPRESSION, Book
from udfs.audiences.users import HALF_LIFE_DAYS, NEVER_DAYS, USER, Block, Past, categorised, past_of
from udfs.interactions import Floats

Doubles = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]

RESPONSE_HALF_LIFE_DAYS = 90
SHRINK_CONVERSIONS = 1.0  # prior conversions of each user, observed and expected alike
TOP_COSINES = 10
BLOCK_VALUES = 2**24  # cosines held at once: 64 MiB

RESPONSE: Final = ("contacts", "conversions", "redemptions", "response", "recent_response", "kind_response")
ITEMS: Final = ("item_share", "item_spend", "items_bought", "item_recency", "category_share", "category_cosine")
VECTORS: Final = ("cosine_centre", "cosine_top", "cosine_best")
CAMPAIGN: Final = ("length", "item_count")
RELATIVE: Final = ITEMS + VECTORS  # given less the mean of the shop's users: see `usual_of`
FEATURES: Final = USER + RESPONSE + ITEMS + VECTORS + CAMPAIGN
SPENT: Final = ("basket_spend", "basket_days")  # spend on the campaign's items, and the days with any, weighted by age
USUAL: Final = RELATIVE + SPENT  # the columns of `Book.usual`


def features(past: Past, book: Book, user: Longs, campaign: int) -> tuple[Floats, Doubles]:
    """Features [users, FEATURES] for one campaign of the users with these codes, and [users, SPENT].

    NaN where a feature has no meaning: a campaign without items, a user without lines.
    """
    about, spent = _about_items(past, book, user, campaign)
    campaign_values = np.array([np.log(book.length_days(campaign)), np.log1p(len(book.items_of(campaign)))])
    parts: list[Floats | Doubles] = [
        past.user[user],
        np.stack(_response_columns(past, book, campaign), axis=1)[user],
        about - book.usual[campaign, : len(RELATIVE)] if book.usual.shape[1] else about,
        np.broadcast_to(campaign_values, (len(user), len(CAMPAIGN))),
    ]
    table = np.concatenate(parts, axis=1).astype(np.float32)
    table[~np.isfinite(table)] = np.nan
    return table, spent


def usual_of(block: Block, book: Book, campaigns: Longs) -> pd.DataFrame:
    """Sums for the usual values: per campaign_id and feature of USUAL its total and count over the block's users who
    had bought by the campaign's start. Sums of blocks may be added; `with_usual` divides.

    A campaign with half the catalogue is close to every user. What is learned within campaigns transfers to another
    only if features are relative to the campaign's usual value.
    """
    frames = []
    for campaign in campaigns.tolist():
        past = past_of(block, book, int(book.starts[campaign]))
        buyers = np.unique(past.lines.user).astype(np.int64)
        table = np.concatenate(_about_items(past, book, buyers, campaign), axis=1).astype(np.float64)
        given = np.isfinite(table)
        columns = {"total": np.where(given, table, 0).sum(axis=0), "count": given.sum(axis=0)}
        frames.append(pd.DataFrame({"campaign_id": str(book.ids[campaign]), "feature": list(USUAL), **columns}))
    empty = pd.DataFrame(columns=["campaign_id", "feature", "total", "count"])
    sums = pd.concat(frames, ignore_index=True) if frames else empty
    return sums.astype({"campaign_id": object, "feature": object, "total": float, "count": "int64"})


def with_usual(book: Book, sums: pd.DataFrame) -> Book:
    """The book with the usual values of each campaign, from rows of `usual_of`; 0 for a campaign without any."""
    table = sums.groupby(["campaign_id", "feature"])[["total", "count"]].sum()
    mean = (table["total"] / table["count"].clip(lower=1)).unstack("feature")
    usual = mean.reindex(index=list(book.ids), columns=list(USUAL)).fillna(0.0)
    return replace(book, usual=usual.to_numpy(np.float32))


def usual_basket(book: Book, campaign: int) -> float:
    """Mean spend of the shop's users on the campaign's items on a day with such a purchase; NaN without any."""
    if not book.usual.shape[1]:
        return float("nan")
    spend, visits = (float(number) for number in book.usual[campaign, -len(SPENT) :])
    return spend / visits if visits > 0 else float("nan")


def _about_items(past: Past, book: Book, user: Longs, campaign: int) -> tuple[Floats, Doubles]:
    """[users, RELATIVE] before the usual values are subtracted, and [users, SPENT]."""
    items, spent = _item_columns(past, book, campaign)
    table = np.concatenate([np.stack(items, axis=1)[user], _cosines(past, book, campaign, user)], axis=1)
    table[~np.isfinite(table)] = np.nan
    return table.astype(np.float32), spent[user]


def _response_columns(past: Past, book: Book, campaign: int) -> list[Doubles]:
    """The features RESPONSE of each user: conversions on other campaigns, relative to the rates of these campaigns.

    A response is the log of conversions over expected conversions: the sum of the rates, so far, of the campaigns that
    contacted the user. So a running campaign without answers yet lowers no user's response.
    """
    block, day = past.lines, past.day
    size = len(block.users)
    mine = block.ad_campaign != campaign
    redeemed = mine & (block.ad_type == CONVERSION)
    contact, contact_day = _first(block, mine & (block.ad_type == IMPRESSION), book)
    answer, answer_day = _first(block, redeemed, book)
    rate = book.rates(day)
    expected, kind = rate[contact % len(book.ids)], book.kind[campaign]
    same, also = book.kind[contact % len(book.ids)] == kind, book.kind[answer % len(book.ids)] == kind

    def total(keys: Longs, weight: Doubles) -> Doubles:
        return np.bincount(keys // len(book.ids), weight, size).astype(np.float64)

    def response(expected: Doubles, answered: Doubles) -> Doubles:
        hoped, got = total(contact, expected), total(answer, answered)
        log_ratio: Doubles = np.log((got + SHRINK_CONVERSIONS) / (hoped + SHRINK_CONVERSIONS))
        return log_ratio

    fade = 0.5 ** ((day - contact_day) / RESPONSE_HALF_LIFE_DAYS)
    faded = 0.5 ** ((day - answer_day) / RESPONSE_HALF_LIFE_DAYS)
    ones = np.ones(len(answer))
    return [
        np.log1p(total(contact, np.ones(len(contact)))),
        np.log1p(total(answer, ones)),
        np.log1p(np.bincount(block.ad_user[redeemed], minlength=size)),
        response(expected, ones),
        response(expected * fade, faded),
        response(expected * same, also.astype(np.float64)),
    ]


def _first(block: Block, chosen: npt.NDArray[np.bool_], book: Book) -> tuple[Longs, Longs]:
    """Each pair with a chosen event, as user x campaigns + campaign, and the day of its first such event."""
    key = block.ad_user[chosen].astype(np.int64) * len(book.ids) + block.ad_campaign[chosen]
    keys, row = np.unique(key, return_index=True)  # the first row is the first day: events are sorted
    return keys, block.ad_day[chosen][row].astype(np.int64)


def _item_columns(known: Past, book: Book, campaign: int) -> tuple[list[Doubles], Doubles]:
    """The features ITEMS of each user, and [users, SPENT]."""
    day, past, weight, weeks, _ = known
    size = len(past.users)
    items = book.items_of(campaign)
    if not len(items):
        return [np.full(size, np.nan) for _ in ITEMS], np.zeros((size, len(SPENT)))
    within = np.zeros(len(book.catalogue.items) + 1, bool)
    within[items] = True
    own = within[past.item]  # item -1 is the last, which is never within
    spend = np.bincount(past.user, weight * past.spend, size)
    on_items = np.bincount(past.user[own], weight[own] * past.spend[own], size)
    visit = np.unique(past.user[own].astype(np.int64) << 32 | past.day[own])
    visits = np.bincount(visit >> 32, 0.5 ** ((day - (visit & 0xFFFFFFFF)) / HALF_LIFE_DAYS), size)
    bought = np.unique(past.user[own].astype(np.int64) << 32 | past.item[own])
    last = np.full(size, day - NEVER_DAYS)
    np.maximum.at(last, past.user[own], past.day[own])
    line, category = categorised(past, book)
    categories = book.catalogue.attributes[items, CATEGORY]
    kinds = int(book.catalogue.attributes[:, CATEGORY].max(initial=0)) + 1
    mix = sp.csr_matrix(((weight * past.spend)[line], (past.user[line], category)), shape=(size, kinds))
    wanted = np.bincount(categories[categories >= 0], minlength=kinds).astype(np.float64)
    length = np.sqrt(np.asarray(mix.multiply(mix).sum(axis=1)).ravel() * (wanted**2).sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        columns = [
            np.log(on_items / spend + 0.005),
            np.log1p(on_items / weeks),
            np.log1p(np.bincount(bought >> 32, minlength=size)),
            np.log1p(day - last),
            (mix @ (wanted > 0)) / spend,
            (mix @ wanted) / length,
        ]
    return columns, np.stack([on_items, visits], axis=1)


def _cosines(seen: Past, book: Book, campaign: int, user: Longs) -> Floats:
    """[users, VECTORS]: cosines of each user's mean vector with the campaign's: their mean, their best ten, the best.

    The catalogue's mean is subtracted from the vectors, since the texts of a shop share one direction. NaN without a
    vector.
    """
    past, weight = seen.lines, seen.weight
    columns = np.full((len(user), len(VECTORS)), np.nan, np.float32)
    vectors, of_item = book.vectors, book.catalogue.vector_of
    mine = of_item[book.items_of(campaign)]
    mine = np.unique(mine[mine >= 0])
    known = past.item >= 0
    row = np.where(known, of_item[past.item], -1) if len(of_item) else past.item
    known = row >= 0
    if not len(mine) or not known.any():
        return columns
    shape = (len(past.users), len(vectors))
    bought = sp.csr_matrix((weight[known].astype(np.float32), (past.user[known], row[known])), shape=shape)[user]
    mean = _unit(np.asarray(bought @ vectors, np.float32))
    has_mean = np.linalg.norm(mean, axis=1) > 0
    wanted = vectors[mine]
    columns[has_mean, 0] = mean[has_mean] @ _unit(wanted.mean(axis=0, keepdims=True))[0]
    top = min(TOP_COSINES, len(mine))
    step = max(1, BLOCK_VALUES // len(mine))
    for start in range(0, len(user), step):
        cosines = mean[start : start + step] @ wanted.T
        best = np.partition(cosines, len(mine) - top, axis=1)[:, -top:]
        part = np.stack([best.mean(axis=1), best.max(axis=1)], axis=1)
        columns[start : start + step, 1:] = np.where(has_mean[start : start + step, None], part, np.nan)
    return columns


def _unit(rows: Floats) -> Floats:
    unit: Floats = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return unit
