"""One result is one fine-tuned encoder: BERT taught that a history's vector lies near the next purchase's.

The budget is counted in steps, never in seconds: the same seed, data, machine and number of threads give the
same weights. Dropout stays off: a few hundred steps see each example about once, so there is nothing to
overfit.
"""

import json
import math
import os
import shutil
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from udfs import encoder
from udfs.contrastive import batches, contrastive_loss, embed

COLUMNS = ("split", "user_id", "history", "item_text", "item_count")
SECONDS_BETWEEN_LOGS = 5.0
MAX_GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class Metrics:
    """How well the bought text is found among all distinct item texts of the examples: means, 0 to 1."""

    recall_at_20: float
    mrr: float

    @property
    def quality(self) -> float:
        """What the best step has most of: how many are found, plus how high; each alone is blind."""
        return self.recall_at_20 + self.mrr


@dataclass(frozen=True)
class CurvePoint:
    """One evaluation: after which step, the mean training loss since the last one, the metrics."""

    step: int
    loss: float
    validation: Metrics


@dataclass(frozen=True)
class TrainingReport:
    """One training run; best_step 0: no step beat the base weights, which were then written unchanged."""

    steps: int
    best_step: int
    train_examples: int
    validation_examples: int
    seconds: float
    before: Metrics
    after: Metrics
    curve: tuple[CurvePoint, ...]


def fine_tune(
    examples: pd.DataFrame,
    base: Path,
    output: Path,
    *,
    seed: int = 7,
    max_steps: int,
    batch_size: int,
    learning_rate: float,
    warmup_share: float,
    temperature: float,
    max_history_tokens: int = 128,
    max_item_tokens: int = 32,
    evaluate_every: int,
    patience: int,
    log: Callable[[str], None],
    device: str = "cpu",
) -> TrainingReport:
    """The report of one run; the model folder at `output` holds the weights of the best step.

    examples: one row per (history, next purchase), with split ('train' or 'validation', a split by time made
    by the caller), user_id, history (text, latest purchase first), item_text (the purchase), item_count (how
    often that text was bought in the training window, above 0). The best step has the highest
    recall@20 + MRR; training stops after `patience` evaluations without a better one. Raises ValueError on
    examples it cannot use, FileExistsError if `output` is there already, ArithmeticError if the loss is no
    longer finite.
    """
    import torch

    started = time.perf_counter()
    _check(examples, output, batch_size)
    model, tokenizer, settings = encoder.read_model(base)
    settings = encoder.Settings(output.name, settings.dims, max_history_tokens, max_item_tokens)
    model.to(device)
    precision = encoder.serving_dtype(torch.device(device), "auto")
    train, validation = (examples[examples["split"] == split] for split in ("train", "validation"))
    texts = list(dict.fromkeys(examples["item_text"]))  # also those bought in training only: a real catalogue

    def evaluate() -> Metrics:  # a copy, in serving precision: what is measured is what will be served
        return validate(encoder.Encoder(deepcopy(model), tokenizer, settings, device), validation, texts)

    def share_of_rate(step: int) -> float:  # linear up, linear down; step counts from 0
        warmup = max(1, round(warmup_share * max_steps))
        return min((step + 1) / warmup, (max_steps - step) / max(1, max_steps - warmup))

    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share_of_rate)
    before = best = evaluate()
    log(f"zero-shot: recall@20 {before.recall_at_20:.4f}, MRR {before.mrr:.4f} on {len(validation)} examples")
    best_step, best_weights = 0, deepcopy(model.state_dict())
    curve, losses = [CurvePoint(0, math.nan, before)], []
    logged, stale, seconds_in_steps, step = time.perf_counter(), 0, 0.0, 0
    stream = batches(train, tokenizer, settings, batch_size, seed)
    for step, batch in zip(range(1, max_steps + 1), stream, strict=False):  # the stream of batches has no end
        step_started = time.perf_counter()
        with torch.autocast(torch.device(device).type, precision, enabled=precision is torch.bfloat16):
            histories, items = embed(model, batch.histories, device), embed(model, batch.items, device)
        log_q, related = (torch.from_numpy(array).to(device) for array in (batch.log_q, batch.related))
        loss = contrastive_loss(histories, items, temperature, log_q, related)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise ArithmeticError(f"loss {losses[-1]} at step {step}: lower learning_rate {learning_rate}")
        now = time.perf_counter()
        seconds_in_steps += now - step_started
        if now - logged > SECONDS_BETWEEN_LOGS:
            logged, rate = now, step / seconds_in_steps
            eta = (max_steps - step) / rate
            log(f"step {step}/{max_steps}: loss {losses[-1]:.3f}, {rate:.2f} steps/s, ETA {eta:.0f} s")
        if step % evaluate_every and step < max_steps:
            continue
        metrics = evaluate()
        curve.append(CurvePoint(step, float(np.mean(losses)), metrics))
        log(f"step {step}/{max_steps}: recall@20 {metrics.recall_at_20:.4f}, MRR {metrics.mrr:.4f}")
        losses, stale = [], stale + 1
        if metrics.quality > best.quality:
            best, best_step, best_weights, stale = metrics, step, deepcopy(model.state_dict()), 0
        if stale >= patience:
            log(f"stopped: {patience} evaluations without a better one than step {best_step}")
            break
    write_model(best_weights, base, output, settings)
    seconds = time.perf_counter() - started
    return TrainingReport(step, best_step, len(train), len(validation), seconds, before, best, tuple(curve))


def validate(model: encoder.Encoder, examples: pd.DataFrame, texts: list[str]) -> Metrics:
    """The metrics of one encoder, each purchase sought among `texts`, which hold every one of them.

    A tie counts against the encoder, so a collapsed one scores nothing.
    """
    history, histories = pd.factorize(examples["history"])
    place = {text: number for number, text in enumerate(texts)}
    item = examples["item_text"].map(place).to_numpy()
    queries = model.encode(list(histories), model.settings.max_history_tokens)
    candidates = model.encode(texts, model.settings.max_item_tokens)
    ranks = np.empty(len(examples))
    order = np.argsort(history, kind="stable")
    borders = np.flatnonzero(np.diff(history[order])) + 1
    for rows in np.split(order, borders):  # the examples of one history
        scores = candidates @ queries[history[rows[0]]]
        ranks[rows] = (scores >= scores[item[rows], None]).sum(axis=1)
    return Metrics(float((ranks <= 20).mean()), float((1 / ranks).mean()))


def write_model(weights: dict[str, Any], base: Path, output: Path, settings: encoder.Settings) -> None:
    """Write one model folder: the base's config and tokenizer, new weights, settings, and last the manifest.

    Everything is written beside `output` and renamed at the end, so a reader never sees half a model.
    """
    from safetensors.torch import save_file

    folder = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    folder.mkdir(parents=True)
    try:
        for name in (encoder.CONFIG, encoder.TOKENIZER):
            shutil.copyfile(base / name, folder / name)
        save_file({name: tensor.cpu() for name, tensor in weights.items()}, folder / encoder.WEIGHTS)
        (folder / encoder.SETTINGS).write_text(json.dumps(asdict(settings), indent=2) + "\n", "utf-8")
        hashes = {path.name: encoder.sha256(path) for path in sorted(folder.iterdir())}
        (folder / encoder.MANIFEST).write_text(json.dumps(hashes, indent=2) + "\n", "utf-8")
        folder.rename(output)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check(examples: pd.DataFrame, output: Path, batch_size: int) -> None:
    if output.exists():
        raise FileExistsError(f"{output} is there already; a model is written once, under a name of its own")
    absent = [column for column in COLUMNS if column not in examples.columns]
    if absent:
        raise ValueError(f"examples lack the columns {', '.join(absent)}")
    empty = [column for column in COLUMNS if examples[column].isna().any()]
    if empty or not (examples["item_count"] > 0).all():
        raise ValueError(f"examples: nulls in {empty or 'no column'}; item_count above 0 expected")
    sizes = examples["split"].value_counts()
    if set(sizes.index) != {"train", "validation"} or sizes["train"] < batch_size:
        raise ValueError(f"train (at least {batch_size} rows) and validation expected; {sizes.to_dict()}")
