"""A week as a person has it: a browser, `make airflow` on a real Postgres, all of its DAGs. `make test-airflow`."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from deltalake import DeltaTable

from tests.support import tiny_shop
from tests.support.airflow_server import NIGHTLY, Server, free_port, started, until
from tests.support.clusters import QUICK
from tests.support.lakes import dates, table
from tests.unit.test_dags import REPO

TRAINING, MAINTENANCE, CONSUMER = "nightshelf_training", "nightshelf_maintenance", "shop_window"
CHROMIUM = Path("/usr/bin/chromium")


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """The URL of an empty Postgres of its own; Debian's, which does not run as root."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not found:
        pytest.skip("Debian's postgresql is not installed")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        root = os.geteuid() == 0
        if root:
            shutil.chown(folder, "postgres")
        data, port = f"{folder}/data", free_port()

        def run(program: str, *arguments: str) -> None:
            command = [str(found[-1] / program), "-D", data, *arguments]
            subprocess.run((["runuser", "-u", "postgres", "--"] if root else []) + command, check=True, cwd=folder)

        run("initdb", "-U", "airflow", "-A", "trust", "-E", "UTF8")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
        run("pg_ctl", "-l", f"{folder}/postgres.log", "-w", "-o", options, "start")
        try:
            yield f"postgresql://airflow@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-m", "immediate", "stop")


@pytest.fixture
def consumers(tmp_path: Path) -> Path:
    """A folder of DAGs that has the example of a consumer, and beside it the packages that it needs."""
    folder = tmp_path / "consumers"
    folder.mkdir()
    shutil.copy(REPO / "examples" / "airflow_consumer.py", folder)
    installed = Path(duckdb.__file__).parents[1]
    for package in (*installed.glob("*duckdb*"), *installed.glob("deltalake*"), *installed.glob("arro3*")):
        (folder / package.name).symlink_to(package)
    packages = [found.name for found in folder.iterdir() if found.is_dir()]
    (folder / ".airflowignore").write_text("\n".join(f"{name}/**" for name in packages))
    return folder


@pytest.fixture
def server(airflow_installed: None, shop: Path, tmp_path: Path, consumers: Path) -> Iterator[Server]:
    """`make airflow` with Postgres and two jobs at once."""
    port, log = free_port(), tmp_path / "make.log"
    bundles = [
        {"name": name, "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle", "kwargs": kwargs}
        for name, kwargs in (("nightshelf", {}), ("consumers", {"path": str(consumers)}))
    ]
    environment = os.environ | {
        "JAVA_TOOL_OPTIONS": QUICK["JAVA_TOOL_OPTIONS"],
        "NIGHTSHELF_RETRY_MINUTES": "0.05",
        "NIGHTSHELF_LAKE": str(shop.parent / "lake"),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles),
        "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "300",
    }

    def password() -> str:
        told = re.search(r"login admin, password (\S+)", log.read_text())
        return told.group(1) if told else ""

    with postgres() as database:
        environment["DB"] = database
        command = ["make", "airflow", f"CONF={shop}", f"PORT={port}", "PARALLEL=2"]
        dags = frozenset({NIGHTLY, TRAINING, MAINTENANCE, CONSUMER})
        with started(command, environment, REPO, log, f"http://localhost:{port}", password, dags) as found:
            yield found


def done(server: Server, dag: str, run: str) -> None:
    """Wait for the end of a run, which is to succeed."""
    until(f"{dag} to end", lambda: server.runs(dag)[run] not in ("queued", "running"))
    failed = [task for task, told in server.tasks(run, dag).items() if told["state"] == "failed"]
    assert server.runs(dag)[run] == "success", [server.log(run, task, dag=dag)[-3_000:] for task in failed]


def of_the_day(server: Server, dag: str, shop: Path, day: str) -> str:
    """A run of a DAG that was paused; the schedule's own, of last week, would come first, and is given up."""
    server.unpause(dag)
    scheduled = next(iter(until(f"the schedule's {dag}", lambda: server.runs(dag))))
    server.call(f"dags/{dag}/dagRuns/{scheduled}", {"state": "failed"}, "PATCH")
    return server.trigger({"run_date": day, "conf": str(shop)}, dag)


@pytest.mark.skipif(not CHROMIUM.exists(), reason="Debian's chromium is not installed")
def test_a_night_in_a_browser_who_waits_for_it_the_training_and_the_upkeep(
    server: Server, shop: Path, tmp_path: Path
) -> None:
    lake, day = shop.parent / "lake", str(tiny_shop.day(14))
    server.unpause(CONSUMER)
    pictures = Path(os.environ.get("NIGHTSHELF_PICTURES", tmp_path))
    who = [server.url, server.password, day, str(pictures)]
    browser = ["uv", "run", "-q", "--no-project", "--python", sys.executable, "--with", "playwright==1.65.*"]
    subprocess.run([*browser, "python", "-m", "tests.support.browse_airflow", *who], cwd=REPO, check=True)
    assert {path.name for path in pictures.glob("airflow_*.png")} >= {
        f"airflow_{name}.png" for name in ("form", "grid", "graph", "assets")
    }

    night = next(run for run, state in server.runs().items() if state == "success")
    lists = table(shop, "gold/recommendations")
    assert day in dates(shop, "gold/recommendations")
    spans = sorted((task["start_date"], task["end_date"]) for task in server.tasks(night).values())
    assert any(later[0] < earlier[1] for earlier, later in itertools.pairwise(spans))  # two at once

    window = until("who waits for the night", lambda: server.runs(CONSUMER))
    done(server, CONSUMER, next(iter(window)))

    def models() -> list[Any]:
        return list(DeltaTable(str(lake / "ops" / "models")).to_pyarrow_table().to_pylist())

    before = models()
    run = of_the_day(server, TRAINING, shop, day)
    done(server, TRAINING, run)
    assert len(models()) == len(before) + 1
    assert re.search(r"promoted|kept", server.log(run, "train_model", dag=TRAINING))

    run = of_the_day(server, MAINTENANCE, shop, day)
    done(server, MAINTENANCE, run)
    assert table(shop, "gold/recommendations") == lists
