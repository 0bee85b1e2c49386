"""A night that Airflow submits to a standalone cluster, master and two workers: the tables of one machine.

`make cluster-test`. The tasks are the nightly DAG's own: its connection, its properties file, the code as a zip.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.support import tiny_conf, tiny_shop
from tests.support.clusters import QUICK, standalone
from tests.support.lakes import GOLD, table
from tests.support.tiny_shop import REPO
from tests.unit.test_dags import airflow, airflow_environment


def test_a_night_that_airflow_submits_to_a_cluster_has_the_tables_of_one_machine(
    airflow_installed: None, shop: Path, tmp_path: Path
) -> None:
    from jobs.commands import night

    day = str(tiny_shop.day(14))
    code = tmp_path / "nightshelf.zip"
    subprocess.run([sys.executable, "-m", "zipfile", "-c", code, "jobs", "udfs", "schemas"], cwd=REPO, check=True)
    shared = [line for line in tiny_conf.PROPERTIES.splitlines() if not line.startswith("spark.master")]
    properties = tmp_path / "cluster.conf"
    properties.write_text("\n".join([*shared, "spark.executor.memory 1g", f"spark.pyspark.python {sys.executable}"]))
    (tmp_path / "cluster").mkdir()
    with standalone(tmp_path / "cluster", workers=2) as url:
        host, _, port = url.rpartition(":")
        environment = airflow_environment(
            tmp_path / "airflow",
            AIRFLOW_CONN_SPARK_DEFAULT=json.dumps({"conn_type": "spark", "host": host, "port": int(port)}),
            NIGHTSHELF_CONF=str(shop),
            NIGHTSHELF_LATE_HOURS="0",
            NIGHTSHELF_SPARK_CONF=str(properties),
            NIGHTSHELF_PY_FILES=str(code),
            **QUICK,
        )
        airflow("airflow", "db", "migrate", environment=environment, cwd=tmp_path, seconds=120)
        trigger = ["dags", "test", "nightshelf_nightly", "--conf", json.dumps({"run_date": day})]
        log = airflow("airflow", *trigger, environment=environment, cwd=tmp_path, seconds=3600)
        assert "state=success, run_type=manual" in log
        for number in range(2):
            assert list((tmp_path / "cluster" / f"work{number}").glob("app-*/*/nightshelf.zip")), "the code was shipped"
    names = (*(f"gold/{name}" for name in GOLD), "silver/events")
    found = {name: table(shop, name) for name in names}
    assert night.main(["--run-date", day, "--conf", str(shop)]) == 0
    assert {name: table(shop, name) for name in names} == found
