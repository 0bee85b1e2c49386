"""A night of Airflow's scheduler whose data are refused: who is told, and how it goes on. In .ci/run, too."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support import tiny_shop
from tests.support.airflow_server import standalone, until
from tests.unit.test_notify import webhook


def test_a_refused_night_is_told_of_and_mended(airflow_installed: None, shop: Path, tmp_path: Path) -> None:
    day = str(tiny_shop.day(14))
    poisoned = shop.parent / "landing" / "sales" / f"sales_{day}.csv"
    sound = poisoned.read_text()
    poisoned.write_text(sound.replace("customer", "client", 1))
    with webhook() as (connection, posted):
        more = {
            "AIRFLOW_CONN_NIGHTSHELF_ALERTS": json.dumps(connection),
            "NIGHTSHELF_LATE_HOURS": "0.001",  # the schedule's own night, which has no file, is late at once
            "AIRFLOW__CORE__PARALLELISM": "2",  # a job, and who tells that it is late
        }
        with standalone(shop, tmp_path / "airflow", **more) as server:
            run = server.trigger({"run_date": day, "conf": str(shop)})
            until("a refusal", lambda: server.runs()[run] == "failed")
            assert [task for task, told in server.tasks(run).items() if told["state"] == "failed"] == ["ingest_logs"]
            until("an alert", lambda: any(message["run"] == run for _, message in posted), 60)
            log, address = server.log(run, "ingest_logs"), server.url
            poisoned.write_text(sound)
            server.clear(run, "ingest_logs")
            until("the mended task", lambda: server.tasks(run)["ingest_logs"]["state"] == "success")
            assert server.tasks(run)["ingest_logs"]["try_number"] == 2
    heard = [message for _, message in posted]
    (refused,) = (message for message in heard if message["run"] == run)
    for word in (poisoned.name, "lacks customer", "the data broke its contract"):
        assert word in refused["text"]
        assert word in log
    assert (refused["what"], refused["task"], refused["run_date"], refused["try"]) == ("failed", "ingest_logs", day, 1)
    assert refused["url"].startswith(f"{address}/dags/nightshelf_nightly/runs/")
    assert {message["what"] for message in heard if message["run"] != run} == {"late", "failed"}
