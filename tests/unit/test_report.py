"""Pages from made-up rows: every row is on them, names cannot break them, and they need no other file."""

from __future__ import annotations

import datetime as dt
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from jobs.offline.measures import LEAD, TUNING, WORTH, ImportanceRow, MeasureRow, ParameterRow, ReliabilityRow
from jobs.reports.evaluation_page import SHARES, Evaluation, evaluation_page

REPO = Path(__file__).resolve().parents[2]
CUT = dt.date(2024, 1, 1)
EVIL = '<b>&"$x_1$'  # a name that would be markup, an entity and a formula


def row(
    contender: str,
    metric: str,
    value: float,
    part: str = "all",
    task: str = "A",
    ends: float | None = 0.01,
    users: int = 1234,
) -> MeasureRow:
    low, high = (None, None) if ends is None else (value - ends, value + ends)
    return MeasureRow(CUT, task, contender, metric, part, value, low, high, users)


def evaluation(*measures: MeasureRow, **changes: object) -> Evaluation:
    fields = {
        "shop": f"shop {EVIL}",
        "cut_date": CUT,
        "protocol": "Models saw what was bought before the cut.",
        "leader": "full",
        "tasks": {"A": "all items", "B": "new items"},
        "measures": measures,
    }
    return Evaluation(**{**fields, **changes})  # type: ignore[arg-type]


FULL = evaluation(
    row("full", "ndcg@10", 0.3333),
    row("full", "recall@10", 0.2222),
    row("full", "coverage", 0.4444, ends=None),
    row("peer one", "ndcg@10", 0.3111),
    row("peer one", LEAD, 0.0714, ends=0.02),
    row("full, after rules", "ndcg@10", 0.3299),
    row("full, after rules", LEAD, 0.0103, ends=0.02),
    row("peer two", "ndcg@10", 0.1234),
    row("peer two", LEAD, 1.701, ends=0.2),
    row("full without BERT", "ndcg@10", 0.3322),
    row("full without BERT", LEAD, 0.0033, ends=0.02),
    row("full without BERT", WORTH, 0.0161, ends=0.02),
    row("frozen BERT", "ndcg@10", 0.2999),
    row("frozen BERT", TUNING, -0.0909, ends=0.02),
    row("bert neighbours", "recall@200", 0.5511),
    row("full", "ndcg@10", 0.2101, "new users"),
    row("peer one", "ndcg@10", 0.2055, "new users"),
    row("full", "recall@50", 0.0807, "cold items"),
    row("full", "ndcg@10", 0.1444, "country: Norway"),
    row("full", "ndcg@10", 0.3555, f"country: {EVIL}"),
    row("full", "calibration_error", 0.0042, users=8642),
    row("full", "price of diversity", -0.0123),
    row("full", "ndcg@10", 0.1717, task="B"),
    row(EVIL, "ndcg@10", 0.1616, task="B"),
    variants=["full, after rules"],
    ablations=["full without BERT"],
    reliability=[
        ReliabilityRow("A", 0.0123, 0.0145, 0.0101, 0.0199, 4321),
        ReliabilityRow("A", 0.3, 0.28, 0.2, 0.4, 99),
    ],
    importances=[ImportanceRow("due", 0.777, "days since, by the usual gap"), ImportanceRow(EVIL, 0.0432)],
    parameters=[ParameterRow("A", "peer one", "half_life=60, b=0.1", 0.2998)],
)


class Reader(HTMLParser):
    """Checks that tags nest and ids are unique; keeps the text and each attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in {"meta", "br"}:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    ids = [value for name, value in reader.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    return reader


def test_every_row_is_shown() -> None:
    text = " ".join(read(evaluation_page(FULL)).texts)
    for measure in FULL.measures:
        shown = f"{measure.value:+.1%}".replace("%", " %") if measure.metric in SHARES else f"{measure.value:.4f}"
        assert shown in text, measure
        assert measure.contender in text
        assert measure.slice.removeprefix("country: ") in text or measure.slice == "all"
    for words in (
        "1,234",
        "0.3233 to 0.3433",
        "4,321",
        "0.0145",
        "0.7770",
        "half_life=60, b=0.1",
        "0.2998",
        "new items",
    ):
        assert words in text


def test_names_are_text_not_markup() -> None:
    page = evaluation_page(FULL)
    assert EVIL not in page
    assert page.count("&lt;b&gt;") >= 5  # title, shop, contender, country, feature; and once more within the plots
    assert EVIL in "".join(read(page).texts)


def test_the_page_needs_no_other_file_and_no_names_of_users() -> None:
    reader = read(evaluation_page(FULL))
    for name, value in reader.attributes:
        if name in {"src", "href", "xlink:href"}:
            assert value.startswith("#")
    assert "script" not in evaluation_page(FULL)
    assert "@import" not in evaluation_page(FULL)


def test_the_leader_is_measured_against_the_best_peer() -> None:
    page = evaluation_page(FULL)
    assert re.search(r"full over peer one, the best peer: <b>\+7.1 % <small>\+5.1 % to \+9.1 %</small></b>", page)
    assert "better beyond chance" in page
    assert page.index("peer one <small>best peer") < page.index(">peer two<")
    unclear = evaluation(row("full", "ndcg@10", 0.2), row("p", "ndcg@10", 0.2), row("p", LEAD, 0.001))
    assert "within chance" in evaluation_page(unclear)


def test_what_fine_tuning_is_worth_is_said_in_words() -> None:
    text = "".join(read(evaluation_page(FULL)).texts)
    assert "Over frozen BERT: -9.1 % -11.1 % to -7.1 % NDCG@10, worse beyond chance." in text
    assert text.count("-9.1 %") == 1  # and is not among the further figures again


def test_the_worst_country_is_named_with_its_gap() -> None:
    text = "".join(read(evaluation_page(FULL)).texts)
    assert "users: 1,234 on A, 1,234 on B." in text  # those whose lists are measured, not all who were scored
    assert "Worst of at least 10 users: Norway, 1,234 users, 0.1444 0.1344 to 0.1544; -57% against the mean." in text


def test_equal_rows_give_an_equal_page() -> None:
    assert evaluation_page(FULL) == evaluation_page(FULL)


def test_a_page_of_nothing_is_still_a_page() -> None:
    read(evaluation_page(evaluation()))
    missing = row("full", "ndcg@10", float("nan"), ends=None)
    assert "n/a" in evaluation_page(evaluation(missing))


@pytest.mark.parametrize(
    ("measures", "message"),
    [
        ([row("full", "ndcg@10", 0.1, task="C")], "task C; cut 2024-01-01, tasks A, B expected"),
        ([row("full", "ndcg@10", 0.1), row("full", "ndcg@10", 0.2)], "two figures of A, full, ndcg@10, all"),
    ],
)
def test_rows_that_contradict_each_other_are_refused(measures: list[MeasureRow], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluation_page(evaluation(*measures))


def test_templates_are_found_in_the_zip_that_spark_submit_ships(tmp_path: Path) -> None:
    code = tmp_path / "nightshelf.zip"
    folders = [str(REPO / name) for name in ("jobs", "udfs", "schemas")]
    subprocess.run([sys.executable, "-m", "zipfile", "-c", str(code), *folders], check=True)
    program = (
        "import datetime, jobs.reports; from jobs.reports import night_page; print(jobs.reports.__file__); "
        "print(night_page.pages(datetime.date(2024, 1, 1), [], [], [], [], [], 'EUR'))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(code)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert found.startswith(f"{code}/jobs/reports/")
    assert "<h1>Night of 2024-01-01</h1>" in found
