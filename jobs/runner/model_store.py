"""Models of a lake: the one that a run uses, its folder checked and shipped to the executors."""

from __future__ import annotations

import atexit
import datetime as dt
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyspark import SparkFiles
from pyspark.sql import SparkSession

from jobs.flow import TRAINING, lacking
from jobs.runner import environment_fault, integrity, shared_files
from jobs.runner.lake import Lake
from schemas.contract import PARTITION
from schemas.errors import ConfError, DataError, NoModelError
from schemas.job import RECOMMEND
from schemas.run import Model
from udfs.encoder.base_model import base_folder, base_sha256
from udfs.encoder.model_folder import ModelError

PUBLISHED = "published"  # in the version of weights as they were published


def encoding_model(lake: Lake, run_date: dt.date) -> Model:
    """The model that computed the item vectors of run_date. DataError where it is not promoted any more."""
    table = "features.item_vectors"
    lake.today(table, run_date)  # an error where there are none
    version = lake.model_of(table, run_date)
    try:
        return promoted_model(lake, run_date, version)
    except NoModelError:
        raise DataError(
            f"{table} of {run_date} are of model {version}, which is not promoted any more: run the night again from "
            "encode_items on"
        ) from None


def trainable(lake: Lake) -> bool:
    """Whether the deployment's sources suffice to train a model of kind recommend."""
    return any(job.trains == RECOMMEND and not lacking(job, lake.deployment.kinds) for job in TRAINING)


def published_model(lake: Lake) -> Model:
    """The deployment's base weights as they were published: what encodes texts where nothing can be learned from."""
    try:
        folder = base_folder(lake.deployment.encoder.base)
    except ModelError as error:
        raise ConfError(f"{lake.deployment.file}: [encoder] base: {error}") from None
    model = Model(f"{PUBLISHED}-{base_sha256(folder)[:8]}", str(folder))
    ship(lake.spark, model)
    return model


def promoted_model(lake: Lake, run_date: dt.date, version: str | None = None, kind: str = RECOMMEND) -> Model:
    """The newest promoted model of a kind trained on nothing after run_date, its folder shipped to the executors.

    With `version`, that model. NoModelError where there is no such model, or it is not promoted.
    """
    promoted = [row for row in lake.rows("ops.models", run_date) if row["promoted"]]
    rows = [row for row in promoted if (row["kind"] or RECOMMEND) == kind]  # null: a row of before there were kinds
    if version is not None:
        rows = [row for row in rows if row["model_version"] == version]
    if not rows:
        raise NoModelError(
            f"no promoted {f'{kind} ' * (kind != RECOMMEND)}model in {lake.path('ops.models')} has been trained on "
            f"data up to {run_date} or earlier; {_how(lake, run_date, kind)}"
        )
    return _shipped(lake, max(rows, key=lambda row: (row[PARTITION], row["model_version"])))


def _how(lake: Lake, run_date: dt.date, kind: str) -> str:
    """How to get a promoted model: approve the newest one that is held, or train."""
    rows = [row for row in lake.rows("ops.models", run_date) if row["held"] and (row["kind"] or RECOMMEND) == kind]
    newest = max(rows, key=lambda row: (row[PARTITION], row["model_version"]), default=None)
    if newest:
        return f"{newest['model_version']} waits to be approved: make approve RUN_DATE={newest[PARTITION]}"
    return f"make one: make train RUN_DATE={run_date}"


def scoring_model(lake: Lake, run_date: dt.date) -> Model:
    """The model that scored the candidates of run_date, whether or not it is promoted today.

    NoModelError where no run has written candidates, or their model is not in ops.models.
    """
    table = "features.candidates"
    version = lake.model_of(table, run_date)
    if version is None:
        raise NoModelError(f"{table} has no partition run_date={run_date}; run that night first")
    rows = [row for row in lake.rows("ops.models", run_date) if row["model_version"] == version]
    if not rows:
        raise NoModelError(f"{table} of {run_date} are of model {version}, which is not in {lake.path('ops.models')}")
    return _shipped(lake, rows[0])


def _shipped(lake: Lake, row: Mapping[str, Any]) -> Model:
    """The model of a row of ops.models, its folder checked and shipped to the executors."""
    model = Model(row["model_version"], f"{lake.deployment.lake}/{row['folder']}")
    ship(lake.spark, model)
    if model.folder not in lake.checked:
        try:  # what Spark has fetched to this machine, as every executor gets it
            integrity.check_model(Path(SparkFiles.get(model.file_name)), row["weights_sha256"])
        except integrity.NotWholeError as error:
            raise DataError(f"{model.folder}: {error}. {_other_model(model)}") from None
        lake.checked.add(model.folder)
    return model


def checkpoint_folder(lake: Lake) -> Path | None:
    """Checkpoint directory of trainings: the deployment's `checkpoints`, else beside models/.

    A local folder: another machine has it only if it is mounted there too. None where the lake is not local and the
    deployment names no folder: then a killed training starts over.
    """
    if lake.deployment.checkpoints:
        return Path(lake.deployment.checkpoints)
    local = lake.deployment.lake.removeprefix("file://")
    return Path(local) / "checkpoints" if local.startswith("/") else None


def ship(spark: SparkSession, model: Model) -> None:
    """Ship a model's folder to the executors, as SparkFiles.get(model.file_name).

    A cluster does not accept a folder of the driver's disk, but an archive of it.
    """
    context, local = spark.sparkContext, model.folder.removeprefix("file://")
    try:
        if local.startswith("/") and not shared_files.on_one_machine(context):
            place = tempfile.mkdtemp()
            atexit.register(shutil.rmtree, place, ignore_errors=True)
            shared_files.add_archive(context, Path(local), model.file_name, Path(place))
        else:
            context.addFile(model.folder, recursive=True)
    except Exception as error:
        if environment_fault.sentence(error):
            raise
        message = str(error).strip().split("\n\tat ")[0]
        raise DataError(f"{model.folder}: it cannot be read: {message}. {_other_model(model)}") from error


def _other_model(model: Model) -> str:
    return (
        f"Put the folder of model {model.version} back from a copy, and run this again; or take the model back, so "
        'that nights use the one before it (make sql Q="UPDATE ops.models SET promoted = false WHERE model_version = '
        f"'{model.version}'\"); or train anew (make train)"
    )
