"""The example of reviews: its files as they land on simulated days, and the deployment that reads them."""

import csv
import gzip
from pathlib import Path

import pytest

from examples import clothing_reviews as example
from schemas.deployment import load
from schemas.errors import ConfError
from tests.support import tiny_shop
from tests.support.tiny_shop import REPO


def source(folder: Path, *lines: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "reviews.csv.gz"
    header = f",Age,{','.join(example.REVIEW)}"
    path.write_bytes(gzip.compress("\n".join([header, *lines, ""]).encode()))
    return path


def test_each_review_lands_on_a_simulated_day(tmp_path: Path) -> None:
    lines = [f'{n},33,{n % 3},,"Lovely, soft.\nI am glad",5,1,0,General,Tops,Knits' for n in range(50)]
    out = tmp_path / "landing" / "clothing_reviews"
    assert example.main(["--source", str(source(tmp_path, *lines)), "--out", str(out)]) == 0
    rows = [row for path in sorted(out.glob("reviews_*.csv")) for row in csv.DictReader(path.open(newline=""))]
    assert sorted(int(row["number"]) for row in rows) == list(range(50))
    assert {row["Review Text"] for row in rows} == {"Lovely, soft.\nI am glad"}
    for path in out.glob("reviews_*.csv"):
        assert {row["simulated_moment"][:10] for row in csv.DictReader(path.open(newline=""))} == {path.stem[8:]}
    (items,) = out.glob("items_*.csv")
    assert [row["Clothing ID"] for row in csv.DictReader(items.open(newline=""))] == ["0", "1", "2"]
    assert example.main(["--source", str(source(tmp_path)), "--out", str(out)]) == 2


def test_a_file_without_its_columns_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "reviews.csv").write_text("Clothing ID,Title\n")
    assert example.main(["--source", str(tmp_path / "reviews.csv"), "--out", str(tmp_path / "out")]) == 2
    assert "lacks Review Text" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("overall = ['all']", r"aspects\.overall"),
        ("Size = ['size']", r"aspects\.Size"),
        ("size = []", r"aspects\.size: List should have at least 1 item"),
        ("size = ['far too small']", r"aspects\.size\.0: String should match pattern"),
    ],
)
def test_a_mistyped_aspect_is_refused(tmp_path: Path, keys: str, message: str) -> None:
    conf = tiny_shop.make(tmp_path, days=1)
    conf.write_text(f"{conf.read_text()}\n[aspects]\n{keys}\n")
    with pytest.raises(ConfError, match=message):
        load(conf)


def test_its_deployment_has_items_and_reviews_alone() -> None:
    deployment = load(REPO / "conf" / "clothing_reviews.toml")
    assert deployment.kinds == ("items", "reviews")
    assert deployment.is_simulated("reviews")
    assert deployment.sources["reviews"].columns[2:] == list(example.REVIEW[:6])
    assert deployment.sources["items"].columns == list(example.ITEM)
