"""Erasure of users: `python -m jobs.commands.erase --ids users.txt --conf conf/<deployment>.toml` (docs/privacy.md).

The file has one user_id a line, as in silver.events. Afterwards: train, run, and jobs.commands.prove_erasure.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pyspark.sql import DataFrame

from jobs.runner import erased_list, erasure, persons, pseudonym_vault
from jobs.runner.cli import exit_code
from jobs.runner.lake import Lake
from jobs.runner.records import recorded
from jobs.runner.session import session
from jobs.transforms.erased_lines import LINE
from schemas.contract import PARTITION
from schemas.deployment import load
from schemas.errors import BusyError, ConfError

JOB = "erase"


def read_ids(path: str) -> list[str]:
    """The ids of a file, one a line, each once. ConfError without any."""
    try:
        lines = Path(path).read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfError(f"{path}: cannot be read ({type(error).__name__}); one user_id a line, in UTF-8") from None
    ids = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not ids:
        raise ConfError(f"{path}: there is no id in it; one user_id a line")
    return ids


def others_file(path: str) -> Path:
    """Where the other ids of the persons of an ids' file are listed, one a line."""
    return Path(f"{path}.others")


def all_ids(path: str) -> list[str]:
    """The ids of a file, and the others of their persons that an erasure has found."""
    others = others_file(path)
    return list(dict.fromkeys([*read_ids(path), *(read_ids(str(others)) if others.exists() else [])]))


def _with_others(lake: Lake, ids: list[str], file: Path) -> list[str]:
    """The ids, and the others of their persons, which are listed in `file`: an erasure that is run again needs them."""
    known = read_ids(str(file)) if file.exists() else []
    others = list(dict.fromkeys([*known, *persons.others_of(lake, [*ids, *known])]))
    if others:
        file.touch(mode=0o600)
        file.write_text("".join(f"{each}\n" for each in others), "utf-8")
    return list(dict.fromkeys([*ids, *others]))


def erase(
    lake: Lake, ids: list[str], list_file: Path, killed: Sequence[str] = (), *, force: bool = False
) -> erasure.Erased:
    """Erase users by id, and record it in ops.erasures; the lines of landing that are theirs go to `list_file`."""
    erased_list.erased_users(lake.deployment)  # first: without the keys nothing is read
    pseudonym_vault.check_key(lake, mark=False)
    with recorded(lake, JOB, erasure.today()) as record:
        erasure.refuse_active_runs(lake, record["started_at"], killed)
        given, ids = len(ids), _with_others(lake, ids, others_file(str(list_file.with_suffix(""))))
        everyone = [*ids, *pseudonym_vault.pseudonyms_of(lake.deployment, ids)]
        users = lake.spark.createDataFrame([(each,) for each in everyone], "user_id STRING")
        if not force:
            erasure.refuse_large(lake, users)
        hashes = erased_list.add(lake.deployment, ids, record["run_date"])
        done = erasure.erase(lake, users, hashes, lambda lines: _listed(lines, list_file))
        pseudonym_vault.without(lake, users)
        began = [row for row in lake.rows("ops.runs") if row["started_at"] > record["started_at"]]
        began = [row for row in began if row["job"] not in erasure.OWN]
        if began:
            raise BusyError(f"{began[0]['job']} has begun meanwhile and may have read what is erased: erase again")
        row = {
            PARTITION: record["run_date"],
            "run_id": record["run_id"],
            "erased_at": record["started_at"],
            "users": given,
            "rows_removed": done.rows,
            "landing_lines": done.lines,
            "days_to_clean": len(done.days),
            "models_retired": done.models,
            "files_removed": done.files,
        }
        lake.append("ops.erasures", [row], {key: record[key] for key in ("run_id", "job", "code_version")})
        record["rows_written"] = {"ops.erasures": 1}
    return done


def _listed(lines: DataFrame, file: Path) -> None:
    """Write `raw file,line` of each line that is not in the file yet."""
    before = set(file.read_text("utf-8").splitlines()) if file.exists() else set()
    new = (f"{row.source_file},{row.source_row}" for row in lines.sort(*LINE).toLocalIterator())
    with file.open("a", encoding="utf-8") as opened:
        opened.writelines(f"{line}\n" for line in new if line not in before)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the flags, erase, print what was done."""
    parser = argparse.ArgumentParser(prog="jobs.commands.erase", description=__doc__)
    parser.add_argument("--ids", required=True, help="a file with one user_id a line")
    parser.add_argument("--conf", required=True, help="the deployment, conf/<name>.toml")
    parser.add_argument("--force", action="store_true", help="also an id with over a tenth of the shop's lines")
    parser.add_argument("--killed", action="append", default=[], help="the id of a run without an end that was killed")
    given = parser.parse_args(arguments)

    def act() -> None:
        deployment = load(given.conf)
        erased_list.erased_users(deployment)
        ids, list_file = read_ids(given.ids), Path(f"{given.ids}.lines")
        lake = Lake(session(deployment, log_file=Path("logs") / f"spark-{deployment.name}.log"), deployment)
        done = erase(lake, ids, list_file, given.killed, force=given.force)
        for table, count in done.rows.items():
            print(f"{table}: {count:,} rows removed")
        print(f"{len(ids)} users, {sum(done.rows.values()):,} rows, {done.files:,} files of data and logs removed")
        print(f"landing: {done.lines:,} lines are theirs, listed in {list_file}; intake leaves them out")
        if done.models:
            print(f"models that had seen them are gone: {', '.join(done.models)}: make train, then run again")
        print(f"proof: make prove-erasure IDS={given.ids}")

    return exit_code(act)


if __name__ == "__main__":
    sys.exit(main())
