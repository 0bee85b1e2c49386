"""bench.intake_duckdb: what the script accepts and rejects of a few till lines judged by hand, and its gate."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from deltalake import write_deltalake

from bench import harness, intake_duckdb
from bench.intake_duckdb import JOBS, Judged
from schemas.deployment import Deployment, load

D1, D2 = dt.date(2017, 1, 1), dt.date(2017, 1, 2)
TILL = "1,{store},{basket},{item},{quantity},{paid},0,0,0,1,{at}"


def line(
    item: str = "10", quantity: object = 2, paid: object = 3.0, at: str = f"{D1} 10:00:00", basket: int = 1
) -> str:
    return TILL.format(store=7, basket=basket, item=item, quantity=quantity, paid=paid, at=at)


DAYS = {
    D1: [
        line(),
        line(),  # exactly as the line before: sold again
        line(quantity=-1, basket=2),
        line(paid="0.001", basket=3),
        line(quantity=0, basket=4),
        line(item="20", basket=5),
        line(item="30", basket=6),
        line(item="99", basket=7),
        line(quantity=1_001, basket=8),
        line(at="soon", basket=9),
        line(at="", basket=10),
        line(at=f"{D2} 05:00:00", basket=11),  # midnight in New York
        line(basket=12).replace("1,", " ,", 1),
        "1,2",
    ],
    D2: [line(), line(at=f"{D2} 09:00:00", basket=13), line(at=f"{D1} 11:00:00", basket=14)],
}
REASONS = {
    "duplicate of an earlier record": 1,
    "duplicate of a record of an earlier day": 1,
    "nothing was paid": 1,
    "a purchase or return needs quantity and unit_price": 1,
    "quantity must be at least 0.001 and at most 100000": 1,
    "item: no product (department)": 1,
    "item: no description": 1,
    "item_id is not in the catalogue": 1,
    "quantity is impossible (over 1,000)": 1,
    "occurred_at is no TIMESTAMP": 1,
    "occurred_at is missing": 1,
    "an event must not be dated after its file": 1,
    "user_id is missing": 1,
    "unreadable: another number of fields": 1,
}
JUDGED = Judged(accepted=5, rejected=13, reasons=REASONS)


@pytest.fixture
def deployment(tmp_path) -> Deployment:
    landing = tmp_path / "landing"
    shop = load(intake_duckdb.CONF, landing=str(landing))
    for folder in ("products", "transactions"):
        (landing / folder).mkdir(parents=True)
    header = ",".join(shop.sources["events"].columns)
    for day, lines in DAYS.items():
        (landing / f"transactions/transactions_{day}.csv").write_text("\n".join([header, *lines, ""]))
    (landing / f"transactions/transactions_of_{D1}.csv").write_text(f"{header}\n{line()}\n")  # in another file, too
    (landing / "transactions/transactions_2017-01-03.csv").write_text(f"{header}\n{line()}\n")  # not known by D2
    things = ["10,5,GROCERY,National,ICE,CUBES,2 LB", "20,5,FUEL,National,GAS,GAS,", "30,5,GROCERY,National,,,"]
    items = ",".join(shop.sources["items"].columns)
    (landing / f"products/products_{D1}.csv").write_text("\n".join([items, *things, ""]))
    return shop


def test_the_script_judges_each_line_and_writes_it_once(deployment, tmp_path):
    assert intake_duckdb.intake(deployment, D2, tmp_path, threads=1) == JUDGED
    written = {
        name: duckdb.read_parquet(str(tmp_path / f"{name}.parquet")) for name in ("bronze", "silver", "rejected")
    }
    places = {name: set(found.select("source_file, source_row").fetchall()) for name, found in written.items()}
    assert places["silver"] | places["rejected"] == places["bronze"]
    assert len(places["bronze"]) == 18
    first, second = (f"transactions/transactions_{day}.csv" for day in (D1, D2))
    assert places["silver"] == {(first, 2), (first, 3), (first, 4), (second, 3), (second, 4)}
    columns = "quantity, unit_price, event_type, item_id, user_id"
    kept = written["silver"].order("source_file, source_row").select(columns).fetchall()
    assert kept[1:3] == [(2, 1.5, "purchase", "10", "1"), (1, 3.0, "return", "10", "1")]


def test_a_line_with_a_quote_is_an_error_not_a_wrong_count(deployment, tmp_path):
    path = Path(deployment.landing) / f"transactions/transactions_{D1}.csv"
    path.write_text(path.read_text().replace("soon", '"soon"'))
    with pytest.raises(duckdb.Error, match="a line has a quote, which this script does not read"):
        intake_duckdb.intake(deployment, D2, tmp_path, threads=1)


def lake(root: Path, accepted: int, status: str = "done") -> Path:
    """A lake with so many accepted records, the rejected ones of REASONS and runs of 10, 20 and 30 s."""

    def write(table: str, rows: list[dict[str, object]]) -> None:
        write_deltalake(str(root / table), pd.DataFrame(rows))

    write("silver/events", [{"run_date": day} for day in [D1] * accepted + [dt.date(2017, 1, 3)]])
    write("silver/rejected_events", [{"run_date": D1, "reasons": [reason]} for reason in REASONS])
    runs = [
        {"job": job, "status": status, "seconds": 10.0 * number, "run_date": D2} for number, job in enumerate(JOBS, 1)
    ]
    write("ops/runs", [*runs, {"job": "ingest_logs", "status": "failed", "seconds": 1.0, "run_date": D2}])
    return root


def test_the_jobs_of_a_lake_are_compared_with_the_script(tmp_path):
    judged, seconds = intake_duckdb.of_lake(lake(tmp_path, 5), D2)
    assert (judged.accepted, judged.rejected, judged.reasons) == (5, len(REASONS), REASONS)
    assert seconds == 60
    with pytest.raises(LookupError, match=r"ops\.runs must have a run of ingest_logs, clean_items, clean_events"):
        intake_duckdb.of_lake(lake(tmp_path / "failed", 5, "failed"), D2)


def test_readers_agree_and_a_lake_that_does_not_is_refused(deployment, tmp_path, monkeypatch):
    rows = intake_duckdb.measured(deployment, D2, 1, None)
    assert [row.measure for row in rows] == [
        "reading 18 till lines; peer: line by line",
        "reading 18 till lines; peer: DuckDB's reading",
    ]
    with pytest.raises(ValueError, match=r"judged: .*accepted=6"):
        intake_duckdb.measured(deployment, D2, 1, lake(tmp_path / "lake", 6))
    monkeypatch.setattr(intake_duckdb, "of_lake", lambda *_: (JUDGED, 30.0))
    row = intake_duckdb.measured(deployment, D2, 1, tmp_path)[-1]
    assert row.value == 30
    assert row.ratio == pytest.approx(row.peer_value / 30)
    assert isinstance(row, harness.Row)
