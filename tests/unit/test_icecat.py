"""The example of a catalogue with judged queries: its files as they land, and the deployment that reads them."""

import gzip
from pathlib import Path

import pytest

from examples import icecat
from schemas.deployment import load
from tests.support.tiny_shop import REPO

PRODUCT = '1,HP 80,"Ink, cyan",HP,12595,2006-07-01,"{""colour"": ""Cyan""}"'


def source(folder: Path, judged: str = "query,docid,rating") -> Path:
    folder.mkdir()
    header = ",".join(icecat.FILES["products.csv.gz"])
    (folder / "products.csv.gz").write_bytes(gzip.compress(f"{header}\n{PRODUCT}\n".encode()))
    (folder / "judgments.csv").write_text(f"{judged}\nink,1,3\n")
    return folder


def test_the_files_land_as_they_are_named_by_a_day(tmp_path: Path) -> None:
    given, out = source(tmp_path / "given"), tmp_path / "landing" / "icecat"
    assert icecat.main(["--source", str(given), "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["judgments_2020-06-01.csv", "products_2020-06-01.csv.gz"]
    assert (out / "judgments_2020-06-01.csv").read_bytes() == (given / "judgments.csv").read_bytes()
    assert icecat.main(["--source", str(given), "--out", str(out)]) == 2


def test_a_folder_of_other_files_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert icecat.main(["--source", str(source(tmp_path / "given", "words,docid,rating")), "--out", str(out)]) == 2
    assert "judgments.csv: lacks query" in capsys.readouterr().err
    assert icecat.main(["--source", str(tmp_path / "none"), "--out", str(out)]) == 2
    assert not out.exists()


def test_its_deployment_has_a_catalogue_and_judgements_alone() -> None:
    deployment = load(REPO / "conf" / "icecat.toml")
    assert deployment.kinds == ("items", "judgements")
    names = [Path(name).stem for name in icecat.FILES]
    assert all(any(name.split(".")[0] in each.files for each in deployment.sources.values()) for name in names)
