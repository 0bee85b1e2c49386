"""The night on a real standalone cluster, master and two workers: the tables of one machine. `make cluster-test`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.flow import NIGHT
from tests import tiny_shop
from tests.clusters import QUICK, standalone
from tests.lakes import GOLD, table
from tests.tiny_shop import REPO

SUBMIT = Path(sys.executable).parent / "spark-submit"


@pytest.mark.cluster
def test_a_night_submitted_to_a_cluster_has_the_tables_of_one_machine(shop: Path, tmp_path: Path) -> None:
    from jobs import night

    day = str(tiny_shop.day(14))
    code = tmp_path / "nightshelf.zip"
    subprocess.run([sys.executable, "-m", "zipfile", "-c", code, "jobs", "udfs", "schemas"], cwd=REPO, check=True)
    shared = [line for line in tiny_shop.PROPERTIES.splitlines() if not line.startswith("spark.master")]
    properties = tmp_path / "cluster.conf"
    properties.write_text("\n".join([*shared, "spark.executor.memory 1g", f"spark.pyspark.python {sys.executable}"]))
    (tmp_path / "cluster").mkdir()
    with standalone(tmp_path / "cluster", workers=2) as url:
        for job in NIGHT:
            where = ["--master", url, "--properties-file", properties, "--py-files", code]
            done = subprocess.run(
                [SUBMIT, *where, f"jobs/{job.name}.py", "--run-date", day, "--conf", shop],
                cwd=REPO,
                env=os.environ | QUICK | {"PYTHONPATH": str(REPO)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=300,
                check=False,
            )
            assert done.returncode == 0, done.stdout[-4000:]
        for number in range(2):
            assert list((tmp_path / "cluster" / f"work{number}").glob("app-*/*/nightshelf.zip")), "the code was shipped"
    names = (*(f"gold/{name}" for name in GOLD), "silver/events")
    found = {name: table(shop, name) for name in names}
    assert night.main(["--run-date", day, "--conf", str(shop)]) == 0
    assert {name: table(shop, name) for name in names} == found
