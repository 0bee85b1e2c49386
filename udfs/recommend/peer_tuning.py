"""Hyperparameters of peers, chosen on a validation cut for each task, and the lists of what was chosen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from udfs.evaluation.metrics import TASK_NEW, Lists, Mask, PerUser, dcg, ideal, truths
from udfs.horizon import HORIZON_DAYS
from udfs.interactions import Codes, Floats, Interactions
from udfs.recommend.peer_grids import PEERS, Params
from udfs.recommend.peer_scorer import RECENT_DAYS, USER_BLOCK, WINDOWS, Scorer, mask_own
from udfs.top_k.exact import best_columns

WEIGHTS = (0.0, 0.0003, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # the b of blends
NEAR = 1  # steps of WEIGHTS around the best of RECENT_DAYS that are tried with the other windows
TUNED_BEST, TUNED_POPULAR = 150, 250  # while tuning, a blend's list is sought among these: best, and of each window


@dataclass(frozen=True)
class Choice:
    """What tuning chose: a peer with its parameters, b and window for one task, and its NDCG on the validation cut."""

    peer: str
    task: str
    params: Params
    weight: float
    ndcg: float
    days: int = RECENT_DAYS

    @property
    def contender(self) -> str:
        """The peer's name in tables."""
        return f"{self.peer} + popularity" if self.weight else self.peer


@dataclass(frozen=True)
class Blend:
    """A blend's weight and window, and its mean NDCG on a validation cut."""

    weight: float
    days: int
    ndcg: float


def tune(name: str, interactions: Interactions, day: int, *, horizon: int = HORIZON_DAYS, k: int = 10) -> list[Choice]:
    """The best plain and the best blended form of the peer for each of its tasks, by mean NDCG@k on the cut `day`.

    Of equals the earlier in the grid and the smaller b. Purchases from day + horizon on are not used.
    """
    peer = PEERS[name]
    users, bought = truths(interactions, day, horizon)
    chosen: dict[tuple[str, bool], Choice] = {}
    for params in peer.grid:
        tried = blends(peer.fit(interactions, day, **params), users, bought, peer.tasks, k, plain=not peer.blends)
        for task, blend in ((task, blend) for task, found in tried.items() for blend in found):
            key = task, blend.weight > 0
            if key not in chosen or blend.ndcg > chosen[key].ndcg:
                chosen[key] = Choice(name, task, params, blend.weight, blend.ndcg, blend.days)
    return [chosen[key] for key in sorted(chosen)]


def blends(
    scorer: Scorer,
    users: Codes,
    bought: Mapping[str, sp.csr_matrix],
    tasks: Iterable[str],
    k: int = 10,
    *,
    plain: bool = False,
) -> dict[str, list[Blend]]:
    """Per task the blends that were tried, the one without popularity first; `plain`: that one alone.

    Every weight with the buyers of RECENT_DAYS, then the other windows with the best of these and its neighbours.
    """
    pools = _pools(scorer, users, bought, sorted(tasks))
    tried: dict[str, list[Blend]] = {}
    for task, pool in pools.items():
        tried[task] = [Blend(0.0, RECENT_DAYS, pool.ndcg(None, 0.0, k))]
        if plain:
            continue
        recent = {days: scorer.recent(days) for days in WINDOWS}
        tried[task] += [Blend(b, RECENT_DAYS, pool.ndcg(recent[RECENT_DAYS], b, k)) for b in WEIGHTS[1:]]
        place = max(range(1, len(WEIGHTS)), key=lambda place: (tried[task][place].ndcg, -place))
        for weight in WEIGHTS[max(place - NEAR, 1) : place + NEAR + 1]:
            tried[task] += [
                Blend(weight, days, pool.ndcg(recent[days], weight, k)) for days in WINDOWS if days != RECENT_DAYS
            ]
    return tried


@dataclass(frozen=True)
class _Pool:
    """Items among which a task's blended lists are sought, as ascending codes [users, items], with score and truth.

    score: -inf where an item may not be listed; ideal: each user's best DCG, NaN without truth.
    """

    items: npt.NDArray[np.int32]
    score: Floats
    bought: Mask
    ideal: PerUser

    def ndcg(self, recent: Floats | None, weight: float, k: int) -> float:
        """Mean NDCG@k of score + weight * recent; an item with a sum of 0 is not listed."""
        values = []
        for start in range(0, len(self.items), USER_BLOCK):
            rows = slice(start, start + USER_BLOCK)
            blend = self.score[rows]
            if recent is not None:
                blend = blend + np.float32(weight) * recent[self.items[rows]]
            place = best_columns(np.where(blend == 0, np.float32(-np.inf), blend), k)
            hit = np.take_along_axis(self.bought[rows], np.maximum(place, 0), axis=1) & (place >= 0)
            values.append(dcg(hit) / self.ideal[rows])
        return float(np.nanmean(np.concatenate(values)))


def _pools(
    scorer: Scorer, users: Codes, bought: Mapping[str, sp.csr_matrix], tasks: Sequence[str], k: int = 10
) -> dict[str, _Pool]:
    """Each task's pool: the items that score highest without popularity, and the most popular of each window.

    A list of `Scorer.top` may in rare cases hold another item.
    """
    popular = np.unique(
        np.concatenate(
            [np.lexsort((np.arange(len(recent)), -recent))[:TUNED_POPULAR] for recent in map(scorer.recent, WINDOWS)]
        )
    )
    is_popular = np.zeros(len(scorer.sold), np.bool_)
    is_popular[popular] = True
    parts: dict[str, list[tuple[npt.NDArray[np.int32], Floats, Mask]]] = {task: [] for task in tasks}
    for start in range(0, len(users), USER_BLOCK):
        rows = slice(start, start + USER_BLOCK)
        block = users[rows]
        base = np.where(scorer.sold, scorer.of(block), np.float32(-np.inf))
        for task in tasks:  # all items first: then the own ones are masked in place
            if task == TASK_NEW:
                mask_own(base, scorer.own[block])
            top = best_columns(np.where(base == 0, np.float32(-np.inf), base), TUNED_BEST)
            twice = (top < 0) | is_popular[top]
            items = np.hstack([np.maximum(top, 0), np.broadcast_to(popular, (len(block), len(popular)))])
            score = np.take_along_axis(base, items, axis=1)
            score[:, : top.shape[1]][twice] = -np.inf
            order = np.argsort(items, axis=1, kind="stable")
            items, score = np.take_along_axis(items, order, axis=1), np.take_along_axis(score, order, axis=1)
            wanted = np.asarray(bought[task][rows].astype(bool).toarray())
            parts[task].append((items.astype(np.int32), score, np.take_along_axis(wanted, items, axis=1)))
    pools = {}
    for task in tasks:
        if parts[task]:
            of_items, scores, hits = (np.concatenate(column) for column in zip(*parts[task], strict=True))
            pools[task] = _Pool(of_items, scores, hits, ideal(bought[task], k))
    return pools


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
            lists = scorer.blended(choice.weight, choice.days).top(users, k, choice.task == TASK_NEW)
            lists_by_choice[choice.task, choice.contender] = lists
    return lists_by_choice
