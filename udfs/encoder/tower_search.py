"""The state of one training of an item tower, as its checkpoint stores it: the best step so far, and the refit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from udfs.encoder import checkpoint as checkpoints
from udfs.encoder.tower_bert import Tower
from udfs.encoder.tower_checks import Checks
from udfs.encoder.tower_settings import TowerPoint
from udfs.encoder.tower_steps import TuningSteps
from udfs.interactions import Floats


class TowerSearch:
    """The evaluations of a tower, which of them is best, and the weights and vectors at that step.

    scale: what cosines are multiplied by in each evaluation. checkpoint: where the state is stored; None for nowhere.
    """

    def __init__(
        self, tower: Tower, checks: Checks, scale: float, log: Callable[[str], None], checkpoint: Path | None
    ) -> None:
        self.tower, self.checks, self.scale, self.log, self.checkpoint = tower, checks, scale, log, checkpoint
        self.settings = tower.settings
        self.best_vectors = tower.mapped(tower.lower.vectors)
        self.best, self.best_state = self.point(self.best_vectors), tower.state()
        self.curve, self.stale, self.refitted = [self.best], 0, 0
        self._saved = checkpoints.read(checkpoint)

    @property
    def step(self) -> int:
        """The last step evaluated."""
        return self.curve[-1].step

    def point(self, vectors: Floats, step: int = 0, loss: float = float("nan")) -> TowerPoint:
        """The evaluation of these vectors."""
        alone, blended, _ = self.checks.measure(vectors, self.settings.pooling, self.scale)
        return TowerPoint(step, loss, alone, blended)

    def resume(self, steps: TuningSteps) -> None:
        """Go on from the checkpoint, if there is one."""
        saved = self._saved
        if saved is None:
            return
        self.curve = [TowerPoint(**row) for row in saved.note["curve"]]
        self.best, self.stale = TowerPoint(**saved.note["best"]), saved.note["stale"]
        self.best_state, self.refitted = saved.part("best"), saved.note["refitted"]
        self.log(f"resumed after step {self.step}" + (f" and {self.refitted} of the refit" if self.refitted else ""))
        if self.best.step:
            self.tower.load(self.best_state)
            self.best_vectors = self.tower.encode()
        if not self.refitted:
            steps.restore(saved)

    def run(self, steps: TuningSteps) -> None:
        """Tune until max_steps, or until `patience` evaluations in a row are no better than the best."""
        most, every = self.settings.max_steps, self.settings.evaluate_every
        while self.step < most and self.stale < self.settings.patience:
            stop = min(self.step + every, most)
            loss = steps.run(self.step, stop, most)
            vectors = self.tower.encode()
            last = self.point(vectors, stop, loss)
            self.curve.append(last)
            self.log(f"step {stop}: loss {loss:.3f}, NDCG@10 {last.ndcg:.4f}, {last.ndcg_with_popularity:.4f}")
            self.stale += 1
            if last.ndcg_with_popularity > self.best.ndcg_with_popularity:
                self.best, self.best_state, self.best_vectors, self.stale = last, self.tower.state(), vectors, 0
            self._save(steps)

    def refit(self, steps: TuningSteps) -> None:
        """Learn the newest days too, `refit_steps` from the best step on."""
        most = self.settings.refit_steps
        if self._saved is not None and self.refitted:
            steps.restore(self._saved)
        while self.refitted < most:
            stop = min(self.refitted + self.settings.evaluate_every, most)
            loss = steps.run(self.refitted, stop, most)
            self.refitted = stop
            self.log(f"refit on all days before the cut, step {stop}: loss {loss:.3f}")
            self._save(steps)

    def end(self) -> None:
        """Remove the checkpoint."""
        if self.checkpoint is not None:
            self.checkpoint.unlink(missing_ok=True)

    def _save(self, steps: TuningSteps) -> None:
        points: dict[str, Any] = {"curve": [asdict(row) for row in self.curve], "best": asdict(self.best)}
        tensors = steps.tensors() | {f"best.{name}": value for name, value in self.best_state.items()}
        checkpoints.write(self.checkpoint, tensors, points | {"stale": self.stale, "refitted": self.refitted})
