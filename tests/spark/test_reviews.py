"""Reviews as they are taken in, read and rated: what is rejected, masked, counted once, and left out."""

from __future__ import annotations

import datetime as dt
import shutil

import pytest

from jobs.clean_reviews import clean_reviews
from jobs.rate_items import rate_items
from jobs.read_reviews import read_reviews
from jobs.runner.model_store import ship
from jobs.transforms import vectors
from schemas import bronze, reviewed, reviews, silver
from schemas.deployment import Deployment, load
from schemas.errors import ConfError
from schemas.run import Model
from tests.conftest import broken, run_of
from tests.support import tiny_shop
from tests.support.small_base import small_base
from udfs import json_model
from udfs.encoder.model_folder import write_manifest
from udfs.sentiment import fitted
from udfs.sentiment.aspects import Lexicon
from udfs.sentiment.model import Head

DAY = dt.date(2026, 3, 5)
CONF = """
[sources.reviews]
files = "reviews/*.csv"
columns = ["id", "at", "sku", "who", "stars", "title", "text", "helpful"]
[sources.reviews.map]
review_id = "id"
occurred_at = "at"
item_id = "sku"
user_id = "who"
stars = "stars"
title = "title"
text = "text"
helpful = "helpful"
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """The tiny shop with reviews."""
    conf = tiny_shop.make(tmp_path_factory.mktemp("reviews"), days=1)
    text = conf.read_text()
    place = text.index("[sources.items]")
    conf.write_text(text[:place] + CONF + "\n" + text[place:])
    return load(conf)


def cleaned(rows, shop: Deployment, *lines: dict[str, str]):
    usual = {"id": "", "at": f"{DAY} 10:00:00", "sku": "S01", "who": "u1", "stars": "4", "title": "", "text": "Good"}
    usual["helpful"] = "0"
    fields = [list((usual | {"id": f"r{number}"} | line).values()) for number, line in enumerate(lines)]
    place = {"run_date": DAY, "source_file": "reviews.csv", "source": "reviews", "problem": None}
    landed = [place | {"source_row": n, "raw": ",".join(each), "fields": each} for n, each in enumerate(fields, 2)]
    files = rows(bronze.FILES, {"run_date": DAY, "source": "reviews", "record_count": len(landed)})
    items, none = rows(silver.ITEMS, {"item_id": "S01"}), rows(silver.REJECTED_ITEMS)
    made = clean_reviews(
        rows(bronze.RECORDS, *landed), files, items, none, rows(reviewed.REVIEWS), run=run_of(DAY, shop)
    )
    for table in (reviewed.REVIEWS, reviewed.REJECTED_REVIEWS):
        assert broken(table, made[table.name]) == []
    return made


def test_what_cannot_be_counted_is_rejected_with_its_reason(rows, shop):
    wrong = {
        "stars_in_range": {"stars": "6"},
        "stars_not_converted": {"stars": "many"},
        "item_unlisted": {"sku": "S99"},
        "not_after_file": {"at": f"{DAY + dt.timedelta(days=1)} 10:00:00"},
        "says_something": {"stars": "", "text": ""},
        "text_not_blank": {"text": "x" * 100_001},
        "duplicate": {"id": "r0"},
        "review_id_present": {"id": ""},
    }
    made = cleaned(rows, shop, {}, *wrong.values(), {"stars": "", "text": "good"}, {"stars": "2", "text": ""})
    assert sorted(row.codes for row in made["silver.rejected_reviews"].collect()) == sorted([name] for name in wrong)
    accepted = {(row.stars, row.text) for row in made["silver.reviews"].collect()}
    assert accepted == {(4, "Good"), (None, "good"), (2, None)}
    (day,) = made["silver.cleaned_review_days"].collect()
    assert (day.rows_kept, day.rows_rejected, day.masked) == (3, len(wrong), 0)


HOW = ("very", "so", "not", "a bit", "always", "rather", "never", "Really", "too", "quite")
WHAT = (
    *("Happy", "sad", "tall", "petite", "Busty", "in love", "5'4", "130 lbs", "a size 8", "Pleased", "sorry", "a Mom"),
    *("returning it", "in my 60s", "keeping it", "Surprised", "wearing it", "a fan", "disappointed", "Impressed"),
)
PERSONAL = {
    "Write to anna.meier@shop.test now": "Write to [e-mail] now",
    "Call me: +49 170 1234567": "Call me: [phone]",
    "Hello, my name is Anna Meier and I love it": "Hello, my name is [name] and I love it",
    "So pretty! Thanks, Rebecca": "So pretty! Thanks, [name]",
    "So pretty.\nRebecca M.": "So pretty.\n[name]",
    "So pretty! - Zoe": "So pretty! - [name]",
}
NOT_PERSONAL = [
    "So pretty! Thanks, Love",
    "Get your usual size - Small",
    "I ordered 2 in size 12-14, 100 x 200",
    "Rebecca Taylor makes better ones",
    "My name is on the label",
    *(f"I am {how} {what}." for how in HOW for what in WHAT),
]


def test_personal_data_is_masked_and_counted(rows, shop):
    made = cleaned(
        rows, shop, *({"text": text} for text in PERSONAL), {"title": "ask anna@shop.test", "text": "or bob@x.test"}
    )
    texts = [row.text for row in made["silver.reviews"].orderBy("source_row").collect()]
    assert texts == [*PERSONAL.values(), "or [e-mail]"]
    (day,) = made["silver.cleaned_review_days"].collect()
    assert day.masked == len(PERSONAL) + 2


def test_what_is_not_personal_stays(rows, shop):
    assert len(NOT_PERSONAL) >= 200
    made = cleaned(rows, shop, *({"text": text} for text in NOT_PERSONAL))
    assert [row.text for row in made["silver.reviews"].orderBy("source_row").collect()] == NOT_PERSONAL
    assert made["silver.cleaned_review_days"].collect()[0].masked == 0


@pytest.fixture(scope="module")
def reader(spark, tmp_path_factory) -> Model:
    """A model of few layers, with a head of no meaning and two aspects."""
    folder = tmp_path_factory.mktemp("model") / "sentiment-m1"
    shutil.copytree(small_base(), folder)
    rng = range(384)
    score, attention = (tuple((n * 7919 % step - step // 2) / step for n in rng) for step in (31, 17))
    thresholds = (-1.0, -0.5, 0.0, 0.5)
    lexicon = Lexicon({"size": ["size", "runs small"], "fabric": ["fabric"]}, {})
    of = fitted.SentimentModel(Head(score, attention, thresholds, 1.0, thresholds), lexicon)
    (folder / json_model.FILE).write_text(of.to_json())
    write_manifest(folder)
    made = Model("sentiment-m1", str(folder))
    ship(spark, made)
    return made


def written(number: int, text: str | None, stars: int | None = 4, **more: object) -> dict[str, object]:
    return {"review_id": f"r{number}", "item_id": "S01", "text": text, "title": None, "stars": stars} | more


def test_reviews_are_read_clause_by_clause_and_only_new_texts_are_encoded(rows, reader, monkeypatch):
    said = rows(
        reviewed.REVIEWS,
        written(1, "The fabric is soft, but it runs small. Great size!"),
        written(2, "Great size!", title="The fabric is soft"),
        written(3, None),
        written(4, "\U0001f9f5"),
        written(5, "word " * 10_000),
    )
    items = rows(silver.ITEMS, {"item_id": "S01", "category": "Tops"})
    first = read_reviews(said, items, rows(reviews.REVIEW_SENTENCES), reader, run=run_of(DAY)).persist()
    assert broken(reviews.REVIEW_SENTENCES, first) == []
    found = {(row.review_id, row.sentence_no): row for row in first.collect()}
    assert [found["r1", n].sentence for n in (1, 2, 3)] == ["The fabric is soft", "but it runs small.", "Great size!"]
    assert [found["r1", n].aspects for n in (1, 2, 3)] == [["fabric"], ["size"], ["size"]]
    assert found["r1", 3].text_key == found["r2", 2].text_key
    assert "r3" not in {review for review, _ in found}
    assert found["r4", 1].unknown_share == 1
    assert len([1 for review, _ in found if review == "r5"]) == 200

    def refuse(*_given):
        raise AssertionError("nothing is new")

    monkeypatch.setattr(vectors, "_encoded", refuse)
    again = read_reviews(said, items, first, reader, run=run_of(DAY + dt.timedelta(days=1)))
    assert again.drop("run_date").exceptAll(first.drop("run_date")).count() == 0
    assert again.count() == first.count()


def test_without_a_model_no_text_is_read(rows):
    said, items = rows(reviewed.REVIEWS, written(1, "Soft")), rows(silver.ITEMS)
    made = read_reviews(said, items, rows(reviews.REVIEW_SENTENCES), None, run=run_of(DAY))
    assert made.count() == 0
    rated = rate_items(said, made, items, None, run=run_of(DAY), min_reviews=1)
    (row,) = rated["gold.item_sentiment"].collect()
    assert (row.aspect, row.reviews, row.stars_mean, row.sentiment, row.model_version) == ("overall", 1, 4, None, None)
    assert rated["gold.aspects"].count() == 0


def clause(number: int, sentiment: float, no: int = 1, **more: object) -> dict[str, object]:
    p = {"p_negative": 0.9 if sentiment < 0 else 0.05, "p_neutral": 0.05, "p_positive": 0.05 if sentiment < 0 else 0.9}
    of = {"review_id": f"r{number}", "sentence_no": no, "sentence": f"a clause of the review number {number}", **p}
    return of | {"sentiment": sentiment, "weight": 1.0, "aspects": [], "unknown_share": 0.0} | more


def test_items_are_rated_by_reviews_that_count_once(rows, reader):
    spam = [written(n, "Buy cheap things elsewhere", 1) for n in range(100, 600)]
    said = rows(
        reviewed.REVIEWS,
        written(1, "The size is wrong", 2),
        written(2, "Soft", None),  # no stars: sentiment alone
        written(3, None, 5),  # no text: stars alone
        written(4, "\U0001f9f5", 5),  # unknown to the encoder: stars alone
        *spam,
    )
    read = rows(
        reviews.REVIEW_SENTENCES,
        clause(1, -0.8, aspects=["size"]),
        clause(2, 0.6),
        clause(4, -1.0, unknown_share=1.0),
        *(clause(n, -0.9) for n in range(100, 600)),
    )
    items = rows(silver.ITEMS, {"item_id": "S01", "category": "Tops"})
    made = rate_items(said, read, items, reader, run=run_of(DAY), min_reviews=1)
    for table in (reviews.ITEM_SENTIMENT, reviews.ASPECTS):
        assert broken(table, made[table.name]) == []
    found = {row.aspect: row for row in made["gold.item_sentiment"].collect()}
    overall, size = found["overall"], found["size"]
    assert (overall.reviews, overall.copies) == (5, 499)
    assert overall.stars_mean == pytest.approx((2 + 5 + 5 + 1) / 4)
    assert overall.sentiment == pytest.approx((-0.8 + 0.6 - 0.9) / 3)
    assert overall.negative_share == pytest.approx(2 / 5)
    assert (overall.best_quote, size.worst_quote) == (
        "a clause of the review number 2",
        "a clause of the review number 1",
    )
    assert (size.reviews, size.mentions, size.negative_share, size.best_quote) == (1, 1, 1, None)
    assert size.reason == "size: 1 of 1 clauses are negative; 100 % in Tops"
    (aspect,) = made["gold.aspects"].collect()
    assert (aspect.category, aspect.aspect, aspect.terms, aspect.mentions) == (
        "Tops",
        "size",
        ["size", "runs small"],
        1,
    )


def test_an_items_rows_need_enough_reviews(rows, reader):
    said = rows(reviewed.REVIEWS, *(written(n, None, 3) for n in range(4)))
    items, none = rows(silver.ITEMS), rows(reviews.REVIEW_SENTENCES)
    assert rate_items(said, none, items, reader, run=run_of(DAY))["gold.item_sentiment"].count() == 0
    with pytest.raises(ConfError, match="min_reviews"):
        rate_items(said, none, items, reader, run=run_of(DAY), min_reviews=0)


def test_an_edited_review_counts_as_it_is_now(rows, reader):
    later = {"event_date": DAY, "occurred_at": dt.datetime(2026, 3, 5, 9)}
    earlier = {"event_date": DAY - dt.timedelta(days=3), "occurred_at": dt.datetime(2026, 3, 2, 9)}
    said = rows(reviewed.REVIEWS, written(1, None, 1, **earlier), written(1, None, 5, **later))
    made = rate_items(said, rows(reviews.REVIEW_SENTENCES), rows(silver.ITEMS), reader, run=run_of(DAY), min_reviews=1)
    (row,) = made["gold.item_sentiment"].collect()
    assert (row.reviews, row.stars_mean) == (1, 5)
