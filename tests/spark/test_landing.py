"""Which files of the landing folder are raw files, whatever lies beside them and however they are named."""

from __future__ import annotations

import datetime as dt
import gzip
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.runner.landing import Landing
from schemas.deployment import Deployment, load
from schemas.errors import ConfError
from tests.support import tiny_shop

D1, D2 = dt.date(2026, 3, 2), dt.date(2026, 3, 3)


@pytest.fixture
def landing(tmp_path: Path, spark: SparkSession) -> Landing:
    """A landing folder with an odd name and nothing in it."""
    root = tmp_path / "Müller & O'Neil [x] 100%"
    (root / "sales").mkdir(parents=True)
    conf: Deployment = load(tiny_shop.make(tmp_path, days=0)).model_copy(update={"landing": str(root)})
    events = conf.sources["events"].model_copy(update={"files": "sales/*.csv"})
    return Landing(spark, conf.model_copy(update={"sources": {**conf.sources, "events": events}}))


def put(landing: Landing, name: str, content: bytes = b"id\n1\n") -> Path:
    file = Path(landing.folder) / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def named(landing: Landing) -> list[str]:
    return [file.name for file in landing.files("events")]


@pytest.mark.parametrize(
    "name",
    [
        "sales_2026-03-03T02:15:00.csv",
        "sales [1] 2026-03-03.csv",
        "sales_2026-03-03 (1).csv",
        "größe_2026-03-03_100%25 {a,b}.csv",
        "o'neil_2026-03-03\\.csv",
        "sales_2026-03-03?#*.csv",
    ],
)
def test_a_file_is_read_whatever_its_name(landing: Landing, name: str) -> None:
    put(landing, f"sales/{name}", b"of the odd name")
    put(landing, "sales/sales_2026-03-02.csv", b"of the other")
    files = landing.files("events")
    assert [(file.day, file.name) for file in files] == [(D1, "sales/sales_2026-03-02.csv"), (D2, f"sales/{name}")]
    rows = {row.source_file: bytes(row.content) for row in landing.contents(files).collect()}
    assert rows == {"sales/sales_2026-03-02.csv": b"of the other", f"sales/{name}": b"of the odd name"}


def test_hidden_files_are_left_alone_and_what_resembles_a_raw_file_is_named(landing: Landing) -> None:
    put(landing, "sales/sales_2026-03-02.csv")
    for hidden in ("._sales_2026-03-02.csv", ".sales_2026-03-02.csv.Ab12", "_SUCCESS", "_sales_2026-03-02.csv"):
        put(landing, f"sales/{hidden}", b"\0\5\x16\7")
    put(landing, "sales/sales_2026-03-03.csv._COPYING_")
    for beside in ("sales_2026-03-03.CSV", "sales_2026-03-03.csv.txt", "sales_2026-03-04.csv/part-0.csv"):
        put(landing, f"sales/{beside}")
    put(landing, "sales/README.md")
    put(landing, "elsewhere/sales_2026-03-05.csv")
    files, beside = landing.found(["events"])
    assert [file.name for file in files] == ["sales/sales_2026-03-02.csv"]
    assert beside == {
        "sales/sales_2026-03-03.CSV": "files = 'sales/*.csv' does not match it",
        "sales/sales_2026-03-03.csv.txt": "files = 'sales/*.csv' does not match it",
        "sales/sales_2026-03-04.csv": "it is a folder",
    }


def test_a_file_that_another_source_takes_is_not_beside(landing: Landing) -> None:
    put(landing, "catalogue/catalogue_2026-03-02.csv")
    put(landing, "catalogue/catalogue_2026-03-02.CSV")
    events = landing.deployment.sources["events"].model_copy(update={"files": "catalogue/*.CSV"})
    sources = {**landing.deployment.sources, "events": events}
    both = Landing(landing.spark, landing.deployment.model_copy(update={"sources": sources}))
    files, beside = both.found(["events", "items"])
    assert (len(files), beside) == (2, {})


def test_folders_may_be_patterns_and_a_name_without_a_date_is_named(landing: Landing) -> None:
    sources = landing.deployment.sources
    deep = sources["events"].model_copy(update={"files": "till{1,2}/2026-*/*.csv{,.gz}"})
    found = Landing(landing.spark, landing.deployment.model_copy(update={"sources": {**sources, "events": deep}}))
    put(landing, "till1/2026-03/a_2026-03-02.csv")
    put(landing, "till2/2026-03T10:00/b_2026-03-03.csv.gz", gzip.compress(b"id\n"))
    put(landing, "till3/2026-03/c_2026-03-03.csv")
    assert named(found) == ["till1/2026-03/a_2026-03-02.csv", "till2/2026-03T10:00/b_2026-03-03.csv.gz"]
    put(landing, "till1/2026-03/total.csv")
    with pytest.raises(ConfError, match=r"till1/2026-03/total\.csv: no date"):
        found.files("events")


def test_a_landing_folder_that_is_not_there_has_no_files(landing: Landing) -> None:
    sources = landing.deployment.sources
    elsewhere = sources["events"].model_copy(update={"files": "nowhere/*.csv"})
    assert (
        Landing(landing.spark, landing.deployment.model_copy(update={"sources": {"events": elsewhere}})).files("events")
        == []
    )


def test_a_file_that_has_gone_since_it_was_listed_has_no_content(landing: Landing) -> None:
    put(landing, "sales/sales_2026-03-02.csv")
    gone = [put(landing, name) for name in ("sales/sales_2026-03-03.csv", "sales/sales_2026-03-04 [1].csv")]
    files = landing.files("events")
    for path in gone:
        path.unlink()
    rows = {row.source_file: (row.content, row.sha256) for row in landing.contents(files).collect()}
    assert rows["sales/sales_2026-03-03.csv"] == rows["sales/sales_2026-03-04 [1].csv"] == (None, "")
    assert rows["sales/sales_2026-03-02.csv"][0] is not None


def test_a_folder_whose_name_looks_like_a_pattern_has_each_file_once(tmp_path: Path, spark: SparkSession) -> None:
    root = tmp_path / "Shop [1] {a,b}"
    root.mkdir()
    found = Landing(spark, load(tiny_shop.make(root, days=1)))
    files = found.files("events")
    rows = [row.source_file for row in found.contents(files).select("source_file").collect()]
    assert len(files) > 1
    assert sorted(rows) == sorted(file.name for file in files)
