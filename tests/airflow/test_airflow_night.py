"""A run of all jobs under Airflow, each by spark-submit."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support import tiny_shop
from tests.unit.test_dags import airflow, airflow_environment


def test_a_whole_night_under_airflow(airflow_installed: None, shop: Path, tmp_path: Path) -> None:
    """Every job a spark-submit of its own, on a shop that has a model (`make test-airflow`: some minutes)."""
    date = tiny_shop.day(14).isoformat()
    home = tmp_path / "airflow"  # its own: only this test needs the database
    environment = airflow_environment(home, NIGHTSHELF_CONF=str(shop), NIGHTSHELF_LATE_HOURS="0")
    airflow("airflow", "db", "migrate", environment=environment, cwd=tmp_path, seconds=120)
    night = ["dags", "test", "nightshelf_nightly", "--conf", json.dumps({"run_date": date})]
    log = airflow("airflow", *night, environment=environment, cwd=tmp_path, seconds=3600)
    assert "state=success, run_type=manual" in log
