"""Hyperparameters of peers, chosen on a validation cut for each task, and the lists of what was chosen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from udfs.evaluation.metrics import TASK_NEW, Lists, PerUser, ranking, truths
from udfs.horizon import HORIZON_DAYS
from udfs.interactions import Codes, Interactions
from udfs.recommend.peer_scorer import USER_BLOCK, Scorer, mask_own
from udfs.recommend.peers import PEERS, Params
from udfs.top_k.exact import best_columns

WEIGHTS = (0.0, 0.0003, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # the b of blends
TUNED_BEST, TUNED_POPULAR = 150, 400  # while tuning, a blend's list is sought among these many items a user


@dataclass(frozen=True)
class Choice:
    """What tuning chose: a peer with its parameters and its b for one task, and its NDCG on the validation cut."""

    peer: str
    task: str
    params: Params
    weight: float
    ndcg: float

    @property
    def contender(self) -> str:
        """The peer's name in tables."""
        return f"{self.peer} + popularity" if self.weight else self.peer


def tune(name: str, interactions: Interactions, day: int, *, horizon: int = HORIZON_DAYS, k: int = 10) -> list[Choice]:
    """The best plain and the best blended form of the peer for each of its tasks, by mean NDCG@k on the cut `day`.

    Of equals the earlier in the grid and the smaller b. Purchases from day + horizon on are not used.
    """
    peer = PEERS[name]
    users, bought = truths(interactions, day, horizon)
    weights = WEIGHTS if peer.blends else WEIGHTS[:1]
    chosen: dict[tuple[str, bool], Choice] = {}
    for params in peer.grid:
        for task, row in _ndcg(peer.fit(interactions, day, **params), users, bought, peer.tasks, weights, k).items():
            for weight, ndcg in zip(weights, row, strict=True):
                key = task, weight > 0
                if key not in chosen or ndcg > chosen[key].ndcg:
                    chosen[key] = Choice(name, task, params, weight, float(ndcg))
    return [chosen[key] for key in sorted(chosen)]


def _ndcg(
    scorer: Scorer,
    users: Codes,
    bought: Mapping[str, sp.csr_matrix],
    tasks: Iterable[str],
    weights: Sequence[float],
    k: int,
) -> dict[str, PerUser]:
    """Per task the mean NDCG@k of each weight.

    A blend's list is sought among the items that score highest without it and the most popular ones; a list of
    `Scorer.top` may in rare cases hold another.
    """
    popular = np.sort(np.lexsort((np.arange(len(scorer.recent)), -scorer.recent))[:TUNED_POPULAR])
    is_popular = np.zeros(len(scorer.recent), np.bool_)
    is_popular[popular] = True
    ndcg_by_task: dict[str, list[PerUser]] = {task: [] for task in tasks}
    for start in range(0, len(users), USER_BLOCK):
        rows = slice(start, start + USER_BLOCK)
        block = users[rows]
        base = np.where(scorer.sold, scorer.of(block), np.float32(-np.inf))
        for task in sorted(ndcg_by_task):  # all items first: then the own ones are masked in place
            if task == TASK_NEW:
                mask_own(base, scorer.own[block])
            top = best_columns(np.where(base == 0, np.float32(-np.inf), base), TUNED_BEST)
            twice = (top < 0) | is_popular[top]
            items = np.hstack([np.maximum(top, 0), np.broadcast_to(popular, (len(block), len(popular)))])
            score = np.take_along_axis(base, items, axis=1)
            score[:, : top.shape[1]][twice] = -np.inf
            order = np.argsort(items, axis=1, kind="stable")
            items, score = np.take_along_axis(items, order, axis=1), np.take_along_axis(score, order, axis=1)
            recent, truth = scorer.recent[items], bought[task][rows]
            by_weight = []
            for weight in weights:
                blend = score + np.float32(weight) * recent
                place = best_columns(np.where(blend == 0, np.float32(-np.inf), blend), k)
                lists = np.where(place < 0, -1, np.take_along_axis(items, np.maximum(place, 0), axis=1))
                by_weight.append(ranking(lists, truth, k)["ndcg"])
            ndcg_by_task[task].append(np.stack(by_weight))
    return {task: np.asarray(np.nanmean(np.hstack(parts), axis=1)) for task, parts in ndcg_by_task.items()}


def lists_of(
    choices: Sequence[Choice], interactions: Interactions, day: int, users: Codes, k: int = 10
) -> dict[tuple[str, str], Lists]:
    """The lists [users, k] of each choice, by (task, contender), fitted before `day`; equal parameters fit once."""
    lists_by_choice = {}
    fitted: dict[str, list[Choice]] = {}
    for choice in choices:
        fitted.setdefault(f"{choice.peer} {sorted(choice.params.items())}", []).append(choice)
    for alike in fitted.values():
        scorer = PEERS[alike[0].peer].fit(interactions, day, **alike[0].params)
        for choice in alike:
            lists = scorer.blended(choice.weight).top(users, k, choice.task == TASK_NEW)
            lists_by_choice[choice.task, choice.contender] = lists
    return lists_by_choice
