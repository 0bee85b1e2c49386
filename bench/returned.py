"""What returns take off an Online Retail: lines, units, baskets, by how many days after the purchase; plain Python.

    python -m bench.returned --landing landing/online_retail

A stack of purchases per customer and item, as tests/spark/test_returns.py has it, over raw files and the rules of
conf/online_retail.toml. Independent of the jobs, so that their figures can be held against it.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pandas as pd

WINDOWS = (0, 1, 7, 14, 30, 60, 90, 120, 180, 400)


def read(landing: Path) -> pd.DataFrame:
    """Sound purchases and returns by time; `who` is a customer, or the country and day of a guest."""
    lines = pd.concat([pd.read_csv(file, dtype=str) for file in sorted(landing.glob("*.csv.gz"))], ignore_index=True)
    units, price = (pd.to_numeric(lines[name], errors="coerce") for name in ("Quantity", "UnitPrice"))
    back = lines["InvoiceNo"].str.startswith("C")
    item = lines["StockCode"].str.upper()
    sound = (price > 0) & ((units > 0) | ((units < 0) & back)) & item.str.match(r"[0-9]{5}") & (units.abs() <= 100_000)
    at = pd.to_datetime(lines["InvoiceDate"])
    user = lines["CustomerID"].str.removesuffix(".0")
    guest = "guest of " + lines["Country"] + at.dt.strftime(" %Y-%m-%d")
    columns = {"user": user, "who": user.fillna(guest), "item": item, "units": units.abs(), "at": at, "back": back}
    table = pd.DataFrame(columns | {"day": at.dt.normalize(), "basket": lines["InvoiceNo"]})[sound]
    return table.sort_values(["at", "back"], kind="stable", ignore_index=True)


def netted(lines: pd.DataFrame, within_days: int) -> tuple[pd.Series, Counter[int]]:
    """Units left of each purchase, by row; and units undone by the days that had gone by."""
    left = lines["units"].where(~lines["back"], 0).to_numpy(np.int64, copy=True)
    returned = set(map(tuple, lines.loc[lines["back"], ["who", "item"]].to_numpy()))
    rows: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row, key in enumerate(zip(lines["who"], lines["item"], strict=True)):
        if key in returned:
            rows[key].append(row)
    back, units, day = lines["back"].to_numpy(), lines["units"].to_numpy(), lines["day"].to_numpy()
    ages: Counter[int] = Counter()
    for of_key in rows.values():
        stack: list[int] = []
        for row in of_key:
            if not back[row]:
                stack.append(row)
                continue
            wanted = int(units[row])
            for bought in reversed(stack):
                age = int((day[row] - day[bought]) / pd.Timedelta(days=1).to_timedelta64())
                if age > within_days or not wanted:
                    break
                taken = min(wanted, int(left[bought]))
                left[bought] -= taken
                wanted -= taken
                ages[age] += taken
    return pd.Series(left, index=lines.index), ages


def main(arguments: list[str] | None = None) -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="bench.returned", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--landing", type=Path, required=True)
    parser.add_argument("--within-days", type=int, default=90)
    given = parser.parse_args(arguments)
    lines = read(given.landing)
    bought, back = lines[~lines["back"]], lines[lines["back"]]
    print(f"purchases {len(bought):,} lines, {bought['units'].sum():,.0f} units; returns {len(back):,}, ", end="")
    print(f"{back['units'].sum():,.0f} units, of known customers {back['user'].notna().sum():,}")
    for days in WINDOWS:
        left, _ = netted(lines, days)
        gone = int((bought["units"] - left[bought.index]).sum())
        print(f"within {days} days: {gone:,} units undone, {gone / back['units'].sum():.1%} of what was returned")
    left, _ = netted(lines, given.within_days)
    left = left[bought.index]
    fully, partly = (left == 0).sum(), ((left > 0) & (left < bought["units"])).sum()
    print(
        f"lines fully returned {fully:,}, in part {partly:,}; left {(left > 0).sum():,} lines, {left.sum():,.0f} units"
    )
    known = bought["user"].notna()
    parts = bought[known], bought[known & (left > 0)]
    pairs = [part.groupby(["user", "item"]).ngroups for part in parts]
    users, baskets = ([part[name].nunique() for part in parts] for name in ("user", "basket"))
    print(f"of known customers: pairs of customer and item {pairs}, customers {users}, baskets {baskets}")
    last = lines["day"].max()
    recent = bought["day"] > last - pd.Timedelta(days=28)
    print(f"units of the last 28 days {bought.loc[recent, 'units'].sum():,.0f}, left {left[recent].sum():,.0f}")
    most = (bought["units"] - left).groupby(bought["item"]).sum().sort_values(ascending=False).head(5)
    print("most undone:", {item: int(units) for item, units in most.items()})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
