"""Write access to Airflow's SQLite: a second writer waits, instead of failing with "database is locked".

AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS names WAITING (the Makefile sets it where no other database is chosen).

SQLite lets one connection write at a time. A transaction that began by reading may not write at all once another has
written, however long it waits (https://www.sqlite.org/rescode.html#busy_snapshot); so each transaction begins as a
writing one, when waiting still helps. Reads outside a transaction are unaffected.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

WAITING: dict[str, Any] = {"timeout": 60, "isolation_level": "IMMEDIATE"}


@event.listens_for(Engine, "savepoint")
def begin_to_write(connection: Connection, _name: str) -> None:
    """Begin a writing transaction before a SAVEPOINT, whose own reads first: Airflow creates backfilled runs so."""
    driver = connection.connection.dbapi_connection
    if isinstance(driver, sqlite3.Connection) and not driver.in_transaction:
        driver.execute("BEGIN IMMEDIATE")
