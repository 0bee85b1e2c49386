"""Files of a job on an object store: none is seen before the job ends, none of a task that failed, none is renamed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.object_stores import KEYS, classpath, requests, serve
from tests.support.tiny_shop import REPO

SEEN = [f"after run_month=2024-03/part-{task}.parquet" for task in (0, 2)]


@pytest.mark.parametrize("on_store", [True, False], ids=["store", "disk"])
def test_files_are_seen_when_the_job_ends_and_not_renamed(on_store: bool, tmp_path: Path) -> None:
    java = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", classpath()]
    with serve() as url:
        requests(url)
        output = "s3a://shop/lake/silver/events/run-1" if on_store else f"file://{tmp_path}/run-1"
        ran = subprocess.run(
            [*java, str(REPO / "tests" / "support" / "CommitFiles.java"), url, output],
            env=os.environ | KEYS,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        counts = requests(url)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert sorted(ran.stdout.splitlines()) == SEEN
    assert counts.get("COPY", 0) == 0
    assert bool(counts) == on_store
