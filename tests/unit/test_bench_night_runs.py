"""bench.night: ratios to a recorded base, checkouts of any layout, copied deployments and lakes, sampled call sites."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import night, night_logs, night_report, night_runs, sampled
from jobs.runner.session import properties
from schemas.deployment import load
from tests.support import tiny_shop

FAKE_NIGHT = """
import os, pathlib, subprocess, sys, time
def work():
    subprocess.run([sys.executable, "-c", "sum(range(30_000_000))"])
    time.sleep(0.3)
if __name__ == "__main__":
    print(sys.argv[1:], os.environ["PYTHONPATH"], pathlib.Path.cwd())
    work()
    sys.exit(3 if "2024-01-03" in sys.argv else 0)
"""


def made(seconds: float, jobs: dict[str, float | None] | None = None, queries: int = 100) -> night_runs.Night:
    by_description = {"count": night_logs.Queries(queries, seconds / 2)}
    work = night_logs.SparkWork(queries, 2 * queries, 900, seconds / 2, by_description)
    versions = [
        night_logs.Version("ops.runs", 1, "delta-rs", "WRITE", 10, 1),
        night_logs.Version("gold.recommendations", 5, "Apache-Spark", "WRITE", 500, 2),
    ]
    sites = [("jobs/a.py:a", "spark", seconds)]
    return night_runs.Night(seconds, 1.5 * seconds, work, versions, jobs or {"clean": seconds}, sites)


def at_speed(seconds: float) -> list[night_report.Calibration]:
    return [night_report.Calibration(seconds / 2, seconds / 2)] * 2


def test_medians_of_rounds_and_details_of_the_middle_one() -> None:
    nights = [made(30.0, queries=3), made(10.0, queries=1), made(20.0, {"clean": 7.0}, queries=1)]
    found = night_report.summarise("abc", "tiny-later", nights, at_speed(4.0))
    assert found.figures["wall_seconds"] == 20.0
    assert found.figures["sql_executions"] == 1
    assert (found.figures["versions_ops"], found.figures["versions_other"], found.figures["bytes_added"]) == (1, 1, 510)
    assert found.all_wall_seconds == [30.0, 10.0, 20.0]
    assert found.jobs == {"clean": 7.0}
    assert found.versions == {"gold.recommendations": 1, "ops.runs": 1}
    assert found.engines == {"Apache-Spark": 1, "delta-rs": 1}


def test_ratios_are_shares_of_the_base_corrected_by_calibration() -> None:
    base = night_report.summarise("old", "tiny-later", [made(400.0, queries=1000)], at_speed(4.0))
    slow = night_report.summarise("new", "tiny-later", [made(200.0, queries=250)], at_speed(8.0))
    shares = night_report.ratios(slow, base)
    assert shares["wall_seconds"] == 0.5
    assert shares["wall_seconds, corrected"] == 0.25, "the machine had half of its speed"
    assert (shares["sql_executions"], shares["spark_jobs"], shares["versions_ops"]) == (0.25, 0.25, 1.0)
    none = replace(base, figures=base.figures | {"versions_ops": 0})
    assert "versions_ops" not in night_report.ratios(slow, none)


def test_base_is_recorded_by_commit_scenario_and_chip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "bases.json"
    assert night_report.recorded_base("old", "tiny-later", file) is None
    for scenario, seconds in (("tiny-later", 40.0), ("tiny-first", 50.0)):
        night_report.record_base(night_report.summarise("old", scenario, [made(seconds)], at_speed(4.0)), file)
    found = night_report.recorded_base("old", "tiny-later", file)
    assert found is not None
    assert found.figures["wall_seconds"] == 40.0
    assert night_report.recorded_base("older", "tiny-later", file) is None
    monkeypatch.setattr(night_report, "cpu_model", lambda: "another chip, 64 cores")
    assert night_report.recorded_base("old", "tiny-later", file) is None


def test_table_shows_figures_beside_the_base(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = night_report.summarise("old", "tiny-later", [made(400.0, {"clean": 9.0, "gone": 5.0})], at_speed(4.0))
    file = tmp_path / "bases.json"
    night_report.record_base(base, file)
    now = night_report.summarise("new", "tiny-later", [made(100.0, {"clean": None})], at_speed(4.0))
    night_report.show(now, night_report.recorded_base("old", "tiny-later", file))
    lines = {line.split("│")[1].strip(): line for line in capsys.readouterr().out.splitlines() if "│" in line}
    assert [cell.strip() for cell in lines["wall seconds"].split("│")[2:5]] == ["100", "400", "0.250"]
    assert [cell.strip() for cell in lines["clean"].split("│")[2:4]] == ["no end recorded", "9.0"]
    assert [cell.strip() for cell in lines["gone"].split("│")[2:4]] == ["", "5.0"]
    assert "spark" in lines["jobs/a.py:a"]


def test_chip_is_named_with_its_cores(tmp_path: Path) -> None:
    one = "processor\t: {}\ncpu family\t: 25\nmodel\t\t: 1\nmodel name\t: AMD EPYC\n\n"
    (tmp_path / "cpuinfo").write_text(one.format(0) + one.format(1))
    assert night_report.cpu_model(tmp_path / "cpuinfo") == "AMD EPYC 25 1, 2 cores"


def test_copied_deployment_has_its_own_lake_and_event_log_and_the_same_raw_files(tmp_path: Path) -> None:
    conf = tiny_shop.make(tmp_path / "shop", days=1)
    tiny_shop.add_plans(conf)
    text = conf.read_text().replace(str(tmp_path / "shop" / "landing"), "landing")  # a path from the file's folder
    conf.write_text(text.replace(str(tmp_path / "shop" / "spark.conf"), "spark.conf"))
    folder = tmp_path / "night"
    folder.mkdir()
    copy = load(night_runs.write_conf(conf, folder, folder / "lake", folder / "events"))
    original = load(conf)
    assert (copy.lake, copy.landing) == (str(folder / "lake"), original.landing)
    assert copy.sources == original.sources
    given = properties(copy.spark)
    assert given["spark.eventLog.dir"] == f"file://{folder / 'events'}"
    assert (folder / "events").is_dir()
    assert (given["spark.eventLog.enabled"], given["spark.eventLog.rolling.enabled"]) == ("true", "false")
    assert {key: value for key, value in given.items() if "eventLog" not in key} == properties(original.spark)
    quiet = load(night_runs.write_conf(conf, folder, folder / "lake", landing=tmp_path / "raw"))
    assert "spark.eventLog.enabled" not in properties(quiet.spark)
    assert quiet.landing == str(tmp_path / "raw")


def test_deployment_without_a_line_for_its_lake_is_refused(tmp_path: Path) -> None:
    conf = tmp_path / "shop.toml"
    conf.write_text('name = "a"\nlanding = "landing"\nspark = "s"\n\n[sources.events]\nlake = "x"\n')
    with pytest.raises(ValueError, match="no line for lake above the first table"):
        night_runs.write_conf(conf, tmp_path, tmp_path / "lake")


def test_copied_lake_shares_data_files_only(tmp_path: Path) -> None:
    lake, copy = tmp_path / "lake", tmp_path / "copy"
    log = lake / "ops" / "models" / "_delta_log"
    for file in (log / "0.json", log / "0.checkpoint.parquet", log.parent / "a.parquet", lake / "models" / "m" / "w"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("as it was")
    (lake / "gold" / "lists").mkdir(parents=True)
    (lake / "gold" / "lists" / "b.parquet").touch()
    night_runs.copy_lake(lake, copy)
    assert (copy / "gold/lists/b.parquet").samefile(lake / "gold/lists/b.parquet")
    for name in ("ops/models/_delta_log/0.json", "ops/models/_delta_log/0.checkpoint.parquet", "models/m/w"):
        (copy / name).write_text("changed in place")
        assert (lake / name).read_text() == "as it was"
    trained = tmp_path / "models only"
    night_runs.copy_lake(lake, trained, only=["ops.models"])
    names = {str(path.relative_to(trained)) for path in trained.rglob("*.parquet")}
    assert names == {"ops/models/a.parquet", "ops/models/_delta_log/0.checkpoint.parquet"}
    assert (trained / "models" / "m" / "w").exists()


def repository(folder: Path, *files: str) -> str:
    """Commit files that act as a night's command; the abbreviated commit."""
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(FAKE_NIGHT)
    author = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["add", "."], [*author, "commit", "-q", "-m", "a commit"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=folder, text=True)[:10]


def test_checkouts_of_old_and_new_layout_are_found(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    commit_id = repository(tree, "jobs/night.py", "tests/tiny_shop.py")
    old = night_runs.clone("HEAD", tree, tmp_path / "scratch")
    assert (old.commit, old.module(), old.tiny_shop()) == (commit_id, "jobs.night", "tests.tiny_shop")
    assert night_runs.clone(commit_id, tree, tmp_path / "scratch") == old, "the clone is used again"
    assert old.fingerprint() == night_runs.checkout(tree).fingerprint()
    repository(tree, "jobs/commands/night.py", "tests/support/tiny_shop.py")
    new = night_runs.checkout(tree)
    assert (new.module(), new.tiny_shop()) == ("jobs.commands.night", "tests.support.tiny_shop")
    assert new.fingerprint() != old.fingerprint()
    (tree / "jobs" / "night.py").write_text("changed")
    assert night_runs.checkout(tree).commit == f"{new.commit}+changes"
    with pytest.raises(SystemExit, match="rev-parse --verify nothing"):
        night_runs.clone("nothing", tree, tmp_path / "scratch")
    with pytest.raises(FileNotFoundError, match=r"none of jobs\.commands\.night, jobs\.night"):
        night_runs.Checkout(tmp_path, "none").module()


def test_night_runs_the_code_of_its_checkout_and_is_sampled(tmp_path: Path) -> None:
    tree, folder = tmp_path / "tree", tmp_path / "night"
    for path in (tree, folder):
        path.mkdir()
    repository(tree, "jobs/__init__.py", "jobs/night.py")
    code = night_runs.checkout(tree)
    seconds, printed = night_runs.run(code, folder, folder / "shop.toml", "2024-01-02", ["--train", "never"])
    assert f"['--run-date', '2024-01-02', '--conf', '{folder / 'shop.toml'}', '--train', 'never']" in printed
    assert f"{tree} {folder}" in printed
    assert seconds > 0.3
    (site, kind, spent), *_ = json.loads((folder / "sites.json").read_text())
    assert (site, kind) == ("jobs/night.py:<module> > jobs/night.py:work", "python")
    assert 0.1 < spent < seconds
    assert json.loads((folder / "cpu.json").read_text()) > 0.2, "also that of what it has started"
    (folder / "sites.json").unlink()
    with pytest.raises(night_runs.NightFailedError, match=r"2024-01-03 ended with exit code 3 \(.*night.log\)"):
        night_runs.run(code, folder, folder / "shop.toml", "2024-01-03")
    assert (folder / "sites.json").exists(), "what was sampled until then is kept"
    (tree / "jobs" / "__init__.py").unlink()
    with pytest.raises(night_runs.NightFailedError, match=r"exit code 1 .*\n.*jobs\.night would be of"):
        night_runs.run(code, folder, folder / "shop.toml", "2024-01-02")


def test_long_nights_are_run_once() -> None:
    lengths = iter([601.0, 1.0])
    assert [found.wall_seconds for found in night.rounds_of(lambda: made(next(lengths)), 3)] == [601.0]
    lengths = iter([600.0, 900.0, 2.0, 1.0])
    assert [found.wall_seconds for found in night.rounds_of(lambda: made(next(lengths)), 3)] == [600.0, 900.0, 2.0]


def test_call_site_is_the_innermost_code_of_the_checkout_and_what_it_waits_for() -> None:
    frames: list[tuple[str, str]] = []

    def define(file: str, source: str, **names: Any) -> dict[str, Any]:
        scope = dict(names)
        exec(compile(source, file, "exec"), scope)
        return scope

    def look() -> None:
        frames.append(sampled.site_of(sys._getframe(1), "/tree/"))

    spark = define("/venv/py4j/java_gateway.py", "def call(): look()", look=look)
    gx = define("/venv/great_expectations/core.py", "def validate(): call()", call=spark["call"])
    audit = define("/tree/jobs/quality.py", "def audit(inner):\n inner()\n look()", look=look)
    outer = define("/tree/jobs/launch.py", "def run(inner): audit(inner)", audit=audit["audit"])
    outer["run"](gx["validate"])
    site = "jobs/launch.py:run > jobs/quality.py:audit"
    assert frames == [(site, "great_expectations"), (site, "python")]
    assert sampled.site_of(None, "/tree/") == ("outside the checkout", "python")


def test_wrong_usage_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for flags, words in ((["--rounds", "0"], "at least 1"), (["--only-base"], "wants --base")):
        with pytest.raises(SystemExit):
            night.main(flags)
        assert words in capsys.readouterr().err
    code = night_runs.Checkout(tmp_path, "abc")
    with pytest.raises(SystemExit, match="journey-later of abc wants a lake that was trained"):
        night.start_of("journey-later", code, tmp_path, tmp_path / "no lake", tmp_path)
