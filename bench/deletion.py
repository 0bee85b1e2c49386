"""Deletion test of the stated reasons: without the purchases behind a reason, does the item go down?

    python -m bench.deletion --conf conf/complete_journey.toml --run-date 2017-12-03

Rows of gold.recommendations with a reason_item_id are drawn by a hash. Each is placed again among its user's candidates
without the user's purchases of that item, and without those of another own item drawn at random; the item that is left
out does not count as a candidate. Lower is a later place, or the same with a smaller part of the list
(udfs/recommend/what_if.py). Nothing is written to the lake. Target: lower for 90 % of rows without the purchases
behind the reason, for 55 % at most without those of another item.
"""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
from pyspark.sql import functions as F

from jobs.commands.why import Scorer
from jobs.runner.cli import parse_date
from jobs.runner.lake import Lake
from jobs.runner.session import session
from schemas.deployment import load
from udfs.recommend import scoring
from udfs.recommend.ranker import Ranker
from udfs.recommend.scoring import State
from udfs.recommend.what_if import lower, places, without

SEED = 7
NAMED = ("user_id", "item_id", "reason_item_id")
SHARE, RANDOM_SHARE = 0.90, 0.55


def deleted(rows: pd.DataFrame, lines: pd.DataFrame, state: State, fitted: Ranker, day: int) -> pd.DataFrame:
    """`rows` (user_id, item_id, reason_item_id, is_repeat) with by_reason and by_other: 1 where it is lower, else 0.

    by_other is NaN for a user without another own item.
    """
    draw, histories = np.random.default_rng(SEED), dict(list(lines.groupby("user_id")))
    variants: dict[str, tuple[pd.DataFrame, str]] = {}
    apart: dict[str, str] = {}
    for number, (user, item, reason) in enumerate(zip(*(rows[name].astype(str) for name in NAMED), strict=True)):
        history = histories[user]
        own = sorted(set(history["item_id"].astype(str)) - {item, reason})
        for name, left_out in (("reason", reason), ("other", str(draw.choice(own)) if own else "")):
            if left_out:
                variants[f"{number} {name} before"] = history, item
                variants[f"{number} {name} after"] = without(history, left_out), item
                if left_out != item:
                    apart |= {f"{number} {name} {when}": left_out for when in ("before", "after")}
    found = places(variants, state, fitted, day, apart)

    def is_lower(number: int, name: str) -> float:
        before, after = (found.get(f"{number} {name} {when}") for when in ("before", "after"))
        return float(lower(before, after)) if before and after else np.nan

    by_reason, by_other = ([is_lower(number, name) for number in range(len(rows))] for name in ("reason", "other"))
    return rows.assign(by_reason=by_reason, by_other=by_other)


def table(judged: pd.DataFrame) -> str:
    """Shares of rows whose item is lower, of all rows, repeats and others, as Markdown."""
    lines = ["| rows | number | without the reason's purchases | without another item's |", "|---|---|---|---|"]
    kinds = {"all": judged, "repeats": judged[judged["is_repeat"]], "others": judged[~judged["is_repeat"]]}
    for name, some in kinds.items():
        shares = (some[column].mean() for column in ("by_reason", "by_other"))
        lines.append(f"| {name} | {len(some)} | {' | '.join(f'{share:.1%}' for share in shares)} |")
    return "\n".join(lines)


def main() -> None:
    """Draw, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conf", required=True)
    parser.add_argument("--run-date", required=True, type=parse_date)
    parser.add_argument("--rows", type=int, default=2_000)
    given = parser.parse_args()
    deployment = load(given.conf)
    lake = Lake(session(deployment, log_file=Path("logs") / f"spark-{deployment.name}.log"), deployment)
    listed = lake.today("gold.recommendations", given.run_date).where("reason_item_id IS NOT NULL")
    order = F.xxhash64(F.lit(SEED), "user_id", "item_id"), "user_id", "item_id"
    rows = listed.select(*NAMED, "is_repeat").orderBy(*order).limit(given.rows).toPandas()
    scorer = Scorer(lake, given.run_date)
    lines = scorer.histories(sorted(set(rows["user_id"])))
    with ExitStack() as stack:
        state = scorer.state(stack)
        began = time.monotonic()
        judged = deleted(rows, lines, state, scoring.read_ranker(scorer.folder), scorer.day)
    print(table(judged))
    shares = [judged[name].mean() for name in ("by_reason", "by_other")]
    passed = shares[0] >= SHARE and shares[1] <= RANDOM_SHARE
    print(f"{'passed' if passed else 'FAILED'}: {SHARE:.0%} and {RANDOM_SHARE:.0%}; {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
