"""The log of a table has no value of a personal column: not its commits, nor its checkpoints."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.runner import delta_log
from schemas import TABLES
from schemas.contract import Table
from schemas.derive import example_rows, statistics_property

ANNA = "anna-schmidt-9b1f4c77aa"
PERSONAL = [table for table in TABLES.values() if any(table.column(name).type == "STRING" for name in table.personal)]


def appended(table: Table, path: Path) -> None:
    text = {name: ANNA for name in table.personal if table.column(name).type == "STRING"}
    opened = delta_log.create(table, str(path))
    for row in example_rows(table, text, text):
        delta_log.append_rows(table, opened, str(path), [row], {"run_id": "r"})


def in_the_log(path: Path) -> list[str]:
    """The log's files that have the value, checkpoints decoded."""
    found = [file.name for file in (path / "_delta_log").iterdir() if ANNA.encode() in file.read_bytes()]
    checkpoints = (path / "_delta_log").glob("*.checkpoint.parquet")
    return found + [file.name for file in checkpoints if ANNA in str(pq.read_table(file).to_pylist())]


@pytest.mark.parametrize("table", PERSONAL, ids=lambda table: table.name)
def test_no_commit_has_a_personal_value(table: Table, tmp_path: Path) -> None:
    appended(table, tmp_path)
    assert not in_the_log(tmp_path)


def test_neither_a_checkpoint_nor_a_compaction_has_one_and_other_columns_have_their_ends(tmp_path: Path) -> None:
    table = TABLES["gold.ad_audiences"]
    appended(table, tmp_path)
    opened = delta_log.open_table(str(tmp_path))
    assert opened is not None
    opened.optimize.compact(post_commithook_properties=delta_log.NO_CLEANUP)
    opened.create_checkpoint()
    assert not in_the_log(tmp_path)
    (actions,) = pa.table(opened.get_add_actions(flatten=True)).to_pylist()
    assert actions["num_records"] == 2
    assert str(actions["min.run_date"]) == str(actions["max.run_date"]) == "2024-01-31"
    assert not {"min.user_id", "max.user_id"} & {name for name, value in actions.items() if value is not None}


def test_a_table_from_before_gets_the_rule_with_its_next_write(tmp_path: Path) -> None:
    table = TABLES["silver.users"]
    opened = delta_log.create(table, str(tmp_path))
    (key,) = statistics_property(table)
    opened.alter.set_table_properties({key: "run_date,user_id"}, raise_if_not_exists=False)
    delta_log.follow_properties(table, opened)
    assert opened.metadata().configuration[key] == statistics_property(table)[key]
    version = opened.version()
    delta_log.follow_properties(table, opened)
    assert opened.version() == version, "once"


def test_a_table_without_personal_columns_has_no_such_rule() -> None:
    assert statistics_property(TABLES["silver.items"]) == {}
    assert "user_id" not in statistics_property(TABLES["gold.recommendations"])["delta.dataSkippingStatsColumns"]
