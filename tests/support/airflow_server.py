"""A running Airflow for tests, as `airflow standalone` starts it: its API, its command line, its logs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.clusters import QUICK
from tests.unit.test_dags import AIRFLOW_BIN, REPO, airflow, airflow_environment

NIGHTLY = "nightshelf_nightly"
SECONDS = 6_000  # for five nights, a spark-submit each job


@dataclass(frozen=True)
class Server:
    """A running Airflow: scheduler, API and UI of a database of its own."""

    url: str
    token: str
    password: str
    environment: dict[str, str]
    home: Path

    def call(self, path: str, body: dict[str, Any] | None = None, method: str | None = None) -> Any:
        """The JSON that the public API answers."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/api/v2/{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.loads(answer.read() or b"null")

    def cli(self, *command: str) -> str:
        return airflow("airflow", *command, environment=self.environment, cwd=self.home, seconds=120)

    def unpause(self, dag: str) -> None:
        self.call(f"dags/{dag}", {"is_paused": False}, "PATCH")

    def trigger(self, conf: dict[str, Any], dag: str = NIGHTLY) -> str:
        """The id of a manual run without a logical date."""
        return str(self.call(f"dags/{dag}/dagRuns", {"logical_date": None, "conf": conf})["dag_run_id"])

    def clear(self, run: str, *tasks: str) -> None:
        """What failed and all that waits for it is to be done again; or these tasks and nothing that waits for them."""
        what: dict[str, Any] = {"dry_run": False, "dag_run_id": run, "only_failed": True}
        what |= {"task_ids": list(tasks)} if tasks else {"include_downstream": True}
        self.call(f"dags/{NIGHTLY}/clearTaskInstances", what)

    def runs(self, dag: str = NIGHTLY) -> dict[str, str]:
        """The state of each run."""
        return {run["dag_run_id"]: run["state"] for run in self.call(f"dags/{dag}/dagRuns?limit=100")["dag_runs"]}

    def tasks(self, run: str, dag: str = NIGHTLY) -> dict[str, dict[str, Any]]:
        found = self.call(f"dags/{dag}/dagRuns/{run}/taskInstances")["task_instances"]
        return {task["task_id"]: task for task in found}

    def log(self, run: str, task: str, number: int = 1, dag: str = NIGHTLY) -> str:
        """What the UI shows of one try."""
        return json.dumps(self.call(f"dags/{dag}/dagRuns/{run}/taskInstances/{task}/logs/{number}?full_content=true"))


def until(what: str, true: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """Wait until something is true, and say what was waited for where it never is."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(TimeoutError):  # a server on a machine that is busy with the job itself
            if found := true():
                return found
        time.sleep(1)
    raise AssertionError(f"waited {seconds:.0f} s in vain for: {what}")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextlib.contextmanager
def started(
    command: list[str],
    environment: Mapping[str, str],
    cwd: Path,
    log: Path,
    url: str,
    password: Callable[[], str],
    wanted: frozenset[str],
) -> Iterator[Server]:
    """The Airflow that a command starts, signed in as admin, once it answers and has the DAGs that are wanted.

    What it prints goes to `log`, from which `password` may have to be read.
    """
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, env=dict(environment), cwd=cwd, stdout=file, stderr=file, start_new_session=True
        )

    def answers() -> str:
        assert process.poll() is None, log.read_text()[-3000:]
        body = json.dumps({"username": "admin", "password": password()}).encode()
        request = urllib.request.Request(f"{url}/auth/token", body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return str(json.loads(answer.read())["access_token"])
        except (urllib.error.URLError, OSError):
            return ""

    try:
        server = Server(url, until("Airflow's API", answers, 300), password(), dict(environment), cwd)

        def parsed() -> bool:
            return wanted <= {dag["dag_id"] for dag in server.call("dags?limit=100")["dags"]}

        until("the DAGs", parsed, 300)
        yield server
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def standalone(shop: Path, home: Path, **more: str) -> Iterator[Server]:
    """`airflow standalone` over a shop, one job at a time, its nightly DAG unpaused; `more` is its environment's."""
    port = free_port()
    home.mkdir()
    (home / "passwords.json").write_text(json.dumps({"admin": "secret"}))
    url = f"http://localhost:{port}"
    settings = {
        "PATH": f"{AIRFLOW_BIN}{os.pathsep}{os.environ['PATH']}",  # standalone starts its parts by name
        "JAVA_TOOL_OPTIONS": QUICK["JAVA_TOOL_OPTIONS"],
        "NIGHTSHELF_CONF": str(shop),
        "NIGHTSHELF_RETRY_MINUTES": "0.05",
        "PYTHONPATH": str(REPO),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS": "dags.sqlite.WAITING",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__PARALLELISM": "1",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "300",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
    }
    environment = airflow_environment(home, **(settings | more))
    airflow("airflow", "db", "migrate", environment=environment, cwd=home, seconds=120)
    command = [str(AIRFLOW_BIN / "airflow"), "standalone"]
    log, dags = home / "standalone.log", frozenset({NIGHTLY})
    with started(command, environment, home, log, url, lambda: "secret", dags) as found:
        found.unpause(NIGHTLY)
        yield found
