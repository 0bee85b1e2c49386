"""Equal lines of one file are as many sales; a file that comes again, whole or as part of another, is none."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame

from jobs.transforms import ledger, log_days
from schemas import bronze, silver
from schemas.deployment import Deployment, load
from schemas.errors import ConfError
from tests.conftest import Rows
from tests.support import tiny_shop

FIRST = tiny_shop.day(3)
Files = list[tuple[int, list[str]]]  # of each file the days after FIRST and its lines, all about FIRST


def told(line: str) -> dict[str, Any]:
    """A sale of FIRST that says nothing but its line."""
    at = f"{FIRST} 10:00:00"
    return {"raw": f"{line},U01,S01,2,3.0,T0,{at}", "fields": [line, "U01", "S01", "2", "3.0", "T0", at]}


def records(files: Files, name: str = "f") -> list[dict[str, Any]]:
    return [
        {"run_date": FIRST + dt.timedelta(days=day), "source_file": f"{name}{number}", "source_row": row, **told(line)}
        for number, (day, lines) in enumerate(files)
        for row, line in enumerate(lines, start=2)
    ]


def cleaned(
    rows: Rows, deployment: Deployment, files: list[dict[str, Any]], past: DataFrame | None = None
) -> dict[str, DataFrame]:
    """What becomes of these records, whose days alone are to be cleaned."""
    per_day = Counter(record["run_date"] for record in files)
    listed = [{"run_date": day, "source": "events", "record_count": count} for day, count in per_day.items()]
    told_before = rows(silver.EVENTS) if past is None else past
    return log_days.split(
        ledger.EVENTS, rows(bronze.EVENTS, *files), rows(bronze.FILES, *listed), told_before, deployment
    )


def sales(made: dict[str, DataFrame]) -> Counter[str]:
    """How many sales each scenario has, by the name of its files."""
    rejected = {(row.source_file, row.source_row) for row in made["silver.rejected_events"].collect()}
    kept = made["silver.events"].select("source_file", "source_row", "event_id").collect()
    assert not rejected & {(row.source_file, row.source_row) for row in kept}
    assert len({row.event_id for row in kept}) == len(kept)
    return Counter(row.source_file.split("-")[0] for row in kept)


def oracle(files: Files) -> int:
    """A line was sold as often as the file says that has it most often."""
    counts = [Counter(lines) for _, lines in files]
    return sum(max(count[line] for count in counts) for line in set().union(*counts))


def rejecting(deployment: Deployment) -> Deployment:
    source = deployment.sources["events"].model_copy(update={"identical_lines": "reject"})
    return deployment.model_copy(update={"sources": {**deployment.sources, "events": source}})


@st.composite
def scenarios(draw: st.DrawFn) -> Files:
    """Files with twins; some come again under another name, on the same or a later day, or as part of a longer one."""
    files: Files = [(draw(st.integers(0, 1)), draw(st.lists(st.sampled_from("abc"), max_size=6)))]
    for again in draw(st.lists(st.sampled_from(["same", "longer", "other"]), max_size=3)):
        day, lines = draw(st.sampled_from(files))
        more = draw(st.lists(st.sampled_from("abc"), max_size=4))
        files.append((day + draw(st.integers(0, 2)), {"same": lines, "longer": lines + more, "other": more}[again]))
    return files


@settings(max_examples=1, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=st.lists(scenarios(), min_size=25, max_size=25))
def test_a_line_is_as_many_sales_as_the_file_with_most_of_it_says(
    rows: Rows, deployment: Deployment, drawn: list[Files]
) -> None:
    """All scenarios in one run, and then day by day, each day with the earlier ones as its past."""
    every = []
    for number, files in enumerate(drawn):
        named = [(day, [f"{number}{line}" for line in lines]) for day, lines in files]
        every += records(named, f"{number}-")
    wanted = {str(number): count for number, files in enumerate(drawn) if (count := oracle(files))}
    assert sales(cleaned(rows, deployment, every)) == wanted

    past, found = rows(silver.EVENTS), Counter[str]()
    for day in sorted({record["run_date"] for record in every}):
        made = cleaned(rows, deployment, [record for record in every if record["run_date"] == day], past)
        past = past.unionByName(made["silver.events"]).localCheckpoint()
        found += sales(made)
    assert found == wanted


def test_three_scans_of_one_product_are_three_sales_and_the_first_has_the_id_it_always_had(rows, deployment):
    made = cleaned(rows, deployment, records([(0, ["milk", "bread", "milk", "milk"])]))
    kept = {row.source_row: row.event_id for row in made["silver.events"].collect()}
    assert sorted(kept) == [2, 3, 4, 5]
    assert kept[2] == hashlib.md5(told("milk")["raw"].encode()).hexdigest()
    assert kept[5] == hashlib.md5(f"{told('milk')['raw']}\0003".encode()).hexdigest()
    (day,) = made["silver.cleaned_days"].collect()
    assert (day.rows_in, day.rows_kept, day.rows_rejected, day.identical_lines) == (4, 4, 0, 2)


def test_a_source_may_reject_identical_lines_which_are_counted_either_way(rows, deployment):
    made = cleaned(rows, rejecting(deployment), records([(0, ["milk", "milk", "bread", "milk"])]))
    assert [row.source_row for row in made["silver.events"].orderBy("source_row").collect()] == [2, 4]
    assert [row.codes for row in made["silver.rejected_events"].collect()] == [["duplicate"]] * 2
    (day,) = made["silver.cleaned_days"].collect()
    assert (day.rows_kept, day.rows_rejected, day.identical_lines) == (2, 2, 2)


def test_records_of_one_event_id_are_one_however_their_lines_look(rows, deployment):
    source = deployment.sources["events"]
    named = source.model_copy(update={"map": {**source.map, "event_id": "nullif(line_id, 'none')"}})
    by_id = deployment.model_copy(update={"sources": {**deployment.sources, "events": named}})
    made = cleaned(rows, by_id, records([(0, ["1", "1", "none", "none"])]))
    assert [row.source_row for row in made["silver.events"].orderBy("source_row").collect()] == [2, 4, 5]
    (day,) = made["silver.cleaned_days"].collect()
    assert day.identical_lines == 1, "of lines without an id of their own"


def test_ad_events_without_an_id_count_alike(rows, tmp_path):
    conf = tiny_shop.make(tmp_path, days=1)
    tiny_shop.add_plans(conf)
    conf.write_text(conf.read_text().replace('event_id = "id"\n', ""))
    fields = ["", "impression", "U01", "C1", f"{FIRST} 09:00:00"]
    line = {"run_date": FIRST, "source_file": "ads", "raw": ",".join(fields), "fields": fields, "source": "ad_events"}
    told_of = rows(bronze.RECORDS, {**line, "source_row": 2}, {**line, "source_row": 3})
    files = rows(bronze.FILES, {"run_date": FIRST, "source": "ad_events", "record_count": 2})
    made = log_days.split(ledger.AD_EVENTS, told_of, files, rows(silver.AD_EVENTS), load(conf))
    assert made["silver.ad_events"].count() == 2
    assert [row.identical_lines for row in made["silver.cleaned_ad_days"].collect()] == [1]


def test_the_key_is_refused_where_no_line_is_an_event(tmp_path):
    conf = tiny_shop.make(tmp_path, days=1)
    text = conf.read_text()
    conf.write_text(text.replace("[sources.items]", '[sources.items]\nidentical_lines = "keep"'))
    with pytest.raises(ConfError, match=r"tiny_shop\.toml: .*\[sources.items\] identical_lines: holds for events and"):
        load(conf)
    conf.write_text(text.replace("[sources.events]", '[sources.events]\nidentical_lines = "merge"'))
    with pytest.raises(ConfError, match=r"sources\.events\.identical_lines: Input should be 'keep' or 'reject'"):
        load(conf)


def test_the_days_fingerprint_is_the_same_in_spark_and_on_the_driver(rows):
    listed = [
        {"run_date": FIRST, "source_file": "b", "sha256": "2"},
        {"run_date": FIRST, "source_file": "a", "sha256": "2", "duplicate_of": "b"},
        {"run_date": FIRST, "source_file": "Ä", "sha256": "10"},
        {"run_date": FIRST + dt.timedelta(days=1), "source_file": "c d", "sha256": "1"},
    ]
    files = rows(bronze.FILES, *({"source": "events", **row} for row in listed), {"source": "items"})
    in_spark = {row.run_date: row.fingerprint for row in ledger.fingerprints(files, ["events"]).collect()}
    assert len(in_spark) == 2
    for day, found in in_spark.items():
        of_day = [{"duplicate_of": None, **row} for row in listed if row["run_date"] == day]
        assert ledger.fingerprint(of_day[::-1]) == found


@pytest.mark.parametrize(
    ("names", "sold"),
    [
        (["store1/a", "store2/a"], {"milk": 3, "bread": 2}),  # each has sold its own
        (["store1/a", "store1/b"], {"milk": 2, "bread": 1}),  # the same file under another name
        (["a", "b"], {"milk": 2, "bread": 1}),  # of no store
    ],
)
def test_equal_lines_of_two_stores_are_two_sales_where_the_files_names_say_the_store(rows, deployment, names, sold):
    source = deployment.sources["events"]
    stores = {"from_name": {"store": r"(store\d+)/"}, "map": {**source.map, "location_id": "store"}}
    by_name = {"events": source.model_copy(update=stores), "items": deployment.sources["items"]}
    files = records([(0, ["milk", "milk", "bread"]), (0, ["milk", "bread"])])
    for record in files:
        record["source_file"] = names[int(record["source_file"] == "f1")]
    made = cleaned(rows, deployment.model_copy(update={"sources": by_name}), files)
    kept = made["silver.events"].collect()
    line_of = {(record["source_file"], record["source_row"]): record["fields"][0] for record in files}
    assert Counter(line_of[row.source_file, row.source_row] for row in kept) == sold
    store = {row.source_file: row.source_file.partition("/")[0] if "/" in row.source_file else None for row in kept}
    assert all(row.location_id == store[row.source_file] for row in kept)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ('from_name.store = "(store)(1)"', "from_name: must have exactly one group, around the value of store"),
        ('from_name.units = "(a)"', "from_name: columns has 'units' too"),
        ('form_name.store = "(a)"', "form_name: unknown key"),
    ],
)
def test_what_cannot_be_taken_from_a_name_is_refused(tmp_path, key, message):
    conf = tiny_shop.make(tmp_path, days=1)
    conf.write_text(conf.read_text().replace('files = "sales/*"', f'files = "sales/*"\n{key}'))
    with pytest.raises(ConfError, match=message):
        load(conf)
