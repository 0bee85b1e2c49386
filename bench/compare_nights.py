"""NDCG@10 of a run_date in several lakes, and the lead of each over the first lake.

    python -m bench.compare_nights 2011-11-10 conf/online_retail.toml elsewhere/online_retail.toml

For deployments of one shop that differ in a setting, such as the encoder that is served: both lakes have the
features.candidates of that date and the logs of the 28 days after it (`make night` of the later date, or its intake). A
lead is of the same users, with a 95 % interval; truth is from the first lake, as in ops.metrics: the purchases of those
28 days by users who had bought before. Spark is not used.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from deltalake import DeltaTable
from rich.table import Table

from bench.harness import console
from jobs.offline.contenders import Contenders
from jobs.runner.cli import parse_date
from schemas.deployment import load
from udfs.days import day_number
from udfs.evaluation import metrics
from udfs.horizon import HORIZON_DAYS
from udfs.interactions import Interactions, from_frame

K = 10


@dataclass(frozen=True)
class NightRow:
    """NDCG@10 of a lake in one task, with its interval, and its lead over the first lake; of `users` with truth."""

    conf: str
    task: str
    ndcg: metrics.Interval
    lead: metrics.Interval | None

    @property
    def users(self) -> int:
        """The number of users whose lists could be judged."""
        return self.ndcg.user_count


def bought(lake: Path, last: dt.date) -> Interactions:
    """Purchases up to `last` of items in its catalogue."""
    columns = ["user_id", "item_id", "event_date", "quantity"]
    purchases = [("event_type", "=", "purchase")]
    lines = DeltaTable(str(lake / "silver" / "events")).to_pandas(columns=[*columns, "event_type"], filters=purchases)
    items = DeltaTable(str(lake / "silver" / "items")).to_pandas(columns=["item_id"], partitions=_partition(last))
    if items.empty:
        raise LookupError(f"{lake}/silver/items has no partition {last}: run the intake of that date first")
    lines = lines[(lines["event_date"] <= last) & lines["user_id"].notna()]
    return from_frame(lines.assign(basket_id=0), np.sort(items["item_id"].to_numpy(np.str_)))


def rank(contest: Contenders, name: str, lake: Path, night: dt.date) -> None:
    """Add all candidates of a lake's run as a contender."""
    wanted = ["user_id", "item_id", "score", "times_bought"]
    scored = DeltaTable(str(lake / "features" / "candidates")).to_pandas(columns=wanted, partitions=_partition(night))
    if scored.empty:
        raise LookupError(f"{lake}/features/candidates has no night of {night}")
    user, item, known = contest.codes(scored)
    contest.rank(name, user, item, scored["score"].to_numpy()[known], scored["times_bought"].to_numpy()[known] > 0)


def compared(night: dt.date, lakes: Sequence[tuple[str, Path]]) -> Iterator[NightRow]:
    """Each lake's row, task by task; the others are compared with the first lake."""
    shop, cut = bought(lakes[0][1], night + dt.timedelta(days=HORIZON_DAYS)), day_number(night) + 1
    users, truth = metrics.truths(shop, cut)
    contest = Contenders(shop, cut, users, truth, K)
    draws = metrics.Bootstrap(len(users))
    first: dict[str, metrics.PerUser] = {}
    for name, lake in lakes:
        rank(contest, name, lake, night)
        for task in truth:
            ndcg = metrics.ranking(contest.lists[task, name], truth[task], K)["ndcg"]
            lead = draws.relative(ndcg, first[task]) if task in first else None
            first.setdefault(task, ndcg)
            yield NightRow(name, task, draws.mean(ndcg), lead)


def _partition(date: dt.date) -> list[tuple[str, str, str]]:
    return [("run_date", "=", date.isoformat())]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("night", type=parse_date)
    parser.add_argument("conf", nargs="+")
    given = parser.parse_args()
    table = Table("deployment", "task", "users", "NDCG@10", "lead over the first")
    for row in compared(given.night, [(conf, Path(load(conf).lake)) for conf in given.conf]):
        lead = "" if row.lead is None else f"{row.lead.value:+.1%} ({row.lead.low:+.1%} to {row.lead.high:+.1%})"
        ndcg = f"{row.ndcg.value:.4f} ({row.ndcg.low:.4f} to {row.ndcg.high:.4f})"
        table.add_row(row.conf, row.task, f"{row.users:,}", ndcg, lead)
    console().print(table)


if __name__ == "__main__":
    main()
