"""A till that sends a tenth, then nothing: refused, accepted for one run, a warning, and refused again."""

from __future__ import annotations

import polars as pl
import pytest

from schemas.errors import ConfError, DataError
from tests.nights.test_intake import kept, list_items, put, sale
from tests.nights.test_night import read
from tests.support import tiny_shop


def checks(conf, name: str, number: int) -> list[tuple[str, bool]]:
    """Severity and verdict of each check of this name on a date, in the order of its runs."""
    of_day = (pl.col("check_name") == name) & (pl.col("run_date") == tiny_shop.day(number))
    began = read(conf, "ops.runs").group_by("run_id").agg(pl.col("started_at").min())
    found = read(conf, "ops.checks").filter(of_day).join(began, "run_id").sort("started_at")
    return found.select("severity", "passed").rows()


def test_a_feed_that_thins_out_and_dies_is_noticed_each_night(conf, intake, capsys):
    conf.write_text(conf.read_text().replace("max_silent_days = 365\n", ""))
    for number in range(9):
        put(conf, number, *(sale(number, f"{number}-{line}") for line in range(30)))
    put(conf, 8, *(sale(8, f"8-{line}") for line in range(3)))
    list_items(conf, 10, "S01,green tea,tea")  # the catalogue comes, whatever the till does
    intake(7)
    assert checks(conf, "drift_events.rows", 7) == [("critical", True)]
    with pytest.raises(DataError, match=r"events.rows is 3, must be 15 to 60 \(conf, \[sources.events.drift\]\); us"):
        intake(8)
    assert len(kept(conf)) == 8 * 30
    intake(8, accept_drift=True)
    assert len(kept(conf)) == 8 * 30 + 3
    assert checks(conf, "drift_events.rows", 8) == [("critical", False), ("warning", False)]
    figures = read(conf, "ops.figures").filter(pl.col("figure") == "events.rows").sort("run_date")
    assert figures.select("table_name", "value").rows() == [("silver.cleaned_days", 30.0), ("silver.cleaned_days", 3.0)]

    assert checks(conf, "source_silent", 8) == []
    intake(9)
    assert checks(conf, "source_silent", 9) == [("warning", False)]
    assert "none of [sources.events] (newest: 2024-03-09)" in capsys.readouterr().err
    with pytest.raises(ConfError, match=r"2 days after the newest raw file of \[sources.events\] \(2024-03-09\)"):
        intake(10)
