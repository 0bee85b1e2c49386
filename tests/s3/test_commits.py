"""Two drivers at once: with ours no commit is lost, with Delta's own log store for one driver some are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.fs as pa_fs
import pytest
from deltalake import DeltaTable

from jobs.runner.object_store import CONDITIONAL_LOG_STORE, SINGLE_DRIVER_LOG_STORE
from tests.support import tiny_shop
from tests.support.object_stores import KEYS, arrow, classpath, move, serve
from tests.support.tiny_shop import REPO

COMMITS, SECONDS = 50, 600


def raced(start: Path, command: Callable[[str], list[str]]) -> dict[str, str]:
    """What each of two drivers printed that were let go at once."""
    drivers = {
        name: subprocess.Popen(
            command(name),
            env=os.environ | KEYS | {"PYTHONPATH": str(REPO)},
            cwd=REPO,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two")
    }
    until = time.monotonic() + SECONDS
    while not all(Path(f"{start}.{name}").exists() for name in drivers):
        assert all(driver.poll() is None for driver in drivers.values()), "a driver has ended"
        assert time.monotonic() < until
        time.sleep(0.05)
    start.touch()
    printed = {name: driver.communicate(timeout=SECONDS)[0] for name, driver in drivers.items()}
    assert [driver.returncode for driver in drivers.values()] == [0, 0]
    return printed


def stored(url: str, store: str) -> dict[int, str]:
    """Version -> the driver whose commit is there."""
    system, found = arrow(url), {}
    for info in system.get_file_info(pa_fs.FileSelector(f"shop/lake/raced_{store}/_delta_log")):
        with system.open_input_stream(info.path) as stream:
            found[int(info.base_name.removesuffix(".json"))] = json.loads(stream.read())["commitInfo"]["by"]
    return found


@pytest.mark.parametrize("store", [CONDITIONAL_LOG_STORE, SINGLE_DRIVER_LOG_STORE])
def test_our_log_store_loses_no_commit_and_the_stock_one_does(store: str, tmp_path: Path) -> None:
    java = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", classpath()]
    source, start = str(REPO / "tests" / "support" / "DriverRace.java"), tmp_path / "start"
    with serve() as url:
        printed = raced(start, lambda name: [*java, source, url, store, name, str(start), str(COMMITS)])
        won = {name: json.loads(text) for name, text in printed.items()}
        kept = stored(url, store)
    lost = [version for name, versions in won.items() for version in versions if kept[version] != name]
    assert {name: len(versions) for name, versions in won.items()} == {"one": COMMITS, "two": COMMITS}
    if store == CONDITIONAL_LOG_STORE:
        assert lost == []
        assert sorted(kept) == list(range(2 * COMMITS))
    else:
        assert lost, "or this test could not find a loss"


def test_no_append_of_two_drivers_by_delta_rs_is_lost(tmp_path: Path) -> None:
    start = tmp_path / "start"
    with serve() as url:
        conf = move(tiny_shop.make(tmp_path, days=1), url)
        probe = [sys.executable, "-m", "tests.support.probe_commits", str(conf)]
        raced(start, lambda name: [*probe, name, str(COMMITS), str(start)])
        options = {"AWS_ENDPOINT_URL": url, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}
        options |= {name: value for name, value in KEYS.items() if "KEY" in name}
        rows = DeltaTable("s3://shop/lake/ops/runs", storage_options=options).to_pyarrow_table(columns=["run_id"])
    written = rows.column("run_id").to_pylist()
    assert {name: written.count(name) for name in ("one", "two")} == {"one": COMMITS, "two": COMMITS}
