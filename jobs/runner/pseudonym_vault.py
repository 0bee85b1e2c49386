"""Pseudonyms of a lake: which key they are of, the table from them back to ids, and another key for all of them.

The lake's file privacy.json names the key. The table is Parquet in the vault, a folder outside the lake, one per key.
"""

from __future__ import annotations

import json
from functools import reduce
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.runner import erasure
from jobs.runner.lake import Lake
from jobs.transforms import ledger
from jobs.transforms.erased_lines import user_lines
from jobs.transforms.pseudonyms import key_of, pseudonyms
from schemas import TABLES
from schemas.contract import PARTITION
from schemas.deployment import Deployment
from schemas.errors import ConfError
from schemas.privacy import Pseudonyms
from udfs.keyed_hash import KeyProblemError, check_of, pseudonym

MARK = "privacy.json"  # of a lake with pseudonyms: the id and the check of their key
ROW = "pseudonym STRING, user_id STRING"


def check_key(lake: Lake, *, mark: bool = True) -> None:
    """ConfError where the lake's ids are not of the deployment's key, or the key is missing or short.

    A lake without an event gets its mark here, if `mark`.
    """
    marked, wanted = _mark(lake), _wanted(lake.deployment)
    if marked == wanted:
        return
    file = lake.deployment.file
    if wanted is None:
        of = marked["key_id"] if marked else ""
        raise ConfError(f"{file}: the lake has pseudonyms of key {of!r}: put [privacy.pseudonyms] back")
    if marked and marked["key_id"] == wanted["key_id"]:
        raise ConfError(f"{file}: [privacy.pseudonyms] the key is not the one of the lake, {marked['key_id']!r}")
    if marked or lake.files("silver.events"):
        of = f"of key {marked['key_id']!r}" if marked else "of before there were pseudonyms"
        raise ConfError(f"{file}: the lake's ids are {of}: make pseudonyms CONF={file} gives them {wanted['key_id']!r}")
    if mark:
        lake.storage.write_text(MARK, json.dumps(wanted))


def pseudonyms_of(deployment: Deployment, ids: list[str]) -> list[str]:
    """The pseudonyms of ids under the deployment's key; none where it has no pseudonyms."""
    wanted, key = _wanted(deployment), key_of(deployment)
    return [pseudonym(key.read(), each) for each in ids] if wanted and key else []


def wanted_key(deployment: Deployment) -> None:
    """ConfError where the deployment has no pseudonyms, or their key is missing or short."""
    _conf(deployment)
    _wanted(deployment)


def renew(lake: Lake) -> dict[str, int]:
    """Give every user_id of the lake its pseudonym under the deployment's key, and write the vault; rows by table.

    Ids may be as landed, or pseudonyms of another key that the vault has. What was killed is run again. The next run
    cleans the logs again, for the ids of events.
    """
    conf, wanted, key = _conf(lake.deployment), _wanted(lake.deployment), key_of(lake.deployment)
    assert key is not None
    logs = {table: lake.frame(table, lake.files(table)) for table in erasure.BRONZE}
    users = (
        user_lines(logs, lake.deployment)
        .select("user_id")
        .distinct()
        .select("user_id", pseudonyms(key.read, F.col("user_id")).alias("pseudonym"))
    )
    _write(lake, users, conf.key_id)
    users = _read(lake, conf.key_id).persist()
    others = [folder.name for folder in _folders(conf) if folder.name != conf.key_id]
    old = [users.select(F.col("user_id").alias("old"), F.col("pseudonym").alias("new"))]
    for each in others:
        before = _read(lake, each).withColumnRenamed("pseudonym", "old")
        old.append(before.join(users, "user_id", "inner").select("old", F.col("pseudonym").alias("new")))
    names = reduce(DataFrame.unionByName, old).where("old <> new").distinct().persist()
    for log in ledger.LOGS.values():
        lake.forget(log.ledger, sorted({row[PARTITION] for row in lake.rows(log.ledger)}))
    rows = {table: _rename(lake, table, names) for table in erasure.USER_TABLES}
    lake.storage.write_text(MARK, json.dumps(wanted))
    erasure.without_history(lake)
    erasure.publish_anew(lake)
    for each in others:
        lake.storage.delete(f"file://{conf.vault}/{each}")
    return {table: count for table, count in rows.items() if count}


def without(lake: Lake, users: DataFrame) -> None:
    """Remove users from the vault."""
    conf = lake.deployment.privacy.pseudonyms
    for folder in _folders(conf) if conf else ():
        rest = _read(lake, folder.name).join(users, "user_id", "left_anti")
        _write(lake, lake.spark.createDataFrame(rest.toArrow()), folder.name)


def _rename(lake: Lake, table: str, names: DataFrame) -> int:
    """Replace each id of a user that is an `old` name by the `new` one; how many."""
    total = 0
    for column in erasure.USER_COLUMNS[table]:
        affected, count = erasure.files_with(lake, table, names.withColumnRenamed("old", column), (column,))
        total += count
        if affected:
            renamed = lake.frame(table, affected).withColumnRenamed(column, "old").join(names, "old", "left")
            rows = renamed.withColumn(column, F.coalesce("new", "old")).select(*TABLES[table].column_names)
            erasure.replace_files(lake, table, affected, rows)
    return total


def _conf(deployment: Deployment) -> Pseudonyms:
    if deployment.privacy.pseudonyms is None:
        raise ConfError(f"{deployment.file}: [privacy.pseudonyms] is missing (docs/privacy.md)")
    return deployment.privacy.pseudonyms


def _wanted(deployment: Deployment) -> dict[str, str] | None:
    """The mark of a lake of the deployment's key; None without pseudonyms."""
    conf, key = deployment.privacy.pseudonyms, key_of(deployment)
    if conf is None or key is None:
        return None
    try:
        return {"key_id": conf.key_id, "check": check_of(key.read(), conf.key_id)}
    except KeyProblemError as error:
        raise ConfError(f"{deployment.file}: [privacy.pseudonyms] {error}") from None


def _mark(lake: Lake) -> dict[str, str] | None:
    path, system = lake.storage.at(MARK)
    stored: dict[str, str] | None = json.loads(lake.storage.content(path)) if system.exists(path) else None
    return stored


def _folders(conf: Pseudonyms) -> list[Path]:
    """The vault's tables, one per key."""
    root = Path(conf.vault)
    return sorted(folder for folder in root.iterdir() if folder.is_dir()) if root.is_dir() else []


def _read(lake: Lake, key_id: str) -> DataFrame:
    return lake.spark.read.schema(ROW).parquet(f"{_conf(lake.deployment).vault}/{key_id}")


def _write(lake: Lake, users: DataFrame, key_id: str) -> None:
    root = Path(_conf(lake.deployment).vault)
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    users.select("pseudonym", "user_id").coalesce(1).write.mode("overwrite").parquet(f"{root}/{key_id}")
