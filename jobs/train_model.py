"""The weekly training: BERT fine-tuned on what is bought next, then the ranker on what past nights would have said."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from jobs.offline import resume
from jobs.offline.model_registry import others_of_date, rows_of
from jobs.offline.served_encoder import Figures, ServedEncoder, folder_to_serve
from jobs.offline.training_data import PastNight, Shop, collect
from jobs.reports import progress
from schemas.errors import ConfError, DataError
from schemas.run import RunContext
from udfs.days import date_of, day_number
from udfs.encoder import model_folder, text_vectors, tower
from udfs.encoder.model_folder import write_manifest
from udfs.encoder.tower_settings import Method, TowerReport, TowerSettings
from udfs.evaluation import metrics
from udfs.horizon import HORIZON_DAYS
from udfs.recommend import candidates, fit_ranker, ranker, scoring
from udfs.recommend.feature_meanings import FEATURES

K = 10
# The phases of a training and about how long each takes, for the line of progress.
EARLIER, TEXTS, NIGHTS, RANKER, NEWEST = "encoder", "reading all texts", "past nights", "ranker", "encoder to serve"
PHASES = {EARLIER: 5.0, TEXTS: 1.5, NIGHTS: 2.0, RANKER: 2.0, NEWEST: 3.0}
MAX_TEXTS = 8_192  # the texts bought most, on which the encoder is trained; it then encodes every text


def train_model(
    events: DataFrame,
    items: DataFrame,
    models: DataFrame,
    *,
    run: RunContext,
    max_users: int = 20_000,
    encoder_method: Method = "full",
    lora_rank: int = 8,
    encoder_steps: int = 240,
    refit_steps: int = 120,
    newest_steps: int = 60,
    learn_steps: int = 400,
    evaluate_every: int = 40,
    served_encoder: ServedEncoder = "full",
    ranker_nights: int = 6,
    ranker_rows: int = 1_200_000,
    days_between_nights: int = 7,
    trees: int = 100,
    leave_out: str = "",
    seed: int = 7,
) -> DataFrame:
    """The rows of ops.models of run_date, the new model's first.

    The folder of the new model is published by `run.publish_model`.

    Nothing may be scored by what has seen its answer. With D the day after run_date: the ranker learns from
    `ranker_nights` past nights, the newest on D - 56, each with item models fitted before it, with vectors of an
    encoder trained before the oldest of them, and labelled with the 28 days that followed. The night D - 28, which
    none of this has seen, calibrates the ranker's scores and decides whether it is promoted over the one in use, by
    the ranker that ops.models keeps of that: as it was before it learned from its own newest night, whose labels lie
    in the same days.
    A ranker learns from at most `ranker_rows` candidates: whole users are drawn, and each row takes some 1.5 kB. The
    one that is served then learns from that night too, and the encoder, in `newest_steps`, up to run_date (0:
    it is served as it is). Where tuning is no better on the encoder's validation days than a linear map over the
    published weights, these are served with that map (`encoder_tuned` in ops.models.metrics is 0). At most `max_users`
    users are looked at, on the driver. `leave_out` names generators (udfs/recommend/candidates.py), with commas
    between, that propose nothing in this shop.

    `encoder_method`: what of BERT learns, all of its upper layers or low-rank matrices in them (LoRA, `lora_rank`).
    `served_encoder`: `small` serves a distillation to three layers with 8-bit products. So is then the one that the
    ranker learns with, by texts that were known before the oldest of its nights.

    A training that is killed while an encoder learns goes on from there when it is run again with the same date, conf,
    code and data, on a machine that sees the folder `checkpoints`.
    """
    if lora_rank < 1:
        raise ConfError(f"[jobs.train_model] lora_rank: must be at least 1, not {lora_rank}")
    used = _generators(leave_out)
    shop = collect(events, items, max_users)
    day = day_number(run.run_date) + 1
    calibration, newest = day - HORIZON_DAYS, day - 2 * HORIZON_DAYS
    nights = [newest - days_between_nights * number for number in range(ranker_nights)]
    first = min(nights)
    if not len(shop.interactions.before(first - HORIZON_DAYS).known()):
        raise DataError(
            f"silver.events has too few purchases to train on: some by known users before "
            f"{date_of(first - HORIZON_DAYS)} are needed for a model as of {run.run_date}"
        )
    settings = TowerSettings(
        max_steps=encoder_steps,
        refit_steps=refit_steps,
        evaluate_every=evaluate_every,
        method=encoder_method,
        lora_rank=lora_rank,
    )
    facts = {
        "first": date_of(first),
        "settings": asdict(settings),
        "newest_steps": newest_steps,
        "learn_steps": learn_steps,
        "seed": seed,
        "code": resume.code(run.code_version),
        "data": resume.data(shop),
    }
    with (
        resume.workplace(run.checkpoints, f"train_model-{run.run_date}", facts) as place,
        progress.metered(
            PHASES if newest_steps else {name: PHASES[name] for name in PHASES if name != NEWEST}
        ) as meter,
    ):
        base, earlier, newest_encoder = model_folder.base_folder(), place / "earlier", place / "newest"
        progress.say(f"encoder for the ranker's past nights: purchases before {date_of(first)}")
        meter.begin(EARLIER)
        report = fit_encoder(shop, first, base, earlier, settings, learn_steps, seed, done=meter.part)

        def to_serve(full: Path, day: int) -> tuple[Path, Figures]:
            return folder_to_serve(full, shop.texts_before(day), served_encoder, seed, progress.say)

        meter.begin(TEXTS)
        serving, smaller = to_serve(earlier, first)
        known, ranked_with = shop.encoded(serving), serving
        progress.say(f"ranker: {ranker_nights} past nights and one to calibrate")
        meter.begin(NIGHTS)
        cores = os.cpu_count() or 1
        wanted = dict.fromkeys(nights, True) | {calibration: False}  # a probability is for everybody
        rows = shop.past_nights(known, wanted, used, cores=cores, done=lambda count: meter.part(count / len(wanted)))
        meter.begin(RANKER)
        names, past = tuple(FEATURES), [rows[night].night for night in nights]
        knobs = fit_ranker.Settings(trees=trees, max_rows=ranker_rows, threads=max(1, cores // 2))
        # Side by side, each on half of the cores: on two neither waits for a thread of its own.
        with threadpool_limits(1, "blas"), ThreadPoolExecutor(2) as pool:
            newest_too = pool.submit(fit_ranker.fit_order, [*past, rows[calibration].night], names, used, knobs)
            judged = fit_ranker.fit(past, [rows[calibration].night], names, used, knobs)
            meter.part(0.7)
            verdict = compare(judged, incumbent(models, used), shop, rows[calibration])
            fitted = replace(newest_too.result(), calibration=judged.calibration)
        if newest_steps:
            progress.say("encoder to serve: goes on up to the night")
            meter.begin(NEWEST)
            steps = newest_steps if report.tuned else 0  # the ranker learned with the frozen weights
            again = replace(settings, max_steps=steps, refit_steps=newest_steps)
            fit_encoder(shop, day, earlier, newest_encoder, again, learn_steps, seed + 1, untuned=base, done=meter.part)
            serving, smaller = to_serve(newest_encoder, day)
        served = place / "served"
        shutil.rmtree(served, ignore_errors=True)  # of a training killed at this point
        shutil.copytree(serving, served)
        (served / scoring.RANKER).write_text(fitted.to_json(), encoding="utf-8")
        np.savez(
            served / scoring.EARLIER,
            allow_pickle=False,
            items=known.items,
            vectors=known.vectors,
            vector_of=known.vector_of,
        )
        if serving == ranked_with:  # else the served encoder has read none of the texts yet
            _, texts = shop.different_texts()
            text_vectors.write(served, texts, known.vectors)
        story = {
            "run_date": str(run.run_date),
            "code_version": run.code_version,
            "nights": [str(date_of(night)) for night in sorted(rows)],
            "trees": trees,
            "encoder": asdict(report),
            "served": {"encoder": served_encoder, **smaller},
            "verdict": verdict,
            "features": dict(FEATURES),
            "importance": ranker.importance(fitted, rows[calibration].night.features[:20_000], cores),
        }
        (served / scoring.TRAINING).write_text(json.dumps(story, indent=1, default=str) + "\n", encoding="utf-8")
        write_manifest(served)
        weights = model_folder.sha256(model_folder.weights_file(served))
        version = f"{run.run_date}-{model_folder.sha256(served / model_folder.MANIFEST)[:8]}"
        run.publish_model(served.rename(place / version))
    row = {
        "run_date": run.run_date,
        "model_version": version,
        "kind": "recommend",
        "folder": f"models/{version}",
        "base_sha256": model_folder.BASE_SHA256,
        "weights_sha256": weights,
        "trained_from": date_of(int(shop.interactions.day.min())),
        "cut_date": run.run_date,
        "example_count": report.examples,
        "metrics": {
            "encoder_ndcg_frozen": report.frozen.ndcg_with_popularity,
            "encoder_ndcg": report.best.ndcg_with_popularity,
            "encoder_best_step": float(report.best_step),
            "encoder_tuned": float(report.tuned),
            **smaller,
            **{name: value for name, value in verdict.items() if name != "promoted"},
        },
        "ranker": judged.to_json(),
        "promoted": bool(verdict["promoted"]),
        "code_version": run.code_version,
    }
    progress.say(said_of(version, verdict))
    return rows_of(models, [row, *others_of_date(models, row)])


def said_of(version: str, verdict: Mapping[str, float]) -> str:
    """Whether nights will use the new model, and by which figures; verdict is that of `compare`."""
    tasks = {metrics.TASK_ALL: "all items", metrics.TASK_NEW: "new items"}
    figures = []
    for task, name in tasks.items():
        figure = f"{verdict[f'ndcg_{task}']:.4f} on {name}"
        if f"gain_{task}" in verdict:
            gain, low, high = (verdict[f"gain_{task}{end}"] for end in ("", "_low", "_high"))
            figure += f" ({gain:+.4f}, {low:+.4f} to {high:+.4f}, over the model in use)"
        figures.append(figure)
    decided = "promoted" if verdict["promoted"] else "NOT promoted, nights keep the model in use"
    return f"model {version}: {decided}. NDCG@{K} of its ranker on a night that neither has seen: {', '.join(figures)}"


def fit_encoder(
    shop: Shop,
    day: int,
    base: Path,
    output: Path,
    settings: TowerSettings,
    learn_steps: int,
    seed: int,
    untuned: Path | None = None,
    done: Callable[[float], None] = lambda _share: None,
) -> TowerReport:
    """An item tower of the purchases before `day`, written to `output`, its report beside it; not if both are there.

    `learn_steps` bounds the steps in which the vectors that BERT imitates are learned; `untuned` are the weights before
    any tuning, where `base` has some.
    """
    import torch

    told = output.with_name(f"{output.name}.json")
    if told.is_file():
        progress.say(f"this encoder is there already: {output.name}")
        return TowerReport.from_dict(json.loads(told.read_text("utf-8")))
    shutil.rmtree(output, ignore_errors=True)  # without its report: killed just then
    torch.set_num_threads(os.cpu_count() or 1)
    texts, lines = shop.by_text(MAX_TEXTS)
    seen = lines.before(day).known()
    examples = len(np.unique(seen.user.astype(np.int64) * 100_000 + seen.day))
    epochs = learn_steps * settings.batch_size / max(examples, 1)
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
        seed=seed,
        log=progress.say,
        checkpoint=output.with_name(f"{output.name}.checkpoint"),
        untuned=untuned,
        done=done,
    )
    half = told.with_suffix(".tmp")
    half.write_text(json.dumps(asdict(report)), "utf-8")
    half.replace(told)
    return report


def _generators(left_out: str) -> tuple[str, ...]:
    names = [name.strip() for name in left_out.split(",") if name.strip()]
    known = [name for name in candidates.GENERATORS if name != "own"]  # what a user bought is always a candidate
    for name in names:
        if name not in known:
            raise ConfError(f"[jobs.train_model] leave_out: {name!r} is none of {', '.join(known)}")
    return tuple(name for name in candidates.GENERATORS if name not in names)


def incumbent(models: DataFrame, generators: tuple[str, ...]) -> ranker.Ranker | None:
    """The judged ranker of the newest promoted model, if it reads the features of today from the same generators."""
    recommend = models.where("promoted").where("coalesce(kind, 'recommend') = 'recommend'")
    row = recommend.orderBy(F.desc("run_date"), F.desc("model_version")).select("ranker").first()
    try:
        found = ranker.from_json(row["ranker"]) if row else None
    except (TypeError, ValueError):
        return None  # of a kind that this version no longer reads
    same = found and (found.names, found.generators) == (tuple(FEATURES), generators)
    return found if same else None


def compare(fitted: ranker.Ranker, current: ranker.Ranker | None, shop: Shop, later: PastNight) -> dict[str, float]:
    """NDCG@10 of the ranker on a night it has not seen, for all items and for new ones, and the verdict.

    Promoted unless it is worse than the ranker in use beyond chance: neither task's paired 95 % interval of the
    difference lies below zero.
    """
    found: dict[str, float] = {"promoted": 1.0}
    users, truths = metrics.truths(shop.interactions, later.day)
    draws = metrics.Bootstrap(len(users))
    for task, kept in ((metrics.TASK_ALL, np.ones(len(later.own), bool)), (metrics.TASK_NEW, ~later.own)):
        truth = truths[task]

        def ndcg(judged: ranker.Ranker, kept: ranker.Labels = kept, truth: Any = truth) -> metrics.PerUser:
            score = ranker.raw_score(judged, later.night.features)[kept]
            lists = scoring.lists(later.pairs.user[kept], later.pairs.item[kept], score, users, K)
            return metrics.ranking(lists, truth, K)["ndcg"]

        ours = ndcg(fitted)
        found[f"ndcg_{task}"] = float(np.nanmean(ours))
        if current:
            gain = draws.difference(ours, ndcg(current))
            found |= {f"gain_{task}": gain.value, f"gain_{task}_low": gain.low, f"gain_{task}_high": gain.high}
            if gain.high < 0:
                found["promoted"] = 0.0
    return found


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("train_model")
