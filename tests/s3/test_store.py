"""A lake on an object store: what one driver does there, who else can read it, and stores that will not do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars
import pyarrow.fs as pa_fs
import pytest
from deltalake import DeltaTable

from tests.support import tiny_shop
from tests.support.object_stores import arrow, move, run, serve

OPTIONS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests", "AWS_REGION": "us-east-1"}


@pytest.fixture
def store() -> Iterator[str]:
    with serve() as url:
        yield url


def test_tables_models_and_pages_live_on_a_store_and_others_read_them(store: str, tmp_path: Path) -> None:
    conf = move(tiny_shop.make(tmp_path, days=1), store)
    ran = run("tests.support.probe_store", str(conf), str(tmp_path))
    assert ran.returncode == 0, ran.stderr[-3000:]
    seen = json.loads(ran.stdout.splitlines()[-1])
    assert (seen["versions"], seen["read"], seen["by SQL"]) == ([1, 2], 2, ["a", "c"])
    assert seen["files"] == len(tiny_shop.EARLIER) + 1
    assert (seen["model"], seen["shipped"]) == ("s3a://shop/lake/models/model", ["weights"])
    assert seen["requests"]["PUT"] >= 2, "a commit each"
    options = OPTIONS | {"AWS_ENDPOINT_URL": store, "AWS_ALLOW_HTTP": "true"}
    table = DeltaTable("s3://shop/lake/silver/users", storage_options=options)
    users = table.to_pyarrow_table()
    assert sorted(users.column("user_id").to_pylist()) == ["a", "c"]
    assert duckdb.sql("SELECT count(*) FROM users").fetchall() == [(2,)]
    assert len(polars.scan_delta("s3://shop/lake/silver/users", storage_options=options).collect()) == 2
    kept = [info.path for info in arrow(store).get_file_info(pa_fs.FileSelector("shop/lake", recursive=True))]
    assert "shop/lake/data_docs/page.html" in kept
    assert not [path for path in kept if "__magic" in path or "_temporary" in path], "nothing was renamed, nothing left"


def test_a_store_that_overwrites_is_refused_unless_one_driver_writes(tmp_path: Path) -> None:
    with serve("--no-conditions") as url:
        made = tiny_shop.make(tmp_path, days=1)
        for keys, code in (("", 2), ("single_driver = true", 0)):
            ran = run("jobs.commands.doctor", "--conf", str(move(made, url, keys)))
            assert ran.returncode == code, ran.stderr[-3000:]
            assert ("ignores If-None-Match" in ran.stderr) == bool(code)
