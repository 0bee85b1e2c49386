"""Area under the ROC curve."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata


def auc(score: npt.NDArray[np.floating], positive: npt.NDArray[np.bool_]) -> float:
    """Probability that a positive row is scored above another (Mann and Whitney); ties count half.

    NaN where all rows are positive, or none.
    """
    count = int(positive.sum())
    pairs = count * (len(positive) - count)
    above = float(rankdata(score)[positive].sum()) - count * (count + 1) / 2
    return above / pairs if pairs else float("nan")
