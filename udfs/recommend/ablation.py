"""A past run as it would have been without some of its generators."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from udfs.evaluation.metrics import Mask
from udfs.interactions import Floats
from udfs.recommend.candidates import GENERATORS, Candidates
from udfs.recommend.feature_meanings import FEATURES
from udfs.recommend.features import Columns, blends, generator_columns

POPULAR = "user_taste_popular"  # the user's mean of what the generator `popular` scores by


def remaining(pairs: Candidates, generators: Collection[str]) -> Mask:
    """[candidates]: whether any other generator proposes the pair."""
    return np.asarray(pairs.proposed[:, ~np.isin(GENERATORS, list(generators))].any(axis=1))


def without(pairs: Candidates, features: Floats, generators: Collection[str]) -> tuple[Candidates, Floats]:
    """Candidates and features [candidates, FEATURES] of the run without these generators.

    Nothing of theirs is left: neither the pairs that they alone propose, nor their votes, nor their scores, nor what
    those pairs did to the places and z-scores of other generators. What is not of a generator stays as it was.
    """
    gone, rows = np.isin(GENERATORS, list(generators)), remaining(pairs, generators)
    kept = pairs.part(rows)
    scores, proposed = kept.scores.copy(), kept.proposed.copy()
    scores[:, gone], proposed[:, gone] = np.nan, False
    kept = replace(kept, scores=scores, proposed=proposed)
    if "knn" in generators:  # whose score the carriers explain
        nothing = np.full(len(kept), np.nan, np.float32)
        kept = replace(kept, reason=np.full(len(kept), -1, np.int32), carried=nothing, carriers=nothing)
    table = features[rows].copy()
    place = {name: number for number, name in enumerate(FEATURES)}
    if "popular" in generators:
        table[:, place[POPULAR]] = np.nan
    columns: Columns = {name: table[:, number] for name, number in place.items()}
    if len(kept):
        columns |= generator_columns(kept)
        columns |= blends(columns)
    return kept, np.stack([columns[name] for name in FEATURES], axis=1).astype(np.float32)
