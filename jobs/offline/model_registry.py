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

from jobs.transforms.arrow_rows import schema
from schemas import ops
from schemas.derive import plain_ddl
from schemas.run import RunContext
from udfs import json_model
from udfs.days import date_of
from udfs.encoder.model_folder import MANIFEST, sha256, write_manifest

HELD = "held: runs use it once it is approved (make approve)"
# The result of a fit in one task: the model, the model it is judged by, its figures, and its rows and their first day.
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
    """The row of ops.models for a frame of FITTED; no rows where it is empty.

    say: receives whether runs will use the new model, or `otherwise`, the reason why there is none.
    """
    rows = fitted.collect()
    if not rows:
        say(otherwise)
        return rows_of(models, [])
    (row,) = rows
    figures = json.loads(row["figures"])
    say(said_of(kind, row["promoted"], figures, held=run.deployment.gate.approval))
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
    """Publish the folder of a new model (its files and a manifest); its row of ops.models.

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
    row = new_row(
        kind,
        run,
        version,
        weights=weights,
        trained_from=trained_from,
        examples=examples,
        metrics=metrics,
        promoted=promoted,
    )
    return rows_of(models, [row])


def new_row(
    kind: str,
    run: RunContext,
    version: str,
    *,
    weights: str,
    trained_from: dt.date,
    examples: int,
    metrics: Mapping[str, float],
    promoted: bool,
    base: str = "",
    ranker: str = "",
) -> dict[str, Any]:
    """The row of a new model; where a person approves models, a promoted one is held until then.

    weights, base: hashes of its weights and of those that it started from.
    """
    held = promoted and run.deployment.gate.approval
    return {
        "run_date": run.run_date,
        "model_version": version,
        "kind": kind,
        "folder": f"models/{version}",
        "base_sha256": base,
        "weights_sha256": weights,
        "trained_from": trained_from,
        "cut_date": run.run_date,
        "example_count": examples,
        "metrics": dict(metrics),
        "ranker": ranker,
        "promoted": promoted and not held,
        "code_version": run.code_version,
        "held": held,
    }


def rows_of(models: DataFrame, rows: list[dict[str, Any]]) -> DataFrame:
    """New rows of ops.models as a frame; jobs/transforms/succession.py has the rule for the date's other rows."""
    values = [tuple(row[name] for name in ops.MODELS.column_names) for row in rows]
    return models.sparkSession.createDataFrame(values, plain_ddl(ops.MODELS))


def said_of(kind: str, promoted: bool, figures: Mapping[str, float], *, held: bool = False) -> str:
    """Progress line: whether runs will use the new model, and its figures; held: where a person approves it."""
    decided = (HELD if held else "promoted") if promoted else "NOT promoted, runs keep the model in use"
    listed = ", ".join(f"{name} {value:+.4f}" for name, value in figures.items())
    return f"{kind} model: {decided}; on days that it was not fitted on: {listed or 'none yet to compare by'}"
