"""Roles: the rules that are rendered allow exactly what the matrix says, and a foreign commit is known from ours."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path

import pytest

from jobs.commands import access
from jobs.runner import delta_log
from jobs.runner.foreign_commits import is_ours
from schemas import TABLES
from schemas.access import (
    ANALYST,
    AUDITOR,
    ENGINEER,
    ROLES,
    SERVING,
    Role,
    iam_policy,
    masked_tables,
    matrix,
    posix_acl,
)
from schemas.derive import example_rows
from tests.support import tiny_shop

PERSONAL = {table.name.replace(".", "/") for table in TABLES.values() if table.personal}


def test_who_may_see_persons() -> None:
    may = matrix()
    for folder in PERSONAL:
        assert may[folder][ENGINEER.name]
        assert may[folder][SERVING.name] == folder.startswith("gold/")
        assert not may[folder][ANALYST.name]
        assert not may[folder][AUDITOR.name]
    assert {f"masked/{table.short_name}" for table in masked_tables()} == {
        folder for folder in may if folder.startswith("masked/") and may[folder][ANALYST.name]
    }
    assert may["gold/segments"] == {"engineer": True, "serving": True, "analyst": True, "auditor": False}
    assert may["ops/audit"] == {"engineer": True, "serving": False, "analyst": True, "auditor": True}


def allows(policy: dict, action: str, resource: str, prefix: str = "") -> bool:
    """IAM's decision for one request by one policy without denials: its documented matching, * and ? alone."""
    for statement in policy["Statement"]:
        patterns = statement.get("Condition", {}).get("StringLike", {}).get("s3:prefix", ["*"])
        if (
            action in statement["Action"]
            and any(fnmatch.fnmatchcase(resource, each) for each in statement["Resource"])
            and any(fnmatch.fnmatchcase(prefix, each) for each in patterns)
        ):
            return True
    return False


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
@pytest.mark.parametrize("lake", ["s3a://bucket/lake/shop", "s3://bucket"])
def test_a_policy_is_the_matrix(role: Role, lake: str) -> None:
    policy, base = iam_policy(role, lake), lake.split("://")[1]
    prefix = base.partition("/")[2]
    for folder, roles in matrix().items():
        for name in ("part-0.parquet", "_delta_log/00000000000000000000.json"):
            key = f"arn:aws:s3:::{base}/{folder}/{name}"
            assert allows(policy, "s3:GetObject", key) == roles[role.name], folder
            assert allows(policy, "s3:PutObject", key) == role.writes
        place = f"{prefix}/{folder}/".lstrip("/")
        assert allows(policy, "s3:ListBucket", "arn:aws:s3:::bucket", place) == roles[role.name]
    assert not allows(policy, "s3:GetObject", "arn:aws:s3:::other/gold/segments/a")
    for folder in ("models/m/ranker.json", "landing/x", "gold/segments_of_others/a"):
        assert allows(policy, "s3:GetObject", f"arn:aws:s3:::{base}/{folder}") == role.writes


def test_an_acl_is_the_matrix() -> None:
    script = posix_acl("/srv/it's/lake")
    assert "chmod -R o-rwx '/srv/it'\\''s/lake'" in script
    granted = set(re.findall(r"setfacl -R -m g:nightshelf-(\w+):r?w?X '[^ ]+lake'/?(\S*) ", script))
    granted |= set(re.findall(r"setfacl -R -d -m g:nightshelf-(\w+):r?w?X '[^ ]+lake'/?(\S*);", script))
    wanted = {(role, folder) for folder, roles in matrix().items() for role, may in roles.items() if may}
    assert granted == {pair for pair in wanted if pair[0] != "engineer"} | {("engineer", "")}
    assert "o+r" not in script
    passed = set(re.findall(r"setfacl -m g:nightshelf-(\w+):x '[^ ]+lake'/?(\S*)$", script, re.MULTILINE))
    assert ("serving", "gold") in passed
    assert ("serving", "silver") not in passed


def test_rules_are_written_by_what_the_lake_is_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf = tiny_shop.make(tmp_path, days=0)
    assert access.main(["--conf", str(conf), "--out", str(tmp_path / "rules")]) == 0
    assert [path.name for path in (tmp_path / "rules").iterdir()] == ["acl.sh"]
    assert re.search(r"^gold/recommendations +engineer serving$", capsys.readouterr().out, re.MULTILINE)
    conf.write_text(re.sub(r'lake = ".*"', 'lake = "s3a://bucket/shop"', conf.read_text(), count=1))
    assert access.main(["--conf", str(conf), "--out", str(tmp_path / "policies")]) == 0
    assert sorted(path.stem for path in (tmp_path / "policies").iterdir()) == sorted(role.name for role in ROLES)


def test_a_commit_that_is_not_ours_is_known(tmp_path: Path) -> None:
    table, uri = TABLES["gold.ad_audiences"], str(tmp_path)
    delta_log.append_rows(table, delta_log.create(table, uri), uri, example_rows(table, {"user_id": "u"}), {"job": "j"})
    for act in (
        lambda opened: delta_log.keep_versions(opened, 30),
        lambda opened: delta_log.vacuum(opened, 30),
        lambda opened: opened.optimize.compact(),
    ):
        act(delta_log.open_table(uri))
    opened = delta_log.open_table(uri)
    assert opened is not None
    assert [commit["version"] for commit in opened.history() if not is_ours(commit)] == []
    opened.delete("user_id = 'u'")
    opened = delta_log.open_table(uri)
    assert opened is not None
    (foreign,) = [commit for commit in opened.history() if not is_ours(commit)]
    assert foreign["operation"] == "DELETE"
    spark = {"engineInfo": "Apache-Spark/4.2.0 Delta-Lake/4.4.0", "operation": "UPDATE", "userMetadata": '{"job": "x"}'}
    assert not is_ours(spark)
