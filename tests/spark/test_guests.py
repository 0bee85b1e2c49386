"""One user_id that stands for many: noticed by its share of the lines, and by conf a guest."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from jobs.clean_events import clean_events
from jobs.flow import JOBS
from jobs.runner import audit_counts
from jobs.runner.findings import Finding
from jobs.runner.publish import audit_all
from schemas import TABLES, bronze, silver
from schemas.deployment import Deployment, load
from schemas.errors import ConfError
from tests.conftest import Rows, run_of
from tests.support import tiny_shop

GUEST = "guest@shop.example"


def audited(rows: Rows, deployment: Deployment, users: list[str | None]) -> Finding:
    """What is found of one user_id's share of a night with a line of each of these."""
    events = [{"user_id": user, "event_id": f"e{number}", "item_id": "i1"} for number, user in enumerate(users)]
    job = JOBS["clean_events"]
    made = {table: rows(TABLES[table]) for table in job.writes} | {"silver.events": rows(silver.EVENTS, *events)}
    audits = audit_all(job, deployment, made, {"events": len(users)}, {})
    (found,) = (found for found in audits["silver.events"].findings if found.check.name == "few_of_one_user")
    assert not audits["silver.events"].refused
    assert GUEST not in audits["silver.events"].page
    return found


def test_an_id_that_holds_a_tenth_of_all_lines_is_a_warning(
    rows: Rows, deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    others = [f"u{number}" for number in range(400)]
    found = audited(rows, deployment, [GUEST] * 60 + others)
    assert (found.passed, found.check.severity, found.unexpected_count) == (False, "warning", 60)
    assert found.check.reason.startswith(
        "the user_id with most rows has 13.0% of 460; max_lines_share is 10.0%. If it stands for many"
    )
    printed = capsys.readouterr().err
    assert f"warning: {found.check.reason}" in printed
    assert GUEST not in printed


@pytest.mark.parametrize(
    "users",
    [
        [GUEST] * 40 + [f"u{number}" for number in range(400)],  # exactly the limit has not been exceeded
        [GUEST] * 19 + ["u1"],  # a large basket of a small day
        [None] * 300 + ["u1", "u2"],  # guests are many already
        [],
    ],
    ids=["a tenth", "few lines", "guests", "no lines"],
)
def test_what_one_user_may_have_is_no_warning(rows: Rows, deployment: Deployment, users: list[str | None]) -> None:
    assert audited(rows, deployment, users).passed


def test_the_most_frequent_value_is_counted_among_many(rows: Rows) -> None:
    users = [f"u{number % 9_000}" for number in range(20_000)] + [GUEST] * 5_000
    frame = rows(silver.EVENTS).sparkSession.createDataFrame([(user,) for user in users], "user_id STRING")
    assert audit_counts.count(frame, [], frequent="user_id").most == 5_000


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    return tiny_shop.make(tmp_path, days=1)


def with_keys(conf: Path, keys: str, source: str = "events") -> Path:
    conf.write_text(conf.read_text().replace(f"[sources.{source}]", f"[sources.{source}]\n{keys}"))
    return conf


def test_a_listed_id_is_a_guest(conf: Path, rows: Rows) -> None:
    deployment = load(with_keys(conf, f'guest_ids = ["0", "{GUEST}"]'))
    lines = [["1", user, "S01", "2", "3.0", "T0", f"{tiny_shop.day(0)} 10:00:00"] for user in (GUEST, "U01", "0", "00")]
    records = [
        {"run_date": tiny_shop.day(0), "fields": [str(place), *line[1:]], "raw": f"line {place}", "source_row": place}
        for place, line in enumerate(lines, start=2)
    ]
    made = clean_events(
        rows(bronze.EVENTS, *records),
        rows(bronze.FILES),
        rows(silver.ITEMS, {"item_id": "S01"}),
        rows(silver.REJECTED_ITEMS),
        rows(silver.EVENTS),
        run=run_of(dt.date.fromisoformat(str(tiny_shop.day(0))), deployment),
    )
    assert made["silver.rejected_events"].collect() == []
    found = {row.source_row: row.user_id for row in made["silver.events"].collect()}
    assert found == {2: None, 3: "U01", 4: None, 5: "00"}


@pytest.mark.parametrize(
    ("source", "keys", "message"),
    [
        ("events", "guest_ids = [0]", r"sources\.events\.guest_ids\.0: .*string, not 0"),
        ("events", 'guest_ids = [""]', r"sources\.events\.guest_ids\.0: .*at least 1 character"),
        ("events", "max_lines_share = 0.0", r"sources\.events\.max_lines_share: .*greater than 0, not 0\.0"),
        ("events", 'guest_id = ["0"]', r"sources\.events\.guest_id: unknown key"),
        ("items", 'guest_ids = ["0"]', r"\[sources\.items\] guest_ids: only events have it; these are items"),
    ],
)
def test_keys_that_do_not_fit_are_refused_with_file_and_key(conf: Path, source: str, keys: str, message: str) -> None:
    with pytest.raises(ConfError, match=message) as refused:
        load(with_keys(conf, keys, source))
    assert str(refused.value).startswith(f"{conf}: ")
