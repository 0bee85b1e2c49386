"""OpenLineage events of a job's runs: START, then COMPLETE or FAIL, with the tables that jobs/flow.py declares.

Of the standard (openlineage.io/spec/2-0-2), as plain JSON: the facets are those that catalogues show. A place that does
not take an event costs a line on stderr, never the run.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
import urllib.request
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jobs.flow import JOBS, stands
from jobs.runner.version import code_version
from schemas import TABLES, bronze
from schemas.deployment import Deployment
from schemas.job import Job, Read

SPEC = "https://openlineage.io/spec"
SECONDS_TO_ANSWER = 3  # of an endpoint
API_KEY = "OPENLINEAGE_API_KEY"  # the environment variable of OpenLineage's own clients
STATES = {"running": "START", "done": "COMPLETE", "failed": "FAIL", "refused": "FAIL"}  # by status of ops.runs


def report(deployment: Deployment, record: Mapping[str, Any]) -> None:
    """Send the event of a row of ops.runs to the place that [lineage] names, if it names one."""
    to = deployment.lineage
    if record["job"] not in JOBS or not (to.file or to.url):
        return
    try:
        line = json.dumps(event(deployment, record, dt.datetime.now(dt.UTC)))
        _append(Path(to.file), line) if to.file else _post(to.url, line)
    except (OSError, ValueError) as error:
        print(f"lineage: {to.file or to.url} does not take this run's event: {error}", file=sys.stderr)


def event(deployment: Deployment, record: Mapping[str, Any], moment: dt.datetime) -> dict[str, Any]:
    """The run event of a row of ops.runs."""
    job, kinds, rows = JOBS[record["job"]], deployment.kinds, record["rows_written"]
    begun = dt.datetime.combine(record["run_date"], dt.time(), dt.UTC)
    facets = {"nominalTime": _facet("1-0-1/NominalTimeRunFacet", nominalStartTime=begun.isoformat())}
    if record["error"] and record["status"] != "running":
        facets["errorMessage"] = _facet(
            "1-0-1/ErrorMessageRunFacet", message=record["error"], programmingLanguage="PYTHON"
        )
    inputs = {dataset["name"]: dataset for read in job.reads for dataset in _datasets_of(deployment, read)}
    done = record["status"] == "done"
    return {
        "eventType": STATES[record["status"]],
        "eventTime": moment.isoformat(),
        "run": {"runId": str(uuid.UUID(record["run_id"])), "facets": facets},
        "job": {
            "namespace": deployment.lineage.namespace or deployment.name,
            "name": job.name,
            "facets": {
                "jobType": _facet(
                    "2-0-4/JobTypeJobFacet", processingType="BATCH", integration="NIGHTSHELF", jobType="JOB"
                )
            },
        },
        "inputs": list(inputs.values()),
        "outputs": [_written(deployment, table, rows.get(table) if done else None) for table in _writes(job, kinds)],
        "producer": _producer(),
        "schemaURL": f"{SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent",
    }


def _writes(job: Job, kinds: tuple[str, ...]) -> list[str]:
    return [table for table in job.writes if stands(table, kinds)]


def _datasets_of(deployment: Deployment, read: Read) -> list[dict[str, Any]]:
    """The datasets of a declared read: a table, or each source of raw files; none that the deployment lacks."""
    if read.window == "files":
        kind = read.table.split(".")[1]
        kinds = [each for each in deployment.kinds if each not in bronze.KINDS] if kind == "records" else [kind]
        return [
            _dataset(f"{deployment.landing}/{source.files}", f"landing.{name}", "DIRECTORY")
            for name, source in deployment.of_kind(*kinds).items()
        ]
    return [_table(deployment, read.table)] if stands(read.table, deployment.kinds) else []


def _table(deployment: Deployment, table: str) -> dict[str, Any]:
    dataset = _dataset(f"{deployment.lake}/{table.replace('.', '/')}", table, "TABLE")
    fields = [{"name": c.name, "type": c.type, "description": c.comment} for c in TABLES[table].columns]
    dataset["facets"]["schema"] = _facet("1-2-0/SchemaDatasetFacet", fields=fields)
    return dataset


def _written(deployment: Deployment, table: str, rows: int | None) -> dict[str, Any]:
    dataset = _table(deployment, table)
    if rows is not None:
        dataset["outputFacets"] = {
            "outputStatistics": _facet("1-0-2/OutputStatisticsOutputDatasetFacet", rowCount=rows)
        }
    return dataset


def _dataset(uri: str, name: str, kind: str) -> dict[str, Any]:
    """A dataset by the standard's names: `file` and a path, or `s3://bucket` and a key; Nightshelf's as a symlink."""
    parts = urlsplit(uri)
    local = parts.scheme in ("", "file")
    namespace = "file" if local else f"{'s3' if parts.scheme == 's3a' else parts.scheme}://{parts.netloc}"
    link = {"namespace": "nightshelf", "name": name, "type": kind}
    return {
        "namespace": namespace,
        "name": parts.path if local else parts.path.lstrip("/"),
        "facets": {"symlinks": _facet("1-0-1/SymlinksDatasetFacet", identifiers=[link])},
    }


def _facet(schema: str, **values: Any) -> dict[str, Any]:
    name = schema.split("/")[1]
    return {"_producer": _producer(), "_schemaURL": f"{SPEC}/facets/{schema}.json#/$defs/{name}", **values}


def _producer() -> str:
    return f"urn:nightshelf:{code_version().replace(' ', ':')}"


def _append(file: Path, line: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as lines:
        lines.write(f"{line}\n")


def _post(url: str, line: str) -> None:
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get(API_KEY):
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(url, line.encode(), headers)
    urllib.request.urlopen(request, timeout=SECONDS_TO_ANSWER).close()
