"""Users in the variants of experiments, by a hash: no state is stored, and no date changes a user's variant."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from schemas.experiments import Experiment

HEX_DIGITS = 13  # 52 bits of SHA-256, exact in a double


@dataclass(frozen=True)
class Arm:
    """Settings that some users' lists have in place of the shop's; `labels`: values of `label` of these users."""

    labels: tuple[str, ...]
    settings: dict[str, Any]


def bucket(experiment: Experiment) -> Column:
    """Where a user falls in [0, 1): even over users, independent of buckets by any other salt."""
    digest = F.sha2(F.concat(F.lit(f"{experiment.salt}|"), F.col("user_id")), 256)
    return F.conv(F.substring(digest, 1, HEX_DIGITS), 16, 10).cast("double") / float(16**HEX_DIGITS)


def variant(experiment: Experiment) -> Column:
    """The name of a user's variant; null for a user who does not take part."""
    names = list(experiment.variants)
    place = F.floor(bucket(experiment) / experiment.share * len(names)).cast("int")
    return F.when(bucket(experiment) < experiment.share, F.get(F.array(*map(F.lit, names)), place))


def label(experiments: Sequence[Experiment]) -> Column:
    """`<experiment>:<variant>` of each experiment that a user is in, with commas between; "" for none."""
    return F.concat_ws(",", *(F.concat(F.lit(f"{one.id}:"), variant(one)) for one in experiments))


def by_arm(
    users: DataFrame,
    experiments: Sequence[Experiment],
    run_date: dt.date,
    act: Callable[[DataFrame, Mapping[str, Any]], DataFrame],
) -> DataFrame:
    """`act` on all users with no settings; where experiments run, on those of each arm with its own, and `variant`.

    users: rows with a user_id, of which `act` makes rows with a user_id.
    """
    running = [one for one in experiments if one.runs_on(run_date)]
    if not running:
        return act(users, {})
    named = label(running)
    parts = (act(users.where(named.isin(*arm.labels)), arm.settings) for arm in arms(running))
    return reduce(DataFrame.unionByName, parts).withColumn("variant", F.nullif(named, F.lit("")))


def arms(running: Sequence[Experiment]) -> list[Arm]:
    """The different settings of lists: of the users in no variant that changes any, and of each set of variants."""
    found: dict[str, Arm] = {}
    for names in itertools.product(*([None, *one.variants] for one in running)):
        chosen = [(one, name) for one, name in zip(running, names, strict=True) if name is not None]
        settings = {key: value for one, name in chosen for key, value in one.variants[name].items()}
        key = repr(sorted(settings.items()))
        before = found[key].labels if key in found else ()
        found[key] = Arm((*before, ",".join(f"{one.id}:{name}" for one, name in chosen)), settings)
    return list(found.values())
