"""Access to a lake: `python -m jobs.commands.access --conf conf/<deployment>.toml [--out DIR | --mask | --audit]`.

Prints who may read what; --out writes it as POSIX ACLs or IAM policies; --mask copies the public tables without
persons; --audit reports commits that are not Nightshelf's (exit code 3 where there are new ones).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from jobs.runner import foreign_commits, masked
from jobs.runner.cli import exit_code
from jobs.runner.lake import Lake
from jobs.runner.session import session
from schemas.access import ROLES, iam_policy, matrix, posix_acl
from schemas.deployment import Deployment, load
from schemas.errors import DataError


def write_rules(deployment: Deployment, out: Path) -> list[Path]:
    """Write the ACL script of a local lake, or a policy per role of one on an object store; the files."""
    out.mkdir(parents=True, exist_ok=True)
    if "://" not in deployment.lake or deployment.lake.startswith("file://"):
        files = {out / "acl.sh": posix_acl(deployment.lake)}
    else:
        policies = {role.name: iam_policy(role, deployment.lake) for role in ROLES}
        files = {out / f"{name}.json": f"{json.dumps(policy, indent=2)}\n" for name, policy in policies.items()}
    for file, text in files.items():
        file.write_text(text, "utf-8")
    return sorted(files)


def audit(lake: Lake) -> None:
    """Record foreign commits in ops.audit. DataError where there are new ones."""
    rows = foreign_commits.found(lake)
    lake.append("ops.audit", rows, {"job": "access"})
    for row in rows:
        print(f"{row['table_name']} version {row['version']}: {row['operation']} by {row['engine'] or 'unknown'}")
    if rows:
        raise DataError(f"{len(rows)} commits of {lake.deployment.lake} are not Nightshelf's; ops.audit has them")


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the flags, act, print."""
    parser = argparse.ArgumentParser(prog="jobs.commands.access", description=__doc__)
    parser.add_argument("--conf", required=True, help="the deployment, conf/<name>.toml")
    parser.add_argument("--out", type=Path, help="a folder for the rules")
    parser.add_argument("--mask", action="store_true", help="copy the public tables without persons")
    parser.add_argument("--audit", action="store_true", help="report commits that are not Nightshelf's")
    given = parser.parse_args(arguments)

    def act() -> None:
        deployment = load(given.conf)
        if given.mask or given.audit:
            lake = Lake(session(deployment, log_file=Path("logs") / f"spark-{deployment.name}.log"), deployment)
            for folder, count in masked.copy(lake).items() if given.mask else ():
                print(f"{folder}: {count:,} rows")
            if given.audit:
                audit(lake)
            return
        for folder, roles in matrix().items():
            print(f"{folder:32} {' '.join(name for name, may in roles.items() if may)}")
        for file in write_rules(deployment, given.out) if given.out else ():
            print(f"written: {file}")

    return exit_code(act)


if __name__ == "__main__":
    sys.exit(main())
