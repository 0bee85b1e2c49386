"""Measure the rule of find_trends on a shop's purchases, against the velocity rule that shops use.

    python -m bench.trends --landing landing/online_retail

Weekly runs of the last 39 weeks that a further week follows, items as keys. Printed for each rule: keys flagged a run;
share of them whose next week has 1.5 times the expected count or more; keys flagged when all baskets are shuffled in
time, as a share of the real ones; and of items with a count of 10 to 30 whose week is doubled, the share flagged.
"""

from __future__ import annotations

import argparse
import csv
import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

from udfs.search.trends import LEAST_RATIO, trends

RUNS, DOUBLED = 39, 30
Doubles = npt.NDArray[np.float64]
Rule = Callable[[Doubles, Doubles, int], tuple[npt.NDArray[np.bool_], Doubles]]


def purchases(landing: Path) -> pd.DataFrame:
    """day, buyer, item, basket of Online Retail's sound purchases."""
    lines = []
    for file in sorted(landing.glob("*.csv.gz")):
        with gzip.open(file, "rt", encoding="utf-8", errors="replace") as opened:
            for row in csv.DictReader(opened):
                sound = (
                    float(row["Quantity"]) > 0 and float(row["UnitPrice"] or 0) > 0 and row["StockCode"][:5].isdigit()
                )
                if sound and not row["InvoiceNo"].startswith("C"):
                    buyer = row["CustomerID"] or f"guest {row['InvoiceNo']}"
                    lines.append((file.name[:10], buyer, row["StockCode"].upper(), row["InvoiceNo"]))
    if not lines:
        raise SystemExit(f"{landing}: no purchases in *.csv.gz; name Online Retail's raw files with --landing")
    table = pd.DataFrame(lines, columns=["day", "buyer", "item", "basket"])
    table["day"] = (pd.to_datetime(table["day"]) - pd.to_datetime(table["day"]).min()).dt.days
    return table


def counted(table: pd.DataFrame) -> tuple[Doubles, Doubles]:
    """[items, days] buyers of an item on a day, and [days] buyers."""
    item, names = pd.factorize(table["item"], sort=True)
    met = pd.DataFrame({"item": item, "day": table["day"].to_numpy(), "buyer": pd.factorize(table["buyer"])[0]})
    met = met.drop_duplicates()
    counts = np.zeros((len(names), int(met["day"].max()) + 1))
    np.add.at(counts, (met["item"].to_numpy(), met["day"].to_numpy()), 1)
    sessions = np.bincount(met.drop_duplicates(["day", "buyer"])["day"], minlength=counts.shape[1])
    return counts, sessions.astype(float)


def velocity(counts: Doubles, sessions: Doubles, end: int) -> tuple[npt.NDArray[np.bool_], Doubles]:
    """At least 5, and twice the mean of the four weeks before; expected: their share of these weeks' sessions."""
    now, before = counts[:, end - 7 : end].sum(axis=1), counts[:, end - 35 : end - 7].sum(axis=1)
    return (now >= 5) & (now >= before / 2), before / sessions[end - 35 : end - 7].sum()


def ours(counts: Doubles, sessions: Doubles, end: int) -> tuple[npt.NDArray[np.bool_], Doubles]:
    """udfs/search/trends.py; expected: the key's own share of its past."""
    found = trends(sp.csr_matrix(counts[:, :end]), sessions[:end])
    return found.rises, found.expected / sessions[end - 7 : end].sum()


def judge(rule: Rule, real: tuple[Doubles, Doubles], shuffled: tuple[Doubles, Doubles], ends: list[int]) -> list[float]:
    """Flagged a run, share still rising, share of it when shuffled, share of the doubled that is flagged."""
    counts, sessions = real
    draw = np.random.default_rng(1)
    flagged, still, by_chance, doubled = [], 0, 0, []
    for end in ends:
        rises, share = rule(counts, sessions, end)
        flagged.append(rises.sum())
        week = slice(end, end + 7)
        still += (counts[rises, week].sum(axis=1) >= LEAST_RATIO * share[rises] * sessions[week].sum()).sum()
        by_chance += rule(*shuffled, end)[0].sum()
        now = counts[:, end - 7 : end].sum(axis=1)
        possible = np.flatnonzero((now >= 10) & (now <= 30) & ~rises)
        chosen = draw.choice(possible, min(DOUBLED, len(possible)), replace=False)
        changed = counts.copy()
        changed[chosen, end - 7 : end] *= 2
        doubled += rule(changed, sessions, end)[0][chosen].tolist()
    total = max(sum(flagged), 1)
    return [float(np.mean(flagged)), float(still / total), float(by_chance / total), float(np.mean(doubled))]


def main() -> None:
    """Print a row a rule, for all runs and for the later half alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--landing", type=Path, required=True, help="folder of Online Retail's raw files")
    table = purchases(parser.parse_args().landing)
    basket, _ = pd.factorize(table["basket"])
    days = table.groupby(basket)["day"].first().to_numpy()
    shuffled = table.assign(day=np.random.default_rng(0).permutation(days)[basket])
    real, by_chance = counted(table), counted(shuffled)
    last = real[0].shape[1] - 7
    print("| rule | runs | flagged a run | still 1.5 times | shuffled | doubled, found |")
    print("|---|---|---|---|---|---|")
    for name, rule in (("velocity", velocity), ("find_trends", ours)):
        for runs in (RUNS, RUNS // 2):
            row = judge(rule, real, by_chance, [last - 7 * number for number in range(runs)])
            print(f"| {name} | last {runs} | {row[0]:.1f} | {row[1]:.3f} | {row[2]:.3f} | {row[3]:.3f} |")


if __name__ == "__main__":
    main()
