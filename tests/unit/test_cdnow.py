"""CDNOW: the example's files, and BTYD models against the published parameters."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from examples import cdnow
from schemas.deployment import load
from udfs.users import btyd

CUT = pd.Timestamp("1997-09-30")  # 39 weeks: the calibration period of Fader, Hardie and Lee (2005)


def test_each_day_has_a_file(tmp_path: Path) -> None:
    source = tmp_path / "master.txt"
    source.write_text(
        " customer_id  date number_of_cds  dollar_value \n 00001 19970101  1   11.77\n 00002 19970112  5   77.00\n"
    )
    assert cdnow.write(source, tmp_path / "out") == 2
    assert (tmp_path / "out" / "purchases_1997-01-12.csv").read_text().splitlines() == [
        "customer_id,date,number_of_cds,dollar_value",
        "00002,1997-01-12,5,77.0",
    ]
    assert cdnow.main(["--out", str(tmp_path / "out")]) == 2


def test_the_deployment_has_purchases_alone() -> None:
    assert load(Path(cdnow.__file__).parents[1] / "conf" / "cdnow.toml").kinds == ("events",)


@pytest.mark.skipif(find_spec(cdnow.PACKAGE) is None, reason="the data package lifetimes is not installed")
def test_parameters_of_cdnow_are_the_published_ones() -> None:
    """BG/NBD on the 1/10 sample: r 0.243, alpha 4.414, a 0.793, b 2.426."""
    lines = cdnow.read(cdnow.package_data() / "CDNOW_sample.txt", cdnow.SAMPLE_COLUMNS)
    days = lines[lines["date"] <= CUT].drop_duplicates(["customer_id", "date"])
    by_customer = days.groupby("customer_id")["date"]
    first, last, count = by_customer.min(), by_customer.max(), by_customer.count()
    weeks = (((each - first).dt.days / 7).to_numpy(np.float64) for each in (last, CUT + (last - last)))
    of = btyd.fit(btyd.counts_of(count.to_numpy(np.float64) - 1, *weeks), modified=False)
    assert (of.r, of.alpha) == (pytest.approx(0.243, abs=0.001), pytest.approx(4.414, abs=0.005))
    assert (of.a, of.b) == (pytest.approx(0.793, abs=0.002), pytest.approx(2.426, abs=0.005))
