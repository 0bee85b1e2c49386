import gzip
from pathlib import Path

import pytest

from examples import online_retail

HEADER = ",".join(online_retail.COLUMNS)
LINES = [
    '536365,85123A,"HOLDER, HEART",6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom',
    "C536379,D,Discount,-1,2010-12-01 09:41:00,27.5,14527.0,United Kingdom",
    "536370,22728,ALARM CLOCK,24,2010-12-02 08:45:00,3.75,,France",
]


def test_each_day_is_a_file_whose_lines_are_those_of_the_source(tmp_path: Path) -> None:
    source, out = tmp_path / "online.csv", tmp_path / "landing" / "shop"
    source.write_text("\n".join([HEADER, LINES[2], *LINES[:2]]) + "\n")
    assert online_retail.main(["--source", str(source), "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["2010-12-01.csv.gz", "2010-12-02.csv.gz"]
    first = gzip.decompress((out / "2010-12-01.csv.gz").read_bytes()).decode().splitlines()
    assert first == [HEADER, *LINES[:2]]
    second = gzip.decompress((out / "2010-12-02.csv.gz").read_bytes()).decode().splitlines()
    assert second == [HEADER, LINES[2]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEADER.replace("Country", "Land") + "\n", "lacks Country"),
        (f"{HEADER}\n{LINES[0].replace('2010-12-01 08:26:00', 'soon')}\n", "row 2: InvoiceDate 'soon' is no date"),
    ],
)
def test_a_source_that_does_not_fit_is_refused_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    source, out = tmp_path / "online.csv", tmp_path / "landing"
    source.write_text(text)
    assert online_retail.main(["--source", str(source), "--out", str(out)]) == 2
    assert said in capsys.readouterr().err
    assert not out.exists()


def test_a_folder_that_stands_is_left_alone(tmp_path: Path) -> None:
    assert online_retail.main(["--source", "any", "--out", str(tmp_path)]) == 2
