"""The sentiment model's training: a head over frozen vectors, then the upper layers of the BERT with it.

Multiple-instance learning: the stars of a review are all that is known of its clauses. A clause's score and attention
are linear in its vector; the mean of the scores by attention goes through an ordinal head, whose likelihood is the
loss.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from udfs.encoder import model_reader
from udfs.encoder.copurchase import example_rows
from udfs.encoder.lower_layers import LowerLayers
from udfs.encoder.packed import plain_attention, stacked, through
from udfs.sentiment import model
from udfs.sentiment.model import Doubles, Floats, Head, Rows

MAX_GRADIENT_NORM = 1.0
FROZEN_STEPS, FROZEN_RATE = 400, 0.05  # of the head over frozen vectors


@dataclass(frozen=True)
class Settings:
    """Knobs of a training. tuned_layers: the uppermost ones; epochs: passes over the reviews, 0 tunes no layer."""

    tuned_layers: int = 2
    epochs: int = 3
    batch_size: int = 32
    rate: float = 1e-4
    head_rate: float = 2e-3
    dropout: float = 0.1
    warmup_share: float = 0.1
    max_tokens: int = 48


@dataclass(frozen=True)
class Reviews:
    """Clauses of reviews: text [clauses], row of each in the different texts; start [reviews + 1]; stars [reviews]."""

    text: Rows
    start: Rows
    stars: Rows

    def __len__(self) -> int:
        return len(self.stars)

    @property
    def review(self) -> Rows:
        """The review of each clause."""
        return np.repeat(np.arange(len(self)), np.diff(self.start))

    def take(self, rows: Rows) -> Reviews:
        """These reviews, in this order."""
        parts = [self.text[self.start[row] : self.start[row + 1]] for row in rows]
        start = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
        return Reviews(np.concatenate([*parts, np.empty(0, np.int64)]), start.astype(np.int64), self.stars[rows])


class Bert:
    """The layers that learn over the cached output of those below."""

    def __init__(self, lower: LowerLayers) -> None:
        self.lower = lower
        self.model, _, _ = model_reader.read_model(lower.base)
        self.top = self.model.encoder.layer[lower.count :]
        self.heads = self.model.config.num_attention_heads

    def vectors(self, texts: Rows) -> Any:
        """Unit vectors of these texts [texts, dims], with gradients."""
        import torch
        from torch.nn import functional

        hidden = torch.cat([self.lower.of([row])[0] for row in texts.tolist()])
        lengths = torch.tensor([len(self.lower.ids[row]) for row in texts.tolist()])
        bounds = torch.cat([torch.zeros(1, dtype=torch.int32), lengths.cumsum(0).int()])
        with torch.autocast(**self.lower.autocast):
            for layer in self.top:
                hidden = through(stacked(layer), self.heads, hidden, plain_attention, bounds, int(lengths.max()))
        of_text = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
        sums = torch.zeros(len(lengths), hidden.shape[1]).index_add(0, of_text, hidden.float())
        return functional.normalize(sums, dim=-1)

    def all_vectors(self) -> Floats:
        """The vectors of every text as the weights are now, in the form that will be served."""
        import torch

        if self.lower.form == "int8":
            return self.lower.int8_vectors(self.model)
        lengths = np.array([len(ids) for ids in self.lower.ids])
        order = np.argsort(lengths, kind="stable")
        with torch.inference_mode():
            parts = [self.vectors(order[at : at + 128]).numpy() for at in range(0, len(order), 128)]
        found: Floats = np.empty((len(order), self.lower.dims), np.float32)
        found[order] = np.concatenate(parts)
        return found


class HeadInTraining:
    """The head as torch parameters."""

    def __init__(self, dims: int, stars: Rows) -> None:
        import torch

        below = np.array([(stars <= k).mean() for k in range(1, 5)]).clip(1e-3, 1 - 1e-3)
        logits = np.log(below / (1 - below))
        self.score = torch.zeros(dims, requires_grad=True)
        self.attention = torch.zeros(dims, requires_grad=True)
        self.first = torch.tensor(float(logits[0]), requires_grad=True)
        self.gaps = torch.tensor(np.log(np.diff(logits).clip(0.05)), dtype=torch.float32, requires_grad=True)

    @property
    def parameters(self) -> list[Any]:
        """All that learns."""
        return [self.score, self.attention, self.first, self.gaps]

    def thresholds(self) -> Any:
        """Four, ascending."""
        import torch

        return torch.cat([self.first[None], self.first + self.gaps.exp().cumsum(0)])

    def loss(self, vectors: Any, review: Any, stars: Any) -> Any:
        """Mean negative log likelihood of the stars [reviews]; vectors [clauses, dims], review [clauses]."""
        import torch
        from torch.nn import functional

        bound = model.MOST_ATTENTION
        weights = (vectors @ self.attention).clamp(-bound, bound).exp()
        count = len(stars)
        total = torch.zeros(count).index_add(0, review, weights)
        mean = torch.zeros(count).index_add(0, review, weights * (vectors @ self.score)) / total
        cut = self.thresholds()[None, :] - mean[:, None]  # P(stars <= k) is its logistic function
        upper = torch.cat([cut, torch.full((count, 1), 30.0)], 1).gather(1, stars[:, None] - 1)[:, 0]
        lower = torch.cat([torch.full((count, 1), -30.0), cut], 1).gather(1, stars[:, None] - 1)[:, 0]
        # log(sigmoid(upper) - sigmoid(lower)), stable
        log_p = functional.logsigmoid(upper) + functional.logsigmoid(-lower)
        log_p = log_p + torch.log1p(-(lower - upper).exp().clamp(max=1 - 1e-6))
        return -log_p.mean()

    def fixed(self) -> Head:
        """As it is now."""
        thresholds = tuple(map(float, self.thresholds().detach()))
        score, attention = (tuple(map(float, each.detach())) for each in (self.score, self.attention))
        return Head(score, attention, thresholds, 1.0, thresholds)


def fit_frozen(head: HeadInTraining, vectors: Floats, reviews: Reviews) -> None:
    """Learn the head over vectors that do not change, on all reviews at once."""
    import torch

    rows = torch.from_numpy(vectors[reviews.text])
    review, stars = torch.from_numpy(reviews.review), torch.from_numpy(reviews.stars)
    optimizer = torch.optim.Adam(head.parameters, lr=FROZEN_RATE)
    for step in range(FROZEN_STEPS):
        optimizer.param_groups[0]["lr"] = FROZEN_RATE * (1 - step / FROZEN_STEPS)
        loss = head.loss(rows, review, stars) + 1e-5 * (head.score.square().sum() + head.attention.square().sum())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def tune(
    bert: Bert,
    head: HeadInTraining,
    reviews: Reviews,
    settings: Settings,
    seed: int,
    log: Callable[[str], None],
    stepped: Callable[[float], None] = lambda _share: None,
) -> None:
    """Fine-tune the upper layers and the head together; ArithmeticError where the loss is no number."""
    import torch

    total = settings.epochs * -(-len(reviews) // settings.batch_size)
    torch.manual_seed(seed)
    optimizer = torch.optim.AdamW(
        [
            {"params": list(bert.top.parameters()), "lr": settings.rate},
            {"params": head.parameters, "lr": settings.head_rate},
        ],
        weight_decay=0.01,
    )
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    warmup, started, losses = max(1, round(settings.warmup_share * total)), time.perf_counter(), []
    for step, rows in enumerate(example_rows(len(reviews), settings.batch_size, seed, total)):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * min((step + 1) / warmup, (total - step) / max(1, total - warmup))
        batch = reviews.take(np.asarray(rows))
        different, place = np.unique(batch.text, return_inverse=True)
        vectors = bert.vectors(different)[torch.from_numpy(place)]
        vectors = torch.nn.functional.dropout(vectors, settings.dropout)
        loss = head.loss(vectors, torch.from_numpy(batch.review), torch.from_numpy(batch.stars))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(bert.top.parameters()), MAX_GRADIENT_NORM)
        optimizer.step()
        losses.append(loss.item())
        stepped((step + 1) / total)
        if not np.isfinite(losses[-1]):
            raise ArithmeticError(f"loss {losses[-1]} at step {step + 1}: set a lower rate than {settings.rate}")
        if (step + 1) % 100 == 0:
            pace = (time.perf_counter() - started) / (step + 1)
            log(f"step {step + 1}/{total}: loss {np.mean(losses[-100:]):.4f}, {pace:.2f} s/step")


def calibrated(head: Head, vectors: Floats, reviews: Reviews) -> Head:
    """The head with slope and thresholds of reviews by maximum likelihood on reviews that it has not learned from."""
    from scipy.optimize import minimize

    scores = mean_scores(head, vectors, reviews)
    start = np.array([1.0, head.thresholds[0], *np.log(np.diff(head.thresholds))])
    rows = np.arange(len(reviews))

    def unpacked(values: Doubles) -> tuple[float, Doubles]:
        return float(values[0]), np.cumsum(np.r_[values[1], np.exp(values[2:])])

    def loss(values: Doubles) -> float:
        slope, thresholds = unpacked(values)
        p = model.ordinal(slope * scores, thresholds.tolist())
        return float(-np.log(p[rows, reviews.stars - 1].clip(1e-9)).mean())

    slope, thresholds = unpacked(minimize(loss, start, method="L-BFGS-B").x)
    return replace(head, slope=slope, review_thresholds=tuple(map(float, thresholds)))


def mean_scores(head: Head, vectors: Floats, reviews: Reviews) -> Doubles:
    """The mean score of each review."""
    scores, weights = head.scores(vectors), head.weights(vectors)
    return model.means(scores[reviews.text], weights[reviews.text], reviews.review, len(reviews))


def predicted(head: Head, vectors: Floats, reviews: Reviews) -> Doubles:
    """P(stars) of each review [reviews, 5]."""
    return head.of_reviews(mean_scores(head, vectors, reviews))


def reviews_of(clauses: Sequence[Sequence[str]], stars: Sequence[int]) -> tuple[list[str], Reviews]:
    """The different texts, and the reviews by them."""
    place: dict[str, int] = {}
    text = [place.setdefault(clause, len(place)) for each in clauses for clause in each]
    start = np.concatenate([[0], np.cumsum([len(each) for each in clauses])]).astype(np.int64)
    return list(place), Reviews(np.array(text, np.int64), start, np.asarray(stars, np.int64))
