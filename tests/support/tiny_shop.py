"""A shop small enough for a test: 30 items of five kinds, 24 users with tastes, till lines with dirt.

Two weeks and two days from day 0 on; before them some months of which every fourth day has a file, to train on.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import random
import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.support.small_base import small_base
from tests.support.tiny_conf import CONF, PLANS_CONF, PROPERTIES

REPO = Path(__file__).resolve().parents[2]
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

CAMPAIGNS = {
    "C1": (-100, -85, "tea"),
    "C2": (-76, -61, "soap"),
    "C3": (-52, -37, "cheese"),
    "C4": (-28, -13, "bread"),
    "C5": (8, 24, "tea"),
    "C6": (10, 15, "fruit"),
    "C7": (40, 50, "soap"),
}


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


def make(
    root: Path, days: int = DAYS, dirt: Mapping[int, list[str]] | None = None, *, pinned_base: bool = False
) -> Path:
    """Raw files of the earlier days and of `days` days, and a deployment below `root`; the path of its TOML file.

    Its base model is small_base(), linked into `root`; `pinned_base`: what a deployment has that says nothing.
    """
    landing = root / "landing"
    write_catalogue(landing)
    for number in (*EARLIER, *range(days)):
        write_day(landing, day(number), (dirt or {}).get(number))
    (root / "spark.conf").write_text(PROPERTIES)
    base = "default" if pinned_base else "base"
    if not pinned_base:
        shutil.copytree(small_base(), root / base, copy_function=_linked, dirs_exist_ok=True)
    conf = root / "tiny_shop.toml"
    conf.write_text(CONF.format(lake=root / "lake", landing=landing, spark=root / "spark.conf", base=base))
    return conf


def copied(shop: Path, root: Path) -> Path:
    """A copy of a shop's folder at `root`; the path of its TOML file, whose paths are the copy's.

    Parquet files and weights are never written twice: the copy has links to them.
    """
    shutil.copytree(shop, root, copy_function=_linked)
    conf = root / "tiny_shop.toml"
    conf.write_text(conf.read_text().replace(str(shop), str(root)))
    return conf


def _linked(source: str, target: str) -> object:
    """Copy a file; one that nothing changes in place is linked, where both are on one disk."""
    if source.endswith((".parquet", ".safetensors", ".onnx")):
        with contextlib.suppress(OSError):
            return os.link(source, target)
    return shutil.copy2(source, target)


def _write(landing: Path, name: str, header: str, lines: list[str]) -> Path:
    file = landing / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join([header, *lines]) + "\n")
    return file


def add_plans(conf: Path, stock_days: tuple[int, ...] = (6, 13), dirt: Mapping[str, list[str]] | None = None) -> None:
    """Give a tiny shop everything else that a retailer may have; `dirt` are more lines of the newest file of a kind."""
    landing, more = conf.parent / "landing", dirt or {}
    listed = skus()
    for number in stock_days:
        rng = random.Random(f"stock {number}")
        lines = [
            f"T{till},{sku},{rng.choice([0, 1, 3, 8, 40])},{rng.choice([0, 0, 5])},{3 + till * 2}"
            for till in range(2)
            for sku in listed
        ]
        last = more.get("stock", []) if number == stock_days[-1] else []
        _write(landing, f"stock/stock_{day(number)}.csv", "till,sku,there,ordered,lead", lines + last)
    for number, cost in ((-4, 9), (8, 2)):
        last = more.get("ways", []) if number > 0 else []
        _write(landing, f"ways/ways_{day(number)}.csv", "giver,taker,each", [f"T0,T1,{cost}", "T1,T0,1.5", *last])
    for place, (name, (first, last, kind)) in enumerate(CAMPAIGNS.items()):
        skus_of = [sku for sku, (_, of) in listed.items() if of == kind]
        known = day(first - 8 + (first - 8) % 4 if first < 0 else max(0, first - 30))
        line = f"{name},{'big' if place % 2 else 'small'},{day(first)},{day(last)},{';'.join(skus_of[:3])},{4 + place}"
        extra = more.get("campaigns", []) if name == "C7" else []
        _write(
            landing, f"campaigns/campaigns_{known}_{name}.csv", "campaign,kind,begins,ends,items,most", [line, *extra]
        )
        extra = more.get("campaign_items", []) if name == "C7" else []
        _write(
            landing,
            f"campaigns/items_{known}_{name}.csv",
            "campaign,sku",
            [f"{name},{sku}" for sku in skus_of[3:]] + extra,
        )
        if first > 0:
            continue
        log = []
        for user in range(1, 25):
            favourites = {sorted(KINDS)[user % 5], sorted(KINDS)[(user + 2) % 5]}
            rng = random.Random(f"ad {name} {user}")
            log.append(f"{name}-{user}-seen,impression,U{user:02d},{name},{day(first)} 09:00:00")
            if rng.random() < (0.8 if kind in favourites else 0.1):
                log.append(f"{name}-{user}-did,conversion,U{user:02d},{name},{day(first + 5)} 10:00:00")
        extra = more.get("ad_events", []) if name == "C4" else []
        _write(landing, f"ads/ads_{day(last)}.csv", "id,what,customer,campaign,at", log + extra)
    promoted = [f"{sku},T0,{day(7)},{day(13)},end" for sku in list(listed)[:6]] + more.get("promotions", [])
    _write(landing, f"promotions/promotions_{day(6)}.csv", "sku,till,begins,ends,shelf", promoted)
    people = [f"U{user:02d},{20 + user},{'north' if user % 2 else ''}" for user in range(1, 25)]
    _write(landing, f"customers/customers_{day(EARLIER[0])}.csv", "customer,age,town", people + more.get("users", []))
    conf.write_text(conf.read_text().replace("[jobs.train_model]", PLANS_CONF + "\n[jobs.train_model]", 1))
