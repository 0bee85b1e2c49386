"""Measure stars predicted from the texts of reviews: VADER, TF-IDF with logistic regression, and the sentiment model.

    python -m bench.reviews --source reviews.csv.gz [--epochs 2] [--layers 2]

The data are the Women's Clothing E-Commerce Reviews; a text is read with its title. numpy's default_rng(0) splits them:
u < 0.8 to learn from, up to 0.9 to calibrate and to choose by, the rest (2,206 reviews) to judge. The peers are of the
group bench (`uv sync --frozen --group bench`). Intervals are 95 %, of a bootstrap over the reviews.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from jobs.offline.served_encoder import form_to_serve
from udfs.encoder.base_model import base_folder
from udfs.encoder.lower_layers import LowerLayers
from udfs.evaluation.auc import auc
from udfs.evaluation.calibration import BINS, calibration_error, reliability
from udfs.sentiment import figures, learning, model
from udfs.sentiment.sentences import clauses

Values = npt.NDArray[Any]
DRAWS = 1000


@dataclass(frozen=True)
class Split:
    """Texts with titles, their clauses, stars and whether the item was recommended; rows of each part."""

    texts: list[str]
    clauses: list[list[str]]
    stars: Values
    recommended: Values
    learned: Values
    chosen: Values
    judged: Values


@dataclass(frozen=True)
class Answer:
    """Of each judged review: stars, a score that orders reviews, and P(1 or 2 stars); None without one."""

    stars: Values
    score: Values
    p_negative: Values | None


def read(source: Path) -> Split:
    """The data, split."""
    rows = pd.read_csv(source)
    rows = rows[rows["Review Text"].notna()].reset_index(drop=True)
    u = np.random.default_rng(0).random(len(rows))
    titles, texts = rows["Title"].fillna("").tolist(), rows["Review Text"].tolist()
    parts = (u < 0.8, (u >= 0.8) & (u < 0.9), u >= 0.9)
    return Split(
        [f"{title} {text}".strip() for title, text in zip(titles, texts, strict=True)],
        [clauses(title, text) for title, text in zip(titles, texts, strict=True)],
        rows["Rating"].to_numpy(),
        rows["Recommended IND"].to_numpy(),
        *map(np.flatnonzero, parts),
    )


def vader(data: Split) -> Answer:
    """VADER's compound score, cut so that stars have the shares that they have in what is learned from."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyser = SentimentIntensityAnalyzer()
    scores = np.array([analyser.polarity_scores(text)["compound"] for text in data.texts])
    cuts = figures.share_cuts(data.stars[data.learned], scores[data.learned])
    judged = scores[data.judged]
    return Answer(1 + np.searchsorted(cuts, judged), judged, None)


def tf_idf(data: Split, balanced: bool) -> Answer:
    """TF-IDF of words and pairs of words, and logistic regression."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    learned = words.fit_transform([data.texts[row] for row in data.learned])
    regression = LogisticRegression(C=4.0, max_iter=2000, class_weight="balanced" if balanced else None)
    regression.fit(learned, data.stars[data.learned])
    p = regression.predict_proba(words.transform([data.texts[row] for row in data.judged]))
    return Answer(1 + p.argmax(axis=1), model.sentiment(p), model.polarity(p)[:, 0])


def ours(data: Split, settings: learning.Settings, seed: int, tuned: bool) -> Answer:
    """The sentiment model as train_sentiment fits it, in the form that is served."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    texts, reviews = learning.reviews_of(data.clauses, data.stars.tolist())
    lower = LowerLayers(
        texts, base_folder(), settings.tuned_layers, settings.max_tokens, form_to_serve("full", on_gpus=False)
    )
    learned, chosen, judged = (reviews.take(rows) for rows in (data.learned, data.chosen, data.judged))
    bert, head = learning.Bert(lower), learning.HeadInTraining(lower.dims, learned.stars)
    learning.fit_frozen(head, lower.vectors, learned)
    vectors = lower.vectors
    if tuned:
        learning.tune(bert, head, learned, settings, seed, lambda line: print(line, flush=True))
        vectors = bert.all_vectors()
    fixed = learning.calibrated(head.fixed(), vectors, chosen)
    p = learning.predicted(fixed, vectors, judged)
    return Answer(model.likeliest(p), model.sentiment(p), model.polarity(p)[:, 0])


def measured(answer: Answer, data: Split) -> dict[str, float]:
    """Each figure with the ends of its interval."""
    stars, recommended = data.stars[data.judged], data.recommended[data.judged]
    of: dict[str, Callable[[Values], float]] = {
        "MAE": lambda rows: figures.mean_absolute_error(stars[rows], answer.stars[rows]),
        "accuracy": lambda rows: figures.accuracy(stars[rows], answer.stars[rows]),
        "macro F1": lambda rows: figures.macro_f1(stars[rows], answer.stars[rows]),
        "kappa": lambda rows: figures.quadratic_kappa(stars[rows], answer.stars[rows]),
        "AUC": lambda rows: auc(answer.score[rows], recommended[rows].astype(bool)),
    }
    if answer.p_negative is not None:
        p = answer.p_negative
        of["calibration"] = lambda rows: calibration_error(reliability(p[rows], stars[rows] <= 2, BINS))
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, len(stars), len(stars)) for _ in range(DRAWS)]
    found = {}
    for name, figure in of.items():
        found[name] = figure(np.arange(len(stars)))
        low, high = np.quantile([figure(rows) for rows in draws], [0.025, 0.975])
        found |= {f"{name} low": float(low), f"{name} high": float(high)}
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line per method."""
    parser = argparse.ArgumentParser(prog="bench.reviews", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--source", type=Path, required=True, help="the data set's CSV, gzipped or not")
    parser.add_argument("--epochs", type=int, default=learning.Settings.epochs)
    parser.add_argument("--layers", type=int, default=learning.Settings.tuned_layers)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--without", default="", help="methods to leave out, by the first word of their names")
    given = parser.parse_args(arguments)
    data = read(given.source)
    settings = learning.Settings(tuned_layers=given.layers, epochs=given.epochs)
    methods: dict[str, Callable[[], Answer]] = {
        "vader, cut at the shares": lambda: vader(data),
        "tf-idf and regression": lambda: tf_idf(data, balanced=False),
        "tf-idf and regression, balanced": lambda: tf_idf(data, balanced=True),
        "frozen BERT": lambda: ours(data, settings, given.seed, tuned=False),
        "nightshelf": lambda: ours(data, settings, given.seed, tuned=True),
    }
    for name, method in methods.items():
        if name.split()[0] in given.without.split(","):
            continue
        started = time.perf_counter()
        values = measured(method(), data)
        line = ", ".join(
            f"{key} {value:.4f} ({values[f'{key} low']:.4f} to {values[f'{key} high']:.4f})"
            for key, value in values.items()
            if not key.endswith((" low", " high"))
        )
        print(f"{name}: {line}; {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
