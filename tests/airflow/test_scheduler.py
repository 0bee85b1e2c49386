"""Nights as the people who live in Airflow have them: its scheduler, its API, its backfill. `make test-airflow`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest
from deltalake import DeltaTable

from tests.support import tiny_shop
from tests.support.airflow_server import NIGHTLY, Server, standalone, until
from tests.support.lakes import GOLD, dates, table


@pytest.fixture
def server(airflow_installed: None, shop: Path, tmp_path: Path) -> Iterator[Server]:
    with standalone(shop, tmp_path / "airflow") as found:
        yield found


def test_a_backfill_of_five_nights_with_a_silent_and_a_poisoned_day(
    server: Server, shop: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from jobs.commands import night

    sales = shop.parent / "landing" / "sales"
    for number in range(16, 19):
        tiny_shop.write_day(shop.parent / "landing", tiny_shop.day(number))
    days = [tiny_shop.day(number) for number in range(14, 19)]
    (sales / f"sales_{days[1]}.csv").unlink()  # silent
    poisoned = sales / f"sales_{days[4]}.csv"
    sound = poisoned.read_text()
    poisoned.write_text(sound.replace("customer", "client", 1))
    by_hand = tiny_shop.copied(shop.parent, tmp_path / "by_hand")

    conf = json.dumps({"conf": str(shop)})
    span = ["--from-date", f"{days[0]}T02:00:00+00:00", "--to-date", f"{days[4]}T02:00:00+00:00"]
    server.cli("backfill", "create", "--dag-id", NIGHTLY, *span, "--max-active-runs", "1", "--dag-run-conf", conf)

    def ended() -> dict[str, str]:
        states = {run: state for run, state in server.runs().items() if run.startswith("backfill")}
        return states if len(states) == 5 and not {"queued", "running"} & set(states.values()) else {}

    states = until("five nights", ended)
    last = max(states)  # a run is named by the end of its interval
    assert {run: state for run, state in states.items() if state != "success"} == {last: "failed"}
    tasks = server.tasks(last)
    refused = [task for task in tasks.values() if task["state"] == "failed"]
    assert [(task["task_id"], task["try_number"]) for task in refused] == [("ingest_logs", 1)]
    log = server.log(last, "ingest_logs")
    for word in (poisoned.name, "lacks customer", "the data broke its contract"):
        assert word in log
    for name in GOLD:
        assert dates(shop, f"gold/{name}") == {str(tiny_shop.day(13)), *map(str, days[:4])}

    poisoned.write_text(sound)
    server.clear(last)
    until("the mended night", lambda: server.runs()[last] == "success")

    (by_hand.parent / "landing" / "sales" / poisoned.name).write_text(sound)
    for day in days:
        assert night.main(["--run-date", str(day), "--conf", str(by_hand)]) == 0
    for name in (*(f"gold/{name}" for name in GOLD), "silver/events", "features/item_vectors"):
        assert table(shop, name) == table(by_hand, name), name


def test_one_date_by_the_form_twice_at_once_and_a_driver_that_is_killed(server: Server, shop: Path) -> None:
    day = str(tiny_shop.day(14))
    with pytest.raises(urllib.error.HTTPError) as refused:
        server.trigger({"run_date": "the third of December"})
    assert refused.value.code == 400
    assert "run_date" in refused.value.read().decode()
    first, second = (server.trigger({"run_date": day, "conf": str(shop)}) for _ in range(2))

    def driver() -> int:
        """The Spark driver that scores."""
        assert server.runs()[first] != "failed"
        found = subprocess.run(["pgrep", "-f", f"SparkSubmit.*score_candidates.py.*{day}"], stdout=subprocess.PIPE)
        return int(found.stdout.split()[0]) if found.stdout else 0

    pid = until("a driver that scores", driver)
    time.sleep(8)  # it reads and computes by now
    os.kill(pid, signal.SIGKILL)
    assert server.runs()[second] in ("queued", "running")
    both = until("both nights", lambda: {server.runs()[run] for run in (first, second)} == {"success"})
    assert both
    assert server.tasks(first)["score_candidates"]["try_number"] == 2
    gold = DeltaTable(str(shop.parent / "lake" / "gold" / "recommendations")).to_pyarrow_table().to_pandas()
    tonight = gold[gold["run_date"].astype(str) == day]
    assert set(tonight.groupby("user_id").size()) == {8}
    assert not tonight.duplicated(["user_id", "rank"]).any()
    events = server.call("assets/events?limit=100")["asset_events"]
    told = [event["extra"] for event in events if event["name"] == "gold.recommendations"]
    assert [(extra["run_date"], extra["rows"]) for extra in told] == [(day, len(tonight))] * 2


def test_a_dry_run_writes_nothing(server: Server, shop: Path) -> None:
    day = str(tiny_shop.day(13))

    def state() -> tuple[int, dict[str, int]]:
        """Runs recorded of the day, and the version of every other table: the schedule's own night is refused."""
        tables = {log.parent for log in (shop.parent / "lake").glob("*/*/_delta_log")}
        versions = {str(path): DeltaTable(str(path)).version() for path in tables if path.name != "runs"}
        runs = DeltaTable(str(shop.parent / "lake" / "ops" / "runs")).to_pyarrow_table(columns=["run_date"])
        return [str(each) for each in runs.column(0).to_pylist()].count(day), versions

    before = state()
    run = server.trigger({"run_date": day, "conf": str(shop), "dry_run": True})
    until("a dry run", lambda: server.runs()[run] not in ("queued", "running"))
    assert server.runs()[run] == "success"
    assert state() == before
    assert re.search(r"gold.recommendations \d+ rows would be written", server.log(run, "rank_recommendations"))
