"""Folder of a recommend model, and its row of ops.models."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jobs.offline.model_registry import new_row
from jobs.offline.ranker_training import Rankers
from jobs.offline.served_encoder import Served, ServedEncoder
from jobs.offline.training_data import PastNight, Shop
from schemas.job import RECOMMEND
from schemas.run import RunContext
from udfs.catalogue import Catalogue
from udfs.days import date_of
from udfs.encoder import model_folder, text_vectors
from udfs.encoder.model_folder import write_manifest
from udfs.encoder.tower_settings import TowerReport
from udfs.recommend import ranker, scoring
from udfs.recommend.feature_meanings import FEATURES
from udfs.recommend.sample_budget import SampleBudget


@dataclass(frozen=True)
class Trained:
    """Result of a training, from which the model's folder and its row of ops.models are written.

    budget: of the sample that `shop` is; known: the vectors that the rankers learned with; base: the SHA-256 of the
    weights before any tuning; serving: the encoder that is served, of that kind; past: nights by day.
    """

    run: RunContext
    shop: Shop
    budget: SampleBudget
    known: Catalogue
    base: str
    encoder: TowerReport
    kind: ServedEncoder
    serving: Served
    rankers: Rankers
    past: Mapping[int, PastNight]
    calibration: int
    trees: int

    def write(self, place: Path, users: Path, *, has_read: bool) -> Path:
        """The model's folder within `place`, named by its version: the encoder that is served, and the rest beside it.

        users: a folder with the user tower's files, if there is one.
        has_read: the vectors known are of this encoder, and the texts that it has read go into the folder.
        """
        folder = place / "served"
        shutil.rmtree(folder, ignore_errors=True)  # of a training killed at this point
        shutil.copytree(self.serving.folder, folder)
        model_folder.record_form(folder, self.serving.form)
        for name in (model_folder.USER_WEIGHTS, model_folder.USER_SETTINGS):
            if (users / name).is_file():
                shutil.copyfile(users / name, folder / name)
        (folder / scoring.RANKER).write_text(self.rankers.served.to_json(), encoding="utf-8")
        np.savez(
            folder / scoring.EARLIER,
            allow_pickle=False,
            items=self.known.items,
            vectors=self.known.vectors,
            vector_of=self.known.vector_of,
        )
        if has_read:
            _, texts = self.shop.different_texts()
            text_vectors.write(folder, texts, self.known.vectors)
        (folder / scoring.TRAINING).write_text(json.dumps(self._story(), indent=1, default=str) + "\n", "utf-8")
        write_manifest(folder)
        version = f"{self.run.run_date}-{model_folder.sha256(folder / model_folder.MANIFEST)[:8]}"
        return folder.rename(place / version)

    def _story(self) -> dict[str, Any]:
        """What was trained on what, for people and for the evaluation."""
        judged_on = self.past[self.calibration].night.features[:20_000]
        return {
            "run_date": str(self.run.run_date),
            "code_version": self.run.code_version,
            "nights": [str(date_of(night)) for night in sorted(self.past)],
            "trees": self.trees,
            "sample": self.budget.to_dict(),
            "base_sha256": self.base,
            "encoder": asdict(self.encoder),
            "served": {"encoder": self.kind, "form": self.serving.form, **self.serving.figures},
            "verdict": self.rankers.verdict,
            "features": dict(FEATURES),
            "importance": ranker.importance(self.rankers.served, judged_on, os.cpu_count() or 1),
        }

    def row(self, folder: Path) -> dict[str, Any]:
        """The row of ops.models for the folder that was written."""
        run, verdict = self.run, self.rankers.verdict
        metrics = {
            "encoder_ndcg_frozen": self.encoder.frozen.ndcg_with_popularity,
            "encoder_ndcg": self.encoder.best.ndcg_with_popularity,
            "encoder_best_step": float(self.encoder.best_step),
            "encoder_tuned": float(self.encoder.tuned),
            **self.serving.figures,
            **{name: value for name, value in verdict.items() if name != "promoted"},
        }
        return new_row(
            RECOMMEND,
            run,
            folder.name,
            base=self.base,
            weights=model_folder.sha256(model_folder.weights_file(folder)),
            trained_from=date_of(int(self.shop.interactions.day.min())),
            examples=self.encoder.examples,
            metrics=metrics,
            ranker=self.rankers.judged.to_json(),
            promoted=bool(verdict["promoted"]),
        )
