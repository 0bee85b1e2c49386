"""Reasons for rejecting records: a code, by which the code base decides, and a sentence for users."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from schemas.contract import Check, Table
from schemas.silver import RECORDS_OF

OWN = "own."  # the namespace of a deployment's own reasons
# Columns computed from several records: no record is rejected for them.
OF_SEVERAL_RECORDS = {"described_on", "listed_on", "last_listed_on", "record_count", "unknown_items", "is_known"}
# Columns of every record: its place, and its day (its file's day where it has no moment).
OF_EVERY_RECORD = {"run_date", "event_date", "source_file", "source_row"}


@dataclass(frozen=True)
class Reason:
    """One reason: `code` is snake_case and never changes; `sentence` may, and ends with a colon where more follows."""

    code: str
    sentence: str


UNREADABLE = Reason("unreadable", "unreadable: ")  # and bronze's `problem`
ITEM_UNLISTED = Reason("item_unlisted", "item_id is not in the catalogue")
ITEM_REFUSED = Reason("item_refused", "item: ")  # the reasons why the catalogue lacks the item
DUPLICATE = Reason("duplicate", "duplicate of an earlier record")
REPEATED = Reason("duplicate_of_earlier_day", "duplicate of a record of an earlier day")
REPLACED = Reason("replaced_by_later_file", "a later file of the same day tells its order again")
STOCK_OVERLAPS = Reason("overlaps_in_snapshot", "another record of the snapshot is about this location and item")
WAY_OVERLAPS = Reason("overlaps_in_list", "another record of the list is about this way")
QUERY_PERSONAL = Reason("query_personal_data", "query has an e-mail address or a telephone number")
JUDGEMENT_OVERLAPS = Reason("overlaps_in_judgements", "another record of the list is about this query and item")
BLOCKED_OVERLAPS = Reason("overlaps_in_blocked", "another record of the list is about this item")
CAMPAIGN_UNKNOWN = Reason("campaign_unknown", "campaign_id is not among the campaigns")

ITEM_CODES = frozenset({ITEM_UNLISTED.code, ITEM_REFUSED.code})
OF_ITEM, OF_LOG = (ITEM_UNLISTED, ITEM_REFUSED), (DUPLICATE, REPEATED)
BESIDE_THE_CONTRACT: dict[str, tuple[Reason, ...]] = {
    "events": (*OF_ITEM, *OF_LOG, REPLACED, QUERY_PERSONAL),
    "stock": (*OF_ITEM, STOCK_OVERLAPS),
    "ways": (WAY_OVERLAPS,),
    "blocked": (BLOCKED_OVERLAPS,),
    "campaign_items": (*OF_ITEM, CAMPAIGN_UNKNOWN),
    "ad_events": OF_LOG,
    "promotions": (*OF_ITEM, *OF_LOG),
    "judgements": (*OF_ITEM, JUDGEMENT_OVERLAPS),
    "reviews": (*OF_ITEM, *OF_LOG),
}


def of_check(check: Check) -> Reason:
    """The reason of a record that breaks a check of the contract: the check's name is the code."""
    return Reason(check.name, check.reason)


def not_converted(table: Table, column: str) -> Reason:
    """The reason of a record with a value that is none of its column's type."""
    return Reason(f"{column}_not_converted", f"{column} is no {table.column(column).type}")


def zone_unclear(column: str) -> Reason:
    """The reason of a record with a time whose zone is an abbreviation that several zones have."""
    return Reason(f"{column}_zone_unclear", f"{column} has a zone's abbreviation that is not the timezone's own")


def skipped_hour(column: str) -> Reason:
    """The reason of a record with a local time that no clock of the timezone has shown."""
    return Reason(f"{column}_in_skipped_hour", f"{column} is in an hour that the clocks of the timezone have skipped")


def unread(table: Table, column: str) -> list[Reason]:
    """Reasons why a given value may become null: it is not of its column's type, or no moment."""
    reasons = [not_converted(table, column)]
    if table.column(column).type == "TIMESTAMP":
        reasons += [zone_unclear(column), skipped_hour(column)]
    return reasons


def own(sentence: str) -> Reason:
    """A deployment's own reason; its code is its sentence in snake_case. ValueError where that is empty."""
    slug = re.sub(r"[\W_]+", "_", sentence.casefold()).strip("_")
    if not slug:
        raise ValueError(f"{sentence!r} has no letter or digit to make a code of")
    return Reason(OWN + slug, sentence)


def reasons_of(kind: str) -> list[Reason]:
    """Every reason for which a record of a kind may be rejected, without a deployment's own."""
    table = RECORDS_OF[kind]
    given = [c for c in table.columns if c.name not in OF_SEVERAL_RECORDS | OF_EVERY_RECORD]
    converted = [reason for c in given if c.type != "STRING" for reason in unread(table, c.name)]
    checks = [check for column in given for check in column.checks()]
    checks += [c for c in table.extra_checks if c.sql and not any(name in c.sql for name in OF_SEVERAL_RECORDS)]
    return [UNREADABLE, *converted, *map(of_check, checks), *BESIDE_THE_CONTRACT.get(kind, ())]


def reference_section(kinds: Iterable[str] = RECORDS_OF) -> str:
    """The reasons in Markdown: a row per code and sentence, with the kinds of records that have it."""
    kinds_of: dict[Reason, list[str]] = {}
    for kind in kinds:
        for reason in reasons_of(kind):
            kinds_of.setdefault(reason, []).append(f"`{kind}`")
    rows = [
        f"| `{reason.code}` | {reason.sentence}{'...' * reason.sentence.endswith(': ')} | {', '.join(listed)} |"
        for reason, listed in sorted(kinds_of.items(), key=lambda pair: (pair[0].code, pair[0].sentence))
    ]
    return "\n".join(
        [
            "## Reasons",
            "",
            "Why a record is rejected: `codes` of the `silver.rejected_*` tables and of the ledgers of cleaned days. "
            "Go by the code, which stays; sentences may be reworded. A reason that a deployment gives in "
            f"`[sources.<name>.reject]` has the code `{OWN}` and its sentence in snake_case: `nothing was paid` is "
            f"`{own('nothing was paid').code}`.",
            "",
            "| code | sentence | records |",
            "|---|---|---|",
            *rows,
        ]
    )
