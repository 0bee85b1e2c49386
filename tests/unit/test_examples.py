"""The example shops' raw files: nothing lost, nothing in the wrong day, nothing half-written."""

import csv
import datetime as dt
import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv as pa_csv
from rich.progress import Progress

from examples import complete_journey as shop
from examples import dated_files, journey_tables
from schemas.clock import ShopClock

TRANSACTION_COLUMNS = (
    "household_id,store_id,basket_id,product_id,quantity,sales_value,retail_disc,coupon_disc,coupon_match_disc,week,"
    "transaction_timestamp"
)


def days(*dates: str) -> dated_files.Days:
    return np.array(dates, "datetime64[D]")


def times(*moments: str) -> pa.Array:
    return pa.array(np.array(moments, "datetime64[ns]"))


def lines(path: Path) -> list[str]:
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return text.decode().split("\n")[:-1]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A made-up package's data folder: two weeks, one campaign that ran already, one that starts."""
    data = tmp_path / "data"
    data.mkdir()
    tables: dict[str, dict[str, object]] = {
        "transactions": {
            # The second line is of Sunday by New York's clock, on which the stores' weeks turn, and of Monday by UTC's.
            "store_id": [5, 5, 5],
            "product_id": [11, 12, 11],
            "quantity": [1, 1, 2],
            "sales_value": [0.5, 1.776357e-15, 2.0],
            "week": [1, 1, 2],
            "transaction_timestamp": times("2017-01-01T11:53:26", "2017-01-02T04:59:58", "2017-01-03T09:00"),
        },
        "products": {"product_id": [11, 12], "department": ["FROZEN", "FUEL"], "package_size": ["22 LB", None]},
        "demographics": {"household_id": [1], "age": ["65+"]},
        "campaign_descriptions": {
            "campaign_id": [2, 1],
            "start_date": times("2017-01-03", "2016-11-14"),
            "end_date": times("2017-02-03", "2017-01-16"),
        },
        "campaigns": {"campaign_id": [1, 2, 2], "household_id": [7, 7, 8]},
        "coupons": {"coupon_upc": [900, 901], "product_id": [11, 12], "campaign_id": [2, 1]},
        "coupon_redemptions": {
            "household_id": [7],
            "coupon_upc": [901],
            "campaign_id": [1],
            "redemption_date": times("2017-01-02"),
        },
        # Out of order, to show that rows find their week and keep their order within it.
        "promotions": {"product_id": [12, 11, 13], "mailer_location": ["A", "0", "D"], "week": [2, 1, 2]},
    }
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), data / f"{name}.parquet")
    return data


def write(package: Path, out: Path) -> dict[str, dated_files.Written]:
    with Progress(disable=True) as progress:
        return shop.write_shop(package, out, progress)


def test_every_row_lands_in_the_file_of_its_day(package: Path, tmp_path: Path) -> None:
    write(package, tmp_path / "out")
    files = sorted((tmp_path / "out" / "transactions").iterdir())
    assert [file.name for file in files] == [f"transactions_2017-01-0{day}.csv" for day in (1, 3)]
    assert lines(files[0]) == [
        "store_id,product_id,quantity,sales_value,week,transaction_timestamp",
        "5,11,1,0.5,1,2017-01-01 11:53:26",
        "5,12,1,1.776357e-15,1,2017-01-02 04:59:58",
    ]


def test_missing_values_are_empty(package: Path, tmp_path: Path) -> None:
    write(package, tmp_path / "out")
    products = tmp_path / "out" / "products" / "products_2017-01-01.csv"
    assert lines(products) == ["product_id,department,package_size", "11,FROZEN,22 LB", "12,FUEL,"]


def test_a_campaign_is_known_from_its_start_or_the_first_day_of_logs(package: Path, tmp_path: Path) -> None:
    write(package, tmp_path / "out")
    campaigns = tmp_path / "out" / "campaigns"
    assert {file.name: lines(file)[1:] for file in campaigns.iterdir()} == {
        "campaign_descriptions_2017-01-01.csv": ["1,2016-11-14,2017-01-16"],
        "campaign_descriptions_2017-01-03.csv": ["2,2017-01-03,2017-02-03"],
        "campaign_events_2017-01-01.csv": ["sent,7,1,,2016-11-14"],
        "campaign_events_2017-01-02.csv": ["redeemed,7,1,901,2017-01-02"],
        "campaign_events_2017-01-03.csv": ["sent,7,2,,2017-01-03", "sent,8,2,,2017-01-03"],
        "coupons_2017-01-01.csv": ["901,12,1"],
        "coupons_2017-01-03.csv": ["900,11,2"],
    }


def test_a_campaign_without_a_description_is_refused() -> None:
    descriptions = pa.table({"campaign_id": [1], "start_date": times("2017-01-03")})
    with pytest.raises(dated_files.ExampleError, match="campaign_id 9 is not in campaign_descriptions"):
        journey_tables.campaign_file_dates(pa.chunked_array([[1, 9]]), descriptions, np.datetime64("2017-01-01"))


def test_promotions_are_dated_with_the_first_day_of_their_week(package: Path, tmp_path: Path) -> None:
    write(package, tmp_path / "out")
    promotions = tmp_path / "out" / "promotions"
    assert {file.name: lines(file)[1:] for file in promotions.iterdir()} == {
        "promotions_2017-01-01.csv.gz": ["11,0,1"],
        "promotions_2017-01-02.csv.gz": ["12,A,2", "13,D,2"],
    }


def test_a_week_whose_monday_is_closed_still_starts_on_monday() -> None:
    weeks = np.array([1, 2, 3])
    first_days = journey_tables.week_first_days(weeks, days("2017-12-17", "2017-12-18", "2017-12-26"))
    assert first_days.tolist() == days("2017-12-17", "2017-12-18", "2017-12-25").tolist()


@pytest.mark.parametrize(
    ("weeks", "dates"),
    [
        ([1, 3], ["2017-01-01", "2017-01-09"]),  # week 2 is missing
        ([1, 2], ["2017-01-01", "2017-01-09"]),  # week 2 starts two Mondays later
        ([1, 2, 2], ["2017-01-01", "2017-01-02", "2017-01-09"]),  # the next Monday
    ],
)
def test_a_week_column_that_is_no_calendar_is_refused(weeks: list[int], dates: list[str]) -> None:
    with pytest.raises(dated_files.ExampleError, match="column week"):
        journey_tables.week_first_days(np.array(weeks), days(*dates))


def test_a_text_that_needs_quotes_gets_them_and_reads_back(tmp_path: Path) -> None:
    texts = ['say "cheese", please', "two\nlines", "plain"]
    kind = dated_files.RawKind("products", pa.table({"t": texts}), days(*["2017-01-01"] * 3))
    dated_files.write_kind(kind, tmp_path, lambda _: None)
    with (tmp_path / "products" / "products_2017-01-01.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["t"], *([text] for text in texts)]


def test_a_time_finer_than_what_is_printed_is_refused(package: Path) -> None:
    path = package / "coupon_redemptions.parquet"
    pq.write_table(pa.table({"redemption_date": times("2017-01-02T10:00:00")}), path)
    with pytest.raises(dated_files.ExampleError, match="redemption_date has values finer than date32"):
        journey_tables.read_table(package, "coupon_redemptions")


def test_the_same_rows_give_the_same_bytes(package: Path, tmp_path: Path) -> None:
    def written(out: Path) -> dict[str, bytes]:
        write(package, out)
        return {str(file.relative_to(out)): file.read_bytes() for file in out.rglob("*") if file.is_file()}

    assert written(tmp_path / "one") == written(tmp_path / "two")


@pytest.fixture
def made_up(package: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """main() reads the made-up package."""
    monkeypatch.setattr(shop, "package_data", lambda: package)
    monkeypatch.setattr(shop, "version", lambda _: "0.1.0")
    return package


@pytest.mark.usefixtures("made_up")
def test_a_second_run_does_nothing_unless_forced_or_a_file_has_gone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "landing" / "shop"
    says = []
    for arguments, gone in (([], False), ([], False), (["--force"], False), ([], True)):
        if gone:
            (out / "products" / "products_2017-01-01.csv").unlink()
        assert shop.main(["--out", str(out), *arguments]) == 0
        says.append("nothing to do" in capsys.readouterr().err)
    assert says == [False, True, False, False]
    assert (out / "products" / "products_2017-01-01.csv").exists()
    assert [path.name for path in out.parent.iterdir()] == ["shop"]  # no temporary folder is left beside it


def test_a_failed_run_leaves_the_old_folder_and_nothing_else(made_up: Path, tmp_path: Path) -> None:
    out = tmp_path / "landing" / "shop"
    assert shop.main(["--out", str(out)]) == 0
    before = (out / shop.MANIFEST).stat().st_mtime_ns
    (made_up / "promotions.parquet").unlink()  # the last one read: all other files are written by then
    assert shop.main(["--out", str(out), "--force"]) == 2
    assert (out / shop.MANIFEST).stat().st_mtime_ns == before
    assert [path.name for path in out.parent.iterdir()] == ["shop"]


@pytest.mark.usefixtures("made_up")
def test_a_folder_of_other_things_is_never_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep = tmp_path / "mine" / "keep.txt"
    keep.parent.mkdir()
    keep.write_text("precious")
    assert shop.main(["--out", str(keep.parent), "--force"]) == 2
    assert "was not written by this program" in capsys.readouterr().err
    assert keep.read_text() == "precious"


def test_without_the_package_one_line_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(journey_tables, "find_spec", lambda _: None)
    assert shop.main(["--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "make setup" in message


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> tuple[dated_files.RawKind, list[Path]]:
    """The real package's transactions and the day files written from them, in the order of their dates."""
    if find_spec(journey_tables.PACKAGE) is None:
        pytest.skip(f"{journey_tables.PACKAGE} is not installed: make setup")
    root = tmp_path_factory.mktemp("real")
    kind = next(journey_tables.raw_kinds(journey_tables.package_data()))
    assert dated_files.write_kind(kind, root, lambda _: None) == dated_files.Written(files=364, rows=1_469_307)
    return kind, sorted((root / "transactions").iterdir())


def test_the_real_lines_all_arrive_each_in_its_day(real: tuple[dated_files.RawKind, list[Path]]) -> None:
    kind, files = real
    day_lines = {file.stem.removeprefix("transactions_"): lines(file) for file in files}
    assert {day[0] for day in day_lines.values()} == {TRANSACTION_COLUMNS}
    assert sum(len(day) - 1 for day in day_lines.values()) == 1_469_307
    told = {(date, line[-19:]) for date, day in day_lines.items() for line in day[1:]}
    moments = [(date, dt.datetime.fromisoformat(f"{at}+00:00")) for date, at in told if at.endswith("00")]
    clock = ShopClock(journey_tables.TIMEZONE)
    assert [(date, at) for date, at in moments if str(clock.day_of(at)) != date] == []
    # 364 of the 365 days: the shop is closed at Christmas.
    assert (min(day_lines), max(day_lines), "2017-12-25" in day_lines) == ("2017-01-01", "2017-12-31", False)

    types = pa_csv.ConvertOptions(column_types=kind.table.schema)
    read_back = pa.concat_tables([pa_csv.read_csv(file, convert_options=types) for file in files])
    assert read_back.equals(kind.table)  # the package is in order of time, so the days in turn are the package


def test_a_real_day_read_by_plain_python_equals_the_package(real: tuple[dated_files.RawKind, list[Path]]) -> None:
    _, files = real
    package = pd.read_parquet(journey_tables.package_data() / "transactions.parquet")
    # The first day with an amount such as 1.776357e-15, which digits lost on the way would change.
    is_tiny = package["sales_value"].between(0, 1e-9, inclusive="neither")
    moments = package["transaction_timestamp"].dt.tz_localize("UTC")
    local = moments.dt.tz_convert(journey_tables.TIMEZONE).dt.date
    date = local[is_tiny].min()
    expected = package[local == date].to_dict("records")
    (file,) = [file for file in files if str(date) in file.name]
    for line, row in zip(csv.DictReader(lines(file)), expected, strict=True):
        assert line.pop("transaction_timestamp") == str(row.pop("transaction_timestamp"))
        assert {name: float(text) for name, text in line.items()} == row
