"""A job as spark-submit runs it: flags from the signature, exit codes, what is refused and how it is said."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys

import pytest

from jobs.flow import JOBS
from jobs.runner import run_job
from jobs.runner.lake import Lake
from jobs.runner.pending_days import PendingDays
from jobs.runner.publish import OvertakenError, Publisher
from jobs.runner.records import recorded
from schemas import TABLES
from schemas.deployment import load
from tests.support import tiny_shop
from tests.support.tiny_shop import REPO


@pytest.fixture
def conf(tmp_path):
    return tiny_shop.make(tmp_path, days=2)


def exit_code_of(name, conf, *flags):
    with pytest.raises(SystemExit) as caught:
        run_job.main(name, ["--run-date", str(tiny_shop.day(1)), "--conf", str(conf), *flags])
    return caught.value.code


def test_a_job_by_hand_says_what_it_wrote(conf, spark, capsys):
    assert exit_code_of("ingest_logs", conf) == 0
    lines = sum(len(tiny_shop.sales(tiny_shop.day(number))) for number in (*tiny_shop.EARLIER, 0, 1))
    assert f"ingest_logs 2024-03-02: bronze.events {lines:,} rows, bronze.items 31 rows" in capsys.readouterr().out


def test_help_lists_the_knobs_of_the_signature(capsys):
    with pytest.raises(SystemExit) as caught:
        run_job.main("rank_recommendations", ["--help"])
    assert caught.value.code == 0
    printed = capsys.readouterr().out
    assert "--top-k" in printed
    assert "default 20" in printed
    assert "--cap-per-category" in printed


def test_a_run_that_is_interrupted_is_not_recorded_as_done(conf, spark) -> None:
    lake, told = Lake(spark, load(str(conf))), []

    def interrupted() -> None:
        with recorded(lake, "ingest_logs", tiny_shop.day(0)) as record:
            told.append(record)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    rows = [row for row in lake.rows("ops.runs") if row["run_id"] == told[0]["run_id"]]
    assert {row["status"]: row["error"] for row in rows} == {"running": None, "failed": "interrupted"}


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--top-k", "many"], "argument --top-k: invalid int value: 'many'"),
        (["--colour", "red"], "unrecognized arguments: --colour red"),
    ],
)
def test_wrong_flags_are_exit_code_2(conf, capsys, flags, words):
    assert exit_code_of("rank_recommendations", conf, *flags) == 2
    assert words in capsys.readouterr().err


def test_a_flag_of_few_values_takes_no_other(conf, capsys):
    assert exit_code_of("train_model", conf, "--encoder-method", "qlora") == 2
    assert "argument --encoder-method: invalid choice: 'qlora'" in capsys.readouterr().err


def test_bad_sql_in_the_conf_is_exit_code_2_before_anything_is_read(conf, spark, capsys):
    conf.write_text(conf.read_text().replace('occurred_at = "at"', 'occurred_at = "moment"'))
    assert exit_code_of("clean_events", conf) == 2
    error = capsys.readouterr().err
    assert f"error: {conf}: [sources.events.map] occurred_at = 'moment'" in error
    assert not (conf.parent / "lake").exists()


def test_a_file_name_without_a_date_is_refused_by_name(conf, spark, capsys):
    (conf.parent / "landing" / "sales" / "sales_final_v2.csv").write_text(tiny_shop.HEADER)
    assert exit_code_of("ingest_logs", conf) == 2
    assert "sales/sales_final_v2.csv: no date" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("between", ["silver.rejected_events", "silver.cleaned_days", None])
def test_tables_of_which_two_runs_have_written_some_each_are_not_done(conf, spark, rows, monkeypatch, between):
    """Run "b" writes all that it has of day 1 before run "a" writes the table `between`, of days 0 and 1."""
    real, job, since = Lake.publish, JOBS["clean_events"], dt.datetime.now(dt.UTC)
    lake, d0, d1 = Lake(spark, load(str(conf))), tiny_shop.day(0), tiny_shop.day(1)

    def write(run: str, *days: dt.date) -> None:
        made = [
            {"run_date": day, "event_date": day, "occurred_at": dt.datetime.combine(day, dt.time(10))} for day in days
        ]
        ready = {
            "silver.events": [{"event_id": f"{run}{row['run_date']}", "item_id": "S01", **row} for row in made],
            "silver.rejected_events": [{"run_date": day} for day in days],
            "silver.cleaned_days": [
                {"run_date": day, "rows_in": 2, "rows_kept": 1, "rows_rejected": 1} for day in days
            ],
        }
        frames = {table: rows(TABLES[table], *stated) for table, stated in ready.items()}
        record = {"run_id": run, "job": job.name, "run_date": days[-1], "started_at": since}
        writer = Publisher(job, lake, PendingDays(list(days)), record, lambda *_: None, False)
        writer._written(frames)
        writer._commit(record)

    def publish(self, table, files, days, metadata):
        if metadata.get("run_id") == "a" and table == between:
            write("b", d1)
        real(self, table, files, days, metadata)

    monkeypatch.setattr(Lake, "publish", publish)
    write("b", d1)
    if between is None:
        write("a", d0, d1)  # one after the other
    else:
        with pytest.raises(OvertakenError, match=r"another run \(b\) has written .* run clean_events again") as told:
            write("a", d0, d1)
        assert not told.value.waits, "run b does, for it comes later in the alphabet"
    done = lake.up_to("silver.cleaned_days", d1).select("run_date").collect()
    assert sorted(row[0] for row in done) == ([] if between else [d0, d1])


def test_what_a_python_worker_imports_does_not_check_data() -> None:
    """Workers import the file of a job for its functions: were Great Expectations among it, that took them seconds."""
    files = sorted((REPO / "jobs").rglob("*.py"))
    names = [".".join(file.relative_to(REPO).with_suffix("").parts) for file in files if "InArrow(" in file.read_text()]
    assert "jobs.ingest_logs" in names
    unwanted = {"great_expectations", "jobs.runner.run_job"}
    told = f"import sys, {', '.join(names)}; print(sorted({unwanted} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
