"""One driver of several that append to one table at once by delta-rs.

`python -m tests.support.probe_commits <conf> <name> <appends> <file to wait for>`
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from jobs.runner import delta_log, object_store
from schemas import TABLES
from schemas.deployment import load
from schemas.derive import example_rows


def main(conf: str, name: str, appends: str, start: str) -> None:
    deployment, contract = load(conf), TABLES["ops.runs"]
    object_store.use(deployment)
    uri, rows = f"{deployment.lake}/ops/runs", example_rows(contract, {"run_id": name})
    Path(f"{start}.{name}").touch()
    while not Path(start).exists():
        time.sleep(0.001)
    for _ in range(int(appends)):
        delta_log.append_rows(contract, delta_log.create(contract, uri), uri, rows, {"run_id": name})


if __name__ == "__main__":
    main(*sys.argv[1:])
