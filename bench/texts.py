"""Item texts as BERT reads them: from lakes, a file, or the example's package."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pyarrow.compute as pc

CONFS = Path(__file__).parents[1] / "conf"
SHOPS = ("complete_journey", "online_retail")
MOST_JOINED = 8  # item texts in one long text: past the 128 tokens at which a text is cut


def real_texts(conf: str | None = None, file: str | None = None) -> tuple[list[str], str]:
    """The different item texts, sorted, and where they are from, in words."""
    if file is not None:
        return _different(Path(file).read_text("utf-8").splitlines()), "a file"
    confs = [Path(conf)] if conf is not None else [CONFS / f"{shop}.toml" for shop in SHOPS]
    lakes = {path.stem: texts for path in confs if (texts := lake_texts(path))}
    if lakes:
        return _different([text for texts in lakes.values() for text in texts]), f"the lake of {' and '.join(lakes)}"
    if conf is not None:
        raise SystemExit(f"{conf}: no silver.items in its lake yet: run a night of it, or name texts with --file")
    return package_texts(), "the example's package"


def lake_texts(conf: Path) -> list[str]:
    """The texts of a deployment's newest catalogue; none where it has no lake on this disk."""
    from schemas.deployment import load

    table = Path(load(str(conf)).lake) / "silver" / "items"
    if not (table / "_delta_log").is_dir():
        return []
    from deltalake import DeltaTable

    items = DeltaTable(str(table)).to_pyarrow_table(columns=["text", "run_date"])
    newest = items.filter(pc.equal(items["run_date"], pc.max(items["run_date"])))
    return [text for text in newest["text"].to_pylist() if text]


def package_texts() -> list[str]:
    """The texts of the example's products, as conf/complete_journey.toml words them."""
    from examples.journey_tables import package_data, read_table

    products = read_table(package_data(), "products")
    words = [products[name].to_pylist() for name in ("product_type", "product_category", "package_size", "brand")]
    return _different([", ".join(word for word in row if word is not None).lower() for row in zip(*words, strict=True)])


def joined(texts: Sequence[str], count: int, seed: int) -> list[str]:
    """`count` longer texts, each 2 to MOST_JOINED of the texts in a row: another length regime."""
    draw = random.Random(seed)
    return [", ".join(draw.choices(texts, k=draw.randint(2, MOST_JOINED))) for _ in range(count)]


def _different(texts: Sequence[str]) -> list[str]:
    return sorted({text.strip() for text in texts} - {""})
