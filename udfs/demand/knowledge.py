"""Knowledge of past runs: from which day a row was known, and from which day it was undone (returned, or replaced)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from udfs.days import NEVER

Days = npt.NDArray[np.int64]


def knowledge_of(rows: pd.DataFrame) -> tuple[Days, Days]:
    """Known and undone of each row; by default known on its day and never undone."""
    known = np.asarray(rows["known"] if "known" in rows else rows["day"], np.int64)
    return known, np.asarray(rows["undone"], np.int64) if "undone" in rows else np.full(len(rows), NEVER)


def holds(known: Days, undone: Days, day: int) -> npt.NDArray[np.bool_]:
    """Whether the run of a day knew each row, and not that it was undone."""
    return (known <= day) & (undone > day)


def undone_by(undone: Days, day: int) -> Days:
    """The days as the run of a day knew them: NEVER for what was undone later."""
    return np.where(undone <= day, undone, NEVER)
