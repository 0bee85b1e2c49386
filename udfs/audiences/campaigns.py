"""Book of campaigns as arrays: campaigns, items and past answers, broadcast to every task."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from udfs.catalogue import ATTRIBUTES, Catalogue
from udfs.days import NEVER
from udfs.interactions import Codes, Floats

Doubles = npt.NDArray[np.float64]

KINDS_OF_EVENT: Final = ("impression", "click", "conversion")
IMPRESSION, CLICK, CONVERSION = range(3)
CATEGORY = ATTRIBUTES.index("category")
PRIOR_RATE = 0.05  # of a shop without a single finished campaign
PRIOR_CONTACTS = 100.0  # its weight, in contacts, beside all actual contacts
SHRINK_CONTACTS = 10.0  # weight of the rate of all, in contacts of one campaign


@dataclass(frozen=True)
class Book:
    """Campaigns in ascending order of `ids`, their items as codes into the catalogue, and each day's answers.

    kind: one word, or ""; starts, ends: first and last day; indptr, items: the items of campaign
    c are items[indptr[c] : indptr[c + 1]], ascending; first_day: the first day with logs; tally: [rows, 4], campaign,
    day, users first contacted and users first converted on it; usual: [campaigns, features], see
    udfs/audiences/features.py.
    """

    ids: npt.NDArray[np.str_]
    kind: npt.NDArray[np.str_]
    starts: Codes
    ends: Codes
    indptr: Codes
    items: Codes
    first_day: int
    tally: Codes
    usual: Floats
    catalogue: Catalogue

    @cached_property
    def vectors(self) -> Floats:
        """Vectors [different texts, dims] less their mean, scaled to unit length."""
        plain = self.catalogue.vectors.astype(np.float32)
        centred = plain - plain.mean(axis=0, keepdims=True) if len(plain) > 1 else plain
        unit: Floats = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
        return unit

    def items_of(self, campaign: int) -> Codes:
        """The codes of a campaign's items."""
        return self.items[self.indptr[campaign] : self.indptr[campaign + 1]]

    def active(self, day: int) -> npt.NDArray[np.int64]:
        """The campaigns that run on this day."""
        return np.flatnonzero((self.starts <= day) & (self.ends >= day))

    def finished(self, day: int) -> npt.NDArray[np.int64]:
        """The campaigns that ended before this day and are completely in the logs: the training set."""
        return np.flatnonzero((self.ends < day) & (self.starts > self.first_day))

    def rates(self, day: int) -> Doubles:
        """[campaigns] converted per contacted user before a day, shrunk to the rate of all where contacts are few."""
        seen = self.tally[self.tally[:, 1] < day]
        size = len(self.ids)
        contacted, converted = (np.bincount(seen[:, 0], seen[:, place], size).astype(float) for place in (2, 3))
        mean = (converted.sum() + PRIOR_RATE * PRIOR_CONTACTS) / (contacted.sum() + PRIOR_CONTACTS)
        # At most 1, also where users converted without a contact.
        shrunk: Doubles = np.minimum((converted + mean * SHRINK_CONTACTS) / (contacted + SHRINK_CONTACTS), 1.0)
        return shrunk

    def length_days(self, campaign: int) -> int:
        """Number of days from the first to the last, inclusive."""
        return max(int(self.ends[campaign] - self.starts[campaign]) + 1, 1)

    def to_bytes(self) -> bytes:
        """All arrays in NumPy's own format; no pickle."""
        stream = io.BytesIO()
        names = [name for name in Book.__dataclass_fields__ if name != "catalogue"]
        own = {f"book_{name}": np.asarray(getattr(self, name)) for name in names}
        np.savez(stream, allow_pickle=False, **own, **self.catalogue.__dict__)
        return stream.getvalue()


def from_bytes(data: bytes) -> Book:
    """Book from the bytes of `Book.to_bytes`."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        own = {name: arrays[f"book_{name}"] for name in Book.__dataclass_fields__ if name != "catalogue"}
        known = Catalogue(**{name: arrays[name] for name in Catalogue.__dataclass_fields__})
    return Book(**(own | {"first_day": int(own["first_day"]), "catalogue": known}))


def book_of(campaigns: pd.DataFrame, tally: pd.DataFrame, catalogue: Catalogue, first_day: int) -> Book:
    """Book from campaigns (campaign_id, unique; kind; starts_on; ends_on; items, a list or missing) and their tally.

    tally: per campaign_id and event_date, how many users were first contacted on it and how many first converted.
    Items that the catalogue lacks are left out. first_day: the first day with logs of sales and of ads.
    """
    campaigns = campaigns.sort_values("campaign_id", ignore_index=True)
    index = pd.Index(catalogue.items)
    ids = np.asarray(campaigns["campaign_id"], dtype=np.str_)
    listed = [list(items) if isinstance(items, list | tuple | np.ndarray) else [] for items in campaigns["items"]]
    codes = [np.unique(index.get_indexer(pd.Index(items, dtype=object))) for items in listed]
    codes = [row[row >= 0] for row in codes]
    place = pd.Index(ids).get_indexer(pd.Index(tally["campaign_id"]))
    columns = [place, days(tally["event_date"]), tally["contacted"], tally["converted"]]
    known = np.stack([np.asarray(column, np.int32) for column in columns], axis=1)[place >= 0]
    return Book(
        ids=ids,
        kind=np.asarray(campaigns["kind"].fillna("").astype(str), dtype=np.str_),
        starts=days(campaigns["starts_on"]),
        ends=days(campaigns["ends_on"]),
        indptr=np.concatenate([[0], np.cumsum([len(row) for row in codes])]).astype(np.int32),
        items=np.concatenate([*codes, np.empty(0, np.int64)]).astype(np.int32),
        first_day=first_day,
        tally=known[np.lexsort((known[:, 1], known[:, 0]))],
        usual=np.zeros((len(ids), 0), np.float32),
        catalogue=catalogue,
    )


def days_or_never(dates: pd.Series) -> Codes:
    """Days since 1970-01-01 of a column of dates; NEVER for a missing date."""
    stamps = pd.to_datetime(dates)
    return np.where(stamps.isna(), NEVER, stamps.to_numpy("datetime64[D]").astype(np.int64)).astype(np.int32)


def days(dates: pd.Series) -> Codes:
    """Days since 1970-01-01 of a column of dates."""
    return pd.to_datetime(dates).to_numpy("datetime64[D]").astype(np.int64).astype(np.int32)
