"""The features of a candidate by name, and what each means."""

from __future__ import annotations

from typing import Final

HALF_LIVES = (14, 45, 180)
LAST_BASKETS = (3, 10)
OWN_BLENDS = (3, 10, 30)  # hundredths of popularity added to a score
ALS_BLENDS = (2, 5, 10)


def _described(stem: str, meaning: str) -> dict[str, str]:
    return {
        f"{stem}_score": meaning,
        f"{stem}_rank": f"place of {stem}_score among the user's candidates, 1 is best",
        f"{stem}_z": f"{stem}_score less the mean of the user's candidates, over their standard deviation",
        f"{stem}_kind_rank": f"place of {stem}_score among the user's own, or among the user's new candidates",
    }


MEANINGS: Final = {
    "own": "decayed number of days on which the user bought the item",
    "knn": "similarity to the user's items over users, weighted by how newly they were bought",
    "next": "how much the buyers of the user's items turn to it lately, weighted alike",
    "basket": "similarity over baskets, weighted alike",
    "ease": "EASE: the sum of the user's items' weights for this one",
    "als": "implicit ALS: the user's factors times the item's",
    "popular": "log of 1 + buyers in the last 28 days per 2,500 of the shop",
    "trend": "buyers of the last 7 days against the weeks before, per 2,500 of the shop, in standard deviations",
    "bert": "cosine of the user's and the item's text vector",
}
FEATURES: Final[dict[str, str]] = {
    **{name: text for stem, meaning in MEANINGS.items() for name, text in _described(stem, meaning).items()},
    "is_own": "1 if the user bought the item before",
    "own_days": "days on which the user bought it",
    **{f"own_decay_{h}": f"those days, each halved every {h} days of age" for h in HALF_LIVES},
    **{f"own_log_{h}": f"log of own_decay_{h} + 0.02" for h in HALF_LIVES},
    **{f"own_popular_{b}": f"own_score + 0.{b:02} popular_score" for b in OWN_BLENDS},
    **{f"als_popular_{b}": f"als_score + 0.{b:02} popular_score" for b in ALS_BLENDS},
    "knn_log": "log of knn_score + 0.01",
    "next_log": "log of next_score + 0.01",
    "own_rate_log": "log of own_rate + 0.01",
    "own_quantity": "log of 1 + the user's mean units of it a day",
    "own_last": "days since the user bought it last",
    "own_first": "days since the user bought it first",
    "own_gap": "the user's mean days between buying it, drawn to the item's",
    "own_due": "own_last over own_gap: 1 is due",
    "own_due_off": "absolute log of own_due",
    "own_rate": "share of the user's shopping days since own_first on which it was bought",
    **{f"own_in_{n}": f"share of the user's last {n} shopping days with it" for n in LAST_BASKETS},
    "own_missed": "shopping days of the user since the last one with it",
    "own_expected": "buys in the next 28 days at the user's rate: 28 over own_gap, times what is left of the habit",
    "carried": "share of the ItemKNN score that comes from one own item",
    "carriers": "own items that carry the ItemKNN score: (sum of parts)^2 / sum of parts^2",
    "proposals": "generators that propose the item",
    "item_rate_7": "log of 1 + buyers in the last 7 days per 2,500 of the shop",
    "item_rate_28": "the same, 28 days",
    "item_rate_84": "the same, 84 days",
    "item_change": "log of buyers in the last 28 days over those in the 28 before",
    "item_speed": "log of buyers in the last 7 days over a quarter of those in the last 28",
    "item_first_age": "days since the item was first sold",
    "item_last_age": "days since it was last sold",
    "item_repeat_rate": "share of its buyers who came back for it",
    "item_gap": "mean days between two purchases of it by one user",
    "item_quantity": "mean log of units a day",
    "user_baskets": "log of 1 + the user's shopping days",
    "user_items": "log of 1 + distinct items of the user",
    "user_last": "days since the user last bought",
    "user_first": "days since the user first bought",
    "user_gap": "mean days between two shopping days of the user",
    "user_due": "user_last over user_gap",
    "user_size": "items a shopping day",
    "user_repeats": "share of the user's purchases that repeat an earlier one",
    "user_repeats_new": "the same of the last 56 days",
    "user_recent": "shopping days in the last 28 days",
    "user_taste_popular": "mean popular_score of the user's items",
    "popular_off": "popular_score less user_taste_popular",
    "attribute_1": "decayed share of the user's purchases with the item's first attribute",
    "attribute_2": "the same, second attribute",
    "attribute_3": "the same, third attribute",
    "attribute_1_lift": "log of attribute_1 over the same share in the whole shop",
    "attribute_2_lift": "the same, second attribute",
    "attribute_3_lift": "the same, third attribute",
    "attribute_1_last": "days since the user bought anything with the first attribute",
    "attribute_2_last": "the same, second attribute",
    "attribute_3_last": "the same, third attribute",
}
ATTRIBUTES = 3

# Groups of features, as gold.recommendations.factors names them: the terms in which a score is explained. A feature is
# of the group of the longest stem that its name begins with.
GROUPS: Final = {
    "habit": "how often, how newly and how regularly the user buys the item",
    "due": "the time since the user bought it last, against the usual gap",
    "bought_together": "what users, and baskets, with the user's items have or turn to",
    "people_like_you": "users with similar histories, by factors (ALS) and linear weights (EASE)",
    "text": "the likeness of its description to what the user buys",
    "popularity": "how many users buy it, how often they buy it again, how long it has been sold",
    "trend": "its sales of the last weeks against the weeks before",
    "category": "how much the user buys of its category",
    "brand": "how much the user buys of its brand",
    "title": "how much the user buys under its title",
    "shopper": "how often and how much the user shops, whatever the item",
    "agreement": "how many generators propose it",
}
_STEMS: Final = {
    **dict.fromkeys(("own_", "is_own"), "habit"),
    **dict.fromkeys(("own_last", "own_gap", "own_due", "own_missed", "own_expected"), "due"),
    **dict.fromkeys(("knn_", "next_", "basket_", "carried", "carriers"), "bought_together"),
    **dict.fromkeys(("ease_", "als_"), "people_like_you"),
    "bert_": "text",
    **dict.fromkeys(("popular_", "item_"), "popularity"),
    **dict.fromkeys(("trend_", "item_rate_7", "item_change", "item_speed"), "trend"),
    "attribute_1": "category",
    "attribute_2": "brand",
    "attribute_3": "title",
    "user_": "shopper",
    "proposals": "agreement",
}


def group_of(feature: str) -> str:
    """The group of a feature. KeyError for one that no group has."""
    stems = [stem for stem in _STEMS if feature.startswith(stem)]
    if not stems:
        raise KeyError(f"{feature} is in no group of features")
    return _STEMS[max(stems, key=len)]
