"""Two who write to one SQLite as Airflow does, one of them in a savepoint that has read before.

Runs in Airflow's environment. Prints how many rows there are in the end. With an argument dags/sqlite.py is left out.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import OperationalError

waiting: dict[str, Any] = {"timeout": 60}
if len(sys.argv) == 1:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from dags.sqlite import WAITING as waiting  # noqa: N811

INSERT = text("INSERT INTO runs VALUES (1)")
with tempfile.TemporaryDirectory() as folder:

    def engine(**more: Any) -> Engine:
        made = create_engine(f"sqlite:///{folder}/airflow.db", connect_args={**waiting, **more})
        event.listen(made, "connect", lambda driver, _: driver.execute("PRAGMA journal_mode=WAL"))
        return made

    one, other = engine(), engine(timeout=0)
    with one.begin() as begun:
        begun.execute(text("CREATE TABLE runs (number INTEGER)"))
    with one.connect() as backfill, backfill.begin():
        backfill.execute(text("SELECT count(*) FROM runs")).all()
        with backfill.begin_nested():
            backfill.execute(text("SELECT count(*) FROM runs")).all()
            try:
                with other.begin() as scheduler:
                    scheduler.execute(INSERT)
            except OperationalError:
                sys.stdout.write("the other one waits ")  # or would, had it the time
            backfill.execute(INSERT)
    with other.begin() as scheduler:
        scheduler.execute(INSERT)
        sys.stdout.write(f"{scheduler.execute(text('SELECT count(*) FROM runs')).scalar_one()}\n")
