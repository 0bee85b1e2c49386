"""The Spark session of a deployment."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession

from jobs.runner import environment_fault, object_store
from schemas.deployment import Deployment
from schemas.errors import ConfError

# Required by the storage, whatever the properties file sets.
NEEDED = {
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",  # INT96, Spark's default, is no timestamp to Delta
    "spark.sql.session.timeZone": "UTC",  # jobs/transforms/shop_time.py converts local times to instants
    "spark.sql.sources.parallelPartitionDiscovery.threshold": "10000",  # Delta's log lists the files
}

# Unless the properties file sets them. PySpark asks the JVM a dozen things for every operation on a column, to name its
# line in error messages, and Spark takes a stack trace; every query is described for Spark's UI, at each of its stages
# anew. In plans of hundreds of columns that was most of the driver's time.
UNTRACED = {
    "spark.python.sql.dataFrameDebugging.enabled": "false",
    "spark.sql.dataFrameQueryContext.enabled": "false",
    "spark.sql.ui.explainMode": "simple",
    "spark.sql.debug.maxToStringFields": "2",
}


def session(deployment: Deployment, *, log_file: Path | None = None) -> SparkSession:
    """The session of the deployment's properties file, or the running one.

    Settings of spark-submit win over the file. With `log_file`, stderr of the JVM and the Python workers goes there,
    so the terminal stays readable.
    """
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if os.environ.get("LC_ALL") in ("C", "POSIX"):  # with it the JVM could not open non-ASCII names
        os.environ["LC_ALL"] = "C.UTF-8"
    builder, name = SparkSession.builder, f"nightshelf {deployment.name}"
    if SparkSession.getActiveSession() is None:
        submitted = "PYSPARK_GATEWAY_PORT" in os.environ
        given = _submitted() if submitted else properties(deployment.spark)
        environment_fault.check_master(given.get("spark.master", ""))
        _check_jars(deployment, given.get("spark.jars", ""))
        object_store.check(deployment)
        own = object_store.spark_properties(deployment) | {"spark.app.name": name}
        for key, value in (UNTRACED | given | own).items():
            builder = builder.config(key, value)
    for key, value in NEEDED.items():
        builder = builder.config(key, value)
    with _stderr_to(log_file):
        spark = builder.getOrCreate()
    object_store.probe(spark, deployment)
    return spark


def _check_jars(deployment: Deployment, jars: str) -> None:
    """ConfError where a local jar of the properties is missing: Spark would start without it."""
    for jar in filter(None, jars.split(",")):
        if not re.match("[a-z0-9]+:", jar) and not Path(jar).is_file():  # spark-submit has made URIs of what it found
            raise ConfError(f"{deployment.spark}: spark.jars: there is no {jar}; make jar builds ours (it needs a JDK)")


def fetched_jars(given: Mapping[str, str]) -> list[str]:
    """The local paths of the jars that Spark properties name by spark.jars.packages, fetched if need be."""
    builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    for key in ("spark.jars.packages", "spark.jars.excludes"):
        builder = builder.config(key, given.get(key, ""))
    spark = builder.getOrCreate()
    jars = spark.conf.get("spark.jars") or ""
    spark.stop()
    return [jar.removeprefix("file:") for jar in jars.split(",")]


def _submitted() -> dict[str, str]:
    """What spark-submit was given."""
    SparkContext._ensure_initialized()
    return dict(SparkConf().getAll())


def properties(path: str) -> dict[str, str]:
    """A Spark properties file as a dict: `key value` lines, # comments."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfError(f"{path}: the deployment's Spark properties cannot be read: {error.strerror}") from None
    pairs = (re.split(r"\s+", line.strip(), maxsplit=1) for line in lines if line.strip() and not line.startswith("#"))
    return {pair[0]: pair[1] if len(pair) > 1 else "" for pair in pairs}


@contextlib.contextmanager
def _stderr_to(path: Path | None) -> Iterator[None]:
    """Within the block, append stderr of this process and those it starts to a file."""
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stderr.flush()
    original = os.dup(2)
    with path.open("ab") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(original, 2)
        os.close(original)
