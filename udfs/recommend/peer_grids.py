"""What is tried of each peer.

A grid has the values that our own model of the peer's family uses (tests/unit/test_peer_tuning.py): a lead is then one
of method, not of tuning.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from udfs.evaluation.metrics import TASK_ALL, TASK_NEW
from udfs.recommend.peer_scorer import WINDOWS, Scorer
from udfs.recommend.peers import als, bpr, ease, item_knn, own_history, popularity, tifu_knn

Params: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Peer:
    """A kind of peer: how to fit it, what to try, on which tasks it has lists, whether it also comes blended."""

    fit: Callable[..., Scorer]
    grid: tuple[Params, ...]
    tasks: tuple[str, ...] = (TASK_ALL, TASK_NEW)
    blends: bool = True


PEERS: dict[str, Peer] = {
    "popularity": Peer(popularity, tuple({"days": days} for days in WINDOWS), blends=False),
    "own_history": Peer(
        own_history,
        (
            {"half_life": 60},
            {"half_life": 120},
            {"half_life": 14},
            {"half_life": 45},
            {"half_life": 180},
            {"half_life": 60, "shape": 0.5},
            {"half_life": 120, "shape": 0.5},
            {"half_life": 240, "shape": 0.5},
        ),
        (TASK_ALL,),
    ),
    "item_knn": Peer(
        item_knn,
        (
            {"pair_half_life": 20, "half_life": 365},
            {"pair_half_life": 20, "half_life": 120},
            {"pair_half_life": 30, "half_life": 120},
            {"pair_half_life": None, "half_life": 120},
            {"pair_half_life": None, "half_life": 120, "others": 0.1},
            {"pair_half_life": 180, "half_life": 120, "others": 0.1},
            {"pair_half_life": None, "half_life": 60, "others": 0.02},
            {"pair_half_life": None, "half_life": 60, "others": 0.002},
            {"neighbours": 100, "shrinkage": 10.0, "half_life": 120, "others": 0.1},
        ),
    ),
    "ease": Peer(ease, ({"ridge": 100}, {"ridge": 400}, {"ridge": 400, "half_life": None})),
    "als": Peer(
        als,
        (
            {},
            {"half_life": None},
            {"factors": 128},
            {"factors": 128, "alpha": 5.0},
            {"factors": 64, "alpha": 5.0, "ridge": 30.0, "iterations": 10},
            {"factors": 128, "alpha": 5.0, "ridge": 30.0},
            {"factors": 128, "alpha": 1.0, "ridge": 30.0},
        ),
    ),
    "bpr": Peer(bpr, ({}, {"iterations": 20})),
    "tifu_knn": Peer(
        tifu_knn,
        (
            {},
            {"neighbours": 100},
            {"neighbours": 900},
            {"own_share": 0.9},
            {"own_share": 0.4},
            {"own_share": 0.4, "neighbours": 100},
            {"groups": 15, "between": 0.9, "within": 1.0},
            {"groups": 15, "between": 0.9, "within": 1.0, "neighbours": 100},
            {"groups": 15, "between": 0.9, "within": 1.0, "neighbours": 900},
        ),
    ),
}
