"""Pseudonyms: `python -m jobs.commands.pseudonyms --conf conf/<deployment>.toml` (docs/privacy.md).

Every user_id of the lake becomes its pseudonym under the deployment's key, be it one of another key or
none yet; the vault gets the table from pseudonyms back to ids.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from jobs.runner import erasure, pseudonym_vault
from jobs.runner.cli import exit_code
from jobs.runner.lake import Lake
from jobs.runner.records import recorded
from jobs.runner.session import session
from schemas.deployment import load

JOB = "pseudonyms"


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the flags, rename, print what was done."""
    parser = argparse.ArgumentParser(prog="jobs.commands.pseudonyms", description=__doc__)
    parser.add_argument("--conf", required=True, help="the deployment, conf/<name>.toml")
    parser.add_argument("--killed", action="append", default=[], help="the id of a run without an end that was killed")
    given = parser.parse_args(arguments)

    def act() -> None:
        deployment = load(given.conf)
        pseudonym_vault.wanted_key(deployment)  # first: without it nothing is read
        lake = Lake(session(deployment, log_file=Path("logs") / f"spark-{deployment.name}.log"), deployment)
        with recorded(lake, JOB, erasure.today()) as record:
            erasure.refuse_active_runs(lake, record["started_at"], given.killed)
            record["rows_written"] = pseudonym_vault.renew(lake)
        for table, count in record["rows_written"].items():
            print(f"{table}: {count:,} rows have their pseudonym")
        print("the next run cleans the logs again, for the ids of events")

    return exit_code(act)


if __name__ == "__main__":
    sys.exit(main())
