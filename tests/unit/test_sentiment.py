"""Sentiment of clauses from stars alone: the split, the head, what it learns, the aspects, the ratings."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.support.small_base import small_base
from udfs.encoder.lower_layers import LowerLayers
from udfs.evaluation.auc import auc
from udfs.evaluation.calibration import calibration_error, reliability
from udfs.sentiment import aspects, figures, fitted, learning, model, ratings, unknown
from udfs.sentiment.model import Head
from udfs.sentiment.sentences import MOST_CLAUSES, MOST_WORDS, clauses

GOOD, BAD = "the fabric is lovely and soft", "the size is awful and too small"


@pytest.mark.parametrize(
    ("title", "text", "expected"),
    [
        ("Nice", "I love it! Really.", ["Nice", "I love it!", "Really."]),
        (None, "Lovely fabric, but it runs small", ["Lovely fabric", "but it runs small"]),
        (None, "One line\n\nanother one", ["One line", "another one"]),
        (None, "Costs 3.50 at size 8.5", ["Costs 3.50 at size 8.5"]),
        (None, None, []),
        ("", "  \n ", []),
        (None, "\U0001f600", ["\U0001f600"]),
    ],
)
def test_a_review_is_split_into_clauses(title: str | None, text: str | None, expected: list[str]) -> None:
    assert clauses(title, text) == expected


def test_a_review_of_10_000_words_has_a_bounded_number_of_clauses() -> None:
    found = clauses("Long", "word " * 10_000)
    assert len(found) == MOST_CLAUSES
    assert max(len(clause.split()) for clause in found) == MOST_WORDS


def test_probabilities_of_stars_are_those_of_proportional_odds() -> None:
    thresholds = (-2.0, -1.0, 0.0, 1.5)
    p = model.ordinal(np.array([0.3, -800.0, 800.0]), thresholds)
    below = [1 / (1 + np.exp(0.3 - k)) for k in thresholds]
    assert p[0] == pytest.approx(np.diff([0, *below, 1]))
    assert p.sum(axis=1) == pytest.approx(np.ones(3))
    assert (model.likeliest(p)[1:] == [1, 5]).all()
    assert model.sentiment(p)[1:] == pytest.approx([-1, 1])
    assert ((model.polarity(p) >= 0) & (model.polarity(p) <= 1)).all()


def test_a_review_is_the_mean_of_its_clauses_by_attention() -> None:
    scores, weights = np.array([1.0, 3.0, 5.0]), np.array([1.0, 3.0, 2.0])
    assert model.means(scores, weights, np.array([0, 0, 2]), 3) == pytest.approx([2.5, 0, 5])


def sample(count: int) -> tuple[list[list[str]], list[int]]:
    """Reviews of two clauses and more; what is bad costs stars."""
    rng = np.random.default_rng(3)
    found, stars = [], []
    for number in range(count):
        bad = int(rng.integers(0, 3))
        found.append([f"{BAD} {number % 7}"] * bad + [f"{GOOD} {number % 5}"] * (2 - bad) + ["i bought it in may"])
        stars.append([5, 3, 1][bad])
    return found, stars


@pytest.mark.parametrize("epochs", [0, 1])
def test_the_sentiment_of_clauses_is_learned_from_stars_alone(epochs: int) -> None:
    texts, reviews = learning.reviews_of(*sample(200))
    settings = learning.Settings(tuned_layers=1, epochs=epochs)
    lower = LowerLayers(texts, small_base(), settings.tuned_layers, settings.max_tokens)
    bert, head = learning.Bert(lower), learning.HeadInTraining(lower.dims, reviews.stars)
    learning.fit_frozen(head, lower.vectors, reviews)
    vectors = lower.vectors
    if epochs:
        learning.tune(bert, head, reviews, settings, 7, lambda _line: None)
        vectors = bert.all_vectors()
    fixed = learning.calibrated(head.fixed(), vectors, reviews)
    sentiment = dict(zip(texts, model.sentiment(fixed.of_clauses(fixed.scores(vectors))), strict=True))
    assert min(value for text, value in sentiment.items() if GOOD in text) > 0.3
    assert max(value for text, value in sentiment.items() if BAD in text) < -0.3
    predicted = model.likeliest(learning.predicted(fixed, vectors, reviews))
    assert figures.mean_absolute_error(reviews.stars, predicted) < 0.2


def test_a_model_is_what_it_was_written_as() -> None:
    head = Head((0.5, -1.0), (0.0, 1.0), (-2.0, -1.0, 0.0, 1.0), 1.5, (-3.0, -1.0, 0.0, 1.0))
    of = fitted.SentimentModel(head, aspects.Lexicon({"size": ["size", "too small"]}, {"Tops": ["size"]}))
    assert fitted.from_json(of.to_json()) == of
    with pytest.raises(ValueError, match="version 1 expected"):
        fitted.from_json("{}")


def test_aspects_are_nouns_that_reviews_of_a_category_name() -> None:
    texts = [
        f"the {noun} is {how}. very {how} indeed" for noun in ("fabric", "zipper") for how in ("soft", "poor")
    ] * 20
    fixed = {"size": ["size", "runs small"]}

    def encode(terms: list[str]) -> np.typing.NDArray[np.float32]:
        return np.eye(8, dtype=np.float32)[[sum(map(ord, term)) % 8 for term in terms]]

    found = aspects.learn(texts, ["Tops"] * len(texts), fixed, encode)
    named = {term for terms in found.terms.values() for term in terms}
    assert {"fabric", "zipper", "size", "runs small"} <= named
    assert not named & {"soft", "poor", "indeed"}
    matcher = found.matcher("Tops")
    assert matcher("It runs small") == ["size"]
    assert matcher("nothing of note") == []
    assert aspects.Lexicon({"fit": ["fit"]}, {"Tops": []}).matcher("Shoes")("the fit") == ["fit"]


def test_unknown_tokens_are_counted() -> None:
    found = unknown.shares(str(small_base()), ["a soft dress", "\U0001f9f5", "\U0001f9f5 nice"])
    assert found[0] == 0
    assert found[1] > unknown.MOST
    assert 0 < found[2] < 1


def rows(*items: dict[str, object]) -> pd.DataFrame:
    of_none = dict.fromkeys(("mentions", "copies", "negatives", "recent", "recent_sentiments"), 0)
    return pd.DataFrame([{"aspect": "overall", **of_none, **item} for item in items])


def rating(item: str, stars: list[int], sentiments: list[float], recent: int = 0) -> dict[str, object]:
    return {
        "item_id": item,
        "reviews": len(stars),
        "starred": float(len(stars)),
        "stars": float(sum(stars)),
        "stars_squares": float(sum(value**2 for value in stars)),
        "read": float(len(sentiments)),
        "sentiments": sum(sentiments),
        "sentiment_squares": sum(value**2 for value in sentiments),
        "recent": recent,
        "recent_sentiments": sum(sentiments[:recent]),
    }


def test_stars_of_few_reviews_are_drawn_to_the_categorys_mean() -> None:
    found = ratings.rated(
        rows(rating("few", [5, 5], []), *(rating(f"i{n}", [3, 4, 5, 4] * 10, []) for n in range(20))), "Tops"
    )
    few = found.set_index("item_id").loc["few"]
    assert few.stars_mean == 5
    assert 4 < few.stars_adjusted < 4.5
    assert found["stars_adjusted"].between(1, 5).all()
    assert found["sentiment"].isna().all()


def test_a_planted_fall_is_found_and_none_in_shuffles() -> None:
    rng = np.random.default_rng(5)

    def shop(fallen: bool) -> pd.DataFrame:
        items = []
        for number in range(30):
            sentiments = rng.normal(0.5, 0.3, 60).clip(-1, 1)
            if fallen and number == 0:
                sentiments[:20] -= 0.5
            items.append(rating(f"i{number}", [4] * 60, sentiments.tolist(), recent=20))
        return ratings.rated(rows(*items), "Tops").set_index("item_id")

    found = shop(True)
    assert list(found.index[found["change_q"] <= 0.01]) == ["i0"]
    assert found.loc["i0", "change_90d"] < -0.3
    alarms = sum(int((shop(False)["change_q"] <= 0.01).sum()) for _ in range(100))
    assert alarms <= 3


def test_figures_are_those_of_their_definitions() -> None:
    stars, predicted = np.array([1, 2, 3, 4, 5, 5]), np.array([1, 2, 3, 4, 5, 4])
    assert figures.mean_absolute_error(stars, predicted) == pytest.approx(1 / 6)
    assert figures.accuracy(stars, predicted) == pytest.approx(5 / 6)
    assert figures.macro_f1(stars, predicted) == pytest.approx((1 + 1 + 1 + 2 / 3 + 2 / 3) / 5)
    assert figures.quadratic_kappa(stars, stars) == 1
    assert auc(np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, False, True, True])) == pytest.approx(0.875)
    assert calibration_error(reliability(np.full(100, 0.5), np.array([False, True] * 50), 10)) == pytest.approx(0)
