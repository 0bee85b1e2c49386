"""The page of a night from made-up rows: counts, checks, figures, costs, models, and what failed."""

from __future__ import annotations

import datetime as dt
import re

from jobs.reports import night_page
from tests.unit.test_report import CUT, EVIL, read

DAY = {"run_date": CUT}
CLEANED = DAY | {"rows_in": 6593, "rows_kept": 6490, "rows_rejected": 103, "reasons": {EVIL: 54, "b": 7, "a": 54}}
CHECKS = [
    DAY
    | {"run_id": "r1", "table_name": name, "severity": severity, "reason": f"{EVIL} of {name}", "passed": passed}
    | {"row_count": 1234}
    for name, severity, passed in (
        ("gold.b", "critical", True),
        ("gold.b", "warning", False),
        ("gold.a", "critical", True),
    )
]
FIGURES = [
    DAY
    | {"run_id": "r1", "table_name": "gold.a", "figure": "rows", "value": 12345.6}
    | {"usual": 0.123456, "low": -2.5, "high": None},
]


def ran(run_id: str, job: str, status: str = "done", days: int = 0, minute: int = 0, **used: object) -> dict:
    """A row of ops.runs."""
    costs = {"cpu_seconds": None, "peak_bytes": None, "price": None}
    costs |= dict.fromkeys(("bytes_read", "bytes_shuffled", "bytes_written"))
    begun = dt.datetime(2024, 1, 2, 3, minute) - dt.timedelta(days=days)
    what = {"run_id": run_id, "job": job, "status": status, "error": None, "started_at": begun, "seconds": 2.0}
    what |= {"model_version": None}
    return {"run_date": CUT - dt.timedelta(days=days), **what, **costs, **used}


MODELS = [
    DAY
    | {"model_version": version, "kind": kind, "promoted": True, "held": None, "base_sha256": "", "folder": "models/x"}
    | {"trained_from": CUT, "cut_date": CUT, "example_count": 1234, "code_version": "1", "weights_sha256": "abc"}
    | {"metrics": {"ndcg_A": 0.417, EVIL: float("nan")}}
    for version, kind in (("v1", None), ("v2", "demand"), ("v3", "profile"))
]


def page_of(*runs: dict, cleaned: list = (CLEANED,), figures: list = FIGURES) -> str:
    pages = night_page.pages(CUT, cleaned, runs or [ran("r1", "make_a")], CHECKS, figures, MODELS, "EUR")
    return pages[f"data_docs/{CUT}/index.html"]


def test_the_page_of_a_night_has_its_counts_checks_and_figures() -> None:
    page = page_of()
    reader = read(page)
    text = " ".join(" ".join(reader.texts).split())
    assert "6,593 in = 6,490 kept + 103 rejected" in text
    assert text.index(EVIL) < text.index(" a 54 ") < text.index(" b 7 "), "the most common first, then by name"
    assert text.index("gold.a 1,234 1 of 1") < text.index(f"gold.b 1,234 1 of 2 warning: {EVIL} of gold.b")
    assert EVIL not in page
    assert "critical:" not in text
    assert [value for name, value in reader.attributes if name == "href"] == ["gold.a.html", "gold.b.html"]
    assert re.search(r">12,346</td><td[^>]*>0.1235</td><td[^>]*>-2.5</td><td[^>]*></td>", page)
    assert "Not done" not in text
    assert "Costs" not in text, "nobody measured them"


def test_the_page_of_a_night_without_events_is_still_a_page() -> None:
    text = " ".join(read(night_page.pages(CUT, [], [], [], [], [], "EUR")[f"data_docs/{CUT}/index.html"]).texts)
    assert "No event file of this day." in text
    assert "Beside" not in text


def test_of_a_job_that_ran_twice_the_last_run_counts() -> None:
    first = ran("r1", "make_a", "refused", error=f"gold.a: {EVIL}")
    assert f"Not done make_a refused: gold.a: {EVIL}" in " ".join("".join(read(page_of(first)).texts).split())
    mended = [ran("r2", "make_a", "running", minute=5), ran("r2", "make_a", minute=5)]
    text = " ".join(read(page_of(first, *mended)).texts)
    assert "Not done" not in text
    assert "gold.b" not in text, "checks of the run that counts alone"


def test_costs_are_added_up() -> None:
    used = {"cpu_seconds": 3.5, "peak_bytes": 2_000_000_000, "bytes_read": 5_000_000, "price": 0.25}
    runs = [ran("r1", "make_a", **used), ran("r2", "make_b", **(used | {"price": 0.5})), ran("r3", "skipped")]
    text = " ".join(" ".join(read(page_of(*runs)).texts).split())
    assert "make_a 2.0 3.5 2.0 5.0 0.2500 make_b 2.0 3.5 2.0 5.0 0.5000 all 4.0 7.0 2.0 10.0 0.0 0.0 0.7500" in text


def test_each_model_of_the_night_has_a_card() -> None:
    runs = [ran("r1", "score", model_version="v1"), ran("r2", "forecast", model_version="v2"), ran("r3", "other")]
    pages = night_page.pages(CUT, [], runs, [], [], MODELS, "EUR")
    assert list(pages) == [f"data_docs/{CUT}/index.html", "data_docs/models/v1.html", "data_docs/models/v2.html"]
    links = [value for name, value in read(next(iter(pages.values()))).attributes if name == "href"]
    assert links == ["../models/v1.html", "../models/v2.html"]
    card = " ".join(" ".join(read(pages["data_docs/models/v1.html"]).texts).split())
    assert "gold.recommendations" in card
    assert f"{EVIL} n/a ndcg_A 0.4170" in card
    assert "of each location and item" in pages["data_docs/models/v2.html"]


def test_figures_of_several_nights_have_a_plot_and_few_have_none() -> None:
    def of(days: int) -> tuple[dict, dict]:
        figure = FIGURES[0] | {"run_date": CUT - dt.timedelta(days=days), "run_id": f"r{days}", "value": 10.0 + days}
        return ran(f"r{days}", "make_a", days=days), figure | {"low": 5.0, "high": 20.0}

    runs, figures = zip(*map(of, range(3)), strict=True)
    cleaned = [CLEANED | {"run_date": CUT - dt.timedelta(days=days)} for days in range(3)]
    page = page_of(*runs, cleaned=cleaned, figures=figures)
    assert page.count("<svg") == 2
    assert "gold.a" in page[page.index("<svg") :]
    assert page == page_of(*runs, cleaned=cleaned, figures=figures)
    assert page_of(*runs[:2], cleaned=cleaned[:2], figures=figures[:2]).count("<svg") == 0
