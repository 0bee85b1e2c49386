"""Rows of ops.models, and the folders of models that are JSON."""

from __future__ import annotations

import datetime as dt
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.transforms.arrow_rows import schema
from schemas import ops
from schemas.contract import PARTITION
from schemas.derive import plain_ddl
from schemas.run import RunContext
from udfs import json_model
from udfs.days import date_of
from udfs.encoder.model_folder import MANIFEST, sha256, write_manifest

# What a fit in one task gives: the model, what it is judged by and how it was, and from how many rows since which day.
FITTED = "model STRING, judged STRING, figures STRING, promoted BOOLEAN, rows BIGINT, since BIGINT"


def fitted_row(
    model: str, judged: str, figures: Mapping[str, float], *, promoted: bool, rows: int, since: int
) -> pa.Table:
    """The row of FITTED."""
    values = (model, judged, json.dumps(figures), promoted, rows, since)
    return pa.table([[value] for value in values], schema=schema(FITTED))


def registered(
    kind: str, run: RunContext, models: DataFrame, fitted: DataFrame, say: Callable[[str], None], otherwise: str
) -> DataFrame:
    """The rows of ops.models of run_date with the model of a frame of FITTED; as they are, said so, where it is empty.

    say: is told whether runs will use the new model, or `otherwise`, why there is none.
    """
    found = fitted.collect()
    if not found:
        say(otherwise)
        return unchanged(models, run.run_date)
    (row,) = found
    figures = json.loads(row["figures"])
    say(said_of(kind, row["promoted"], figures))
    return register(
        kind,
        run,
        models,
        {json_model.FILE: row["model"], json_model.JUDGED: row["judged"]},
        trained_from=date_of(row["since"]),
        examples=row["rows"],
        metrics=figures,
        promoted=row["promoted"],
    )


def register(
    kind: str,
    run: RunContext,
    models: DataFrame,
    files: Mapping[str, str],
    *,
    trained_from: dt.date,
    examples: int,
    metrics: Mapping[str, float],
    promoted: bool,
) -> DataFrame:
    """Publish the folder of a new model (its files and a manifest); the rows of ops.models of run_date, its row first.

    One of the files is json_model.FILE: what a run applies.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / kind
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text, "utf-8")
        write_manifest(folder)
        version = f"{kind}-{run.run_date}-{sha256(folder / MANIFEST)[:8]}"
        run.publish_model(folder.rename(folder.with_name(version)))
        weights = sha256(folder.with_name(version) / json_model.FILE)
    row = {
        "run_date": run.run_date,
        "model_version": version,
        "kind": kind,
        "folder": f"models/{version}",
        "base_sha256": "",
        "weights_sha256": weights,
        "trained_from": trained_from,
        "cut_date": run.run_date,
        "example_count": examples,
        "metrics": dict(metrics),
        "ranker": "",
        "promoted": promoted,
        "code_version": run.code_version,
    }
    return rows_of(models, [row, *others_of_date(models, row)])


def unchanged(models: DataFrame, run_date: dt.date) -> DataFrame:
    """The rows of ops.models of a date as they are: a training that had nothing to learn from."""
    return models.where(F.col(PARTITION) == F.lit(run_date)).select(*ops.MODELS.column_names)


def rows_of(models: DataFrame, rows: list[dict[str, Any]]) -> DataFrame:
    """These rows as a frame of ops.models."""
    values = [tuple(row[name] for name in ops.MODELS.column_names) for row in rows]
    return models.sparkSession.createDataFrame(values, plain_ddl(ops.MODELS))


def others_of_date(models: DataFrame, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The other rows of the date of a new model: a training writes the date's partition anew.

    Those of its kind stay as they are where the new one is not promoted, so that a run still has one; else it takes
    their place. Those of other kinds stay.
    """
    same_date = models.where((F.col("run_date") == row["run_date"]) & (F.col("model_version") != row["model_version"]))
    found = [each.asDict() for each in same_date.orderBy("model_version").collect()]
    return [each | {"promoted": each["promoted"] and not (row["promoted"] and _alike(each, row))} for each in found]


def _alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return (one["kind"] or "recommend") == (other["kind"] or "recommend")


def said_of(kind: str, promoted: bool, figures: Mapping[str, float]) -> str:
    """One line of progress: whether runs will use the new model, and by which figures."""
    decided = "promoted" if promoted else "NOT promoted, runs keep the model in use"
    listed = ", ".join(f"{name} {value:+.4f}" for name, value in figures.items())
    return f"{kind} model: {decided}; on days that it was not fitted on: {listed or 'none yet to compare by'}"
