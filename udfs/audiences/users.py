"""Blocks of users: their purchases and ad events, and in `Past` what was known of each user before a day.

A day is a number, days since 1970-01-01. Rates are weighted by 0.5 ^ (age / HALF_LIFE_DAYS) and divided by the same
weights of the days that the logs cover, so that rates early and late in the logs have the same unit.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from udfs.audiences.campaigns import CATEGORY, KINDS_OF_EVENT, Book, days, days_or_never
from udfs.days import NEVER
from udfs.interactions import Codes, Floats

Doubles = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]

HALF_LIFE_DAYS = 56
TREND_DAYS = 28
NEVER_DAYS = 400  # how long ago counts as never: more than a year of logs
CHEAP = 0.9  # a line paid below this share of the item's usual price was a deal
SHRINK_LINES = 5.0  # prior lines of each user at the usual price, DEAL_SHARE of them deals
DEAL_SHARE = 0.15

USER: Final = ("recency", "baskets", "spend", "basket_value", "trend", "breadth", "price_level", "deal_share")


class Block(NamedTuple):
    """All lines and ad events of some users as arrays; `users` are ascending.

    Lines: user and item (-1 where the catalogue lacks it) as codes, day, basket (a code), spend, paid (a unit), and
    price, the log of paid over the item's usual price, NaN where that is not known; known and undone, the days of the
    first run that had the line and of the first run that had its return (NEVER: not returned). Ad events: user,
    campaign, day, type, known.
    """

    users: npt.NDArray[np.str_]
    user: Codes
    item: Codes
    day: Codes
    basket: Longs
    spend: Doubles
    paid: Doubles
    price: Doubles
    known: Codes
    undone: Codes
    ad_user: Codes
    ad_campaign: Codes
    ad_day: Codes
    ad_type: Codes
    ad_known: Codes

    def kept(self) -> npt.NDArray[np.bool_]:
        """Which lines were not returned, as known today."""
        return np.asarray(self.undone == NEVER)


def block_of(lines: pd.DataFrame, ad_events: pd.DataFrame, book: Book) -> Block:
    """The block of all users of some lines or ad events, in any order.

    lines: user_id, item_id, event_date, quantity, unit_price, basket_id (each of one user); optional: usual_price,
    known_on (default: event_date), undone_on (default: never). ad_events: event_date, user_id, campaign_id, event_type;
    optional: known_on (default: event_date). Rows without a user, and ad events of unknown campaigns or types, are left
    out.
    """
    lines = lines[lines["user_id"].notna()]
    campaign = pd.Index(book.ids).get_indexer(pd.Index(ad_events["campaign_id"]))
    kind = pd.Index(KINDS_OF_EVENT).get_indexer(pd.Index(ad_events["event_type"]))
    usable = (campaign >= 0) & (kind >= 0) & ad_events["user_id"].notna().to_numpy()
    ads = ad_events[usable]
    user_ids = np.concatenate([lines["user_id"].to_numpy(object), ads["user_id"].to_numpy(object)])
    code, users = pd.factorize(user_ids, sort=True)
    item = pd.Index(book.catalogue.items).get_indexer(pd.Index(lines["item_id"]))
    paid = lines["unit_price"].to_numpy(np.float64)
    usual = lines["usual_price"].to_numpy(np.float64) if "usual_price" in lines else np.full(len(lines), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        price = np.log(paid / usual)
    day = days(lines["event_date"])
    basket = pd.factorize(lines["basket_id"], sort=True)[0].astype(np.int64)
    known = days(lines["known_on"]) if "known_on" in lines else day
    undone = days_or_never(lines["undone_on"]) if "undone_on" in lines else np.full(len(lines), NEVER, np.int32)
    spend = paid * lines["quantity"].to_numpy(np.float64)
    # Sums do not depend on the order of the input.
    order = np.lexsort((spend, undone, known, paid, basket, item, day, code[: len(lines)]))
    ad_day, ad_user = days(ads["event_date"]), code[len(lines) :]
    ad_known = days(ads["known_on"]) if "known_on" in ads else ad_day
    ad_order = np.lexsort((ad_known, kind[usable], ad_day, campaign[usable], ad_user))
    return Block(
        users=np.asarray(users, dtype=np.str_),
        user=code[: len(lines)][order].astype(np.int32),
        item=item[order].astype(np.int32),
        day=day[order],
        basket=basket[order],
        spend=spend[order],
        paid=paid[order],
        price=np.where(np.isfinite(price), price, np.nan)[order],
        known=known[order],
        undone=undone[order],
        ad_user=ad_user[ad_order].astype(np.int32),
        ad_campaign=campaign[usable][ad_order].astype(np.int32),
        ad_day=ad_day[ad_order],
        ad_type=kind[usable][ad_order].astype(np.int32),
        ad_known=ad_known[ad_order],
    )


class Past(NamedTuple):
    """A block as known on the day before `day`: its lines, their weights by age, and the weights' sum in weeks.

    user: [block's users, USER], the features of the user alone.
    """

    day: int
    lines: Block
    weight: Doubles
    weeks: float
    user: Floats


def past_of(block: Block, book: Book, day: int) -> Past:
    """The lines and ad events of a block known before `day`, less lines returned by then."""
    lines, ads = (block.known < day) & (block.undone >= day), block.ad_known < day
    parts = {name: ads if name.startswith("ad_") else lines for name in Block._fields if name != "users"}
    past = _merged(block._replace(**{name: getattr(block, name)[chosen] for name, chosen in parts.items()}))
    weight = 0.5 ** ((day - past.day) / HALF_LIFE_DAYS)
    covered = 0.5 ** (np.arange(1, max(day - book.first_day, 1) + 1) / HALF_LIFE_DAYS)
    weeks = float(covered.sum()) / 7
    columns = _user_columns(past, book, day, weight, weeks)
    return Past(day, past, weight, weeks, np.stack(columns, axis=1).astype(np.float32))


def _merged(past: Block) -> Block:
    """Merges lines of one item in one basket at one price: a later return of a part must not leak into the features.

    Such lines are adjacent.
    """
    new, columns = np.ones(len(past.user), bool), (past.user, past.day, past.item, past.basket, past.paid)
    new[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    names = (name for name in Block._fields if name != "users" and not name.startswith("ad_"))
    merged = past._replace(**{name: getattr(past, name)[new] for name in names})
    spend = np.add.reduceat(past.spend, np.flatnonzero(new)) if len(new) else past.spend
    return merged._replace(spend=spend)


def categorised(past: Block, book: Book) -> tuple[Longs, Longs]:
    """The lines whose item has a category, and that category's code."""
    known = np.flatnonzero(past.item >= 0)
    category = book.catalogue.attributes[past.item[known], CATEGORY].astype(np.int64)
    return known[category >= 0], category[category >= 0]


def _user_columns(past: Block, book: Book, day: int, weight: Doubles, weeks: float) -> list[Doubles]:
    """The features USER of each user in the block."""
    size = len(past.users)
    last = np.full(size, day - NEVER_DAYS)
    np.maximum.at(last, past.user, past.day)
    spend = np.bincount(past.user, weight * past.spend, size)
    first = np.sort(np.unique(past.basket, return_index=True)[1])
    baskets = np.bincount(past.user[first], weight[first], size)
    recent = past.day >= day - TREND_DAYS
    lately = np.bincount(past.user[recent], past.spend[recent], size) / min(TREND_DAYS, max(day - book.first_day, 1))
    line, category = categorised(past, book)
    pairs = np.unique(past.user[line].astype(np.int64) << 32 | category)
    priced = np.isfinite(past.price)
    owner, worth, price = past.user[priced], weight[priced], past.price[priced]
    lines = np.bincount(owner, worth, size) + SHRINK_LINES
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.log(spend / baskets)
    return [
        np.log1p(day - last),
        baskets / weeks,
        np.log1p(spend / weeks),
        value,
        np.log((lately * 7 + 1) / (spend / weeks + 1)),
        np.log1p(np.bincount(pairs >> 32, minlength=size)),
        np.bincount(owner, worth * np.clip(price, -1, 1), size) / lines,
        (np.bincount(owner, worth * (price < np.log(CHEAP)), size) + SHRINK_LINES * DEAL_SHARE) / lines,
    ]
