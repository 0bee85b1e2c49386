"""The proof of an erasure finds an id wherever it is planted: in each kind of file, and nowhere else."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.commands import prove_erasure
from jobs.runner import delta_log
from jobs.runner.traces import Trace, UserFields, in_file, traces
from schemas import TABLES
from schemas.derive import example_rows
from tests.support import tiny_shop
from udfs.id_search import Ids

ANNA = "0f9c2b7e55d1483a9be6c0d4a1f27e38"
OTHER = "0f9c2b7e55d1483a9be6c0d4a1f27e39"
FIELDS = UserFields({"events": frozenset({1})}, {"events": ","}, {"events": "events"})


def found(root: Path, *ids: str) -> list[Trace]:
    return list(traces(str(root), Ids(frozenset(ids)), FIELDS))


def parquet(values: pa.Array, **how: object) -> Callable[[Path], None]:
    return lambda path: pq.write_table(pa.table({"value": values}), path, **how)


def with_key(path: Path) -> None:
    pq.write_table(pa.table({"n": [1]}).replace_schema_metadata({"users": f"{ANNA} and others"}), path)


def unreferenced(path: Path) -> None:
    """A dictionary page with a value that no row has."""
    values = pa.DictionaryArray.from_arrays(pa.array([0, 0], pa.int32()), pa.array([OTHER, ANNA]))
    pq.write_table(pa.table({"value": values}), path, use_dictionary=True)


STATS = json.dumps({"minValues": {"user_id": ANNA}, "maxValues": {"user_id": OTHER}})
PLANTED: dict[str, Callable[[Path], object]] = {
    "cell.parquet": parquet(pa.array([OTHER, ANNA])),
    "zstd.parquet": parquet(pa.array([ANNA] * 3), compression="zstd", use_dictionary=False),
    "gzip.parquet": parquet(pa.array([f"{day},{ANNA},x" for day in range(2_000)]), compression="gzip"),
    "list.parquet": parquet(pa.array([["a"], ["b", ANNA], None])),
    "map.parquet": parquet(pa.array([[(ANNA, 1)]], pa.map_(pa.string(), pa.int32()))),
    "struct.parquet": parquet(pa.array([{"a": {"b": [ANNA]}}])),
    "later_row_group.parquet": parquet(pa.array([OTHER] * 5_000 + [ANNA]), row_group_size=1_000),
    "statistics.checkpoint.parquet": parquet(pa.array([{"path": "a", "stats": STATS}])),
    "key_value.parquet": with_key,
    "unreferenced.parquet": unreferenced,
    "commit.json": lambda path: path.write_text("\n".join([json.dumps({"add": {"stats": STATS}}), "{}"])),
    "predicate.json": lambda path: path.write_text(json.dumps({"commitInfo": {"p": f"[\"(user_id = '{ANNA}')\"]"}})),
    "key.json": lambda path: path.write_text(json.dumps({ANNA: 1})),
    "escaped.json": lambda path: path.write_text(json.dumps({"a": ANNA}).replace("0f9c", "\\u0030f9c")),
    "broken.json": lambda path: path.write_text("{" + ANNA),
    "00.crc": lambda path: path.write_text(json.dumps({"allFiles": [{"stats": STATS}]})),
    "vectors.npz": lambda path: np.savez_compressed(path, users=np.array([OTHER, ANNA]), n=np.arange(3)),
    "array.npy": lambda path: np.save(path, np.array([ANNA.encode()])),
    "page.html": lambda path: path.write_text(f"<td>{ANNA}</td>"),
    "run.log": lambda path: path.write_text(f"failed for user_id='{ANNA}'"),
    "page.html.gz": lambda path: path.write_bytes(gzip.compress(f"<td>{ANNA}</td>".encode())),
    "without_a_name": lambda path: path.write_text(f"a {ANNA} b"),
    "model.safetensors": lambda path: path.write_bytes(
        len(head := json.dumps({"__metadata__": {"u": ANNA}}).encode()).to_bytes(8, "little") + head + b"\0\1"
    ),
    "model.onnx": lambda path: path.write_bytes(b"\0\1" + ANNA.encode() + b"\0"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_id_is_found(name: str, tmp_path: Path) -> None:
    PLANTED[name](tmp_path / name)
    assert any(ANNA in trace.ids and trace.decided for trace in found(tmp_path, ANNA)), name


@pytest.mark.parametrize("name", PLANTED)
def test_another_id_is_not(name: str, tmp_path: Path) -> None:
    PLANTED[name](tmp_path / name)
    assert not found(tmp_path, ANNA.replace("0f9c", "77ab"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("archive.7z", b"7z\xbc\xaf\x27\x1c\0\0"),
        ("cut.parquet", b"PAR1\0\0"),
        ("cut.html.gz", gzip.compress(b"x" * 1_000)[:20]),
        ("objects.npy", b""),
    ],
)
def test_what_cannot_be_decoded_is_listed_and_not_passed(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    if not content:
        np.save(tmp_path / name, np.array([{"a": ANNA}], object), allow_pickle=True)
    listed = [trace for trace in found(tmp_path, "anna-maria-1") if not trace.decided]
    assert [trace.file for trace in listed] == [name]


def test_a_longer_id_is_another(tmp_path: Path) -> None:
    parquet(pa.array([f"{ANNA}4", f"9{ANNA}"]), compression="zstd")(tmp_path / "a.parquet")
    (tmp_path / "a.html").write_text(f"<p>{ANNA}4</p>")
    assert not [trace for trace in found(tmp_path, ANNA) if trace.decided]


def record(name: str, **values: object) -> bytes:
    """A data file of a table with one record."""
    sink = pa.BufferOutputStream()
    rows = example_rows(TABLES[name], values)
    schema = delta_log.arrow_schema(TABLES[name])
    pq.write_table(pa.Table.from_pylist([{**row, "run_date": dt.date(2024, 1, 31)} for row in rows], schema), sink)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("table", "values", "decided"),
    [
        ("silver.events", {"user_id": "17"}, [True]),
        ("silver.events", {"user_id": "18", "item_id": "17"}, []),
        ("bronze.events", {"raw": "a,17,b", "fields": ["a", "17", "b"], "source": "events"}, [True]),
        ("bronze.events", {"raw": "17,8,17", "fields": ["17", "8", "17"], "source": "events"}, []),
        ("bronze.events", {"raw": "17;8", "fields": None, "problem": "cut", "source": "events"}, [False]),
        ("silver.rejected_events", {"raw": "a,17,b", "reasons": ["r"], "codes": ["c"]}, [True]),
        ("silver.rejected_events", {"raw": "17,8,b", "reasons": ["r"], "codes": ["c"]}, []),
    ],
)
def test_a_short_id_is_found_where_a_user_is_named(table: str, values: dict[str, object], decided: list[bool]) -> None:
    path = f"{table.replace('.', '/')}/part.parquet"
    traced = list(in_file(path, record(table, **values), Ids(frozenset({"17"})), FIELDS))
    assert [trace.decided for trace in traced] == decided


def test_a_short_id_in_a_page_is_not_decided(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<td>17</td>")
    (tmp_path / "commit.json").write_text(json.dumps({"minValues": {"user_id": "17", "item_id": "17"}}))
    traced = {(trace.file, trace.place): trace.decided for trace in found(tmp_path, "17")}
    assert traced == {("page.html", "text"): False, ("commit.json", "field user_id"): True}


def test_the_command_says_what_it_found_and_does_not_name_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conf = tiny_shop.make(tmp_path, days=1)
    ids = tmp_path / "ids.txt"
    ids.write_text(f"{OTHER}\n{ANNA}\n")
    flags = ["--ids", str(ids), "--conf", str(conf)]
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "index.html").write_text("<p>nothing</p>")
    assert prove_erasure.main(flags) == 0
    (tmp_path / "lake" / "index.html").write_text(f"<p>{ANNA}</p>")
    assert prove_erasure.main(flags) == 3
    (tmp_path / "lake" / "index.html").write_bytes(b"\x1f\x8bcut")
    assert prove_erasure.main(flags) == 4
    printed = "".join(capsys.readouterr())
    assert f"FOUND  index.html, text: ids 2 of {ids}" in printed
    assert ANNA not in printed
