"""One block is the purchases and ad events of some users; one row of `Past` what a user is known for before a day.

A day is a number, days since 1970-01-01. Rates are weighted by 0.5 ^ (age / HALF_LIFE_DAYS) and divided by the same
weights of the days that the logs cover, so that a day early in the logs and a late one are told in the same unit.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from udfs.audiences.campaigns import CATEGORY, KINDS_OF_EVENT, Book, days
from udfs.interactions import Codes, Floats

Doubles = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]

HALF_LIFE_DAYS = 56
TREND_DAYS = 28
NEVER_DAYS = 400  # how long ago counts as never: more than a year of logs
CHEAP = 0.9  # a line paid below this share of the item's usual price was a deal
SHRINK_LINES = 5.0  # lines at the usual price, DEAL_SHARE of them deals, that everybody is given
DEAL_SHARE = 0.15

USER: Final = ("recency", "baskets", "spend", "basket_value", "trend", "breadth", "price_level", "deal_share")


class Block(NamedTuple):
    """Lines and ad events of some users, whole, as arrays; `users` are ascending.

    Lines: user and item (-1 where the catalogue lacks it) as codes, day, basket (a code), spend, and price, the log of
    what was paid over the item's usual price, NaN where that is not known. Ad events: user, campaign, day, type.
    """

    users: npt.NDArray[np.str_]
    user: Codes
    item: Codes
    day: Codes
    basket: Longs
    spend: Doubles
    price: Doubles
    ad_user: Codes
    ad_campaign: Codes
    ad_day: Codes
    ad_type: Codes


def block_of(lines: pd.DataFrame, ad_events: pd.DataFrame, book: Book) -> Block:
    """The block of all users of some lines or ad events, in any order.

    lines: user_id, item_id, event_date, quantity, unit_price, basket_id (each one user's) and, where it is there,
    usual_price; ad events: event_date, user_id, campaign_id, event_type. Rows without a user, and ad events of unknown
    campaigns or types, are left out.
    """
    lines = lines[lines["user_id"].notna()]
    campaign = pd.Index(book.ids).get_indexer(pd.Index(ad_events["campaign_id"]))
    kind = pd.Index(KINDS_OF_EVENT).get_indexer(pd.Index(ad_events["event_type"]))
    told = (campaign >= 0) & (kind >= 0) & ad_events["user_id"].notna().to_numpy()
    ads = ad_events[told]
    both = np.concatenate([lines["user_id"].to_numpy(object), ads["user_id"].to_numpy(object)])
    code, users = pd.factorize(both, sort=True)
    item = pd.Index(book.catalogue.items).get_indexer(pd.Index(lines["item_id"]))
    paid = lines["unit_price"].to_numpy(np.float64)
    usual = lines["usual_price"].to_numpy(np.float64) if "usual_price" in lines else np.full(len(lines), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        price = np.log(paid / usual)
    day = days(lines["event_date"])
    basket = pd.factorize(lines["basket_id"])[0].astype(np.int64)
    quantity = lines["quantity"].to_numpy(np.float64)
    order = np.lexsort((quantity, paid, item, day, code[: len(lines)]))  # sums do not follow the order of the input
    ad_day, ad_user = days(ads["event_date"]), code[len(lines) :]
    ad_order = np.lexsort((kind[told], ad_day, campaign[told], ad_user))
    return Block(
        users=np.asarray(users, dtype=np.str_),
        user=code[: len(lines)][order].astype(np.int32),
        item=item[order].astype(np.int32),
        day=day[order],
        basket=basket[order],
        spend=(paid * quantity)[order],
        price=np.where(np.isfinite(price), price, np.nan)[order],
        ad_user=ad_user[ad_order].astype(np.int32),
        ad_campaign=campaign[told][ad_order].astype(np.int32),
        ad_day=ad_day[ad_order],
        ad_type=kind[told][ad_order].astype(np.int32),
    )


class Past(NamedTuple):
    """A block as seen on the day before `day`: lines before it, their weight by age, and the weeks that weights cover.

    user: [block's users, USER], the features of the user alone.
    """

    day: int
    lines: Block
    weight: Doubles
    weeks: float
    user: Floats


def past_of(block: Block, book: Book, day: int) -> Past:
    """What of a block was known before `day`."""
    seen = {name: getattr(block, name)[block.day < day] for name in ("user", "item", "day", "basket", "spend", "price")}
    answered = {
        name: getattr(block, name)[block.ad_day < day] for name in ("ad_user", "ad_campaign", "ad_day", "ad_type")
    }
    past = block._replace(**seen, **answered)
    weight = 0.5 ** ((day - past.day) / HALF_LIFE_DAYS)
    covered = 0.5 ** (np.arange(1, max(day - book.first_day, 1) + 1) / HALF_LIFE_DAYS)
    weeks = float(covered.sum()) / 7
    columns = _user_columns(past, book, day, weight, weeks)
    return Past(day, past, weight, weeks, np.stack(columns, axis=1).astype(np.float32))


def categorised(past: Block, book: Book) -> tuple[Longs, Longs]:
    """The lines whose item has a category, and that category's code."""
    known = np.flatnonzero(past.item >= 0)
    category = book.catalogue.attributes[past.item[known], CATEGORY].astype(np.int64)
    return known[category >= 0], category[category >= 0]


def _user_columns(past: Block, book: Book, day: int, weight: Doubles, weeks: float) -> list[Doubles]:
    """Of each user in the block, the features USER."""
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
