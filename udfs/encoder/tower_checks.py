"""How good an item tower's vectors are on purchases that it has not seen: NDCG@10 of items new to their users."""

from __future__ import annotations

import numpy as np

from udfs.encoder.copurchase import Pooling, recent_buyers, user_vectors
from udfs.evaluation import metrics
from udfs.interactions import Floats, Interactions
from udfs.top_k.exact import best_columns

POPULARITY_WEIGHTS = (0.5, 0.7, 1.0, 1.2, 1.4, 1.7, 2.0, 2.8)


class Checks:
    """What known users bought in the 28 days after a cut, of items new to them: the measure of every step."""

    def __init__(self, interactions: Interactions, cut: int) -> None:
        """Users with a purchase before the cut and a new item after it."""
        self.cut, self.history = cut, interactions.before(cut)
        users, truths = metrics.truths(interactions, cut)
        truth = truths[metrics.TASK_NEW]
        some = np.flatnonzero(truth.getnnz(axis=1))
        self.users, self.truth = users[some], truth[some]
        self.owned = self.history.matrix()[self.users]
        self.recent = recent_buyers(self.history, cut)
        self.offered = np.bincount(self.history.item, minlength=len(interactions.items)) > 0

    def measure(self, vectors: Floats, pooling: Pooling, scale: float) -> tuple[float, float, float]:
        """Mean NDCG@10 of the vectors alone, and blended with the best of POPULARITY_WEIGHTS, and that weight."""
        return self._blended(self._scores(vectors, pooling, scale))

    def of_users(self, users: Floats, vectors: Floats, scale: float) -> tuple[float, float, float]:
        """The same with these vectors of the users, [users, dims]."""
        return self._blended(self._scores_of(users, vectors, scale))

    def _blended(self, scores: Floats) -> tuple[float, float, float]:
        blends = [(self._ndcg(scores + weight * self.recent), weight) for weight in POPULARITY_WEIGHTS]
        best, weight = max(blends)
        return self._ndcg(scores), best, weight

    def by_user(
        self, vectors: Floats, pooling: Pooling, scale: float, popularity: float
    ) -> tuple[metrics.PerUser, metrics.PerUser]:
        """NDCG@10 of each user by the vectors alone, and blended with popularity of this weight."""
        scores = self._scores(vectors, pooling, scale)
        return self._ranked(scores), self._ranked(scores + np.float32(popularity) * self.recent)

    def _scores(self, vectors: Floats, pooling: Pooling, scale: float) -> Floats:
        """[users, items]; -inf for what cannot be in a list."""
        return self._scores_of(user_vectors(self.history, vectors, self.cut, pooling)[self.users], vectors, scale)

    def _scores_of(self, users: Floats, vectors: Floats, scale: float) -> Floats:
        scores = np.float32(scale) * (users @ vectors.T)
        scores[:, ~self.offered] = -np.inf
        scores[self.owned.nonzero()] = -np.inf
        return scores

    def _ranked(self, scores: Floats) -> metrics.PerUser:
        return metrics.ranking(best_columns(scores, 10), self.truth, 10)["ndcg"]

    def _ndcg(self, scores: Floats) -> float:
        return float(np.mean(self._ranked(scores))) if len(scores) else 0.0
