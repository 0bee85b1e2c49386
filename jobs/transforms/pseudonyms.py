"""Pseudonyms: from silver on, user_id and event_id as keyed hashes, where the deployment has [privacy.pseudonyms]."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import ArrowUDFType, arrow_udf

from schemas.deployment import Deployment
from udfs.keyed_hash import KeySource, pseudonym

HIDDEN = ("user_id", "event_id")


def key_of(deployment: Deployment) -> KeySource | None:
    """Where the key is; None where ids are stored as they are."""
    conf = deployment.privacy.pseudonyms
    return KeySource(conf.key_env, conf.key_file) if conf else None


def hidden(records: DataFrame, deployment: Deployment) -> DataFrame:
    """Canonical records with a pseudonym in place of each user_id and event_id; as they are without a key.

    For records whose ids have been checked: every pseudonym passes a check.
    """
    key = key_of(deployment)
    names = [name for name in HIDDEN if name in records.columns]
    return (
        records.withColumns({name: pseudonyms(key.read, F.col(name)) for name in names}) if key and names else records
    )


def pseudonyms(read_key: Callable[[], bytes], ids: Column) -> Column:
    """The pseudonym of each id; null stays null. The key is read on the executor: no plan of a query has it."""

    def replaced(values: pa.Array) -> pa.Array:
        secret = read_key()
        distinct = {each: pseudonym(secret, each) for each in values.unique().to_pylist() if each is not None}
        return pa.array([distinct.get(each) for each in values.to_pylist()], pa.string())

    renamed: Column = arrow_udf(replaced, "string", ArrowUDFType.SCALAR)(ids)
    return renamed
