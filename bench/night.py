"""Measures nightly runs of a checkout from outside: seconds, Spark's queries and jobs, table versions, bytes.

    python -m bench.night --base 46ff31d                                    # the nights of a tiny shop
    python -m bench.night --scenario tiny-later --checkout ../other --rounds 1
    python -m bench.night --scenario journey-later --lake lake/complete_journey --base 46ff31d --base-lake ../base/lake

Scenarios: `tiny-first`, the night of the tiny shop's day 13 with a model and nothing else; `tiny-later`, the night of
day 14 after that; `journey-first` and `journey-later`, the nights of 2017-12-03 and 2017-12-04 of Complete Journey, on
copies of a lake that was trained and run up to 2017-12-03. A base commit is cloned and measured once with the same
scenario; its figures are recorded for this machine in bench/results-night-base.json. Figures are appended to
bench/results-night.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from bench.harness import console
from bench.night_report import (
    BASES,
    RESULTS,
    Calibration,
    Figures,
    calibrate,
    record_base,
    recorded_base,
    show,
    summarise,
)
from bench.night_runs import Checkout, Night, checkout, clone, copy_lake, measure, prepare_tiny

REPO = Path(__file__).resolve().parents[1]
LONG_SECONDS = 600.0  # a scenario whose first round takes longer has one round only
TINY_TRAINED, TINY_LATER = "2024-03-14", "2024-03-15"  # days 13 and 14 of tests/support/tiny_shop.py
JOURNEY_FIRST, JOURNEY_LATER = "2017-12-03", "2017-12-04"
SCENARIOS = ("tiny-first", "tiny-later", "journey-first", "journey-later")


@dataclass(frozen=True)
class Start:
    """The start of a scenario's run: a deployment, a lake, its raw files if elsewhere, the date.

    `only`: the tables to copy from the lake's layers.
    """

    conf: Path
    lake: Path
    landing: Path | None
    run_date: str
    only: list[str] | None


def start_of(scenario: str, code: Checkout, scratch: Path, lake: Path | None, landing: Path) -> Start:
    """The start of a scenario in a checkout; a tiny shop is prepared for it."""
    is_first = scenario.endswith("-first")
    only = code.trained_tables() if is_first else None
    if scenario.startswith("tiny-"):
        conf, trained, later = prepare_tiny(code, scratch, TINY_TRAINED)
        return Start(conf, trained if is_first else later, None, TINY_TRAINED if is_first else TINY_LATER, only)
    if lake is None or not (lake / "ops").is_dir():
        raise SystemExit(f"{scenario} of {code.commit} wants a lake that was trained and run up to {JOURNEY_FIRST}")
    run_date = JOURNEY_FIRST if is_first else JOURNEY_LATER
    return Start(code.folder / "conf" / "complete_journey.toml", lake, landing, run_date, only)


def one_round(code: Checkout, start: Start, scratch: Path, keep: bool) -> Night:
    """One night on a fresh copy of the lake. Its folder is removed unless `keep` is set or the night fails."""
    scratch.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{code.commit}-", dir=scratch)).resolve()
    copy_lake(start.lake, folder / "lake", start.only)
    night = measure(code, folder, start.conf, folder / "lake", start.run_date, start.landing)
    if keep:
        console().print(f"kept: {folder}")
    else:
        shutil.rmtree(folder)
    return night


def rounds_of(night: Callable[[], Night], rounds: int) -> list[Night]:
    """Some rounds of a night; one only where it took over LONG_SECONDS."""
    nights = [night()]
    while len(nights) < rounds and nights[0].wall_seconds <= LONG_SECONDS:
        nights.append(night())
    return nights


def figures_of(scenario: str, code: Checkout, start: Start, scratch: Path, rounds: int, keep: bool = False) -> Figures:
    """The scenario's figures in a checkout, between two calibrations, which are printed."""
    before = _calibrated("before")
    nights = rounds_of(partial(one_round, code, start, scratch / "nights", keep), rounds)
    return summarise(code.commit, scenario, nights, [before, _calibrated("after")])


def _calibrated(when: str) -> Calibration:
    calibration = calibrate()
    parts = f"matrix products {calibration.matmul_seconds:.2f} s, Python {calibration.python_seconds:.2f} s"
    console().print(f"calibration {when}: {parts}; load average {os.getloadavg()[0]:.1f}")
    return calibration


def main(arguments: list[str] | None = None) -> None:
    """Measure the scenarios and print the tables."""
    parser = argparse.ArgumentParser(
        "python -m bench.night", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenario", action="append", choices=SCENARIOS, help="default: both of the tiny shop")
    parser.add_argument("--checkout", type=Path, default=REPO, help="the working tree that is measured; default: this")
    parser.add_argument("--base", help="a commit of this repository to hold it against")
    parser.add_argument("--lake", type=Path, help="a trained lake of Complete Journey, in the checkout's own layout")
    parser.add_argument("--base-lake", type=Path, help="the same in the base's layout")
    parser.add_argument("--landing", type=Path, default=REPO / "landing" / "complete_journey")
    parser.add_argument("--rounds", type=int, default=3, help=f"one only where a night takes over {LONG_SECONDS:.0f} s")
    parser.add_argument("--scratch", type=Path, default=REPO / "build" / "bench-night", help="where nights are run")
    parser.add_argument("--bases", type=Path, default=BASES, help="where the figures of bases are recorded")
    parser.add_argument("--only-base", action="store_true", help="measure and record the base alone")
    parser.add_argument("--keep", action="store_true", help="keep the folders of the nights, with their logs")
    given = parser.parse_args(arguments)
    if given.rounds < 1:
        parser.error(f"--rounds must be at least 1; it is {given.rounds}")
    if given.only_base and not given.base:
        parser.error("--only-base wants --base")
    scratch = given.scratch.resolve()
    code = checkout(given.checkout)
    base_code = clone(given.base, REPO, scratch) if given.base else None
    for scenario in given.scenario or SCENARIOS[:2]:
        base = None
        if base_code is not None and (base := recorded_base(base_code.commit, scenario, given.bases)) is None:
            console().print(f"{scenario}: measuring the base {base_code.commit}, once on this machine")
            start = start_of(scenario, base_code, scratch, given.base_lake, given.landing)
            base = figures_of(scenario, base_code, start, scratch, given.rounds, given.keep)
            record_base(base, given.bases)
        if given.only_base:
            assert base is not None
            show(base, None)
            continue
        start = start_of(scenario, code, scratch, given.lake, given.landing)
        now = figures_of(scenario, code, start, scratch, given.rounds, given.keep)
        earlier = json.loads(RESULTS.read_text("utf-8")) if RESULTS.is_file() else []
        RESULTS.write_text(json.dumps([*earlier, asdict(now)], indent=1) + "\n", "utf-8")
        show(now, base)


if __name__ == "__main__":
    main()
