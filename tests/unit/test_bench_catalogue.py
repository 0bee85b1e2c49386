"""One tiny run of the bench of large catalogues, in this process."""

from __future__ import annotations

from pathlib import Path

from bench import catalogue
from udfs.recommend import state_files


def test_every_user_of_a_tiny_catalogue_is_scored(tmp_path: Path) -> None:
    catalogue.prepare(tmp_path, items=2_000, sold=300, users=12, dims=16, listed=0.5)
    models = state_files.read(str(tmp_path / "state")).models
    assert models.fitted == 300
    assert 700 < len(models) - models.fitted < 1_000, "half of those never sold were described lately"
    rows = [catalogue.score(tmp_path / "lines.parquet", part, tmp_path) for part in range(catalogue.PROCESSES)]
    assert 150 * 12 <= sum(rows) <= (150 + 60 + 5) * 12
