"""What one driver does with a lake on an object store, step by step; prints what it found as JSON.

`python -m tests.support.probe_store <conf> <folder>`
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pyspark import SparkFiles

from jobs.runner import catalog
from jobs.runner.lake import Lake
from jobs.runner.session import session
from schemas import TABLES
from schemas.deployment import load
from schemas.derive import example_rows, plain_ddl
from tests.support.object_stores import requests


def main(conf: str, folder: str) -> None:
    place, seen = Path(folder), {}
    deployment = load(conf)
    spark = session(deployment, log_file=place / "spark.log")
    lake, url, users = Lake(spark, deployment), deployment.storage.endpoint, TABLES["silver.users"]
    rows = [
        tuple(row[name] for name in users.column_names) for row in example_rows(users, *({"user_id": u} for u in "ab"))
    ]
    frame, day = spark.createDataFrame(rows, plain_ddl(users)), rows[0][users.column_names.index("run_date")]
    requests(url)
    seen["versions"] = [lake.replace(users.name, frame, [day], {"run_id": name}) for name in ("r1", "r2")]
    seen["requests"] = requests(url)
    seen["read"] = lake.up_to(users.name, day).count()
    seen["files"] = len(lake.landing.files("events"))
    catalog.name_tables(lake)
    spark.sql("UPDATE silver.users SET user_id = 'c' WHERE user_id = 'b'")
    seen["by SQL"] = sorted(row.user_id for row in spark.sql("SELECT user_id FROM silver.users").collect())
    model = place / "model"
    model.mkdir()
    (model / "weights").write_text("w")
    seen["model"] = lake.storage.publish_folder(model, "models/model")
    spark.sparkContext.addFile(seen["model"], recursive=True)
    seen["shipped"] = [path.name for path in Path(SparkFiles.get("model")).iterdir()]
    lake.storage.write_text("data_docs/page.html", "<p>page")
    spark.stop()
    sys.stdout.write(json.dumps(seen, default=str))


if __name__ == "__main__":
    main(*sys.argv[1:])
