"""Approval of what is held for a person ([gate] approval): new models, and runs whose figures drift.

`python -m jobs.commands.approve --run-date 2017-12-03 --conf conf/complete_journey.toml [--model VERSION] [--by NAME]`
"""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Sequence
from pathlib import Path

from jobs.runner import approvals
from jobs.runner.cli import exit_code, parse_date
from jobs.runner.lake import Lake
from jobs.runner.records import recorded
from jobs.runner.session import session
from schemas.deployment import load

JOB = "approve"


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the flags, approve, print what was."""
    parser = argparse.ArgumentParser(prog="jobs.commands.approve", description=__doc__)
    parser.add_argument("--run-date", required=True, type=parse_date, help="the date of the run or model, YYYY-MM-DD")
    parser.add_argument("--model", help="approve this model alone; default: all that is held of that date")
    parser.add_argument("--by", help="who approves; default: the account that runs this")
    parser.add_argument("--reason", help="why, for ops.approvals")
    parser.add_argument("--conf", required=True, help="the deployment, conf/<name>.toml")
    given = parser.parse_args(arguments)

    def act() -> None:
        deployment = load(given.conf)
        lake = Lake(session(deployment, log_file=Path("logs") / f"spark-{deployment.name}.log"), deployment)
        with recorded(lake, JOB, given.run_date) as record:
            rows = approvals.approve(lake, record, given.by or getpass.getuser(), given.reason, given.model)
            record["rows_written"] = {"ops.approvals": len(rows)}
            record["model_version"] = next((row["subject"] for row in rows if row["what"] == approvals.MODEL), None)
        for row in rows:
            done = "is promoted" if row["what"] == approvals.MODEL else "may drift: run the stopped jobs again"
            print(f"{given.run_date}: {row['what']} {row['subject']} {done} (approved by {row['approved_by']})")

    return exit_code(act)


if __name__ == "__main__":
    sys.exit(main())
