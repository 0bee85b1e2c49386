"""Rows of users and campaigns: finished campaigns with outcomes for training, running ones for scoring."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from udfs.audiences.campaigns import CLICK, CONVERSION, IMPRESSION, Book
from udfs.audiences.features import FEATURES, SPENT, features, usual_basket
from udfs.audiences.users import Block, past_of

PAIR: Final = ("campaign_id", "user_id", "kind")
SHARES: Final = ("first_share", "last_share", "first_click_share", "last_click_share")
OUTCOME: Final = ("converted", "clicked", *SHARES, "value")
STANDING: Final = ("elapsed_share", "has_converted", "has_clicked")
WORTH: Final = (*SPENT, "usual_basket")
TRAINED: Final = PAIR + OUTCOME + WORTH + FEATURES  # the columns of `training_rows`
SCORED: Final = PAIR + STANDING + WORTH + FEATURES  # the columns of `scoring_rows`
TYPES: Final = {
    **dict.fromkeys(PAIR, "STRING"),
    **dict.fromkeys(("converted", "clicked", "has_converted", "has_clicked"), "BOOLEAN"),
    **dict.fromkeys((*SHARES, "value", "elapsed_share", *WORTH), "DOUBLE"),
    **dict.fromkeys(FEATURES, "FLOAT"),
}

_Mask = npt.NDArray[np.bool_]


def training_rows(block: Block, book: Book, day: int, campaigns: Collection[int] | None = None) -> pd.DataFrame:
    """TRAINED: one row per contacted user of each campaign that was over before `day`, as known at its start.

    converted, clicked: whether the user did so from the first to the last day; first_share, last_share: the share of
    the campaign that was over at the first and at the last conversion, in (0, 1], NaN without one; first_click_share,
    last_click_share: the same of clicks; value: what the user spent on the campaign's items on the day of the first
    conversion, NaN without one. campaigns: use these instead, cut off at `day`.
    """
    chosen = book.finished(day) if campaigns is None else campaigns
    return _together([_outcomes(block, book, day, int(campaign)) for campaign in chosen], TRAINED)


def scoring_rows(block: Block, book: Book, day: int) -> pd.DataFrame:
    """SCORED: one row per user of the block and campaign that runs on `day`, as known on the day before.

    elapsed_share: share of the campaign that is over, in [0, 1); has_converted, has_clicked: whether the user did so.
    """
    active = book.active(day)
    if not len(active):
        return _together([], SCORED)
    past = past_of(block, book, day)
    everyone = np.arange(len(block.users))
    frames = []
    for campaign in active:
        table, spent = features(past, book, everyone, int(campaign))
        rows = _frame(block, book, int(campaign), everyone, table, spent)
        rows["elapsed_share"] = _share(book, int(campaign), np.full(len(rows), day - 1))
        for name, kind in (("has_converted", CONVERSION), ("has_clicked", CLICK)):
            before = (block.ad_campaign == campaign) & (block.ad_type == kind) & (block.ad_day < day)
            rows[name] = np.isin(everyone, block.ad_user[before])
        frames.append(rows)
    return _together(frames, SCORED)


def _outcomes(block: Block, book: Book, day: int, campaign: int) -> pd.DataFrame:
    start, end = int(book.starts[campaign]), min(int(book.ends[campaign]), day - 1)
    within = (block.ad_campaign == campaign) & (block.ad_day >= start) & (block.ad_day <= end)
    users = np.unique(block.ad_user[within & (block.ad_type == IMPRESSION)]).astype(np.int64)
    table, spent = features(past_of(block, book, start), book, users, campaign)
    rows = _frame(block, book, campaign, users, table, spent)
    days = {
        kind: [_edge(block, within & (block.ad_type == kind), edge)[users] for edge in (np.minimum, np.maximum)]
        for kind in (CONVERSION, CLICK)
    }
    for name, day_of in zip(SHARES, (*days[CONVERSION], *days[CLICK]), strict=True):
        rows[name] = np.where(day_of >= 0, _share(book, campaign, day_of), np.nan)
    first = days[CONVERSION][0]
    rows["converted"], rows["clicked"] = first >= 0, days[CLICK][0] >= 0
    rows["value"] = np.where(first >= 0, _spent_on(block, book, campaign, users, first), np.nan)
    return rows


def _edge(block: Block, chosen: _Mask, edge: np.ufunc) -> npt.NDArray[np.int64]:
    """[block's users] the first or the last day of the chosen ad events; -1 without one."""
    never = np.iinfo(np.int64).max if edge is np.minimum else -1
    day_of_user = np.full(len(block.users), never)
    edge.at(day_of_user, block.ad_user[chosen], block.ad_day[chosen])
    return np.where(day_of_user == never, -1, day_of_user)


def _share(book: Book, campaign: int, day: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """Share of a campaign that is over at the end of each day."""
    length = int(book.ends[campaign]) - int(book.starts[campaign]) + 1
    return np.clip((day - int(book.starts[campaign]) + 1) / max(length, 1), 0.0, 1.0)


def _spent_on(
    block: Block, book: Book, campaign: int, users: npt.NDArray[np.int64], day: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Spend of each user on the campaign's items on the given day, less returns."""
    wanted = np.full(len(block.users), -1)
    wanted[users] = day
    lines = block.kept() & (block.day == wanted[block.user]) & np.isin(block.item, book.items_of(campaign))
    return np.bincount(block.user[lines], block.spend[lines], len(block.users)).astype(np.float64)[users]


def _frame(
    block: Block,
    book: Book,
    campaign: int,
    users: npt.NDArray[np.int64],
    table: npt.NDArray[np.float32],
    spent: npt.NDArray[np.float64],
) -> pd.DataFrame:
    rows = pd.DataFrame(table, columns=list(FEATURES))
    rows[list(SPENT)] = spent
    rows["usual_basket"] = usual_basket(book, campaign)
    rows["campaign_id"], rows["kind"] = str(book.ids[campaign]), str(book.kind[campaign])
    rows["user_id"] = block.users[users].astype(object)
    return rows


def _together(parts: list[pd.DataFrame], columns: tuple[str, ...]) -> pd.DataFrame:
    """The parts concatenated; typed also without parts."""
    frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(columns))
    plain = {"STRING": "object", "BOOLEAN": "bool", "DOUBLE": "float64", "FLOAT": "float32"}
    return frame[list(columns)].astype({name: plain[TYPES[name]] for name in columns})
