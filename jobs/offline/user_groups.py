"""What lists are worth to groups of users, by the attributes that the shop has of them."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator

from pyspark.sql import DataFrame

from jobs.offline.contenders import Contenders
from jobs.offline.evaluation_rows import NIGHT, TASKS, K
from jobs.offline.measures import GAP, SMALLEST_GAP, MeasureRow
from udfs.evaluation import metrics
from udfs.evaluation.gaps import gaps
from udfs.evaluation.metrics import Interval


def group_gaps(contest: Contenders, users: DataFrame, cut_date: dt.date) -> Iterator[MeasureRow]:
    """GAP and SMALLEST_GAP of the judged run, for each value of each attribute in silver.users with enough users.

    Only attributes of the judged users are read.
    """
    judged = contest.history.users[contest.users]
    ids = users.sparkSession.createDataFrame([(str(user),) for user in judged], "user_id STRING")
    rows = users.join(ids, "user_id", "left_semi").select("user_id", "attributes").collect()
    known = {row["user_id"]: row["attributes"] or {} for row in rows}
    names = sorted({name for attributes in known.values() for name in attributes})
    for task in TASKS:
        lists = contest.lists.get((task, NIGHT))
        if lists is None:
            continue
        ndcg = metrics.ranking(lists[:, :K], contest.truth[task], K)["ndcg"]
        for name in names:
            for gap in gaps(ndcg, [known.get(user, {}).get(name) for user in judged]):
                part = f"{name}: {gap.group}"
                found = Interval(gap.value, gap.low, gap.high, gap.users)
                yield MeasureRow.of(cut_date, task, NIGHT, GAP, part, found)
                seen = Interval(gap.smallest, math.nan, math.nan, gap.users)
                yield MeasureRow.of(cut_date, task, NIGHT, SMALLEST_GAP, part, seen)
