"""Variants of the judged run, as contenders: BERT alone, the fusion less one part, items listed ahead."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from jobs.offline.contenders import Contenders, in_order
from jobs.offline.training_data import PastNight, Shop
from udfs.catalogue import Catalogue
from udfs.days import day_number
from udfs.encoder import base_model, model_folder, model_reader
from udfs.encoder.copurchase import POPULARITY_DAYS, recent_buyers, user_vectors
from udfs.encoder.user_encoder import UserReader, reader_of
from udfs.evaluation import metrics
from udfs.evaluation.metrics import TASK_ALL, TASK_NEW, Lists, Mask
from udfs.horizon import HORIZON_DAYS
from udfs.interactions import Codes, Floats, Interactions
from udfs.recommend import fit_ranker, ranker, scoring
from udfs.recommend.ablation import remaining, without
from udfs.recommend.feature_meanings import FEATURES
from udfs.recommend.peer_scorer import Scorer, scorer
from udfs.recommend.peer_tuning import Choice, blends
from udfs.recommend.rerank import rerank

WHOLE, WITHOUT = "refit whole", "refit without "
LISTED = ", coming items listed"  # the contender of this name, had the shop described its items before it sells them
ARRIVALS_EVERY = 10  # of jobs/rank_recommendations.py: one in so many places of its lists is reserved for such items
TUNED, FROZEN, ZERO_SHOT, BLENDED = "BERT fine-tuned", "BERT frozen + adapter", "BERT zero-shot", " + popularity"
# The gain from fine-tuning: each contender without it, and the same contender with it.
TUNED_OF = {FROZEN: TUNED, FROZEN + BLENDED: TUNED + BLENDED}
# A part of the fusion, and the generators that go with it.
PARTS: dict[str, tuple[str, ...]] = {
    "BERT": ("bert", "fresh"),
    "own history": ("own",),
    "ItemKNN": ("knn",),
    "what buyers turn to": ("next",),
    "co-purchase": ("basket",),
    "ALS and EASE": ("als", "ease"),
    "popularity": ("popular",),
    "trend": ("trend",),
}


def _bert_scorer(interactions: Interactions, day: int, vectors: Floats, scale: float) -> Scorer:
    """Scale x cosine of the user's pooled vector and the item's, with popularity as in the item tower."""
    history = interactions.before(day)
    pooled = user_vectors(history, vectors, day)
    plain = scorer(history, day, lambda users: np.float32(scale) * (pooled[users] @ vectors.T))
    popular = cache(lambda days: recent_buyers(history, day, days))
    return replace(plain, sold=np.abs(vectors).sum(axis=1) > 0, recent=popular)


@dataclass(frozen=True)
class JudgedNight:
    """The judged run, its inputs and its model: BERT alone and variants of its fusion are built from it.

    seen: the vectors that the run had; base_folder: BERT before any tuning; story: how its model was trained;
    max_rows: candidates of past runs that each variant's ranker learns from.
    """

    contest: Contenders
    seen: Catalogue
    shop: Shop
    folder: Path
    base_folder: Path
    story: Mapping[str, Any]
    max_rows: int

    @cached_property
    def used(self) -> tuple[str, ...]:
        """The generators of the judged run's ranker."""
        return ranker.from_json((self.folder / scoring.RANKER).read_text("utf-8")).generators

    @cached_property
    def reader(self) -> UserReader | None:
        """The learned user encoder of the model, if it has one."""
        return reader_of(self.folder)

    @cached_property
    def served(self) -> Catalogue:
        """The vector of every item's text by the model's encoder, also of items that the run did not know."""
        return self.shop.encoded(self.folder)

    @cached_property
    def base(self) -> tuple[Floats, Codes]:
        """The vectors of the different texts by the weights before any tuning, and each item's row in them."""
        return self.shop.text_vectors(self.base_folder)

    @property
    def plain(self) -> Floats:
        """The vectors of `base`, one row per item."""
        vectors, text_of = self.base
        return self.shop.catalogue.with_vectors(vectors, text_of).item_vectors()

    def past(self, listed: bool = False) -> list[PastNight]:
        """The past runs that the ranker learned from; `listed`: with the items first sold in the following 28 days."""
        with np.load(self.folder / scoring.EARLIER, allow_pickle=False) as stored:
            known = self.shop.catalogue.with_vectors(
                *_aligned(stored["items"], stored["vectors"], stored["vector_of"], self.shop)
            )
        days = sorted(day_number(dt.date.fromisoformat(night)) for night in self.story["nights"])
        if listed:
            return [self._night(known, day, listed, buyers_only=True) for day in days]
        wanted = dict.fromkeys(days, True)
        cores = os.cpu_count() or 1
        return list(self.shop.past_nights(known, wanted, self.used, cores=cores, reader=self.reader).values())

    def tonight(self, listed: bool = False) -> PastNight:
        """The judged run."""
        known = self.seen
        if listed:  # the run has no vectors of items that it did not know
            place = np.where(known.vector_of < 0, self.served.vector_of + len(known.vectors), known.vector_of)
            known = known.with_vectors(np.concatenate([known.vectors, self.served.vectors]), place.astype(np.int32))
        return self._night(known, self.contest.day, listed, buyers_only=False)

    def _night(self, known: Catalogue, day: int, listed: bool, *, buyers_only: bool) -> PastNight:
        if listed:
            known = known.listed_ahead(self.contest.interactions, day)
        return self.shop.past_night(known, day, self.used, buyers_only=buyers_only, reader=self.reader)

    def drawn(self, past: Sequence[PastNight], seed: int) -> list[PastNight]:
        """Of each run the complete lists of some users, `max_rows` candidates in all: what a ranker learns from."""
        chosen = fit_ranker.sample([night.night for night in past], self.settings(seed))
        return [night.part(rows) for night, rows in zip(past, chosen, strict=True)]

    def rank(self, contender: str, past: Sequence[PastNight], tonight: PastNight, seed: int) -> npt.NDArray[np.float64]:
        """Add the ranking of the judged run by a ranker fitted on all of `past`, and return the scores of its pairs.

        Under each further seed the contender is refitted: its first lists stay, and `refits` has the quality of all.
        """
        every = replace(self.settings(seed), max_rows=max(sum(len(night.night) for night in past) * len(past), 1))
        fitted = fit_ranker.fit_order([night.night for night in past], tuple(FEATURES), self.used, every)
        score = ranker.raw_score(fitted, tonight.night.features)
        self.contest.refit(contender, tonight.pairs.user, tonight.pairs.item, score, tonight.own)
        return score

    def settings(self, seed: int) -> fit_ranker.Settings:
        """How rankers are fitted here."""
        cores = os.cpu_count() or 1
        return fit_ranker.Settings(trees=int(self.story["trees"]), max_rows=self.max_rows, threads=cores, seed=seed)


def bert(judged: JudgedNight, say: Callable[[str], None]) -> list[Choice]:
    """BERT alone: the run's vectors, the base weights with an adapter, and without; each also with popularity.

    The adapter over the base's frozen weights comes from the model folder: it learned from the same texts and days as
    the run's encoder. Both have their weights for cosine and popularity from the tower's validation; those of the base
    are tuned on the cut 28 days earlier, which it has never seen. The base reads today's texts, the run's vectors are
    of the texts it had; few items are described again within 28 days.
    """
    contest, seen, report = judged.contest, judged.seen, judged.story["encoder"]
    has_text = (seen.vector_of >= 0)[:, None]

    def alone(vectors: Floats, scale: float) -> Scorer:
        return _bert_scorer(contest.interactions, contest.day, vectors, scale)

    tuned = alone(seen.item_vectors(), report["scale"])
    fixed = {TUNED: tuned, TUNED + BLENDED: tuned.blended(float(report["popularity"]), POPULARITY_DAYS)}
    adapter = model_reader.read_adapter(judged.folder, model_folder.FROZEN_ADAPTER)
    same = judged.story.get("base_sha256", base_model.BASE_SHA256) == base_model.base_sha256(judged.base_folder)
    if adapter is not None and same:  # a model of an earlier version, or of another base, has none that fits
        texts, text_of = judged.base
        mapped = judged.shop.catalogue.with_vectors(adapter(texts), text_of).item_vectors()
        frozen = alone(mapped * has_text, report["frozen_scale"])
        fixed |= {FROZEN: frozen, FROZEN + BLENDED: frozen.blended(float(report["frozen_popularity"]), POPULARITY_DAYS)}
    plain = judged.plain * has_text
    earlier = contest.day - HORIZON_DAYS
    users, truth = metrics.truths(contest.interactions, earlier)
    checked = _bert_scorer(contest.interactions, earlier, plain, 1.0)
    tried = blends(checked, users, truth, (TASK_ALL, TASK_NEW))
    shot, choices = alone(plain, 1.0), []
    for task in (TASK_ALL, TASK_NEW):
        best = max(tried[task], key=lambda blend: (blend.ndcg, -blend.weight))
        blended = shot.blended(best.weight, best.days)
        for name, fitted in (*fixed.items(), (ZERO_SHOT, shot), (ZERO_SHOT + BLENDED, blended)):
            contest.lists[task, name] = fitted.top(contest.users, contest.k, task == TASK_NEW)
            ndcg = metrics.ranking(contest.lists[task, name][:, :10], contest.truth[task], 10)["ndcg"]
            say(f"{task} {name}: NDCG@10 {np.nanmean(ndcg):.4f}")
        choices.append(Choice(ZERO_SHOT, task, {}, best.weight, best.ndcg, best.days))
    contest.sliced += [name for name in (TUNED, FROZEN, ZERO_SHOT) if (TASK_ALL, name) in contest.lists]
    return choices


def ablations(judged: JudgedNight, refits: int) -> list[str]:
    """Add the fusion, complete and without each of its parts, all refitted alike; return the contenders' names.

    Each part's generators are taken out of the past runs and of the judged one (udfs/recommend/ablation.py). `refits`:
    each is fitted so often, on other users and with other seeds of the trees: what a part is worth must be more than
    what one fit differs from the next.
    """
    past, tonight = judged.past(), judged.tonight()
    judged.contest.pairs = tonight.pairs
    parts = {name: part for name, part in PARTS.items() if set(part) & set(judged.used)}
    seeds = range(fit_ranker.Settings.seed, fit_ranker.Settings.seed + refits)
    drawn = {seed: judged.drawn(past, seed) for seed in seeds}
    del past
    for name, generators in {WHOLE: (), **{WITHOUT + name: part for name, part in parts.items()}}.items():
        rest = _without(tonight, generators)
        for seed in seeds:
            judged.rank(name, [_without(night, generators) for night in drawn[seed]], rest, seed)
    return [WHOLE, *(WITHOUT + name for name in parts)]


def listed_ahead(judged: JudgedNight) -> list[str]:
    """Add the fusion and BERT alone, as if the shop described items before their first sale; return their names.

    Where the catalogue comes from the sales, an item never sold is unknown and cannot be recommended. Here each run,
    past or judged, knows the texts (nothing else) of the items first sold in the 28 days after it. The fusion contends
    with its plain ranking, and with places reserved for items without a purchase.
    """
    contest = judged.contest
    tonight = judged.tonight(listed=True)
    pairs, own = tonight.pairs, tonight.own
    seed = fit_ranker.Settings.seed
    score = judged.rank(WHOLE + LISTED, judged.drawn(judged.past(listed=True), seed), tonight, seed)
    never = np.bincount(contest.history.item, minlength=len(contest.history.items)) == 0
    names = [WHOLE + LISTED, f"{WHOLE + LISTED}, every {ARRIVALS_EVERY}th place kept for them"]
    for task, rows in ((TASK_ALL, np.ones(len(own), bool)), (TASK_NEW, ~own)):
        user, item = pairs.user[rows], pairs.item[rows]
        contest.lists[task, names[1]] = _with_arrivals(contest, user, item, score[rows], never[item])
    tuned = float(judged.story["encoder"]["scale"])
    for name, vectors, scale in ((ZERO_SHOT, judged.plain, 1.0), (TUNED, judged.served.item_vectors(), tuned)):
        alone = _bert_scorer(contest.interactions, contest.day, vectors, scale)
        for task in (TASK_ALL, TASK_NEW):
            contest.lists[task, name + LISTED] = alone.top(contest.users, contest.k, task == TASK_NEW)
    names += [ZERO_SHOT + LISTED, TUNED + LISTED]
    contest.sliced += names
    return names


def _without(night: PastNight, generators: Sequence[str]) -> PastNight:
    """The run without these generators."""
    if not generators:
        return night
    label = night.night.label[remaining(night.pairs, generators)]
    pairs, features = without(night.pairs, night.night.features, generators)
    return PastNight(night.day, pairs, fit_ranker.Night(pairs.user, features, label))


def _aligned(
    items: np.ndarray[Any, Any], vectors: np.ndarray[Any, Any], vector_of: Codes, shop: Shop
) -> tuple[np.ndarray[Any, Any], Codes]:
    """Vectors of a list of items, with the row of each of the shop's item codes."""
    place = pd.Index(items).get_indexer(pd.Index(shop.catalogue.items))
    return vectors, np.where(place >= 0, vector_of[place], -1).astype(np.int32)


def _with_arrivals(contest: Contenders, user: Any, item: Any, score: Any, arrivals: Mask) -> Lists:
    """Lists with each ARRIVALS_EVERY-th place reserved for an item without a purchase."""
    order, place = scoring.best_first(user, item, score)
    is_judged = np.isin(user[order], contest.users)
    rows, worth = order[is_judged], 1 / (1.0 + place[is_judged])  # a score of any sign, in its order
    chosen = rerank(user[rows], worth, contest.k, arrivals=arrivals[rows], every=ARRIVALS_EVERY)
    return in_order(contest, user, item, rows[chosen])
