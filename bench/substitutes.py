"""Measure gold.related_items' substitutes: the item bought instead of one that a store has not sold for two weeks.

    python -m bench.substitutes --conf conf/complete_journey.toml --cut 2017-12-03

The lists are those of relate_items, from the lake's silver tables as the run of the cut knew them; nothing is written.
A case is a user's first purchase of an item's category in the 28 days after the cut, in a store that had sold the item
on four days of four weeks and then not for GAP_DAYS, where the item was among what the user had bought of the category
the time before. What the user buys instead is what they had not bought that time. Printed: the share of cases in which
one of the first five is among it, beside the five most bought items of the category, and the lead with its 95 %
interval over users; then the same of a control, which gives each item the list of another one of its category.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from udfs.days import day_number
from udfs.horizon import HORIZON_DAYS

GAP_DAYS, BEFORE_DAYS, SOLD_DAYS = 14, 28, 4
LISTED = 5
DRAWS = 2_000
Doubles = npt.NDArray[np.float64]


def cases(lines: pd.DataFrame, cut: int) -> pd.DataFrame:
    """user, store, item, day and `instead` (a set of items) of each case after the day `cut`.

    lines: user, store, item, need, day of purchases, of which those after the horizon are not read.
    """
    lines = lines[lines["day"] <= cut + HORIZON_DAYS].drop_duplicates(["user", "store", "item", "day"])
    visits = lines.dropna(subset=["need"]).sort_values(["user", "need", "day"])
    by_day = (
        visits.groupby(["user", "need", "day"], sort=True)
        .agg(items=("item", frozenset), stores=("store", frozenset))
        .reset_index()
    )
    same = by_day[["user", "need"]].shift().eq(by_day[["user", "need"]]).all(axis=1)
    by_day["before"] = by_day["items"].shift().where(same)
    later = by_day[(by_day["day"] > cut) & by_day["before"].notna()]
    sold = {key: np.sort(days.unique()) for key, days in lines.groupby(["store", "item"])["day"]}
    rows = []
    columns = (later[name].tolist() for name in ("user", "day", "items", "stores", "before"))
    for user, day, items, stores, before in zip(*columns, strict=True):
        if len(stores) != 1:
            continue
        (store,) = stores
        instead = items - before
        for item in sorted(before - items):
            days = sold.get((store, item))
            if instead and days is not None and _missing(days, day):
                rows.append((user, store, item, day, instead))
    found = pd.DataFrame(rows, columns=["user", "store", "item", "day", "instead"])
    return found.drop_duplicates(["user", "item"], ignore_index=True)


def _missing(days: npt.NDArray[np.int64], day: int) -> bool:
    """Whether an item sold on `days`, on SOLD_DAYS of BEFORE_DAYS, has not been sold for GAP_DAYS before `day`."""
    known = days[days < day]
    if not len(known) or day - known[-1] < GAP_DAYS:
        return False
    return bool((known > known[-1] - BEFORE_DAYS).sum() >= SOLD_DAYS)


def hits(found: pd.DataFrame, lists: Mapping[str, Sequence[str]]) -> Doubles:
    """1 for each case of which one of the item's first LISTED is bought instead, else 0."""
    return np.array(
        [
            float(bool(set(lists.get(item, ())[:LISTED]) & instead))
            for item, instead in zip(found["item"], found["instead"], strict=True)
        ]
    )


def lead(users: pd.Series, ours: Doubles, peers: Doubles) -> tuple[float, float, float]:
    """Our hits over the peers', less 1, with the ends of its 95 % interval: users are drawn with all their cases."""
    sums = pd.DataFrame({"ours": ours, "peers": peers}).groupby(users.to_numpy()).sum().to_numpy()
    draw = np.random.default_rng(1)
    drawn = [sums[draw.integers(0, len(sums), len(sums))].sum(axis=0) for _ in range(DRAWS)]
    low, high = np.quantile([one / max(other, 1) - 1 for one, other in drawn], [0.025, 0.975])
    return float(ours.sum() / max(peers.sum(), 1) - 1), float(low), float(high)


def popular(shares: pd.DataFrame) -> dict[str, list[str]]:
    """The LISTED most bought other items of each item's category; shares: item, need, share."""
    ordered = shares.sort_values(["share", "item"], ascending=[False, True])
    first = ordered.groupby("need")["item"].agg(lambda items: list(items.head(LISTED + 1))).to_dict()
    return {
        item: [other for other in first[need] if other != item][:LISTED]
        for item, need in zip(shares["item"], shares["need"], strict=True)
    }


def shuffled(lists: dict[str, list[str]], shares: pd.DataFrame) -> dict[str, list[str]]:
    """Each item with the list of another one of its category, drawn at random, without itself."""
    draw, given = np.random.default_rng(1), {}
    for _, items in shares[shares["item"].isin(lists)].groupby("need")["item"]:
        for item, other in zip(items, draw.permutation(items), strict=True):
            given[item] = [each for each in lists[other] if each != item]
    return given


def read(conf: Path, cut: dt.date) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, list[str]]]:
    """Lines for `cases`, shares for `popular`, and the items' substitutes as relate_items lists them on `cut`."""
    from pyspark.sql import functions as F

    from jobs.relate_items import relate_items
    from jobs.runner.session import session
    from jobs.transforms.purchases import purchases
    from schemas import block_list, relations, silver
    from schemas.deployment import load
    from schemas.derive import plain_ddl
    from schemas.run import RunContext

    deployment = load(conf)
    spark = session(deployment)
    lake = Path(deployment.lake)
    events, items = (spark.read.format("delta").load(str(lake / "silver" / name)) for name in ("events", "items"))
    newest = items.where(F.col("run_date") == items.agg(F.max("run_date")).collect()[0][0])
    known = events.where(F.col("run_date") <= F.lit(cut))
    nothing = [
        spark.createDataFrame([], plain_ddl(table)) for table in (relations.RELATIONS, silver.STOCK, block_list.BLOCKED)
    ]
    frames = relate_items(known, newest, *nothing, run=RunContext(cut, deployment))
    related = frames["gold.related_items"].where("relation = 'substitute'").toArrow().to_pandas().sort_values("rank")
    lists: dict[str, list[str]] = {
        str(item): list(others) for item, others in related.groupby("item_id")["related_item_id"]
    }
    edges = frames["features.relations"].where("relation = 'in_category'").toArrow().to_pandas()
    shares = edges.rename(columns={"subject": "item", "object": "need", "weight": "share"})[["item", "need", "share"]]
    bought = (
        purchases(events, deployment)
        .select("user_id", "location_id", "item_id", "event_date")
        .distinct()
        .toArrow()
        .to_pandas()
    )
    bought.columns = ["user", "store", "item", "day"]
    bought["day"] = [day_number(day) for day in bought["day"]]
    return bought.merge(shares[["item", "need"]], on="item", how="left"), shares, lists


def main() -> None:
    """Run as described above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conf", type=Path, required=True)
    parser.add_argument("--cut", type=dt.date.fromisoformat, required=True)
    asked = parser.parse_args()
    lines, shares, lists = read(asked.conf, asked.cut)
    found = cases(lines, day_number(asked.cut))
    if found.empty:
        raise SystemExit(f"{asked.cut}: no item was missing from a store in the 28 days that follow")
    peers = hits(found, popular(shares))
    print(
        f"{len(found)} cases of {found['user'].nunique()} users; hit@{LISTED} of the popular items {peers.mean():.4f}"
    )
    for name, given in {"relate_items": lists, "control": shuffled(lists, shares)}.items():
        ours = hits(found, given)
        middle, low, high = lead(found["user"], ours, peers)
        print(f"{name}: hit@{LISTED} {ours.mean():.4f}, lead {middle:+.1%} ({low:+.1%} to {high:+.1%})")


if __name__ == "__main__":
    main()
