"""Off-policy estimates beside the truth: Open Bandit data, where two policies were shown at the same time.

    python -m bench.open_bandit --data FOLDER

FOLDER holds `random/` and `bts/` of the Open Bandit data (Saito, Aihara, Matsutani and Narita 2021), with the campaigns
all, men and women: the folder `obp/dataset/obd` of the package obp 0.4.1. For each campaign, the clicks of Bernoulli
Thompson sampling are estimated from the log of uniform choices, and the clicks of uniform choices from the log of
Thompson sampling; what the other log has is the truth. One line each, as JSON.

Thompson sampling's probability of an item at a position is how often its log has it there. The mean of the propensities
that this log has for the item is none: it is of the times when the item was likely.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from udfs.experiments.off_policy import Choices, estimates, sums

CAMPAIGNS, POLICIES = ("all", "men", "women"), ("random", "bts")
COLUMNS = ["item_id", "position", "click", "propensity_score"]
PRIOR = 100  # rows that the mean of an item's clicks is held back by


def read(folder: Path, policy: str, campaign: str) -> pd.DataFrame:
    """The rows of one log: COLUMNS, item and position from 0."""
    log = pd.read_csv(folder / policy / campaign / f"{campaign}.csv", usecols=COLUMNS)
    return log.assign(position=log["position"] - log["position"].min())


def shares(log: pd.DataFrame, items: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """How often a log has each item, by position."""
    counts = np.zeros((log["position"].max() + 1, items))
    np.add.at(counts, (log["position"], log["item_id"]), 1)
    found: np.ndarray[Any, np.dtype[np.float64]] = counts / counts.sum(axis=1, keepdims=True)
    return found


def clicks(log: pd.DataFrame, items: int, fold: pd.Series) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Clicks expected of an item, by fold: learned from the other one, held back to its mean."""
    expected = np.zeros((2, items))
    for each in (0, 1):
        other = log[fold != each]
        of_item = other.groupby("item_id")["click"].agg(["sum", "count"]).reindex(range(items), fill_value=0)
        expected[each] = (of_item["sum"] + PRIOR * other["click"].mean()) / (of_item["count"] + PRIOR)
    return expected


def judged(folder: Path, campaign: str, logged: str, valued: str) -> dict[str, Any]:
    """The policy `valued`, estimated from the log of `logged`, beside the clicks of its own log."""
    log, other = (read(folder, policy, campaign) for policy in (logged, valued))
    items = int(max(log["item_id"].max(), other["item_id"].max())) + 1
    target = shares(other, items) if valued == "bts" else np.full((3, items), 1 / items)
    item, position = log["item_id"].to_numpy(), log["position"].to_numpy()
    fold = pd.Series(np.arange(len(log)) % 2, index=log.index)
    expected = clicks(log, items, fold)
    rows = Choices(
        np.arange(len(log)),
        log["propensity_score"].to_numpy(float),
        target[position, item],
        log["click"].to_numpy(float),
        expected[fold, item],
        np.einsum("ri,ri->r", target[position], expected[fold]),
    )
    total, truth = sums(rows), float(other["click"].mean())
    found = [asdict(one) | {"covers": one.low <= truth <= one.high} for one in estimates(total)]
    weights = {"ess": round(total.effective), "max_weight": round(total.max_weight, 1)}
    return {"campaign": campaign, "logged": logged, "valued": valued, "truth": truth, **weights, "estimates": found}


def main() -> None:
    """Print a line for each campaign and direction."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    folder = parser.parse_args().data
    for logged, valued in (POLICIES, POLICIES[::-1]):
        for campaign in CAMPAIGNS:
            print(json.dumps(judged(folder, campaign, logged, valued)))


if __name__ == "__main__":
    main()
