"""The weekly training: BERT fine-tuned on what is bought next, then the ranker on what past nights would have said.

No model may score purchases it was trained on. With D the day after run_date: the ranker learns from `ranker_nights`
past nights, the newest on D - 56, each with item models fitted before it, with vectors of an encoder trained before the
oldest of them, and labelled with the 28 days that followed. The night D - 28, which none of this has seen, calibrates
the ranker's scores and decides on promotion, against the last promoted models and a peer (jobs/offline/promotion.py).
Those are represented by their rankers in ops.models, from before they learned from their own newest night, whose labels
lie in the same days. The served ranker then learns from that night too, and the encoder goes on up to run_date. Where
tuning is no better on the encoder's validation days than a linear map over the published weights, these are served with
that map (`encoder_tuned` in ops.models.metrics is 0).

A training killed while an encoder learns resumes from its checkpoint when run again with the same date, conf, code and
data, on a machine that sees the folder `checkpoints`.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from pyspark.sql import DataFrame

from jobs.offline import resume
from jobs.offline.base_of import base_of
from jobs.offline.encoder_training import EncoderPlan, Encoders
from jobs.offline.model_registry import rows_of
from jobs.offline.promotion import Verdict, compare, last_promoted, said_of
from jobs.offline.ranker_training import Days, fit_rankers
from jobs.offline.recommend_model import Trained
from jobs.offline.served_encoder import Figures, ServedEncoder, form_to_serve
from jobs.offline.training_data import Shop, collect
from jobs.offline.user_training import UserEncoderKind, UserPlan, fit_users
from jobs.reports import progress
from jobs.transforms import devices
from schemas.errors import ConfError
from schemas.run import RunContext
from udfs.days import date_of
from udfs.encoder.base_model import base_sha256
from udfs.encoder.tower_settings import Method, TowerSettings
from udfs.recommend import candidates, ranker
from udfs.recommend.sample_budget import SampleBudget

# The phases of a training and about how long each takes, for the line of progress.
EARLIER, TEXTS, USERS, NIGHTS = "encoder", "reading all texts", "user encoder", "past nights"
RANKER, NEWEST = "ranker", "encoder to serve"
PHASES = {EARLIER: 3.5, TEXTS: 0.7, USERS: 1.5, NIGHTS: 2.0, RANKER: 2.3, NEWEST: 1.5}


def train_model(
    events: DataFrame,
    items: DataFrame,
    models: DataFrame,
    *,
    run: RunContext,
    max_users: int = 20_000,
    encoder_method: Method = "full",
    lora_rank: int = 8,
    first_encoder_seconds: int = 120,
    encoder_seconds: int = 600,
    encoder_steps: int = 0,
    newest_encoder: bool = True,
    learn_steps: int = 100,
    served_encoder: ServedEncoder = "full",
    user_encoder: UserEncoderKind = "mean",
    ranker_nights: int = 6,
    ranker_rows: int = 1_200_000,
    days_between_nights: int = 7,
    trees: int = 100,
    leave_out: str = "",
    seed: int = 7,
) -> DataFrame:
    """The row of ops.models of a new model; `run.publish_model` publishes the model's folder.

    At most `max_users` users are read, on the driver, and so many by every run that the model scores: the folder has
    the bounds of the sample. A ranker learns from at most `ranker_rows` candidates: users are drawn with all their
    rows, and each row takes some 1.5 kB. `leave_out` names generators (udfs/recommend/candidates.py), separated by
    commas, that propose nothing in this shop. `encoder_method`: whether BERT's upper layers learn, or low-rank matrices
    in them (LoRA, `lora_rank`). `served_encoder`: `full` serves the encoder in the fastest form that preserves its
    vectors, bfloat16 where the chip multiplies it, else 8 bits; `small` its distillation to three layers. The ranker
    learns with an encoder of the same kind. The encoder is fine-tuned in as many steps as `encoder_seconds` pay for (a
    shop's first model: `first_encoder_seconds`) by a cost model (udfs/encoder/tower_budget.py), or in `encoder_steps`.
    Without `newest_encoder` it is served as the ranker learned with it; else it goes on up to run_date. `user_encoder`:
    jobs/offline/user_training.py.
    """
    if lora_rank < 1:
        raise ConfError(f"[jobs.train_model] lora_rank: must be at least 1, not {lora_rank}")
    used, base = _generators(leave_out), base_of(run.deployment)
    days = Days.of(run.run_date, ranker_nights, days_between_nights)
    budget = SampleBudget(users=max_users)
    shop = collect(events, items, budget, run.deployment, run.run_date, [*days.nights, days.calibration])
    days.check(shop)
    share = devices.share(dict(events.sparkSession.sparkContext.getConf().getAll()))
    is_first = models.where("coalesce(kind, 'recommend') = 'recommend'").isEmpty()
    plan = EncoderPlan(
        base,
        TowerSettings(method=encoder_method, lora_rank=lora_rank),
        first_encoder_seconds if is_first else encoder_seconds,
        encoder_steps,
        learn_steps,
        newest_encoder,
        served_encoder,
        form_to_serve(served_encoder, on_gpus=share.gpus > 0),
        seed,
    )
    plans = plan, UserPlan(user_encoder, seed)
    row, verdict = _train(run, models, shop, budget, days, *plans, used, trees=trees, max_rows=ranker_rows)
    progress.say(said_of(row["model_version"], verdict, held=bool(row["held"])))
    return rows_of(models, [row])


def _train(
    run: RunContext,
    models: DataFrame,
    shop: Shop,
    budget: SampleBudget,
    days: Days,
    plan: EncoderPlan,
    user_plan: UserPlan,
    generators: tuple[str, ...],
    *,
    trees: int,
    max_rows: int,
) -> tuple[dict[str, Any], Verdict]:
    """The row of the new model, whose folder is published, and how its ranker did against the one in use."""
    name = f"{run.deployment.name}-train_model-{run.run_date}"
    left_out = {*([] if plan.newest else [NEWEST]), *([USERS] if user_plan.kind == "mean" else [])}
    with (
        resume.workplace(run.checkpoints, name, _facts(run, shop, days, plan), run.at_end) as place,
        progress.metered({name: PHASES[name] for name in PHASES if name not in left_out}) as meter,
    ):
        encoders = Encoders(shop, place, plan, progress.say)
        progress.say(f"encoder for the ranker's past nights: purchases before {date_of(days.first)}")
        meter.begin(EARLIER)
        report = encoders.earlier(days.first, meter.part)
        meter.begin(TEXTS)
        ranked_with = serving = encoders.to_serve("earlier", days.first)
        known = shop.encoded(serving.folder)
        users, reader = place / "users", None
        of_users: Figures = {}
        if user_plan.kind != "mean":
            meter.begin(USERS)
            start = place / "earlier"
            reader, of_users = fit_users(shop, known, days.first, start, users, user_plan, progress.say, meter.part)
        progress.say(f"ranker: {len(days.nights)} past nights and one to calibrate")
        meter.begin(NIGHTS)
        past = days.past_nights(shop, known, generators, meter.part, reader)
        meter.begin(RANKER)

        def judge(fitted: ranker.Ranker) -> Verdict:
            meter.part(0.7)
            gate = run.deployment.gate
            before = last_promoted(models, generators, gate.models)
            return compare(fitted, before, shop, past[days.calibration], gate)

        rankers = fit_rankers(days, past, generators, trees=trees, max_rows=max_rows, judge=judge)
        if plan.newest:
            progress.say("encoder to serve: goes on up to the night")
            meter.begin(NEWEST)
            encoders.newest(days.tomorrow, report.tuned, meter.part)
            serving = encoders.to_serve("newest", days.tomorrow)
        base = base_sha256(plan.base)
        has_read, shown = serving == ranked_with, replace(serving, figures=serving.figures | of_users)
        trained = Trained(
            run, shop, budget, known, base, report, plan.served, shown, rankers, past, days.calibration, trees
        )
        folder = trained.write(place, users, has_read=has_read)
        row = trained.row(folder)
        run.publish_model(folder)
    return row, rankers.verdict


def _facts(run: RunContext, shop: Shop, days: Days, plan: EncoderPlan) -> dict[str, Any]:
    """The inputs that determine the encoders: a killed training with equal facts is resumed."""
    return {
        "first": date_of(days.first),
        "base": base_sha256(plan.base),
        "settings": asdict(plan.settings),
        "seconds": plan.seconds,
        "steps": plan.steps,
        "newest": plan.newest,
        "learn_steps": plan.learn_steps,
        "seed": plan.seed,
        "code": resume.code(run.code_version),
        "data": resume.data(shop),
    }


def _generators(left_out: str) -> tuple[str, ...]:
    names = [name.strip() for name in left_out.split(",") if name.strip()]
    known = [name for name in candidates.GENERATORS if name != "own"]  # what a user bought is always a candidate
    for name in names:
        if name not in known:
            raise ConfError(f"[jobs.train_model] leave_out: {name!r} is none of {', '.join(known)}")
    return tuple(name for name in candidates.GENERATORS if name not in names)


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("train_model")
