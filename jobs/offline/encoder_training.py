"""The encoders of one training: one for the ranker's past nights, and one that goes on up to run_date and is served."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from jobs.offline.served_encoder import Served, ServedEncoder, folder_to_serve
from jobs.offline.training_data import Shop
from udfs.encoder import model_reader, tower, tower_budget
from udfs.encoder.lower_layers import LowerLayers
from udfs.encoder.model_folder import Form
from udfs.encoder.tower_settings import TowerReport, TowerSettings
from udfs.interactions import Interactions

MAX_TEXTS = 8_192  # the texts bought most, on which the encoder is trained; it then encodes every text


@dataclass(frozen=True)
class EncoderPlan:
    """How the encoders of a training learn, from which weights, and in which form they are served.

    base: the folder of the weights before any tuning; seconds: the budget of the first encoder (udfs/encoder/
    tower_budget.py); steps: how many instead, if not 0; learn_steps: bounds the steps in which the vectors that BERT
    imitates are learned; newest: whether the encoder goes on up to run_date (else it is served as it is).
    """

    base: Path
    settings: TowerSettings
    seconds: int
    steps: int
    learn_steps: int
    newest: bool
    served: ServedEncoder
    form: Form
    seed: int


@dataclass(frozen=True)
class Encoders:
    """Trains the encoders in `place`; encoders left there by an equal, killed training are reused."""

    shop: Shop
    place: Path
    plan: EncoderPlan
    say: Callable[[str], None]

    @cached_property
    def _texts(self) -> tuple[list[str], Interactions]:
        return self.shop.by_text(MAX_TEXTS)

    @cached_property
    def _lower(self) -> LowerLayers:
        """The base over all texts, which both encoders share."""
        import torch

        torch.set_num_threads(os.cpu_count() or 1)
        settings = self.plan.settings
        return LowerLayers(
            self._texts[0], self.plan.base, settings.tuned_layers, settings.max_item_tokens, self.plan.form
        )

    def _settings(self, day: int) -> TowerSettings:
        """Those of the plan, with as many steps as its budget pays for and passes over the days before `day`."""
        plan, history = self.plan, self._texts[1].before(day)
        return tower_budget.planned(
            plan.settings,
            self._lower,
            history,
            seconds=plan.seconds,
            steps=plan.steps,
            learn_steps=plan.learn_steps,
        )

    def earlier(self, day: int, done: Callable[[float], None]) -> TowerReport:
        """The encoder of the purchases before `day`, from the base's weights; its report lies beside it."""
        output = self.place / "earlier"
        report_file = output.with_name(f"{output.name}.json")
        if report_file.is_file():
            self.say(f"this encoder is there already: {output.name}")
            return TowerReport.from_dict(json.loads(report_file.read_text("utf-8")))
        shutil.rmtree(output, ignore_errors=True)  # without its report: killed just then
        texts, lines = self._texts
        report = tower.train_tower(
            texts,
            lines,
            day,
            self.plan.base,
            output,
            settings=self._settings(day),
            seed=self.plan.seed,
            log=self.say,
            checkpoint=output.with_name(f"{output.name}.checkpoint"),
            lower=self._lower,
            done=done,
        )
        half = report_file.with_suffix(".tmp")
        half.write_text(json.dumps(asdict(report)), "utf-8")
        half.replace(report_file)
        return report

    def newest(self, day: int, tuned: bool, done: Callable[[float], None]) -> None:
        """The same encoder gone on up to `day`; where the weights were not tuned, the map over them alone."""
        output = self.place / "newest"
        if output.is_dir():  # written complete or not at all
            self.say(f"this encoder is there already: {output.name}")
            return
        settings = self._settings(day)
        tower.continue_tower(
            self._lower,
            self._texts[1],
            day,
            self.place / "earlier",
            output,
            settings=settings if tuned else replace(settings, refit_steps=0),  # the ranker learned with these weights
            seed=self.plan.seed + 1,
            log=self.say,
            done=done,
        )

    def to_serve(self, name: str, day: int) -> Served:
        """What is served for the encoder `earlier` or `newest`, which knows texts before `day`."""
        plan, folder = self.plan, self.place / name

        def known() -> dict[str, Any]:
            adapter = model_reader.read_adapter(folder)
            assert adapter is not None  # every tower has one
            vectors = self._lower.int8_vectors(model_reader.read_model(folder)[0])
            return dict(zip(self._lower.texts, adapter(vectors), strict=True))

        texts = self.shop.texts_before(day)
        return folder_to_serve(folder, texts, plan.served, plan.form, plan.seed, self.say, known)
