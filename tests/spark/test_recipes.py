"""The recipes of docs/configuration.md: each takes in its own tiny landing, from bytes to silver rows.

To add one:
1. in docs/configuration.md, below "## Recipes", a heading of the third level, a sentence, and one ```toml block of
   about ten lines. Leave out name, lake, landing and spark; everything else is as a shop would write it.
2. here, an entry of RECIPES under that heading: the files (path below landing -> text or bytes), and what silver has
   afterwards: `events`, `items`, `stock`: the accepted rows by file and line, with the columns that matter as text;
   `rejected`: the codes of each rejected event or item. A table that is not named is not looked at.
A recipe costs two to four seconds: jobs' functions are called on frames, nothing is written, no job is run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.clean_events import clean_events
from jobs.clean_items import clean_items
from jobs.clean_stock import clean_stock
from jobs.ingest_logs import ingest_logs
from jobs.runner.landing import Landing
from jobs.runner.settings import check_settings
from jobs.transforms import mapping
from schemas import bronze, silver
from schemas.deployment import load
from tests.conftest import Rows, run_of
from tests.support import tiny_shop
from tests.support.search_recipes import SEARCH_RECIPES

PAGE = tiny_shop.REPO / "docs" / "configuration.md"
RECIPE = re.compile(r"^### ([^\n]+)\n(?:(?!^#).)*?^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MOST_LINES = 16

Shown = Sequence[Mapping[str, str | None]]


@dataclass(frozen=True)
class Recipe:
    """Raw files of a recipe's landing, and the rows that silver has of them."""

    files: Mapping[str, str | bytes]
    events: Shown | None = None
    items: Shown | None = None
    stock: Shown | None = None
    rejected: Sequence[Sequence[str]] = ()


RECIPES: dict[str, Recipe] = {
    "A till that writes a line a scan": Recipe(
        {
            "scans/scans_2026-07-06.csv": "receipt,card,sku,price,at\n"
            "1,U1,milk,1.10,2026-07-06 09:05:00\n"
            "1,U1,milk,1.10,2026-07-06 09:05:00\n"
            "1,U1,bread,2.00,2026-07-06 09:05:00\n"
            "1,U1,milk,1.10,2026-07-06 09:05:00\n",
            "scans/again_2026-07-06.csv": "receipt,card,sku,price,at\n"
            "1,U1,milk,1.10,2026-07-06 09:05:00\n"
            "2,U2,milk,1.10,2026-07-06 09:09:00\n",
        },
        events=[
            {"source_file": "scans/again_2026-07-06.csv", "item_id": "milk", "basket_id": "1"},
            {"source_file": "scans/again_2026-07-06.csv", "item_id": "milk", "basket_id": "2"},
            {"source_file": "scans/scans_2026-07-06.csv", "item_id": "milk", "basket_id": "1"},
            {"source_file": "scans/scans_2026-07-06.csv", "item_id": "bread", "basket_id": "1"},
            {"source_file": "scans/scans_2026-07-06.csv", "item_id": "milk", "basket_id": "1"},
        ],
        rejected=[["duplicate"]],
    ),
    "Stores that only the names of their files say": Recipe(
        {
            "sales/sales_2026-07-10_store1.csv": "receipt,sku,units,price,at\nR17,S01,1,1.50,2026-07-10 10:00:00\n"
            "R17,S01,1,1.50,2026-07-10 10:00:00\nR18,S02,1,2.00,2026-07-10 10:05:00\n",
            "sales/sales_2026-07-10_store2.csv": "receipt,sku,units,price,at\nR17,S01,1,1.50,2026-07-10 10:00:00\n"
            "R18,S03,2,5.00,2026-07-10 10:06:00\n",
            "sales/sales_2026-07-10_store3.csv": "receipt,sku,units,price,at\nR17,S01,1,1.50,2026-07-10 10:00:00\n"
            "R18,S03,2,5.00,2026-07-10 10:06:00\n",  # the content of another store's file
        },
        events=[
            *[{"location_id": "store1", "item_id": "S01", "quantity": "1.000"}] * 2,
            {"location_id": "store1", "item_id": "S02", "quantity": "1.000"},
            *[
                {"location_id": store, "item_id": item, "quantity": units}
                for store in ("store2", "store3")
                for item, units in (("S01", "1.000"), ("S03", "2.000"))
            ],
        ],
    ),
    "A shop in New York": Recipe(
        {
            "sales/sales_2026-07-06.csv": "receipt,customer,sku,units,price,at\n"
            "1,U1,S1,1,2.00,2026-07-06 09:05:00\n"
            "2,U1,S2,1,2.00,2026-07-06 22:40:00\n"
            "3,U2,S2,1,2.00,2026-07-06T22:41:00-04:00\n"
        },
        events=[
            {"occurred_at": "2026-07-06 13:05:00", "event_date": "2026-07-06"},
            {"occurred_at": "2026-07-07 02:40:00", "event_date": "2026-07-06"},
            {"occurred_at": "2026-07-07 02:41:00", "event_date": "2026-07-06"},
        ],
    ),
    "A shop in Tokyo, whose files are named by the day of their export": Recipe(
        {
            "sales/export_20260707.csv": "receipt,customer,sku,units,price,at\n"
            "1,U1,S1,1,200,2026/07/06 00:10\n"
            "2,U1,S2,1,200,2026/07/06 23:50\n"
        },
        events=[
            {"run_date": "2026-07-06", "occurred_at": "2026-07-05 15:10:00", "event_date": "2026-07-06"},
            {"run_date": "2026-07-06", "occurred_at": "2026-07-06 14:50:00", "event_date": "2026-07-06"},
        ],
    ),
    "A bar whose business day ends at 04:00": Recipe(
        {
            "sales/sales_2026-07-07.csv": "receipt,customer,sku,units,price,at\n"
            "1,,S1,1,2.00,2026-07-07 23:50:00\n"
            "2,,S1,1,2.00,2026-07-08 01:40:00\n"
            "3,,S1,1,2.00,2026-07-08 04:10:00\n"
        },
        events=[
            {"occurred_at": "2026-07-07 21:50:00", "event_date": "2026-07-07"},
            {"occurred_at": "2026-07-07 23:40:00", "event_date": "2026-07-07"},
        ],
        rejected=[["not_after_file"]],
    ),
    "A Shopify-like order export": Recipe(
        {
            "orders/orders_2026-03-02.csv": "Name,Email,Financial Status,Created at,Lineitem quantity,Lineitem price,"
            "Lineitem sku\n"
            "#1001,U1@shop.test,paid,2026-03-02 09:50:26 +0200,1,12.50,MUG\n"
            "#1001,,,,2,8.00,PLATE\n"
            "#1002,u2@shop.test,refunded,2026-03-02 11:10:00 +0200,1,12.50,MUG\n"
            "#1002,,,,3,8.00,PLATE\n"
            "#1003,,paid,2026-03-02 12:00:00 +0200,1,12.50,MUG\n"
        },
        events=[
            {"basket_id": "#1001", "user_id": "u1@shop.test", "item_id": "MUG", "occurred_at": "2026-03-02 07:50:26"},
            {"basket_id": "#1001", "user_id": "u1@shop.test", "item_id": "PLATE", "occurred_at": "2026-03-02 07:50:26"},
            {"basket_id": "#1003", "user_id": None, "item_id": "MUG", "occurred_at": "2026-03-02 10:00:00"},
        ],
        rejected=[["own.refunded"], ["own.refunded"]],
    ),
    "Variants that have their product's title": Recipe(
        {
            "products/products_2026-03-02.csv": "Handle,Title,Type,Variant SKU\n"
            "mug,Zebra mug,mug,MUG-R\nmug,,,MUG-B\nplate,Plate,plate,PLATE\n",
            "products/products_2026-03-03.csv": "Handle,Title,Type,Variant SKU\n"
            "mug,Apple mug,mug,MUG-R\nmug,,,MUG-B\nplate,Plate,plate,PLATE\n",
        },
        items=[
            {"item_id": "MUG-B", "title": "Apple mug", "text": "apple mug, mug"},
            {"item_id": "MUG-R", "title": "Apple mug", "text": "apple mug, mug"},
            {"item_id": "PLATE", "title": "Plate", "text": "plate, plate"},
        ],
    ),
    "Sizes that name their style": Recipe(
        {
            "products/products_2026-03-02.csv": "sku,style,name,size\nT-S,tee,Tee,S\nT-M,tee,Tee,M\nCAP,,Cap,\n",
            "stock/stock_2026-03-02.csv": "site,sku,units,days\nstore,T-S,3,2\nwarehouse,T-S,0,2\nwarehouse,T-M,5,2\n",
        },
        items=[
            {"item_id": "CAP", "product_id": None, "text": "cap"},
            {"item_id": "T-M", "product_id": "tee", "text": "tee, m"},
            {"item_id": "T-S", "product_id": "tee", "text": "tee, s"},
        ],
        stock=[
            {"location_id": "store", "item_id": "T-S", "on_hand": "3.000"},
            {"location_id": "warehouse", "item_id": "T-S", "on_hand": "0.000"},
            {"location_id": "warehouse", "item_id": "T-M", "on_hand": "5.000"},
        ],
    ),
    "A Magento-like catalogue with HTML over several lines": Recipe(
        {
            "catalogue/catalogue_2026-03-02.csv": "sku,name,categories,description\n"
            'S15,"Rye bread 750 g",bread,"<p>Baked in the morning.</p>\n<p>Contains rye, wheat</p>"\n'
            'S17,"Gift basket \\"Spring\\"",gift,"<ul>\n<li class=\\"a\\">Green tea, black tea, mint tea</li>\n</ul>"\n'
            "sku,name,categories,description\n"
            "S16,Oat rolls,bread,Six pieces\n"
            "Total,3 products,,\n"
        },
        items=[
            {"item_id": "S15", "text": "rye bread 750 g baked in the morning. contains rye, wheat"},
            {"item_id": "S16", "text": "oat rolls six pieces"},
            {"item_id": "S17", "text": 'gift basket "spring" green tea, black tea, mint tea'},
        ],
        rejected=[["unreadable"], ["own.a_total"]],
    ),
    "A spreadsheet's export with `sep=` and lines above the header": Recipe(
        {
            "sheet/sheet_2026-03-02.csv": (
                "sep=;\r\nSales of 2 March;;;;;\r\n\r\n"
                "receipt;article;pieces;each;at;voucher\r\n"
                "1;Käse;2;1,50;02.03.2026 10:15\r\n"
                '2;"Tee; grün";1;0,90;02.03.2026 10:20;V7\r\n'
                ";;;;;\r\n"
                "Total;;3;3,90;02.03.2026 23:00\r\n"
            ).encode("cp1252")
        },
        events=[
            {"item_id": "Käse", "unit_price": "1.5", "occurred_at": "2026-03-02 10:15:00"},
            {"item_id": "Tee; grün", "unit_price": "0.9", "occurred_at": "2026-03-02 10:20:00"},
        ],
        rejected=[["own.a_total", "item_named"]],
    ),
    "A feed of `.CSV` files with a Mac's `._` files beside them": Recipe(
        {
            "feed/sales_2026-03-02.CSV": "receipt,sku,units,price,at\n1,S1,1,2.00,2026-03-02 09:05:00\n",
            "feed/._sales_2026-03-02.CSV": b"\x00\x05\x16\x07",
            "feed/_SUCCESS": "",
            "feed/sales_2026-03-03.csv": "receipt,sku,units,price,at\n1,S2,1,2.00,2026-03-03 09:05:00\n",
        },
        events=[
            {"source_file": "feed/sales_2026-03-02.CSV", "item_id": "S1"},
            {"source_file": "feed/sales_2026-03-03.csv", "item_id": "S2"},
        ],
    ),
    **{heading: Recipe(**parts) for heading, parts in SEARCH_RECIPES.items()},
}


def recipes() -> dict[str, str]:
    """Heading -> TOML of each recipe of the page."""
    section = PAGE.read_text(encoding="utf-8").partition("\n## Recipes\n")[2].partition("\n## ")[0]
    return dict(RECIPE.findall(section + "\n"))


def shown(frame: DataFrame, wanted: Shown | None) -> list[dict[str, str | None]] | None:
    """The rows in the columns that are looked at, as text."""
    if wanted is None:
        return None
    columns = list(wanted[0]) if wanted else frame.columns
    order = [name for name in ("source_file", "source_row", "item_id") if name in frame.columns]
    found = frame.orderBy(*order).select(*(F.col(name).cast("string") for name in columns))
    return [row.asDict() for row in found.collect()]


def taken_in(spark: SparkSession, rows: Rows, conf: Path) -> dict[str, DataFrame]:
    """Bronze and silver of a deployment, as its first night makes them of all that has landed."""
    deployment = load(conf)
    check_settings(deployment)
    mapping.check_mappings(spark, deployment)
    landing = Landing(spark, deployment)
    days = sorted({file.day for name in deployment.sources for file in landing.files(name)})
    run = run_of(days[-1], deployment)
    raw = (landing.read(kind, days) for kind in ("events", "items", "records"))
    made = ingest_logs(*raw, rows(bronze.FILES), run=run)
    if "items" in deployment.kinds:
        made |= clean_items(made["bronze.items"], run=run)
    listed = [made.get(f"silver.{name}", rows(silver_of)) for name, silver_of in CATALOGUE.items()]
    if "events" in deployment.kinds:
        made |= clean_events(made["bronze.events"], made["bronze.files"], *listed, rows(silver.EVENTS), run=run)
    if "stock" in deployment.kinds:
        of_stock = F.col("source").isin(list(deployment.of_kind("stock")))
        made |= clean_stock(made["bronze.records"].where(of_stock), *listed, run=run)
    return made


CATALOGUE = {"items": silver.ITEMS, "rejected_items": silver.REJECTED_ITEMS}


def test_every_recipe_is_run_and_short() -> None:
    assert list(recipes()) == list(RECIPES)
    assert {
        heading: len(toml.splitlines()) for heading, toml in recipes().items() if toml.count("\n") > MOST_LINES
    } == {}


@pytest.mark.parametrize("heading", RECIPES)
def test_a_recipe_takes_its_landing_in(spark: SparkSession, rows: Rows, tmp_path: Path, heading: str) -> None:
    recipe, toml = RECIPES[heading], recipes()[heading]
    for name, content in recipe.files.items():
        file = tmp_path / "landing" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    conf = tmp_path / "recipe.toml"
    conf.write_text(f'name = "recipe"\nlake = "lake"\nlanding = "landing"\nspark = "spark.conf"\n{toml}')
    made = taken_in(spark, rows, conf)
    problems = made["bronze.files"].where("problem IS NOT NULL").select("source_file", "problem").collect()
    assert problems == []
    for kind in ("events", "items", "stock"):
        wanted = getattr(recipe, kind)
        assert shown(made.get(f"silver.{kind}", rows(silver.EVENTS)), wanted) == wanted, kind
    refused = [made[f"silver.rejected_{kind}"] for kind in ("events", "items") if f"silver.{kind}" in made]
    codes = [row.codes for frame in refused for row in frame.orderBy("source_file", "source_row").collect()]
    assert codes == [list(each) for each in recipe.rejected]
