"""Card of a model: what it is for, what it has seen, how it did on days that it was not fitted on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.reports.page import Table, number
from jobs.reports.page import render as render_template

PURPOSES = {
    "recommend": "Encodes items and users, ranks a user's candidates: gold.recommendations and what follows from it.",
    "demand": "Forecasts the weekly units of each location and item: gold.demand_forecast.",
    "audience": "Says how likely a contact of a campaign converts: gold.ad_audiences.",
    "profile": "Says when a user buys next, how often and for how much: gold.user_profiles.",
    "search": "Ranks the items of a query: gold.search_rankings and gold.search_boosts.",
    "sentiment": "Reads the sentiment of sentences of reviews: features.review_sentences.",
}
LIMITS = {
    "recommend": "It knows what was bought, not why. Probabilities hold for shops, dates and sources like it saw.",
    "demand": "Units sold are not demand where the shelf was empty. Events that were never seen are not foreseen.",
    "audience": "Contacts were chosen by the shop, so it describes users like those who were contacted before.",
    "profile": "It knows purchase days and spend; life events, prices of others and guests are not in it.",
    "search": "It is fitted on what was shown and clicked, or on purchases: what nobody was shown is not judged.",
    "sentiment": "It has learned from stars. Irony, and languages that its texts lack, are read poorly.",
}
UNKNOWN = "A model of another kind."


def render(row: Mapping[str, Any]) -> str:
    """The card of a row of ops.models."""
    kind = row["kind"] or "recommend"
    facts = [
        ["kind", kind],
        ["runs may use it", "yes" if row["promoted"] else "no, it waits for make approve" if row["held"] else "no"],
        ["data", f"{row['trained_from']} to {row['cut_date']}; judged with days up to {row['run_date']}"],
        ["examples", f"{row['example_count']:,}"],
        ["trained by", f"Nightshelf {row['code_version']}"],
        ["weights it started from", row["base_sha256"] or "none"],
        ["weights", row["weights_sha256"]],
        ["folder", row["folder"]],
    ]
    figures = [[name, number(value)] for name, value in sorted(dict(row["metrics"]).items())]
    return render_template(
        "model_card.html.j2",
        title=f"Model {row['model_version']}",
        purpose=PURPOSES.get(kind, UNKNOWN),
        limits=LIMITS.get(kind, ""),
        facts=Table(["", ""], facts, words=2),
        figures=Table(["figure", "value"], figures),
    )
