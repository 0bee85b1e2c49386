"""The encoders of one training: one for the ranker's past nights, and one that goes on up to run_date and is served."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from jobs.offline.served_encoder import Figures, ServedEncoder, folder_to_serve
from jobs.offline.training_data import Shop
from udfs.encoder import tower
from udfs.encoder.tower_settings import TowerReport, TowerSettings

MAX_TEXTS = 8_192  # the texts bought most, on which the encoder is trained; it then encodes every text


@dataclass(frozen=True)
class EncoderPlan:
    """How the encoders of a training learn, from which weights, and in which form they are served.

    `base`: the folder of the weights before any tuning. `learn_steps` bounds the steps in which the vectors that BERT
    imitates are learned; in `newest_steps` the encoder goes on up to run_date (0: it is served as it is).
    """

    base: Path
    settings: TowerSettings
    learn_steps: int
    newest_steps: int
    served: ServedEncoder
    seed: int


@dataclass(frozen=True)
class Encoders:
    """Trains the encoders in `place`; encoders left there by an equal, killed training are reused."""

    shop: Shop
    place: Path
    plan: EncoderPlan
    say: Callable[[str], None]

    def earlier(self, day: int, done: Callable[[float], None]) -> TowerReport:
        """The encoder of the purchases before `day`, from the base's weights."""
        base = self.plan.base
        return fit_encoder(
            self.shop, day, base, self.place / "earlier", self.plan, self.plan.settings, self.say, done=done
        )

    def newest(self, day: int, tuned: bool, done: Callable[[float], None]) -> None:
        """The same encoder gone on up to `day`; where the weights were not tuned, with those that they were."""
        steps = self.plan.newest_steps if tuned else 0  # the ranker learned with the frozen weights
        again = replace(self.plan.settings, max_steps=steps, refit_steps=self.plan.newest_steps)
        later = replace(self.plan, seed=self.plan.seed + 1)
        earlier, output = self.place / "earlier", self.place / "newest"
        base = self.plan.base
        fit_encoder(self.shop, day, earlier, output, later, again, self.say, untuned=base, done=done)

    def to_serve(self, name: str, day: int) -> tuple[Path, Figures]:
        """The folder to serve for the encoder `earlier` or `newest`, which knows texts before `day`; its figures."""
        plan = self.plan
        return folder_to_serve(self.place / name, self.shop.texts_before(day), plan.served, plan.seed, self.say)


def fit_encoder(
    shop: Shop,
    day: int,
    base: Path,
    output: Path,
    plan: EncoderPlan,
    settings: TowerSettings,
    say: Callable[[str], None],
    *,
    untuned: Path | None = None,
    done: Callable[[float], None] = lambda _share: None,
) -> TowerReport:
    """Fit an item tower on the purchases before `day`, written to `output` with its report; skipped if both exist.

    `untuned` are the weights before any tuning, where `base` has some.
    """
    import torch

    report_file = output.with_name(f"{output.name}.json")
    if report_file.is_file():
        say(f"this encoder is there already: {output.name}")
        return TowerReport.from_dict(json.loads(report_file.read_text("utf-8")))
    shutil.rmtree(output, ignore_errors=True)  # without its report: killed just then
    torch.set_num_threads(os.cpu_count() or 1)
    texts, lines = shop.by_text(MAX_TEXTS)
    seen = lines.before(day).known()
    examples = len(np.unique(seen.user.astype(np.int64) * 100_000 + seen.day))
    epochs = plan.learn_steps * settings.batch_size / max(examples, 1)
    bounded = replace(
        settings,
        epochs=min(settings.epochs, epochs),
        refit_epochs=min(settings.refit_epochs, epochs / 2),
        adapter_epochs=min(settings.adapter_epochs, epochs),
    )
    report = tower.train_tower(
        texts,
        lines,
        day,
        base,
        output,
        settings=bounded,
        seed=plan.seed,
        log=say,
        checkpoint=output.with_name(f"{output.name}.checkpoint"),
        untuned=untuned,
        done=done,
    )
    half = report_file.with_suffix(".tmp")
    half.write_text(json.dumps(asdict(report)), "utf-8")
    half.replace(report_file)
    return report
