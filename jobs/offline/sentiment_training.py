"""Training of a sentiment model on the driver: a bounded sample of reviews, one BERT, its head and the aspects."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.offline.served_encoder import Figures, Served, folder_to_serve
from jobs.transforms.reviews import marked_copies, newest_reviews
from udfs import json_model
from udfs.encoder import model_folder, text_vectors
from udfs.encoder.lower_layers import LowerLayers
from udfs.encoder.model_folder import Form
from udfs.evaluation.metrics import Bootstrap
from udfs.sentiment import aspects, figures, fitted, learning, model
from udfs.sentiment.learning import Bert, HeadInTraining, Reviews, Settings
from udfs.sentiment.model import Floats, Head
from udfs.sentiment.sentences import clauses

HELD_OUT = 10  # one review in so many, by its id, is never learned from, by any model: it calibrates and judges
FEWEST_REVIEWS = 200


@dataclass(frozen=True)
class Sample:
    """Reviews with stars and a text: their ids, clauses, stars and categories, in equal order; the day of the first."""

    ids: list[str]
    clauses: list[list[str]]
    stars: list[int]
    categories: list[str]
    since: dt.date

    def held_out(self) -> npt.NDArray[np.bool_]:
        """Which are held out, the same ones in every training."""
        return np.array([zlib.crc32(each.encode()) % HELD_OUT == 0 for each in self.ids], bool)


def sample_of(reviews: DataFrame, items: DataFrame, most: int) -> Sample:
    """The newest reviews with stars and a text, at most `most`; copies of a text once."""
    written = newest_reviews(reviews, items).where("stars IS NOT NULL AND coalesce(title, text) IS NOT NULL")
    chosen = marked_copies(written).where("NOT is_copy").orderBy(F.desc("occurred_at"), "review_id").limit(most)
    columns = ("review_id", "title", "text", "stars", "category", "event_date")
    given = chosen.withColumns({name: F.coalesce(name, F.lit("")) for name in ("title", "text")})
    rows = given.select(*columns).toPandas().sort_values("review_id")
    split = [clauses(title, text) for title, text in rows[["title", "text"]].itertuples(index=False, name=None)]
    said = [place for place, each in enumerate(split) if each]
    rows = rows.iloc[said]
    return Sample(
        rows["review_id"].tolist(),
        [split[place] for place in said],
        rows["stars"].astype(int).tolist(),
        rows["category"].tolist(),
        min(rows["event_date"], default=dt.date.min),
    )


@dataclass(frozen=True)
class Trained:
    """A trained model's folder before it is named, its figures on held-out reviews and how many it learned from."""

    folder: Path
    figures: Figures
    promoted: bool
    count: int


def train(
    sample: Sample,
    base: Path,
    place: Path,
    form: Form,
    settings: Settings,
    fixed: Mapping[str, Sequence[str]],
    current: Path | None,
    seed: int,
    say: Callable[[str], None],
) -> Trained:
    """Train in `place`. fixed: the deployment's aspects; current: the folder of the model in use, if any.

    The new model is promoted unless the model in use gives the held-out reviews' stars a better log likelihood beyond
    chance.
    """
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    texts, reviews = learning.reviews_of(sample.clauses, sample.stars)
    lower = LowerLayers(texts, base, settings.tuned_layers, settings.max_tokens, form)
    held_out = sample.held_out()
    learned, judged = (reviews.take(np.flatnonzero(rows)) for rows in (~held_out, held_out))
    say(f"sentiment: {len(learned):,} reviews, {len(texts):,} different clauses, {lower.tokens:,} tokens")
    bert, head = Bert(lower), HeadInTraining(lower.dims, learned.stars)
    learning.fit_frozen(head, lower.vectors, learned)
    frozen = _judged(learning.calibrated(head.fixed(), lower.vectors, judged), lower.vectors, judged)
    vectors = lower.vectors
    if settings.epochs:
        learning.tune(bert, head, learned, settings, seed, say)
        vectors = bert.all_vectors()
    fixed_head = learning.calibrated(head.fixed(), vectors, judged)
    found = {f"frozen_{name}": value for name, value in frozen.items()} | _judged(fixed_head, vectors, judged)
    promoted, compared = _against(current, fixed_head, vectors, judged, texts)
    served = _served(bert, base, place, form, settings, texts, vectors, seed, say)
    lexicon = _lexicon(sample, fixed, base)
    folder = place / "sentiment"
    shutil.copytree(served.folder, folder)
    model_folder.record_form(folder, served.form)
    (folder / json_model.FILE).write_text(fitted.SentimentModel(fixed_head, lexicon).to_json(), "utf-8")
    model_folder.write_manifest(folder)
    return Trained(folder, found | compared | served.figures, promoted, len(learned))


def _judged(head: Head, vectors: Floats, judged: Reviews) -> Figures:
    """Figures of held-out reviews."""
    p = learning.predicted(head, vectors, judged)
    predicted = model.likeliest(p)
    return {
        "mae": figures.mean_absolute_error(judged.stars, predicted),
        "macro_f1": figures.macro_f1(judged.stars, predicted),
        "kappa": figures.quadratic_kappa(judged.stars, predicted),
        "loss": float(_losses(p, judged).mean()),
    }


def _losses(p: model.Doubles, judged: Reviews) -> model.Doubles:
    rows = np.arange(len(judged))
    return np.asarray(-np.log(p[rows, judged.stars - 1].clip(1e-9)), np.float64)


def _against(
    current: Path | None, head: Head, vectors: Floats, judged: Reviews, texts: list[str]
) -> tuple[bool, Figures]:
    """Whether the new model is no worse beyond chance than the one in use, on reviews that neither has learned from."""
    if current is None:
        return True, {}
    needed = np.unique(judged.text)
    other = np.zeros((len(texts), len(fitted.read(str(current)).head.score)), np.float32)
    other[needed] = text_vectors.encode(current, [texts[row] for row in needed])
    mine = _losses(learning.predicted(head, vectors, judged), judged)
    theirs = _losses(learning.predicted(fitted.read(str(current)).head, other, judged), judged)
    gain = Bootstrap(len(judged)).difference(theirs, mine)
    ends = {"gain_low": gain.low, "gain_high": gain.high} if np.isfinite(gain.low) else {}
    return not gain.high < 0, {"gain": gain.value, **ends}


def _served(
    bert: Bert,
    base: Path,
    place: Path,
    form: Form,
    settings: Settings,
    texts: list[str],
    vectors: Floats,
    seed: int,
    say: Callable[[str], None],
) -> Served:
    """The encoder in the form that is served, with the vectors of all texts that it has read."""
    known = dict(zip(texts, vectors, strict=True))
    names = model_folder.Settings("sentiment", bert.lower.dims, max_item_tokens=settings.max_tokens)
    full = place / "full"
    of_full = None if form == "int8" else known
    model_folder.write_model(bert.model.state_dict(), base, full, names, known=of_full)
    return folder_to_serve(full, texts, "full", form, seed, say, lambda: known)


def _lexicon(sample: Sample, fixed: Mapping[str, Sequence[str]], base: Path) -> aspects.Lexicon:
    """The aspects by the base's vectors: the tuned ones put what is praised beside what is praised."""
    return aspects.learn(
        [" . ".join(each) for each in sample.clauses],
        sample.categories,
        fixed,
        lambda terms: text_vectors.encode(base, terms),
    )
