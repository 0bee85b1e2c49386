"""Reviews as they are taken in: what a customer wrote of one item and how many stars they gave."""

from __future__ import annotations

from schemas.bronze import RUN_DATE, SOURCE_FILE, SOURCE_ROW
from schemas.cleaned_days import FEW_VERY_LATE, VERY_LATE, cleaned_days
from schemas.contract import Column, Table, between, not_blank, not_shortened, row_check
from schemas.rejected_records import rejected
from schemas.searched import E_MAIL, PHONE

MOST_TEXT, MOST_TITLE = 100_000, 1_000  # characters
GIVEN = (not_blank(200), not_shortened())

REVIEWS = Table(
    "silver.reviews",
    "one review of one item: stars, a text, or both",
    (
        RUN_DATE,
        Column("event_date", "DATE", "The shop's day of occurred_at; earlier than run_date when the file was late"),
        Column("occurred_at", "TIMESTAMP", "The moment it was written, UTC"),
        Column("review_id", "STRING", "Identifies the review", rules=GIVEN),
        Column("item_id", "STRING", "The item that it is about", rules=GIVEN),
        Column("user_id", "STRING", "Who wrote it; null where it is not said", True, GIVEN, personal=True),
        Column("stars", "INT", "Stars from 1 (worst) to 5; null for a text alone", True, (between(1, 5),)),
        Column("title", "STRING", "Its title; personal data masked", True, (not_blank(MOST_TITLE),)),
        Column("text", "STRING", "What was written; personal data masked", True, (not_blank(MOST_TEXT),)),
        Column("helpful", "INT", "Readers who found it helpful", True, (between(0, None),)),
        Column("verified", "BOOLEAN", "Whether its writer bought the item", True),
        Column("language", "STRING", "Its language, as the shop says", True, (not_blank(50),)),
        SOURCE_FILE,
        SOURCE_ROW,
    ),
    key=("review_id", "event_date"),
    extra_checks=(
        row_check("not_after_file", "event_date <= run_date", "a review must not be dated after its file"),
        row_check("not_before_1970", "event_date >= DATE'1970-01-01'", "a review must not be dated before 1970"),
        row_check(
            "says_something",
            "stars IS NOT NULL OR title IS NOT NULL OR text IS NOT NULL",
            "a review must have stars, a title or a text",
        ),
    ),
)
REJECTED_REVIEWS = rejected(
    "reviews", "one review record that was rejected, on the day of its file", "The item that it is about"
)
MASKED = Column(
    "masked",
    "BIGINT",
    "E-mail addresses, telephone numbers and names that were masked in rows_kept",
    rules=(between(0, None),),
)
CLEANED_REVIEW_DAYS = cleaned_days("cleaned_review_days", "reviews", (VERY_LATE, MASKED), (FEW_VERY_LATE,))

# Words with a capital letter where a signature may be, which are no names.
NO_NAMES = (
    *("A", "Absolutely", "Adorable", "All", "Always", "Amazing", "And", "Another", "As", "At", "Awesome", "Bad"),
    *("Beautiful", "Best", "Better", "Big", "Black", "Blue", "Bottom", "Bought", "But", "Buy", "Cheap", "Colour"),
    *("Color", "Comfortable", "Comfy", "Cute", "Definitely", "Disappointed", "Disappointing", "Do", "Dress", "Easy"),
    *("Even", "Everything", "Excellent", "Fabric", "Fabulous", "Favorite", "Fit", "Fits", "Five", "Flattering", "For"),
    *("Four", "Fun", "Get", "Gorgeous", "Good", "Great", "Green", "Happy", "Highly", "However", "I", "If", "In", "It"),
    *("Just", "Keep", "Large", "Like", "Little", "Long", "Looks", "Love", "Loved", "Lovely", "Made", "Material"),
    *("Medium", "Must", "My", "Nice", "No", "Not", "Nothing", "Ok", "Okay", "On", "One", "Only", "Order", "Overall"),
    *("Perfect", "Perfectly", "Petite", "Poor", "Poorly", "Pretty", "Price", "Quality", "Really", "Recommend"),
    *("Recommended", "Red", "Return", "Returned", "Returning", "Runs", "Sad", "Sale", "Same", "Size", "Sizing"),
    *("Small", "So", "Soft", "Still", "Stylish", "Super", "Terrible", "Thank", "Thanks", "The", "These", "They"),
    *("This", "Three", "To", "Too", "True", "Two", "Unfortunately", "Unique", "Very", "Warm", "Was", "Way", "Wear"),
    *("Well", "What", "White", "Wish", "With", "Wonderful", "Worth", "Would", "Wow", "Xs", "Yes", "You", "Your"),
)
_NO_NAME = rf"(?!(?:{'|'.join(NO_NAMES)})\b)"
_NAME = rf"{_NO_NAME}\p{{Lu}}\p{{Ll}}+(?:[ -]{_NO_NAME}\p{{Lu}}(?:\p{{Ll}}+|\.)?)?"
# A name is masked after "my name is" and as a signature: at the end, after a closing word or a dash, or on its line.
AFTER_NAME_IS = rf"(?<=\b[Mm]y name is ){_NAME}"
SIGNATURE = (
    rf"(?<=(?:\b(?:[Tt]hanks|[Rr]egards|[Cc]heers|[Ss]incerely|[Yy]ours)[,!.]?[ \n]|[.!?] ?[-\u2013\u2014~] ?|\n))"
    rf"{_NAME}(?=\s*$)"
)
MASKS = {"[e-mail]": E_MAIL, "[phone]": PHONE, "[name]": rf"{AFTER_NAME_IS}|{SIGNATURE}"}  # of Java
