"""The command for one query: what it is given is what Spark gets."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.commands import sql
from tests.support import tiny_shop


def test_a_query_is_not_substituted(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sql, "session", lambda *_, **__: spark)
    monkeypatch.setenv("SECRET", "told")
    conf = tiny_shop.make(tmp_path, days=1)
    query = "SELECT '${env:SECRET}' AS one, '$x' AS two,\n  \"it's\" AS `th ree`"
    assert sql.main(["--conf", str(conf), "--query", query]) == 0
    shown = capsys.readouterr().out
    for word in ("${env:SECRET}", "$x", "it's", "th ree"):
        assert word in shown
    assert "told" not in shown
