"""The user encoder of one training: it learns before the ranker's past runs, and serves if it beats the mean vector."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from jobs.offline.served_encoder import Figures
from jobs.offline.training_data import Shop
from udfs.catalogue import Catalogue
from udfs.encoder import model_reader, user_tower
from udfs.encoder.tower_checks import Checks
from udfs.encoder.user_encoder import MEAN_LINES, Mean, TowerEncoder, UserReader
from udfs.encoder.user_examples import UserExamples
from udfs.encoder.user_tower import UserSettings
from udfs.encoder.user_training import UserLearning, learn
from udfs.horizon import HORIZON_DAYS
from udfs.interactions import Floats

# mean: a user's vector is the mean of their items'; bert: that of a BERT which reads the user's purchases, where it is
# better. It is what encode_users writes, and what the generators and features named bert and fresh compare items with.
UserEncoderKind: TypeAlias = Literal["mean", "bert"]

FEWEST_EXAMPLES = 1_000  # baskets with an earlier one and a new item after it; a tower learns nothing of fewer


@dataclass(frozen=True)
class UserPlan:
    """Which user encoder a training fits, and in how many steps."""

    kind: UserEncoderKind
    seed: int
    steps: int = UserLearning.steps


def fit_users(
    shop: Shop,
    known: Catalogue,
    day: int,
    base: Path,
    output: Path,
    plan: UserPlan,
    say: Callable[[str], None],
    done: Callable[[float], None] = lambda _share: None,
) -> tuple[UserReader | None, Figures]:
    """The learned user encoder, or None where the mean vector is to serve, and figures of both.

    It learns from the purchases before the 28 days that end at `day`; in these it must rank the new items of their
    buyers better than the mean vector does. Its files are written to `output`. base: a model folder with the weights
    that the layers start from.
    """
    import torch

    shutil.rmtree(output, ignore_errors=True)  # of a training killed at this point
    torch.set_num_threads(os.cpu_count() or 1)
    vectors, cut, model = known.item_vectors(), day - HORIZON_DAYS, model_reader.read_model(base)[0]
    layers = min(UserSettings.layers, model.config.num_hidden_layers)
    settings = UserSettings(vectors.shape[1], model.config.num_attention_heads, layers)
    examples = UserExamples(shop.interactions, vectors, cut, settings.max_lines)
    if len(examples) < FEWEST_EXAMPLES or not plan.steps:
        say(f"user encoder: {len(examples):,} baskets with a new item after them are too few; the mean vector serves")
        return None, {}
    tower, how = user_tower.tower_over(model, settings, plan.seed), UserLearning(steps=plan.steps)
    learned = learn(tower, examples, vectors, how, plan.seed, done=lambda step: done(step / plan.steps))
    reader = UserReader(TowerEncoder(tower), settings.max_lines)
    checks = Checks(shop.interactions.as_known(day), cut)

    def ndcg(of: UserReader) -> float:
        users: Floats = of(checks.history, vectors, cut)[checks.users]
        return checks.of_users(users, vectors, learned.scale)[1]

    figures = {"user_encoder_ndcg": ndcg(reader), "user_encoder_ndcg_mean": ndcg(UserReader(Mean(), MEAN_LINES))}
    better = figures["user_encoder_ndcg"] > figures["user_encoder_ndcg_mean"]
    both = " and, of the mean vector, ".join(f"{value:.4f}" for value in figures.values())
    say(f"user encoder: NDCG@10 on new items {both}{'' if better else '; the mean vector serves'}")
    if not better:
        return None, figures
    output.mkdir(parents=True, exist_ok=True)
    user_tower.write_tower(tower, output)
    return reader, figures
