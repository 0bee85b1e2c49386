"""Measure profiles of users against a naive rate, BG/NBD and MBG/NBD, on what followed a cut.

    python -m bench.users --landing landing/online_retail

Each cut is forecast from what was known by it alone. Printed for each shop: the cuts that are named for judging, then
the mean of four earlier cuts with the 95 % interval over users, paired, against MBG/NBD. Online Retail is read from
`--landing`, Complete Journey from its package; a shop that is missing is left out.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.compute as pc
from scipy.stats import rankdata

from examples.journey_tables import local_days, package_data, read_table
from udfs.days import NEVER, day_number
from udfs.users import btyd, judge
from udfs.users.features import Seen
from udfs.users.history import History, between, history_of
from udfs.users.model import predict
from udfs.users.training_rows import mean_spend

Doubles = npt.NDArray[np.float64]

BINS, DRAWS = 10, 100
NEXT = ("ours", "own gap", "best constant in hindsight", "share within low and high")
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


@dataclass(frozen=True)
class Outcome:
    """What each contender expected of the users of a cut, and what followed."""

    chance: dict[str, Doubles]
    days: dict[str, Doubles]
    value: dict[str, Doubles]
    bought_days: Doubles
    spent: Doubles
    next_off: tuple[float, float, float]  # median days off of ours, the user's own gap, the best constant
    inside: float  # share of next purchases within low and high

    @property
    def bought(self) -> npt.NDArray[np.bool_]:
        """Who bought."""
        return self.bought_days > 0


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


def judged(history: History, date: str, horizon: int) -> Outcome:
    """Every contender at one cut."""
    today = day_number(dt.date.fromisoformat(date)) + 1
    model = judge.fit_history(history, today)
    seen = judge.seen_at(history, today, model)
    ahead, after = predict(model, seen), between(history, today, today + horizon)
    days = after.per_user()[seen.user]
    rate = (seen.frequency + 1) / np.maximum(seen.age, 4) * horizon / 7
    chance = {"naive rate": 1 - np.exp(-rate), "ours": ahead.ahead.active(horizon)}
    expected = {"naive rate": np.minimum(rate, horizon), "ours": ahead.days[:, 0 if horizon == 28 else 1]}
    facts = (seen.frequency, seen.recency, seen.age)
    for name, modified in (("BG/NBD", False), ("MBG/NBD", True)):
        of = btyd.fit(btyd.counts_of(*facts), modified=modified)
        chance[name] = btyd.p_active(*facts, horizon / 7, of)
        expected[name] = btyd.expected_purchases(*facts, horizon / 7, of)
    spend = mean_spend(seen)
    value = {name: each * spend for name, each in expected.items()} | {"ours": ahead.value[:, 0] * horizon / 90}
    off = _next(seen, ahead.ahead.dates(horizon), days > 0, after.day[after.start[seen.user[days > 0]]] - today + 1)
    return Outcome(chance, expected, value, days, after.per_user(after.spend)[seen.user], *off)


def _next(
    seen: Seen, dates: npt.NDArray[np.int64], bought: npt.NDArray[np.bool_], real: npt.NDArray[np.int64]
) -> tuple[tuple[float, float, float], float]:
    low, middle, high = dates[bought].T
    gap = np.expm1(np.nan_to_num(seen.column("mean_gap"), nan=np.log(29.0)))
    own = np.maximum(gap - np.exp(seen.column("since_last")) + 1, 1)[bought]
    best = min(float(np.median(np.abs(each - real))) for each in range(1, int(real.max()) + 1))
    off = (float(np.median(np.abs(middle - real))), float(np.median(np.abs(own - real))), best)
    return off, float(((real >= low) & (real <= high)).mean())


def auc(chance: Doubles, bought: npt.NDArray[np.bool_]) -> float:
    """Area under the ROC curve."""
    count = int(bought.sum())
    above = float(rankdata(chance)[bought].sum()) - count * (count + 1) / 2
    return above / max(count * (len(bought) - count), 1)


def calibration_error(chance: Doubles, bought: npt.NDArray[np.bool_]) -> float:
    """Mean over rows of |mean chance - share bought| of ten bins of equally many rows."""
    bins = np.array_split(np.argsort(chance, kind="stable"), BINS)
    return float(sum(abs(chance[each].mean() - bought[each].mean()) * len(each) for each in bins) / len(chance))


def gini(expected: Doubles, spent: Doubles) -> float:
    """Normalised Gini: how far the order by expectation concentrates what was spent, over the real order."""

    def area(order: Doubles) -> float:
        sums = np.cumsum(spent[np.argsort(-order, kind="stable")]) / spent.sum()
        return float(sums.mean() - 0.5)

    return area(expected) / area(spent)


def measures(of: Outcome, name: str, rows: npt.NDArray[np.int64] | slice = slice(None)) -> dict[str, float]:
    """The measures of one contender, over some rows of users."""
    bought, chance, days = of.bought[rows], of.chance[name][rows], of.days[name][rows]
    return {
        "AUC": auc(chance, bought),
        "MAE of days": float(np.abs(days - of.bought_days[rows]).mean()),
        "calibration error": calibration_error(chance, bought),
        "Gini of value": gini(of.value[name][rows], of.spent[rows]),
        "total, forecast / real": float(days.sum() / max(of.bought_days[rows].sum(), 1)),
    }


def paired(outcomes: list[Outcome]) -> Iterator[tuple[str, dict[str, float], tuple[float, float, float]]]:
    """For each measure its mean over cuts of each contender, and ours - MBG/NBD with its 95 % interval."""
    names = list(outcomes[0].chance)
    means = {name: pd.DataFrame([measures(of, name) for of in outcomes]).mean() for name in names}
    draw, drawn = np.random.default_rng(0), []
    for _ in range(DRAWS):
        rows = [draw.integers(0, len(of.spent), len(of.spent)) for of in outcomes]
        both = [
            pd.DataFrame([measures(of, name, some) for of, some in zip(outcomes, rows, strict=True)]).mean()
            for name in ("ours", "MBG/NBD")
        ]
        drawn.append(both[0] - both[1])
    lows, highs = (pd.DataFrame(drawn).quantile(level) for level in (0.025, 0.975))
    for measure in means["ours"].index:
        gain = float(means["ours"][measure] - means["MBG/NBD"][measure])
        interval = (gain, float(lows[measure]), float(highs[measure]))
        yield measure, {name: float(means[name][measure]) for name in names}, interval


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
            table = pd.DataFrame({name: measures(of, name) for name in of.chance})
            for measure, row in table.iterrows():
                print(f"| {measure} | {' | '.join(f'{each:.3f}' for each in row)} |")
            ours, own, best = of.next_off
            print(f"next purchase, median days off: {ours:.1f}; own gap {own:.1f}, best constant {best:.1f}", end="; ")
            print(f"within low and high {of.inside:.3f}")
        for cuts in EARLIER[shop]:
            outcomes = [judged(history, *cut) for cut in cuts]
            print(f"\n{shop}, mean of {', '.join(date for date, _ in cuts)}, {cuts[0][1]} days", flush=True)
            for measure, means, (gain, low, high) in paired(outcomes):
                listed = ", ".join(f"{name} {each:.3f}" for name, each in means.items())
                print(f"{measure}: {listed}; ours - MBG/NBD {gain:+.4f} ({low:+.4f} to {high:+.4f})")
            offs = np.array([[*of.next_off, of.inside] for of in outcomes]).mean(axis=0)
            shown = ", ".join(f"{what} {off:.3f}" for what, off in zip(NEXT, offs, strict=True))
            print(f"next purchase, median days off: {shown}")


if __name__ == "__main__":
    main()
