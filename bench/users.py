"""Measure profiles of users against a naive rate, BG/NBD and MBG/NBD, on what followed a cut.

    python -m bench.users --landing landing/online_retail

Each cut is forecast from what was known by it alone. Printed for each shop: the cuts that are named for judging, then
the mean of four earlier cuts with the 95 % interval over users, paired, against MBG/NBD. Online Retail is read from
`--landing`, Complete Journey from its package; a shop that is missing is left out.
"""

from __future__ import annotations

import argparse
import datetime as dt
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.compute as pc

from examples.journey_tables import local_days, package_data, read_table
from udfs.days import NEVER, day_number
from udfs.users import evaluation
from udfs.users.history import History, history_of

NAMED = {
    "Online Retail": (("2011-08-31", 90), ("2011-11-10", 28)),
    "Complete Journey": (("2017-12-03", 28),),
}
EARLIER = {
    "Online Retail": (
        (("2011-04-20", 90), ("2011-05-04", 90), ("2011-05-18", 90), ("2011-06-01", 90)),
        (("2011-05-11", 28), ("2011-06-08", 28), ("2011-07-06", 28), ("2011-08-03", 28)),
    ),
    "Complete Journey": ((("2017-07-09", 28), ("2017-08-06", 28), ("2017-10-08", 28), ("2017-11-05", 28)),),
}


def online_retail(landing: Path) -> History:
    """Purchases of known users of sound items, as the deployment cleans them."""
    names = ["InvoiceNo", "StockCode", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID"]
    lines = pd.concat([pd.read_csv(file, dtype=str)[names] for file in sorted(landing.glob("*.csv.gz"))])
    units, price = lines["Quantity"].astype(float), lines["UnitPrice"].astype(float)
    sound = (units > 0) & (price > 0) & lines["CustomerID"].notna() & lines["StockCode"].str[:5].str.isdigit()
    sound &= ~lines["InvoiceNo"].str.startswith("C")
    day = np.asarray(pd.to_datetime(lines["InvoiceDate"]).to_numpy().astype("datetime64[D]").astype(np.int64))
    return _history(lines["CustomerID"], day, units * price, lines["InvoiceNo"], sound)


def complete_journey() -> History:
    """Purchases of households, but for impossible units and lines for which nothing was paid."""
    table = read_table(package_data(), "transactions")
    day = np.asarray(local_days(table["transaction_timestamp"]).astype(np.int64))
    names = {"household_id": "user_id", "basket_id": "basket_id", "quantity": "units", "sales_value": "spend"}
    lines = table.select(list(names)).rename_columns(list(names.values())).to_pandas()
    products = read_table(package_data(), "products")
    sold = products.filter(pc.invert(pc.is_in(products["department"], pc.cast(NO_PRODUCTS, "string"))))["product_id"]
    sound = lines["units"].between(1, 1000) & (lines["spend"].round(2) > 0)
    sound &= pc.is_in(table["product_id"], sold.combine_chunks()).to_numpy()
    return _history(lines["user_id"].astype(str), day, lines["spend"], lines["basket_id"], sound)


NO_PRODUCTS = ["FUEL", "COUPON", "MISCELLANEOUS", "CNTRL/STORE SUP", "POSTAL CENTER", "PROD-WHS SALES"]
NO_PRODUCTS += ["CHARITABLE CONT"]


def _history(
    user: pd.Series, day: npt.NDArray[np.int64], spend: pd.Series, basket: pd.Series, sound: pd.Series
) -> History:
    lines = pd.DataFrame(
        {"user_id": user.to_numpy(), "day": day, "spend": spend.to_numpy(), "basket": basket.to_numpy()}
    )[sound.to_numpy()]
    days = lines.groupby(["user_id", "day"], as_index=False).agg(spend=("spend", "sum"), baskets=("basket", "nunique"))
    return history_of(days.assign(known=days["day"], undone=NEVER))


def main() -> None:
    """Print both shops' tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--landing", type=Path, help="folder of Online Retail's raw files")
    parser.add_argument("--earlier", action="store_true", help="the earlier cuts alone, by which choices are made")
    given = parser.parse_args()
    shops = {"Complete Journey": complete_journey()}
    if given.landing:
        shops["Online Retail"] = online_retail(given.landing)
    for shop, history in shops.items():
        for date, horizon in () if given.earlier else NAMED[shop]:
            of = judged(history, date, horizon)
            print(f"\n{shop} {date}, {horizon} days\n| measure | {' | '.join(of.chance)} |")
            print(f"|---|{'---|' * len(of.chance)}")
            table = pd.DataFrame({name: evaluation.measures(of, name) for name in of.chance})
            for measure, row in table.iterrows():
                print(f"| {measure} | {' | '.join(f'{each:.3f}' for each in row)} |")
            shown = ", ".join(f"{name} {off:.1f}" for name, off in of.next_off.items())
            print(f"next purchase, median days off: {shown}; within low and high {of.inside:.3f}")
        for cuts in EARLIER[shop]:
            outcomes = [judged(history, *cut) for cut in cuts]
            print(f"\n{shop}, mean of {', '.join(date for date, _ in cuts)}, {cuts[0][1]} days", flush=True)
            names = list(outcomes[0].chance)
            means = {name: pd.DataFrame([evaluation.measures(of, name) for of in outcomes]).mean() for name in names}
            for measure, (gain, low, high) in evaluation.leads(outcomes).items():
                listed = ", ".join(f"{name} {means[name][measure]:.3f}" for name in names)
                print(f"{measure}: {listed}; lead over MBG/NBD {gain:+.4f} ({low:+.4f} to {high:+.4f})")
            offs = pd.DataFrame([of.next_off for of in outcomes]).mean()
            shown = ", ".join(f"{name} {off:.3f}" for name, off in offs.items())
            inside = np.mean([of.inside for of in outcomes])
            print(f"next purchase, median days off: {shown}; within low and high {inside:.3f}")


def judged(history: History, date: str, horizon: int) -> evaluation.Outcome:
    """Every contender on a date that has ended."""
    return evaluation.outcome(history, day_number(dt.date.fromisoformat(date)) + 1, horizon)


if __name__ == "__main__":
    main()
