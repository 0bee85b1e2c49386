"""Who is told: a webhook, a mailbox, or the log alone; and an alert never costs more than itself."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_dags import REPO, airflow, airflow_environment

SAID = "clean_events: refused: silver.events: 3 rows do not, e.g. run_date=2017-12-03, line=7\nand more"


@pytest.fixture
def home(airflow_installed: None, tmp_path: Path) -> Path:
    return tmp_path


def told(home: Path, connection: dict[str, Any] | None) -> str:
    more = {"AIRFLOW_CONN_NIGHTSHELF_ALERTS": json.dumps(connection)} if connection else {}
    probe = str(REPO / "tests" / "support" / "probe_notify.py")
    return airflow("python", probe, environment=airflow_environment(home, **more), cwd=home, seconds=120)


@contextmanager
def listening(handler: type[socketserver.StreamRequestHandler]) -> Iterator[int]:
    """The port at which a handler answers."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@contextmanager
def webhook() -> Iterator[tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]]:
    """A connection of type http, and what is posted to it: the path and the message."""
    heard: list[tuple[str, dict[str, Any]]] = []

    class Webhook(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            path = self.rfile.readline().decode().split()[1]
            headers = dict(line.decode().lower().strip().split(": ", 1) for line in iter(self.rfile.readline, b"\r\n"))
            heard.append((path, json.loads(self.rfile.read(int(headers["content-length"])))))
            self.wfile.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")

    with listening(Webhook) as port:
        yield {"conn_type": "http", "schema": "http", "host": "127.0.0.1", "port": port}, heard


def test_a_webhook_gets_the_jobs_own_words(home: Path) -> None:
    with webhook() as (connection, heard):
        log = told(home, connection | {"password": "secret/path"})
    assert [path for path, _ in heard] == ["/secret/path"] * 3
    failed, late, held = (message for _, message in heard)
    assert failed["text"] == f"Nightshelf: clean_events of nightshelf_nightly failed: {SAID}"
    assert (failed["run_date"], failed["error"], failed["try"]) == ("2017-12-03", SAID, 1)
    assert late["text"] == "Nightshelf: nightshelf_nightly of 2017-12-03 is late: scheduled__2 is not done yet"
    assert held["text"].endswith(
        "model 2017-12-03-1f2e3d4c is held: runs use it after make approve RUN_DATE=2017-12-03"
    )
    assert SAID in log
    assert "secret/path" not in log


def test_a_mailbox_gets_them_too(home: Path) -> None:
    mails: list[str] = []

    class Mailbox(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            for line in self.rfile:
                word = line.decode().split()[0].upper() if line.strip() else ""
                if word == "DATA":
                    self.wfile.write(b"354 go on\r\n")
                    mails.append("".join(part.decode() for part in iter(self.rfile.readline, b".\r\n")))
                self.wfile.write(b"221 bye\r\n" if word == "QUIT" else b"250 good\r\n")
                if word == "QUIT":
                    return

    with listening(Mailbox) as port:
        extra = {"to": ["night@shop.example"], "from_email": "n@shop.example", "disable_ssl": True, "disable_tls": True}
        told(home, {"conn_type": "smtp", "host": "127.0.0.1", "port": port, "extra": extra})
    assert len(mails) == 3
    assert "To: night@shop.example" in mails[0]
    assert "Subject: Nightshelf: clean_events" in mails[0]


@pytest.mark.parametrize(
    "connection",
    [None, {"conn_type": "http", "schema": "http", "host": "127.0.0.1", "port": 1}, {"conn_type": "smtp", "host": "x"}],
    ids=["none", "nobody answers", "to nobody"],
)
def test_an_alert_that_cannot_be_sent_is_logged_and_nothing_else(home: Path, connection: Any) -> None:
    log = told(home, connection)
    assert SAID in log
    assert ("could not be sent" in log) == bool(connection)
