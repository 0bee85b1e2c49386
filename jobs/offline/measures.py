"""Rows of an evaluation: what a page shows and ops.metrics keeps."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from udfs.evaluation.metrics import Interval

LEAD = "lead_ndcg@10"  # mean of the leader / mean of the contender that the row names - 1, paired
EVERYONE = "coverage_everyone"  # the share of the catalogue in the lists of all users, also of those not judged
WORTH = "worth_ndcg@10"  # mean of the complete fusion / mean without the part that the row names - 1, paired
TUNING = "tuning_worth_ndcg@10"  # mean of the fine-tuned BERT / mean of the frozen one that the row names - 1, paired
GAP = "gap_ndcg@10"  # mean of a group of users less that of all others with a value of its attribute
SMALLEST_GAP = "smallest_gap_ndcg@10"  # the least such gap that so many users show four times in five


@dataclass(frozen=True)
class MeasureRow:
    """One figure of one contender on one cut: a row of ops.metrics; low and high are None without an interval."""

    cut_date: dt.date
    task: str
    contender: str
    metric: str
    slice: str
    value: float
    low: float | None
    high: float | None
    user_count: int

    @classmethod
    def of(cls, cut_date: dt.date, task: str, contender: str, metric: str, part: str, value: Interval) -> MeasureRow:
        """The row of a figure with its interval, if it has one; part: the slice."""
        return cls(cut_date, task, contender, metric, part, value.value, *value.ends, value.user_count)


@dataclass(frozen=True)
class ReliabilityRow:
    """List entries of like score: their mean score, the share that was bought with its interval, their number."""

    task: str
    predicted: float
    observed: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class ImportanceRow:
    """How much a feature moves the ranker's score, in the ranker's own unit, and what the feature is."""

    feature: str
    importance: float
    description: str = ""


@dataclass(frozen=True)
class ParameterRow:
    """What tuning chose for a contender on a task, and the NDCG@10 it had on the validation cut."""

    task: str
    contender: str
    parameters: str
    value: float | None = None
