"""How an item tower is trained, and the report of one training run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from udfs.encoder.copurchase import Pooling

Method = Literal["full", "lora"]


@dataclass(frozen=True)
class TowerSettings:
    """How a tower is trained; the pooling also serves."""

    max_steps: int = 240  # 0: no search, the base goes on to learn (refit_steps)
    refit_steps: int = 120
    # Many small steps: of the same passes over the texts, steps of 512 items and 256 users had learned less than half
    # as much (NDCG@10 alone +3 to +9 % over the frozen map, of 128 and 64 +16 to +18 %).
    slice_items: int = 128
    batch_size: int = 64
    learning_rate: float = 7e-4
    adapter_rate: float = 2e-3
    warmup_share: float = 0.1
    tuned_layers: int = 1  # the uppermost ones; what is below stays the base's, and its output is computed once
    distil: float = 30.0  # weight of (1 - cosine) to the learned vectors against the next-purchase loss
    adapter_epochs: float = 3.0
    epochs: float = 4.0
    refit_epochs: float = 2.0
    evaluate_every: int = 40
    patience: int = 2
    may_stay_frozen: bool = True  # whether a map over the weights as they were is written where tuning is no better
    max_item_tokens: int = 32
    method: Method = "full"  # what of the layers above the frozen ones learns: all, or low-rank matrices beside them
    lora_rank: int = 8
    lora_rate: float = 5e-3
    pooling: Pooling = field(default_factory=Pooling)

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise ValueError(f"method is {self.method!r}; it must be one of {', '.join(get_args(Method))}")
        if self.lora_rank < 1:
            raise ValueError(f"lora_rank is {self.lora_rank}; it must be at least 1")

    @property
    def top_rate(self) -> float:
        """The learning rate of what learns within BERT."""
        return self.lora_rate if self.method == "lora" else self.learning_rate


@dataclass(frozen=True)
class TowerPoint:
    """One evaluation: after which step, the mean loss since the last, NDCG@10 of items new to their users."""

    step: int
    loss: float
    ndcg: float
    ndcg_with_popularity: float


@dataclass(frozen=True)
class TowerReport:
    """One training run; `frozen` is an adapter alone over the base's weights, `learned` the vectors BERT imitates.

    Both had the same passes over the same examples. tuned: whether the tuned weights were better than `frozen`, and
    so were written. Serve scale x cosine + popularity x recent_buyers; frozen_scale and frozen_popularity are what
    goes best with `frozen`.
    """

    steps: int
    best_step: int
    examples: int
    seconds: float
    step_seconds: float  # a step's mean before the refit; 0 where a resumed run had none left
    frozen: TowerPoint
    learned: TowerPoint
    best: TowerPoint
    scale: float
    popularity: float
    frozen_scale: float
    frozen_popularity: float
    tuned: bool
    curve: tuple[TowerPoint, ...]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TowerReport:
        """The report from its asdict()."""
        points = {name: TowerPoint(**values[name]) for name in ("frozen", "learned", "best")}
        return cls(**{**values, **points, "curve": tuple(TowerPoint(**row) for row in values["curve"])})
