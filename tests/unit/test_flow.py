"""The page that everything derives from: jobs as declared are jobs as written."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from typing import Literal, get_origin

import pytest

from jobs import flow
from jobs.commands import draw_flow
from jobs.flow import EVALUATION, INTAKE, JOBS, NIGHT, PLANNING, PUBLISHING, SCORING, TRAINING, lacking
from jobs.runner.settings import function_of, knobs_of
from schemas import TABLES
from schemas.dependencies import edges
from schemas.job import Job, history, model, records, today
from schemas.run import RunContext
from schemas.silver import RECORDS_OF
from tests.support.tiny_shop import REPO


@pytest.mark.parametrize("job", JOBS.values(), ids=lambda job: job.name)
def test_a_jobs_parameters_are_its_reads(job):
    function = function_of(job.name)
    parameters = inspect.signature(function, eval_str=True).parameters.values()
    positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == [read.parameter for read in job.reads]
    assert [p.name for p in parameters if p.annotation is RunContext] == ["run"]
    knobs = knobs_of(function)
    assert all(p.default is not p.empty for p in knobs.values())
    assert all(p.annotation in (int, float, str, bool) or get_origin(p.annotation) is Literal for p in knobs.values())
    assert inspect.getdoc(function)


def test_every_table_is_written_by_one_job_and_exists():
    written = [table for job in JOBS.values() for table in job.writes if not job.trains]
    assert len(written) == len(set(written))
    trained = [job.trains for job in JOBS.values() if job.trains]
    assert {job.name for job in JOBS.values() if job.trains} == {job.name for job in TRAINING}
    assert len(trained) == len(set(trained)), "one job trains the models of a kind"
    assert {job.writes for job in TRAINING} == {("ops.models",)}
    recorded = {"ops.runs", "ops.checks", "ops.figures", "ops.approvals", "ops.erasures", "ops.audit"}
    assert {*written, "ops.models"} | recorded == set(TABLES)
    for job in JOBS.values():
        for read in job.reads:
            assert read.table in TABLES or read.window == "files"


def test_the_declared_order_respects_every_edge():
    names = [job.name for job in NIGHT]
    for earlier, later in edges(NIGHT):
        assert names.index(earlier) < names.index(later), (earlier, later)
    assert INTAKE + SCORING + PLANNING + PUBLISHING == NIGHT


def test_edges_are_what_tables_say():
    pairs = edges(NIGHT)
    assert ("ingest_logs", "clean_events") in pairs
    assert ("clean_items", "clean_events") in pairs
    assert ("score_candidates", "rank_recommendations") in pairs
    assert ("encode_items", "encode_users") in pairs
    assert ("encode_items", "encode_items") not in pairs  # yesterday's vectors are no edge of tonight
    assert not any("ops.models" in job.writes for job in NIGHT)
    in_turn = edges(TRAINING)  # they replace the same partition
    assert in_turn == [
        ("train_audiences", "train_profiles"),
        ("train_audiences", "train_searches"),
        ("train_audiences", "train_sentiment"),
        ("train_demand", "train_audiences"),
        ("train_demand", "train_profiles"),
        ("train_demand", "train_searches"),
        ("train_demand", "train_sentiment"),
        ("train_model", "train_audiences"),
        ("train_model", "train_demand"),
        ("train_model", "train_profiles"),
        ("train_model", "train_searches"),
        ("train_model", "train_sentiment"),
        ("train_profiles", "train_searches"),
        ("train_profiles", "train_sentiment"),
        ("train_searches", "train_sentiment"),
    ]
    assert edges(TRAINING + EVALUATION) == in_turn  # what judges the night of four weeks ago waits for no training
    everything = edges(NIGHT + TRAINING)
    trains = {job.name for job in TRAINING}
    cards = {(name, "publish_night") for name in trains}  # of the models that the night used
    waits = {pair for pair in everything if pair[0] in trains} - set(in_turn)
    assert cards < waits
    assert waits - cards == {
        ("train_model", "encode_items"),
        ("train_model", "encode_users"),
        ("train_model", "score_candidates"),
        ("train_model", "rank_recommendations"),
        ("train_model", "match_queries"),
        ("train_demand", "forecast_demand"),
        ("train_audiences", "build_audiences"),
        ("train_profiles", "profile_users"),
        ("train_searches", "match_queries"),
        ("train_searches", "rank_searches"),
        ("train_sentiment", "read_reviews"),
        ("train_sentiment", "rate_items"),
    }, "each kind of model has its readers"
    assert ("encode_items", "train_audiences") in everything


def test_a_table_is_there_where_a_deployment_has_what_one_of_its_jobs_needs():
    assert flow.stands("ops.models", ("events", "items")), "train_audiences alone needs campaigns"
    assert not flow.stands("gold.ad_audiences", ("events", "items"))
    assert flow.stands("gold.ad_audiences", ("events", "items", "campaigns"))
    assert flow.stands("ops.runs", ())


def test_a_model_is_named_by_its_kind():
    reads = {read.parameter: read for job in JOBS.values() for read in job.reads}
    assert (reads["demand_model"].optional, reads["audience_model"].optional, reads["model"].optional) == (
        True,
        True,
        False,
    )
    assert records("stock", "latest").parameter == "bronze_stock"
    assert not records("stock", "latest").optional


def test_what_people_read_of_a_window_says_its_flags():
    assert today("silver.stock").seen == "today"
    assert today("silver.stock", may_be_empty=True).seen == "today, may be empty"
    assert history("bronze.files", later_too=True).seen == "history, later too"
    assert history("ops.runs", on_driver=True).seen == "history, on driver"
    assert (model().seen, model("demand", "judged").seen) == ("model, promoted", "model, judged")


def test_golden_picture_and_page_are_current():
    hint = "run `make golden` and review the diff"
    assert (REPO / "docs" / "flow.md").read_text() == draw_flow.as_page(), hint
    assert (REPO / "docs" / "tables.md").read_text() == draw_flow.reference_page(TABLES.values()), hint


def test_the_picture_has_every_job_of_the_night_once_and_arrows_between_what_it_has():
    lines = draw_flow.as_mermaid(draw_flow.STAGES).splitlines()
    jobs = [line.split("[")[0].strip() for line in lines if "[" in line and "raw" not in line]
    assert sorted(jobs) == sorted(job.name for job in NIGHT + TRAINING)
    stages = [line.split()[1] for line in lines if line.strip().startswith("subgraph")]
    assert len([line for line in lines if line.strip() == "end"]) == len(stages)
    ends = {line.split()[0] for line in lines if "-->" in line} | {line.split()[-1] for line in lines if "-->" in line}
    assert ends - {"raw([raw"} <= {*jobs, *stages}
    for table in (name for name, table in TABLES.items() if table.layer == "gold"):
        assert table in "\n".join(lines)


def test_an_arrow_that_a_longer_path_implies_is_not_drawn():
    one, two, three = (
        Job("one", (), ("gold.recommendations",)),
        Job("two", (today("gold.recommendations"),), ("gold.similar_items",)),
        Job("three", (today("gold.recommendations"), today("gold.similar_items")), ("gold.ad_audiences",)),
    )
    assert len(edges((one, two, three))) == 3
    assert draw_flow.direct_edges((one, two, three)) == [("one", "two"), ("two", "three")]


def test_the_text_names_every_job_read_and_write():
    text = draw_flow.as_text(NIGHT)
    for job in NIGHT:
        assert job.name in text
        assert all(re.search(rf"{read.table}( of {read.kind})? \({read.seen}\)", text) for read in job.reads)


def test_flow_and_schemas_load_without_spark_or_torch():
    code = "import sys, jobs.flow, schemas, schemas.derive; print({'pyspark', 'torch', 'pandas'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPO)
    assert out.stdout.strip() == "set()"


@pytest.mark.parametrize("kind", RECORDS_OF)
def test_publishing_needs_no_kind_of_source(kind: str) -> None:
    assert not lacking(JOBS["publish_night"], (kind,))
