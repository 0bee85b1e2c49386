"""OpenLineage events of runs: valid by the standard's own types, their graph that of jobs/flow.py, off by default."""

from __future__ import annotations

import datetime as dt
import http.server
import importlib
import json
import pkgutil
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jobs.flow import JOBS
from jobs.runner import lineage
from jobs.runner.records import recorded
from schemas import TABLES, bronze
from schemas.deployment import Deployment, load
from schemas.errors import ConfError, DataError
from schemas.lineage import Lineage
from schemas.silver import RECORDS_OF
from schemas.source import Source

MOMENT = dt.datetime(2024, 3, 2, 4, 5, tzinfo=dt.UTC)


@pytest.fixture
def everything(deployment: Deployment) -> Deployment:
    """A shop with a source of every kind."""
    sources = {kind: Source.model_construct(files=f"{kind}/*", kind="") for kind in RECORDS_OF}
    return deployment.model_copy(update={"sources": sources})


def row(job: str, status: str = "done", **more: Any) -> dict[str, Any]:
    """A row of ops.runs, as far as events read it."""
    written = dict.fromkeys(JOBS[job].writes, 7) if status == "done" else {}
    record = {"run_id": uuid.uuid4().hex, "job": job, "run_date": dt.date(2024, 3, 1), "status": status}
    return record | {"rows_written": written, "error": None} | more


def named(datasets: list[Mapping[str, Any]]) -> set[str]:
    """The names in jobs/flow.py of an event's datasets."""
    return {dataset["facets"]["symlinks"]["identifiers"][0]["name"] for dataset in datasets}


def test_the_graph_of_the_events_is_that_of_the_flow(everything: Deployment) -> None:
    for job in JOBS.values():
        event = lineage.event(everything, row(job.name), MOMENT)
        assert (event["eventType"], event["job"]["name"]) == ("COMPLETE", job.name)
        reads = {read.table for read in job.reads}
        if "landing.records" in reads:
            reads = reads - {"landing.records"} | {f"landing.{kind}" for kind in RECORDS_OF if kind not in bronze.KINDS}
        assert named(event["inputs"]) == reads
        assert named(event["outputs"]) == set(job.writes)


def test_a_shop_without_a_source_has_no_edges_from_it(deployment: Deployment) -> None:
    assert named(lineage.event(deployment, row("ingest_logs"), MOMENT)["inputs"]) == {
        *("landing.events", "landing.items", "bronze.files")
    }
    assert "silver.stock" not in named(lineage.event(deployment, row("find_similar_items"), MOMENT)["inputs"])


def test_datasets_are_named_as_the_standard_names_them(everything: Deployment) -> None:
    bucket = everything.model_copy(update={"lake": "s3a://shop/lake", "landing": "/var/in"})
    event = lineage.event(bucket, row("clean_items"), MOMENT)
    assert {(each["namespace"], each["name"]) for each in event["outputs"]} == {
        ("s3://shop", "lake/silver/items"),
        ("s3://shop", "lake/silver/rejected_items"),
    }
    inputs = lineage.event(bucket, row("ingest_logs"), MOMENT)["inputs"]
    assert ("file", "/var/in/events/*") in {(each["namespace"], each["name"]) for each in inputs}
    (fields,) = [each["facets"]["schema"]["fields"] for each in event["outputs"] if each["name"].endswith("/items")]
    assert [field["name"] for field in fields] == list(TABLES["silver.items"].column_names)
    assert all(each["outputFacets"]["outputStatistics"]["rowCount"] == 7 for each in event["outputs"])


def facet_types() -> dict[str, type]:
    """The standard's types by the URL of their schema."""
    generated = importlib.import_module("openlineage.client.generated")
    modules = [
        importlib.import_module(f"{generated.__name__}.{m.name}") for m in pkgutil.iter_modules(generated.__path__)
    ]
    types = [each for module in modules for each in vars(module).values() if hasattr(each, "_get_schema")]
    return {each._get_schema(): each for each in types}


def check(facets: Mapping[str, Mapping[str, Any]], types: Mapping[str, type]) -> None:
    for facet in facets.values():
        values = {name: value for name, value in facet.items() if not name.startswith("_")}
        types[facet["_schemaURL"]](**values)  # an unknown or missing field is a TypeError
        assert facet["_producer"].startswith("urn:nightshelf:")


@pytest.mark.parametrize("status", lineage.STATES)
def test_events_are_valid_by_the_standards_types(everything: Deployment, status: str) -> None:
    pytest.importorskip("openlineage.client", reason="make setup installs it")
    from openlineage.client.event_v2 import Job, Run, RunEvent, RunState

    types = facet_types()
    for job in JOBS:
        error = None if status in ("done", "running") else "gold.a: broken"
        event = json.loads(json.dumps(lineage.event(everything, row(job, status, error=error), MOMENT)))
        for part in (event["run"], event["job"], *event["inputs"], *event["outputs"]):
            check(part["facets"], types)
            check(part.get("outputFacets", {}), types)
        built = RunEvent(
            eventTime=event["eventTime"],
            run=Run(event["run"]["runId"]),
            job=Job(event["job"]["namespace"], event["job"]["name"]),
            eventType=RunState[event["eventType"]],
            producer=event["producer"],
        )
        assert built.schemaURL == event["schemaURL"]
        known = {"eventType", "eventTime", "run", "job", "inputs", "outputs", "producer", "schemaURL"}
        assert set(event) == known
        assert ("errorMessage" in event["run"]["facets"]) == (error is not None)


def test_a_file_gets_one_event_a_line_and_nothing_by_default(everything: Deployment, tmp_path: Path) -> None:
    lineage.report(everything, row("clean_items"))
    to = everything.model_copy(update={"lineage": Lineage(file=str(tmp_path / "new" / "events.json"), namespace="a")})
    lineage.report(to, row("clean_items", "running"))
    lineage.report(to, row("clean_items", "refused", error="x"))
    lineage.report(to, row("clean_items") | {"job": "approve"})  # a command, no job of the flow
    events = [json.loads(line) for line in (tmp_path / "new" / "events.json").read_text().splitlines()]
    assert [(each["eventType"], each["job"]["namespace"]) for each in events] == [("START", "a"), ("FAIL", "a")]


@pytest.fixture
def endpoint() -> Iterator[tuple[str, list[tuple[str, dict[str, Any]]]]]:
    """The URL of an endpoint, and (authorization, event) of each POST to it."""
    received: list[tuple[str, dict[str, Any]]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.headers.get("Authorization", ""), json.loads(body)))
            self.send_response(500 if self.path == "/broken" else 201)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", received
    server.shutdown()
    server.server_close()


def test_an_endpoint_gets_each_event_and_its_failure_costs_a_line_alone(
    everything: Deployment, endpoint: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url, received = endpoint
    monkeypatch.setenv(lineage.API_KEY, "k1")
    for path in ("/api/v1/lineage", "/broken"):
        lineage.report(everything.model_copy(update={"lineage": Lineage(url=url + path)}), row("clean_items"))
    assert [(key, event["job"]["name"]) for key, event in received] == [("Bearer k1", "clean_items")] * 2
    lineage.report(everything.model_copy(update={"lineage": Lineage(url="http://127.0.0.1:9/")}), row("clean_items"))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" does not")[0] for line in lines] == [f"lineage: {url}/broken", "lineage: http://127.0.0.1:9/"]


def test_a_relative_file_is_relative_to_the_deployments(tmp_path: Path) -> None:
    from tests.support import tiny_shop

    conf = tiny_shop.make(tmp_path, days=1)
    with conf.open("a") as file:
        file.write('\n[lineage]\nfile = "lineage/events.json"\n')
    assert load(conf).lineage.file == str(tmp_path / "lineage" / "events.json")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"file": "a", "url": "http://b"}, "has file and url"),
        ({"url": "lineage.example"}, "must be like http://"),
        ({"url": "http://user:word@b/api"}, "credentials do not belong here"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, keys: dict[str, str], message: str) -> None:
    from tests.support import tiny_shop

    conf = tiny_shop.make(tmp_path, days=1)
    with conf.open("a") as file:
        file.write("\n[lineage]\n" + "".join(f'{key} = "{value}"\n' for key, value in keys.items()))
    with pytest.raises(ConfError, match=message):
        load(conf)


@pytest.mark.parametrize(("error", "end"), [(None, "COMPLETE"), (DataError("gold.a: broken"), "FAIL")])
def test_a_run_sends_its_start_and_its_end(
    everything: Deployment, tmp_path: Path, error: Exception | None, end: str
) -> None:
    to = everything.model_copy(update={"lineage": Lineage(file=str(tmp_path / "events.json"))})
    rows: list[Any] = []
    lake: Any = SimpleNamespace(deployment=to, spark=None, append=lambda *row: rows.append(row))
    for dry in (True, False):
        with suppress(DataError), recorded(lake, "clean_items", dt.date(2024, 3, 1), dry) as record:
            record["rows_written"] = {"silver.items": 3}
            if error:
                raise error
    events = [json.loads(line) for line in (tmp_path / "events.json").read_text().splitlines()]
    assert [each["eventType"] for each in events] == ["START", end], "and none of a dry run"
    assert len({each["run"]["runId"] for each in events}) == 1
    assert events[1]["run"]["facets"].get("errorMessage", {}).get("message") == (str(error) if error else None)
    counts = [each.get("outputFacets", {}).get("outputStatistics", {}).get("rowCount") for each in events[1]["outputs"]]
    assert counts == ([None, None] if error else [3, None])
    assert len(rows) == 2
