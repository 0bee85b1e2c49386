"""Lines of raw files that are of erased users, found by the keyed hashes of their ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.transforms.mapping import INVISIBLE, WHITE_SPACE, mapped
from schemas.deployment import Deployment
from udfs.keyed_hash import KeySource, known

LINE = ("source_file", "source_row")
LINES = "source_file STRING, source_row BIGINT"
WORDS = r"""[\s,;|"'<>=]+"""  # what divides the words of a line that could not be read
SHORTEST_WORD = 8  # characters: a shorter word may be a quantity or another id


def user_kinds(deployment: Deployment) -> list[str]:
    """The kinds of the deployment's raw files whose records name a user."""
    return [kind for kind in deployment.kinds if deployment.maps(kind, "user_id")]


def user_lines(logs: Mapping[str, DataFrame], deployment: Deployment) -> DataFrame:
    """source_file, source_row, user_id of each line that names a user; `logs` as in erased_lines."""
    parts = [next(iter(logs.values())).select(*LINE, F.lit(None).cast("string").alias("user_id"))]
    for kind in user_kinds(deployment):
        parts.append(mapped(of_kind(logs, deployment, kind), deployment, kind).select(*LINE, "user_id"))
    return reduce(DataFrame.unionByName, parts).where("user_id IS NOT NULL")


def of_kind(logs: Mapping[str, DataFrame], deployment: Deployment, kind: str) -> DataFrame:
    """The rows of bronze that are of a kind; `logs` as in erased_lines."""
    table = f"bronze.{kind}" if f"bronze.{kind}" in logs else "bronze.records"
    return logs[table].where(F.coalesce("source", F.lit(kind)).isin(list(deployment.of_kind(kind))))


def erased_lines(
    logs: Mapping[str, DataFrame], deployment: Deployment, hashes: frozenset[str], key: KeySource
) -> DataFrame:
    """LINES, each once: the lines of erased users.

    logs: rows of bronze by table (`bronze.events` and so on). A line is theirs where its user_id, as the deployment
    maps it, has its HMAC among `hashes`; where another source reads such a line, that is too. So is a line of any kind
    with a field, or where it could not be read a word, of SHORTEST_WORD characters or more that is such an id. The key
    is read where the lines are, and is in no plan of a query.
    """
    users = user_lines(logs, deployment).select(*LINE, F.array("user_id").alias("words"))
    found = [users.mapInArrow(_of(hashes, key, 1), LINES)]
    for rows in logs.values():
        words = F.coalesce("fields", F.split("raw", WORDS)).alias("words")
        found.append(rows.select(*LINE, words).mapInArrow(_of(hashes, key, SHORTEST_WORD), LINES))
    return reduce(DataFrame.unionByName, found).distinct()


def _of(
    hashes: frozenset[str], key: KeySource, shortest: int
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Keeps the lines with a word of `shortest` characters or more whose HMAC is among `hashes`."""

    def find(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        secret = key.read()
        for batch in batches:
            words = batch.column("words")
            values, row = pc.list_flatten(words), pc.list_parent_indices(words)
            trimmed = pc.utf8_trim(values, WHITE_SPACE + INVISIBLE)
            several = (word for word in pc.unique(trimmed).to_pylist() if word is not None and len(word) >= shortest)
            erased = known(secret, several, hashes)
            if erased:
                rows = pc.unique(row.filter(pc.is_in(trimmed, pa.array(erased, trimmed.type))))
                yield pa.RecordBatch.from_arrays([batch.column(name).take(rows) for name in LINE], list(LINE))

    return find


def without(parsed: DataFrame, lines: DataFrame) -> DataFrame:
    """What jobs/ingest_logs.py has parsed of raw files without these lines, which its reports do not count either."""
    gone = parsed.join(lines, list(LINE), "left_semi").groupBy("source", "source_file")
    counted = gone.agg(F.count("*").alias("_gone"), F.count("problem").alias("_unreadable"))
    kept = parsed.join(lines, list(LINE), "left_anti").join(counted, ["source", "source_file"], "left")
    fewer = {
        name: F.col(name) - F.coalesce(less, F.lit(0))
        for name, less in (("record_count", F.col("_gone")), ("unreadable_count", F.col("_unreadable")))
    }
    return kept.withColumns(fewer).select(*parsed.columns)
