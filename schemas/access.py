"""Roles, and which tables of the lake each may read; derived from the contracts. No Spark.

Without a catalogue access is by folder or prefix. A view protects nothing from who can read its files, so a role that
may not see persons gets copies without them (masked), under a prefix of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from schemas import TABLES
from schemas.contract import Table

MASKED = "masked"  # the folder of the lake with copies without persons
PEOPLE = "people"  # the folder of the lake with pages that name users; read by engineers alone


@dataclass(frozen=True)
class Role:
    """A group of readers. `writes`: it runs the jobs, and may read and write all of the lake."""

    name: str
    purpose: str
    writes: bool = False


ENGINEER = Role("engineer", "runs the jobs", writes=True)
SERVING = Role("serving", "shows each user their lists: every public table as it is")
ANALYST = Role("analyst", "reads every table without a personal column, and masked copies of the public ones with one")
AUDITOR = Role("auditor", "reads the records of runs, models, publications, erasures and commits")
ROLES = (ENGINEER, SERVING, ANALYST, AUDITOR)


def masked_tables(tables: Iterable[Table] = tuple(TABLES.values())) -> list[Table]:
    """The tables that have a masked copy: public ones with a personal column."""
    return [table for table in tables if table.public and table.personal]


def readable(role: Role, tables: Mapping[str, Table] = TABLES) -> list[str]:
    """The folders below the lake that a role may read, such as `gold/segments`; all of it where it writes."""
    if role.writes:
        return [""]
    if role is SERVING:
        return [_folder(table) for table in tables.values() if table.public]
    if role is AUDITOR:
        return [_folder(table) for table in tables.values() if table.layer == "ops" and not table.personal]
    plain = [_folder(table) for table in tables.values() if not table.personal]
    return plain + [f"{MASKED}/{table.short_name}" for table in masked_tables(tables.values())]


def matrix() -> dict[str, dict[str, bool]]:
    """Folder -> role -> whether it may read it: every table's, and every masked copy's."""
    folders = [_folder(table) for table in TABLES.values()] + [f"{MASKED}/{t.short_name}" for t in masked_tables()]
    return {folder: {role.name: role.writes or folder in readable(role) for role in ROLES} for folder in folders}


def posix_acl(lake: str) -> str:
    """A shell script that gives the Unix groups nightshelf-<role> what they may read, and others nothing.

    lake: a local path. Existing files, and by default ACLs the ones to come.
    """
    root = _quoted(lake.removeprefix("file://").rstrip("/"))
    lines = ["set -eu", f"chmod -R o-rwx {root}", f"setfacl -R -b {root}"]
    for role in ROLES:
        group = f"nightshelf-{role.name}"
        rights = "rwX" if role.writes else "rX"
        folders = readable(role)
        parents = sorted({folder.split("/")[0] for folder in folders if folder})
        if not role.writes:  # to pass through, without a list of what is there
            lines += [f"setfacl -m g:{group}:x {root}"]
            lines += [f"[ ! -d {root}/{parent} ] || setfacl -m g:{group}:x {root}/{parent}" for parent in parents]
        for folder in folders:
            place = f"{root}/{folder}" if folder else root
            act = f"setfacl -R -m g:{group}:{rights} {place} && setfacl -R -d -m g:{group}:{rights} {place}"
            lines.append(f"if [ -d {place} ]; then {act}; fi")
    return "\n".join(lines) + "\n"


def iam_policy(role: Role, lake: str) -> dict[str, object]:
    """The IAM policy of a role for a lake on an object store: objects of its prefixes, and the list of those."""
    bucket, _, prefix = lake.split("://", 1)[1].rstrip("/").partition("/")
    below = [f"{prefix}/{folder}".strip("/") for folder in readable(role)]
    objects = ["s3:GetObject", *(["s3:PutObject", "s3:DeleteObject"] if role.writes else [])]
    listed = [f"{each}/*" if each else "*" for each in below]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": objects,
                "Resource": [f"arn:aws:s3:::{bucket}/{each}" for each in listed],
            },
            {
                "Effect": "Allow",
                "Action": ["s3:ListBucket"],
                "Resource": [f"arn:aws:s3:::{bucket}"],
                "Condition": {"StringLike": {"s3:prefix": listed}},
            },
        ],
    }


def _folder(table: Table) -> str:
    return table.name.replace(".", "/")


def _quoted(path: str) -> str:
    return "'" + path.replace("'", "'\\''") + "'"
