"""A shop small enough for a test: 30 items of five kinds, 24 users with tastes, till lines with dirt.

Two weeks and two days from day 0 on; before them some months of which every fourth day has a file, to train on.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Mapping
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
FIRST_DAY = dt.date(2024, 3, 1)
DAYS = 16
EARLIER = range(-120, 0, 4)
KINDS = {
    "tea": ["green tea", "black tea", "mint tea", "oolong tea", "white tea", "herbal tea"],
    "bread": ["rye bread", "white bread", "baguette", "brown rolls", "toast bread", "flat bread"],
    "cheese": ["cheddar cheese", "goat cheese", "blue cheese", "brie cheese", "feta cheese", "gouda cheese"],
    "soap": ["hand soap", "dish soap", "bar soap", "shampoo", "shower gel", "bath salt"],
    "fruit": ["red apples", "bananas", "green pears", "oranges", "lemons", "grapes"],
}
HEADER = "line_id,customer,sku,units,amount,till,at"

PROPERTIES = """
spark.master                                   local[2,3]
spark.driver.memory                            4g
spark.ui.retainedJobs                          20
spark.ui.retainedStages                        20
spark.ui.retainedTasks                         1000
spark.sql.ui.retainedExecutions                5
spark.sql.maxPlanStringLength                  4000
spark.jars.packages                            io.delta:delta-spark_4.2_2.13:4.4.0
spark.sql.extensions                           io.delta.sql.DeltaSparkSessionExtension
spark.sql.catalog.spark_catalog                org.apache.spark.sql.delta.catalog.DeltaCatalog
spark.sql.session.timeZone                     UTC
spark.sql.shuffle.partitions                   2
spark.sql.sources.parallelPartitionDiscovery.parallelism  2
spark.databricks.delta.snapshotPartitions      1
spark.ui.enabled                               false
spark.ui.showConsoleProgress                   false
spark.log.level                                ERROR
"""

CONF = """
name = "tiny_shop"
users = "customers"
lake = "{lake}"
landing = "{landing}"
spark = "{spark}"

[sources.events]
files = "sales/*"
columns = ["line_id", "customer", "sku", "units", "amount", "till", "at"]

[sources.events.map]
occurred_at = "at"
user_id = "customer"
item_id = "sku"
location_id = "till"
quantity = "abs(try_cast(units AS INT))"
unit_price = "amount / abs(units)"
event_type = "CASE WHEN units < 0 THEN 'return' ELSE 'purchase' END"

[sources.events.reject]
"amount is negative" = "log.amount < 0"

[sources.items]
files = "catalogue/*.csv"
columns = ["sku", "name", "kind"]

[sources.items.map]
item_id = "sku"
text = "lower(concat_ws(', ', name, kind))"
title = "name"
category = "kind"

[sources.items.reject]
"no product" = "log.kind = 'service'"

[jobs.train_model]
encoder_steps = 2
refit_steps = 1
newest_steps = 1
learn_steps = 4
evaluate_every = 2
ranker_nights = 2
trees = 5

[jobs.evaluate_recommendations]
segment = "location_id"
ablation_rows = 5000
listed = true

[jobs.rank_recommendations]
top_k = 8

[jobs.find_similar_items]
top_k = 5

[jobs.build_default_recommendations]
segment = "location_id"
top_k = 8
"""


def day(number: int) -> dt.date:
    """The shop's n-th day, from 0."""
    return FIRST_DAY + dt.timedelta(days=number)


def skus() -> dict[str, tuple[str, str]]:
    """Sku -> (name, kind)."""
    names = [(name, kind) for kind, listed in KINDS.items() for name in listed]
    return {f"S{number:02d}": pair for number, pair in enumerate(names, start=1)}


def sales(date: dt.date) -> list[str]:
    """The sound till lines of one day: each user comes every other day or so and mostly buys two kinds."""
    rng = random.Random(f"tiny shop {date}")
    listed = list(skus().items())
    lines = []
    for user in range(1, 25):
        if rng.random() < 0.5:
            continue
        favourite = {sorted(KINDS)[user % 5], sorted(KINDS)[(user + 2) % 5]}
        wanted = [sku for sku, (_, kind) in listed if kind in favourite]
        basket = rng.sample(wanted, 3) + rng.sample([sku for sku, _ in listed], 1)
        for place, sku in enumerate(dict.fromkeys(basket)):
            units = rng.randint(1, 3)
            moment = f"{date} {8 + user % 12:02d}:{place:02d}:00"
            lines.append(f"{date}-{user}-{place},U{user:02d},{sku},{units},{units * 1.5},T{user % 2},{moment}")
    return lines


def write_catalogue(landing: Path) -> None:
    """The catalogue, with one thing that is no product."""
    folder = landing / "catalogue"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [f"{sku},{name},{kind}" for sku, (name, kind) in skus().items()]
    (folder / f"catalogue_{day(EARLIER[0])}.csv").write_text(
        "\n".join(["sku,name,kind", *rows, "V01,Gift wrap,service"]) + "\n"
    )


def write_day(landing: Path, date: dt.date, extra: list[str] | None = None) -> Path:
    """One day's sales file, `extra` lines after the sound ones."""
    folder = landing / "sales"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"sales_{date}.csv"
    file.write_text("\n".join([HEADER, *sales(date), *(extra or [])]) + "\n")
    return file


def make(root: Path, days: int = DAYS, dirt: Mapping[int, list[str]] | None = None) -> Path:
    """Raw files of the earlier days and of `days` days, and a deployment below `root`; the path of its TOML file."""
    landing = root / "landing"
    write_catalogue(landing)
    for number in (*EARLIER, *range(days)):
        write_day(landing, day(number), (dirt or {}).get(number))
    (root / "spark.conf").write_text(PROPERTIES)
    conf = root / "tiny_shop.toml"
    conf.write_text(CONF.format(lake=root / "lake", landing=landing, spark=root / "spark.conf"))
    return conf
