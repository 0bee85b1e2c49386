"""A shop that had a user, erased and run again, equals one that never had the user: tables, figures and weights."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from deltalake import DeltaTable

from jobs.commands import erase, night, prove_erasure
from tests.support import tiny_shop

ANNA = "0f9c2b7e55d1483a9be6c0d4a1f27e38"
DAY = 13
# Columns that say which run or file a row is of, and what was computed from its line in the file.
ORIGIN = {"source_file", "source_row", "event_id", "fingerprint", "record_count", "run_id", "rows_in", "rows_kept"}
CONF = """
[privacy.erasure]
erased = "../erased.jsonl"
key_file = "../key"
key_id = "k1"
"""


def lines(number: int) -> list[str]:
    """What the user bought on a day."""
    rng, day = random.Random(f"anna {number}"), tiny_shop.day(number)
    skus = rng.sample(sorted(tiny_shop.skus()), 3)
    return [f"a-{sku},{ANNA},{sku},2,3.0,T0,{day} 10:0{place}:00" for place, sku in enumerate(skus)]


def make(root: Path, *, had: bool) -> Path:
    days = (*tiny_shop.EARLIER[::2], *range(0, DAY + 1, 2))
    conf = tiny_shop.make(root, DAY + 1, {number: lines(number) for number in days} if had else None)
    (root.parent / "key").write_text("4b1f" * 16)
    conf.write_text(conf.read_text() + CONF)
    return conf


def run(conf: Path) -> None:
    """Train what there is no model of, and run the night."""
    assert night.main(["--run-date", str(tiny_shop.day(DAY)), "--conf", str(conf), "--train", "missing"]) == 0


def tables(conf: Path) -> dict[str, list[str]]:
    """Rows of silver, features and gold by table, without where they came from."""
    found = {}
    for layer in ("silver", "features", "gold"):
        for folder in sorted((conf.parent / "lake" / layer).iterdir()):
            if not folder.name.startswith("rejected_"):
                rows = DeltaTable(str(folder)).to_pyarrow_table()
                columns = [name for name in rows.column_names if name not in ORIGIN]
                found[f"{layer}.{folder.name}"] = sorted(map(repr, rows.select(columns).to_pylist()))
    return found


def weights(conf: Path) -> dict[str, str]:
    rows = DeltaTable(str(conf.parent / "lake" / "ops" / "models")).to_pyarrow_table().to_pylist()
    return {row["kind"]: row["weights_sha256"] for row in rows if row["promoted"]}


def figures(conf: Path) -> dict[tuple[str, str], float]:
    """The published figures: of the newest run of each table's job."""
    rows = DeltaTable(str(conf.parent / "lake" / "ops" / "figures")).to_pyarrow_table().to_pylist()
    runs = DeltaTable(str(conf.parent / "lake" / "ops" / "runs")).to_pyarrow_table().to_pylist()
    started = {row["run_id"]: row["started_at"] for row in runs}
    rows.sort(key=lambda row: started[row["run_id"]])
    return {(row["table_name"], row["figure"]): row["value"] for row in rows}


@pytest.mark.nights
def test_an_erased_user_was_never_there(tmp_path: Path, spark) -> None:
    had, never = make(tmp_path / "had", had=True), make(tmp_path / "never", had=False)
    ids = tmp_path / "ids.txt"
    ids.write_text(f"{ANNA}\n")
    flags = ["--ids", str(ids), "--conf", str(had)]
    run(had)
    first = weights(had)
    assert prove_erasure.main(flags) == 3
    assert erase.main(flags) == 0
    assert prove_erasure.main(flags) == 0
    run(had)
    assert prove_erasure.main(flags) == 0
    run(never)
    assert weights(had) == weights(never)
    assert first != weights(never), "the user has moved the weights"
    expected = tables(never)
    found = tables(had)
    assert found.keys() == expected.keys()
    assert not [name for name in expected if found[name] != expected[name]]
    assert figures(had) == pytest.approx(figures(never))
