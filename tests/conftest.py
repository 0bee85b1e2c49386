"""One Spark session for the whole run; test rows filled in from the contract; a tiny shop on disk."""

from __future__ import annotations

import atexit
import datetime as dt
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from pyspark.sql import DataFrame, SparkSession

from jobs.flow import INTAKE
from jobs.runner import shared_files
from jobs.runner.schema_check import check_schema
from jobs.runner.session import session as spark_session
from jobs.transforms.reasons import reasons_of
from schemas.contract import Table
from schemas.deployment import Deployment, load
from schemas.derive import example_rows, plain_ddl
from schemas.run import RunContext
from schemas.source import Source
from tests.support import tiny_shop

os.environ["TOKENIZERS_PARALLELISM"] = "false"

Rows = Callable[..., DataFrame]

# The folder of a test says what it needs and which target runs it; a test's own mark, where it has one, goes before.
MARKS = {"nights": "slow", "faults": "slow", "airflow": "airflow", "cluster": "cluster", "s3": "s3"}
# The longest files first, so that two workers end together; the second of them needs no trained shop.
LONGEST = ("night", "intake", "publication", "evaluation", "trouble", "plans_night", "resume", "plans_intake")
LONGEST += ("kinds", "served_encoder", "dirt", "changes", "upgrade_lake", "text_identity", "maintain_tables", "dags")
NEEDS_JVM = {"spark", "trained_shop", "taken_in"}  # what every fixture that needs one asks for


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by its folder; refuse one in unit/ that needs a JVM."""
    place = {f"test_{name}.py": number for number, name in enumerate(LONGEST)}
    for item in items:
        folder = item.path.relative_to(tiny_shop.REPO / "tests").parts[0]
        if folder in MARKS and not any(item.get_closest_marker(name) for name in ("slow", "nights", "faults")):
            item.add_marker(getattr(pytest.mark, MARKS[folder]))
        if folder == "unit" and (used := NEEDS_JVM & set(getattr(item, "fixturenames", ()))):
            raise pytest.UsageError(f"{item.nodeid} is in tests/unit, which needs no JVM, and uses {sorted(used)}")
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


@pytest.fixture(scope="session")
def session_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("session")


@pytest.fixture(scope="session")
def deployment(session_root: Path) -> Deployment:
    """A deployment for tests that need one but no files."""
    return load(tiny_shop.make(session_root, days=1))


@pytest.fixture(scope="session")
def spark(deployment: Deployment, session_root: Path) -> Iterator[SparkSession]:
    session = spark_session(deployment, log_file=session_root / "spark.log")
    yield session
    session.stop()


@pytest.fixture(autouse=True)
def nothing_cached() -> Iterator[None]:
    """What a test persisted goes with it: the whole run shares one JVM."""
    yield
    session = SparkSession.getActiveSession()
    if session is not None:
        session.catalog.clearCache()


@pytest.fixture
def rows(spark: SparkSession) -> Rows:
    """`rows(EVENTS, {"user_id": "u1"})`: a frame of sound rows of a table, what matters stated, the rest filled in."""

    def make(table: Table, *stated: Mapping[str, Any]) -> DataFrame:
        filled = [tuple(row[name] for name in table.column_names) for row in example_rows(table, *stated)]
        return spark.createDataFrame(filled, plain_ddl(table))

    return make


def run_of(run_date: dt.date, deployment: Deployment | None = None) -> RunContext:
    """A run of a date that writes no table; without a deployment, of one that has only a name and what it sells."""
    sources = {kind: Source.model_construct(map={}) for kind in ("events", "items")}
    some = deployment or Deployment.model_construct(name="test", sources=sources)
    return RunContext(run_date, some, share=partial(shared_files.share, at_end=_with_the_process))


def _with_the_process(end: Callable[[bool], None]) -> None:
    """Calls when the tests end: frames of a test are computed after the job's function has returned."""
    atexit.register(end, True)


def broken(table: Table, frame: DataFrame) -> list[str]:
    """The reasons of every check of a contract that a frame breaks, after its columns were checked."""
    check_schema(table, frame, "in a test")
    here = frame.sparkSession.createDataFrame(frame.collect(), frame.schema)
    here.createOrReplaceTempView("batch")
    found = {reason.sentence for row in here.select(reasons_of(table.checks())).collect() for reason in row[0]}
    queries = [(check.reason, check.query.format(batch="batch")) for check in table.checks() if check.query]
    return sorted(found | {reason for reason, query in queries if frame.sparkSession.sql(query).take(1)})


@pytest.fixture(scope="session")
def airflow_installed() -> None:
    """Skip where Airflow's own environment is missing."""
    if not (tiny_shop.REPO / ".venv-airflow" / "bin" / "airflow").exists():
        pytest.skip("Airflow's environment .venv-airflow is missing; `make airflow-env` makes it")


@pytest.fixture
def tiny_shop_conf(tmp_path: Path) -> Path:
    """A tiny shop of sixteen days on disk, nothing run yet."""
    return tiny_shop.make(tmp_path)


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder for all of xdist's workers: the first that asks makes it, others wait."""
    own = factory.getbasetemp()
    root = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / name
    with FileLock(f"{root}.lock"):
        if not (root / "done").exists():
            assert not root.exists(), f"{name}: making it has failed in another worker"
            root.mkdir()
            make(root)
            (root / "done").touch()
    return root


@pytest.fixture(scope="session")
def trained_shop(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> Path:
    """The root of a tiny shop whose night of day 13 has been run, model and all. Copy it before you change it."""
    from jobs.commands import night

    def make(root: Path) -> None:
        conf = tiny_shop.make(root)
        assert night.main(["--run-date", str(tiny_shop.day(13)), "--conf", str(conf), "--train", "missing"]) == 0

    return made_once(tmp_path_factory, "trained", make)


@pytest.fixture(scope="session")
def taken_in(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> Path:
    """The root of a tiny shop of which the intake of day 0 alone has been run. Copy it before you change it."""
    from jobs.runner import run_job
    from jobs.runner.lake import Lake

    def make(root: Path) -> None:
        lake = Lake(spark, load(tiny_shop.make(root, days=1)))
        for job in INTAKE:
            run_job.run(job.name, lake, tiny_shop.day(0))

    return made_once(tmp_path_factory, "taken_in", make)


@pytest.fixture
def shop(trained_shop: Path, tmp_path: Path) -> Path:
    """The TOML file of a private copy of the trained shop."""
    return tiny_shop.copied(trained_shop, tmp_path / "shop")


@pytest.fixture
def float32_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tolerances that are those of float32: a chip that multiplies bfloat16 would round more."""
    monkeypatch.setattr("udfs.encoder.encoder.multiplies_bfloat16", lambda _: False)
