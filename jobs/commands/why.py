"""Why an item is, or is not, on a user's list of a run (docs/explanations.md).

`python -m jobs.commands.why --user U --item I --run-date 2017-12-03 --conf conf/<deployment>.toml`

What it prints is one user's purchases: it is personal, and nothing of it is stored.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from pyspark import SparkFiles
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.flow import JOBS
from jobs.reports.why import Bought, Why
from jobs.runner import model_store, shared_files
from jobs.runner.cli import exit_code, parse_date
from jobs.runner.lake import Lake
from jobs.runner.pseudonym_vault import pseudonyms_of
from jobs.runner.session import session
from jobs.runner.settings import function_of, settings
from jobs.score_candidates import budget_of, counted_catalogue, fitted_state
from jobs.transforms.held import held
from jobs.transforms.offer import offered
from jobs.transforms.purchases import known_purchases, within
from jobs.transforms.ranking import FALLBACK
from jobs.transforms.shop_sample import shop_size
from schemas.blocked import blocked_sql
from schemas.deployment import load
from schemas.errors import ConfError, DataError, NoModelError
from schemas.run import Model, RunContext
from udfs.days import day_number
from udfs.encoder import user_encoder
from udfs.horizon import HABIT_DAYS
from udfs.recommend import scoring, state_files
from udfs.recommend.generators import GENERATORS
from udfs.recommend.scoring import State
from udfs.recommend.what_if import Place, places, with_more, without

MOST_MORE = 5  # purchases of the item that are tried on top
OWN_TRIED, OWN_SHOWN = 40, 3  # own items, newest first, that are left out one by one; those that are shown
RANK = "rank_recommendations"


@dataclass(frozen=True)
class Asked:
    """One question: a user (the ids that the lake may have for it), an item, a date."""

    lake: Lake
    users: Sequence[str]
    item: str
    run_date: dt.date

    @property
    def knobs(self) -> Mapping[str, Any]:
        """The settings of the lists."""
        return settings(JOBS[RANK], function_of(RANK), self.lake.deployment, {})

    def of_user(self, table: str) -> list[dict[str, Any]]:
        """The user's rows of a table of the date. ConfError where the date has no rows."""
        rows = self.lake.today(table, self.run_date).where(F.col("user_id").isin(list(self.users)))
        return [row.asDict(recursive=True) for row in rows.collect()]

    def catalogue(self) -> DataFrame:
        """silver.items of the date."""
        return self.lake.today("silver.items", self.run_date)

    def titles(self, ids: Sequence[str]) -> dict[str, str]:
        """Titles of items, by id."""
        rows = self.catalogue().where(F.col("item_id").isin(list(ids))).select("item_id", "title").collect()
        return {row.item_id: row.title for row in rows}


@dataclass(frozen=True)
class Scorer:
    """What scored the candidates of a run, found again: the purchases that it read, and its model."""

    lake: Lake
    run_date: dt.date

    @cached_property
    def lines(self) -> DataFrame:
        """The purchases that the run read."""
        events = within(self.lake.up_to("silver.events", self.run_date), self.run_date, HABIT_DAYS)
        items = self.lake.today("silver.items", self.run_date)
        return known_purchases(events, items, self.lake.deployment).transform(held)

    @cached_property
    def model(self) -> Model:
        """The model. NoModelError or DataError where it, or its folder, is gone."""
        return model_store.scoring_model(self.lake, self.run_date)

    @property
    def folder(self) -> str:
        """The model's folder, with the same errors."""
        return str(SparkFiles.get(self.model.file_name))

    @property
    def day(self) -> int:
        """The first day that the run has not seen."""
        return day_number(self.run_date) + 1

    def histories(self, users: Sequence[str]) -> pd.DataFrame:
        """LINES of these users."""
        rows = self.lines.where(F.col("user_id").isin(list(users))).select(*scoring.LINES)
        histories: pd.DataFrame = rows.toArrow().to_pandas(date_as_object=False)
        return histories

    def state(self, stack: ExitStack) -> State:
        """The item models as the run had them, fitted again; its files exist as long as `stack`.

        NoModelError where the model was trained on other features.
        """
        ends: list[Callable[[bool], None]] = []
        stack.callback(lambda: [end(True) for end in ends])
        items, vectors = (self.lake.today(name, self.run_date) for name in ("silver.items", "features.item_vectors"))
        suspects = self.lake.of_days("silver.suspects", [self.run_date])
        run = RunContext(self.run_date, self.lake.deployment)
        known = counted_catalogue(items, vectors, self.lines, suspects, run)
        budget, size = budget_of(self.model, self.run_date), shop_size(self.lines, [self.day])
        pieces = fitted_state(self.lines, size, known, budget, self.day)
        return state_files.read(SparkFiles.get(shared_files.share(pieces, ends.append)))


def explain(lake: Lake, user: str, item: str, run_date: dt.date) -> Why:
    """Why a list of a date has an item or not. ConfError where no run has scored that date."""
    asked = Asked(lake, [user, *pseudonyms_of(lake.deployment, [user])], item, run_date)
    scored = sorted(asked.of_user("features.candidates"), key=lambda row: (-row["score"], row["item_id"]))
    described = asked.catalogue().where(F.col("item_id") == item).collect()
    if not described:
        return Why([f"{item} is not in silver.items of {run_date}: unknown, or rejected (silver.rejected_items)"])
    if not scored:
        return Why([_without_history(asked)])
    listed = sorted(asked.of_user("gold.recommendations"), key=lambda row: row["rank"])
    mine = next((row for row in listed if row["item_id"] == item), None)
    at, own = next(((n, row) for n, row in enumerate(scored, 1) if row["item_id"] == item), (0, None))
    title = f"{described[0].title} ({item})"
    rule = "" if mine else _rule(asked)
    if mine:
        verdict = [f"{title} is on the list, place {mine['rank']} of {len(listed)}: {mine['reason']}"]
        verdict += ["it fills up the list, so no score has factors"] * (mine["sources"] == [FALLBACK])
    else:
        last = f"the list has {len(listed)}"
        kept = f"place {at} of the {len(scored)} stored candidates" if at else f"not among {len(scored)} stored ones"
        verdict = [f"{title} is not on the list: {rule or f'{kept}; {last}'}"]
    if own:
        verdict.append(_proposed(own["sources"]))
    reason = (mine or {}).get("reason_item_id") or (item if own and own["times_bought"] else None)
    reason = reason or (own or {}).get("reason_item_id")
    factors = [(part["name"], part["value"]) for part in (mine or own or {}).get("factors") or ()]
    notes = [] if factors else ["no factors: the row is far down, fills up a list, or was written without them"]
    with ExitStack() as stack:
        behind, now, what_if, more = _what_if(asked, reason, own, stack)
    if not own and now and not rule:
        verdict.append(_proposed(now.sources) if now.place else "no generator proposes it to this user")
    return Why(verdict, factors, behind, now, what_if, [*notes, *more])


def _without_history(asked: Asked) -> str:
    """Why a user has no candidates."""
    events = asked.lake.up_to("silver.events", asked.run_date).where(F.col("user_id").isin(list(asked.users)))
    first, last = events.where("event_type = 'purchase'").agg(F.min("event_date"), F.max("event_date")).collect()[0]
    if first is None:
        return f"the user has no purchase up to {asked.run_date}: such users are shown gold.default_recommendations"
    return f"the user has no candidate: no purchase of an item of the catalogue in {HABIT_DAYS} days (newest {last})"


def _rule(asked: Asked) -> str:
    """The rule that keeps an item of the catalogue off all lists; "" where none does."""
    lake, deployment = asked.lake, asked.lake.deployment
    row = asked.catalogue().where(F.col("item_id") == asked.item)
    exclude = str(asked.knobs.get("exclude", "")) or "false"
    blocked = lake.of_days("silver.blocked", [asked.run_date])
    flags = row.select(
        F.coalesce("active", F.lit(True)).alias("active"),
        F.expr(blocked_sql(deployment.blocked)).alias("blocked"),
        F.coalesce(F.expr(exclude), F.lit(False)).alias("excluded"),
    ).collect()[0]
    for rule in deployment.blocked if flags.blocked else ():
        if not row.where(rule.sql).isEmpty():
            return f"it is blocked by [[blocked]]: {rule.reason}"
    on_list = blocked.where(F.col("item_id") == asked.item).collect() if deployment.of_kind("blocked") else []
    if on_list:
        return f"it is blocked by the shop's list (silver.blocked): {on_list[0].reason or 'without a reason'}"
    if not flags.active:
        return "it is not active: not listed any more, not in stock, or switched off"
    if flags.excluded:
        return f"it is excluded by [jobs.{RANK}] exclude: {exclude}"
    stock = lake.of_days("silver.stock", [asked.run_date])
    return "it is out of stock" if offered(deployment, row, stock, blocked, asked.run_date, "").isEmpty() else ""


def _proposed(sources: Sequence[str]) -> str:
    others = [name for name in GENERATORS if name not in sources]
    return f"proposed by {', '.join(sources)}; not by {', '.join(others)}"


Found = tuple[Bought | None, Place | None, dict[str, Place], list[str]]


def _what_if(asked: Asked, reason: str | None, own: Mapping[str, Any] | None, stack: ExitStack) -> Found:
    """The purchases behind the reason, the item's place among all candidates, and counterfactuals.

    The item models are those of the run, fitted again; where its model or the folder is gone, a note says so.
    """
    run_date, item = asked.run_date, asked.item
    scorer = Scorer(asked.lake, run_date)
    history = scorer.histories(asked.users)
    own_items = history.groupby("item_id")["event_date"].max().sort_values(ascending=False)
    if not len(history):
        return None, None, {}, ["no counterfactuals: silver.events has no purchase of the user any more"]
    titles = asked.titles([*own_items.index[:OWN_TRIED], *([reason] if reason else [])])
    behind = _bought(history, reason, titles) if reason else None
    try:
        if user_encoder.is_learned(scorer.folder):
            version = scorer.model.version
            return behind, None, {}, [f"no counterfactuals: model {version} reads histories by an encoder of its own"]
        state, fitted, day = scorer.state(stack), scoring.read_ranker(scorer.folder), scorer.day
    except (DataError, NoModelError) as error:
        return behind, None, {}, [f"no counterfactuals: {error}"]
    variants = {"now": (history, item)}
    if reason:
        variants["reason"] = (without(history, reason), item)
    variants |= {f"more {n}": (with_more(history, item, n, day), item) for n in range(1, MOST_MORE + 1)}
    tried = [each for each in own_items.index[:OWN_TRIED] if each not in (item, reason)]
    variants |= {f"own {each}": (without(history, each), item) for each in tried}
    found = places(variants, state, fitted, day)
    now, top_k = found["now"], int(asked.knobs.get("top_k", 20))
    what_if = {}
    if reason:
        what_if[f"without the purchases of {titles.get(reason, reason)}"] = found["reason"]
    what_if |= _held_up_by({each: found[f"own {each}"] for each in tried}, now, titles)
    if now.place is None or now.place > top_k:
        what_if |= _with_more({n: found[f"more {n}"] for n in range(1, MOST_MORE + 1)}, top_k)
    differs = own is not None and (now.score is None or abs(now.score - own["score"]) > 1e-9)
    changed = f"the run of {run_date} had the score {own['score'] if own else 0:.6f}: its inputs have changed since"
    return behind, now, what_if, [changed] * differs


def _bought(history: pd.DataFrame, item: str, titles: Mapping[str, str]) -> Bought | None:
    """The user's purchases of an item; None without any."""
    days = history.loc[history["item_id"] == item, "event_date"].dt.date
    return Bought(item, titles.get(item, ""), sorted(set(days), reverse=True)) if len(days) else None


def _held_up_by(found: Mapping[str, Place], now: Place, titles: Mapping[str, str]) -> dict[str, Place]:
    """The own items without which the item would be furthest down, OWN_SHOWN of them at most."""
    if now.place is None:
        return {}
    down = {each: (place.place or place.of + 1) - now.place for each, place in found.items()}
    most = sorted((each for each in down if down[each] > 0), key=lambda each: (-down[each], each))[:OWN_SHOWN]
    return {f"without the purchases of {titles.get(each, each)}": found[each] for each in most}


def _with_more(found: Mapping[int, Place], top_k: int) -> dict[str, Place]:
    """The fewest more purchases, a week apart, that bring the item among the first `top_k`; else the most tried."""
    enough = next((n for n, place in found.items() if place.place and place.place <= top_k), max(found))
    return {f"with {enough} purchase{'s' * (enough > 1)} more, a week apart": found[enough]}


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the flags, print the answer."""
    parser = argparse.ArgumentParser(prog="jobs.commands.why", description=__doc__)
    parser.add_argument("--user", required=True, help="the user_id, as in silver.events")
    parser.add_argument("--item", required=True, help="the item_id")
    parser.add_argument("--run-date", required=True, type=parse_date, help="the date of the run, YYYY-MM-DD")
    parser.add_argument("--conf", required=True, help="the deployment, conf/<name>.toml")
    given = parser.parse_args(arguments)

    def act() -> None:
        for flag, value in (("USER", given.user), ("ITEM", given.item)):
            if not value:
                raise ConfError(f"{flag}= is missing: make why USER=<user_id> ITEM=<item_id> RUN_DATE=<date>")
        deployment = load(given.conf)
        lake = Lake(session(deployment, log_file=Path("logs") / f"spark-{deployment.name}.log"), deployment)
        for line in explain(lake, given.user, given.item, given.run_date).lines():
            print(line)

    return exit_code(act)


if __name__ == "__main__":
    sys.exit(main())
