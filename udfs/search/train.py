"""The fit of the search ranker on past purchases, and its judgement on the newest ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from udfs.evaluation.metrics import Bootstrap
from udfs.horizon import HORIZON_DAYS
from udfs.interactions import Interactions
from udfs.search import gains
from udfs.search.fit_ranker import concatenated, fit
from udfs.search.past_lists import PastLists, Sample, past_lists
from udfs.search.ranker import SearchRanker

CUTS = 2  # spans of HORIZON_DAYS that a ranker learns from
USERS = 500  # whose lists are built of each span: what is near to a user costs a row of all items
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Fitted:
    """A ranker, and the one that learned nothing of the newest days, None where there was nothing to learn from.

    figures: of these days; promoted: whether it is not worse than the ranker in use beyond chance; lists: learned from.
    """

    model: SearchRanker
    judged: SearchRanker | None
    figures: Mapping[str, float]
    promoted: bool
    lists: int


def fitted(
    bought: Interactions,
    of_query: sp.csr_matrix,
    tomorrow: int,
    start: SearchRanker,
    current: SearchRanker | None,
    most: int,
    share: float = 1.0,
) -> Fitted:
    """The ranker of what users bought of what the queries ask for (`past_lists`, at most `most` of each span).

    It is judged on the newest HORIZON_DAYS by one that learned from the CUTS spans before them, beside `current`, the
    model in use, or `start`, the fixed weights. Where it loses to these beyond chance, they are the model. share: of
    the shop's buyers, those in `bought`.
    """
    cuts = [tomorrow - HORIZON_DAYS * back for back in range(1, CUTS + 2)]
    samples = [Sample(most, USERS, seed) for seed in range(len(cuts))]
    past = [past_lists(bought, of_query, *each, share=share) for each in zip(cuts, samples, strict=True)]
    held, earlier = past[0], [each for each in past[1:] if len(each.lists.label)]
    if not len(held.lists.label) or not earlier:
        return Fitted(start, None, {}, True, 0)
    trial = fit(concatenated([each.lists for each in earlier]), start)
    beside = compared(held, trial, start)
    if beside["gain_ndcg@10_high"] < 0:
        trial = model = start
    else:
        model = fit(concatenated([held.lists, *(each.lists for each in earlier)]), start)
    figures = compared(held, trial, current or start)
    lists = sum(int(each.lists.list.max()) + 1 for each in (held, *earlier))
    return Fitted(model, trial, figures, not figures["gain_ndcg@10_high"] < 0, lists)


def compared(held: PastLists, trial: SearchRanker, current: SearchRanker) -> dict[str, float]:
    """NDCG@10 of two rankers over past lists, and the gain of the first with its interval over users."""
    values = [ndcg(held, ranker.pair_score(held.lists.query_item, held.lists.user_item)) for ranker in (trial, current)]
    starts = np.flatnonzero(np.r_[True, np.diff(held.lists.list) != 0])
    _, user = np.unique(held.user[starts], return_inverse=True)
    lists = np.bincount(user).astype(float)
    gain = Bootstrap(len(lists)).ratio(np.bincount(user, values[0] - values[1]).astype(float), lists)
    names = ("gain_ndcg@10", "gain_ndcg@10_low", "gain_ndcg@10_high")
    return {"ndcg@10": float(values[0].mean())} | dict(zip(names, (gain.value, gain.low, gain.high), strict=True))


def ndcg(past: PastLists, score: Doubles) -> Doubles:
    """[lists]: NDCG@10, every item bought worth 1, of the list by score and then item."""
    number = past.lists.list
    order = np.lexsort((past.item, -score, number))
    starts = np.flatnonzero(np.r_[True, np.diff(number) != 0])
    rank = np.arange(len(number)) - starts[number] + 1
    ideal = gains.best_of_ones(past.bought[starts])
    return gains.ndcg(number, rank, past.lists.label[order], ideal)
