"""A source's day beside the days before: what is noticed, what a week's rhythm explains, what one run may accept."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace

import pytest

from jobs.flow import JOBS
from jobs.runner import source_drift
from jobs.runner.drift import Figure
from schemas.deployment import Deployment
from schemas.drift import Limits, SourceLimits
from schemas.source import Source

D0 = dt.date(2026, 3, 2)  # a Monday


def day(number: int) -> dt.date:
    return D0 + dt.timedelta(days=number)


def shop(**sources: SourceLimits | None) -> Deployment:
    made = {
        name: Source.model_construct(kind="" if name == "events" else "events", drift=limits)
        for name, limits in sources.items()
    }
    return Deployment.model_construct(name="test", sources=made)


def figures(rows: float, **others: float) -> dict[str, float]:
    """A day's figures of a shop in which each record is a purchase of two units at ten."""
    usual = {"kept_share": 1.0, "locations": 5.0, "units": 2 * rows, "money": 20 * rows, "purchase": rows}
    return {"rows": rows, **usual, **others}


def cleaned(*days: dict[str, float], source: str = "events") -> list[dict]:
    named = [{f"{source}.{name}": value for name, value in one.items()} for one in days]
    return [{"run_date": day(number), "figures": one} for number, one in enumerate(named)]


def drifting(rows: list[dict], deployment: Deployment | None = None, files=None, judged=None) -> set[str]:
    """What is beyond its limits on the last day."""
    deployment, last = deployment or shop(events=None), rows[-1]["run_date"]
    listed = files or [(source, row["run_date"]) for row in rows for source in deployment.sources]
    found = source_drift.compared(deployment, "events", rows, judged or {last}, listed, last)
    return {figure.name for figure in found if not figure.passed}


WEEK = [figures(100.0)] * 6 + [figures(30.0, locations=3.0)]  # on Sundays a third, and three stores


def test_a_week_s_rhythm_and_a_good_day_are_no_drift():
    for tonight in (*WEEK, figures(190.0), figures(60.0)):
        assert drifting(cleaned(*WEEK, *WEEK, tonight)) == set()


@pytest.mark.parametrize(
    ("tonight", "names"),
    [
        (figures(14.0), {"rows", "units", "money"}),
        (figures(100.0, money=200_000.0), {"money"}),  # pence for pounds
        (figures(100.0, units=82_935.0), {"units"}),  # one order of 80,000
        (figures(100.0, locations=1.0), {"locations"}),
        (figures(100.0, kept_share=0.4), {"kept_share"}),
        (figures(100.0) | {"purchase": 0.0, "return": 100.0}, {"purchase"}),
        ({}, {"rows"}),  # a file without a record
    ],
)
def test_what_is_not_usual_is_named(tonight, names):
    assert drifting(cleaned(*WEEK, *WEEK, tonight)) == {f"events.{name}" for name in names}


def test_limits_bind_after_a_week_and_for_what_there_is_much_of():
    assert drifting(cleaned(*[figures(100.0)] * 6, figures(5.0))) == set()
    assert drifting(cleaned(*[figures(100.0)] * 7, figures(5.0)))
    assert drifting(cleaned(*[figures(4.0)] * 9, figures(1.0, kept_share=0.0, locations=0.0))) == set()
    quick = shop(events=SourceLimits(min_nights=2, least=1, rows=0.9))
    assert drifting(cleaned(*[figures(4.0)] * 2, figures(1.0)), quick) == {"events.units", "events.money"}


def test_each_source_is_held_against_itself():
    two = shop(events=None, web=None)
    both = [
        {"run_date": row["run_date"], "figures": row["figures"] | other["figures"]}
        for row, other in zip(cleaned(*WEEK, *WEEK), cleaned(*WEEK, *WEEK, source="web"), strict=True)
    ]
    tills = {f"events.{name}": value for name, value in figures(100.0).items()}
    night = {"run_date": day(14), "figures": tills}
    files = [(source, row["run_date"]) for row in (*both, night) for source in ("events", "web")]
    assert drifting([*both, night], two, files) == {"web.rows"}, "its file has no record"
    assert drifting([*both, night], two, files[:-1]) == set(), "without a file it is silent, which is said elsewhere"


def test_kinds_other_than_events_have_no_limits_by_themselves():
    ads = Deployment.model_construct(name="test", sources={"ad_events": Source.model_construct()})
    rows = cleaned(*WEEK, figures(1.0), source="ad_events")
    assert source_drift.compared(ads, "ad_events", rows, {day(7)}, [("ad_events", day(7))], day(7)) == []


@pytest.mark.parametrize(("records", "drifts"), [(900, False), (300, True), (0, True)])
def test_a_full_catalogue_that_is_cut_is_noticed_by_its_records(records, drifts):
    """A stand-in of a lake that lists a catalogue's files of eight days; without `full` it has no limits."""
    counts = [1_000] * 7 + [records]
    files = [{"run_date": day(n), "source": "items", "record_count": count} for n, count in enumerate(counts)]
    for full in (True, False):
        lake = SimpleNamespace(
            deployment=Deployment.model_construct(name="test", sources={"items": Source.model_construct(full=full)}),
            rows=lambda table, _: files if table == "bronze.files" else [],
            counted_files=lambda _, __: [file for file in files if file["record_count"]],
        )
        found = source_drift.of_run(lake, JOBS["clean_items"], [day(7)], day(7), [])
        assert [figure.name for figure in found if not figure.passed] == ["items.rows"] * (full and drifts)
    assert source_drift.compared_table(JOBS["clean_items"]) == "silver.items"
    assert source_drift.compared_table(JOBS["clean_events"]) == "silver.cleaned_days"
    assert source_drift.compared_table(JOBS["encode_items"]) == ""


def test_a_load_of_many_days_is_judged_by_its_last_and_by_what_was_refused():
    runs = [
        {"job": "clean_events", "run_date": day(2), "status": "refused"},
        {"job": "clean_stock", "run_date": day(1), "status": "refused"},
        {"job": "clean_events", "run_date": day(0), "status": "done"},
    ]
    pending = [day(number) for number in range(5)]
    assert source_drift.days_to_judge(pending, runs, "clean_events", day(4)) == {day(2), day(4)}


def test_an_accepted_drift_is_a_warning_that_says_so():
    figure = Figure("events.rows", 200.0, 100.0, 50.0, 150.0, "[sources.events.drift]")
    refused, accepted = figure.finding(), figure.finding(accepted="--accept-drift")
    assert (refused.check.severity, accepted.check.severity) == ("critical", "warning")
    assert accepted.check.reason.endswith("accepted by --accept-drift")
    assert refused.check.reason == (
        "events.rows is 200, must be 50 to 150 (conf, [sources.events.drift]); usual is 100"
    )
    sound = Figure("rows", 100.0, 100.0, 50.0, 150.0).finding(accepted=True)
    assert (sound.passed, sound.check.severity) == (True, "critical")
    late = Figure("events.rows", 2.0, 100.0, 50.0, 150.0, day=day(1)).finding()
    assert late.check.name == "drift_events.rows_of_2026-03-03"


def test_every_figure_has_a_limit():
    assert SourceLimits().share("rows") == 0.5
    assert SourceLimits().share("add_to_cart") == 0.9
    assert (Limits().share("units"), Limits().share("expected_value"), Limits().share("score_low")) == (0.5, 0.8, 0.8)
