"""How Airflow's SQLite is written to: who comes second waits, and is not told "database is locked".

AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS names WAITING (the Makefile sets it where no other database is chosen).

SQLite lets one connection write at a time. A transaction that began by reading may not write at all once another has
written, however long it waits (https://www.sqlite.org/rescode.html#busy_snapshot); so each begins as one that writes,
which is when waiting helps. Reads outside a transaction are free as ever.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

WAITING: dict[str, Any] = {"timeout": 60, "isolation_level": "IMMEDIATE"}


@event.listens_for(Engine, "savepoint")
def begin_to_write(connection: Connection, _name: str) -> None:
    """Begin before a SAVEPOINT does, whose own transaction reads first: Airflow makes backfilled runs in such ones."""
    driver = connection.connection.dbapi_connection
    if isinstance(driver, sqlite3.Connection) and not driver.in_transaction:
        driver.execute("BEGIN IMMEDIATE")
