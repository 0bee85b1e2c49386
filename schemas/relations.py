"""What belongs together: relations of items, and the items that replace, complete or follow another."""

from schemas.bronze import RUN_DATE
from schemas.contract import Column, Table, between, dense_rank_check, not_blank, one_of, row_check, unique_check
from schemas.gold import RANK
from schemas.silver import ITEM_ID

OF_CATALOGUE = ("made_by", "of_type", "has_size", "has_colour", "has_material", "variant_of", "same_as")
OF_PURCHASES = ("bought_with", "bought_after", "instead_of")
NEED = "in_category"
EDGES = (NEED, *OF_CATALOGUE, *OF_PURCHASES, "newer_than")
SUBSTITUTE, COMPLEMENT, VARIANT, NEWER = RELATED = ("substitute", "complement", "variant", "newer")
SOURCES = ("catalogue", "text", "purchases")

RELATIONS = Table(
    "features.relations",
    "one relation of one item to a value (its category, maker, type, size, colour, material, product) or to an item",
    (
        RUN_DATE,
        Column("subject", "STRING", "The item", rules=(not_blank(200),)),
        Column(
            "relation",
            "STRING",
            "What relates them. bought_with, bought_after: items more often in one basket, or first bought on the "
            "buyer's next day, than chance explains. instead_of: object was bought where the subject had been bought "
            "the time before. newer_than: of the same maker and need, listed later, and bought instead or a variant",
            rules=(one_of(*EDGES),),
        ),
        Column("object", "STRING", "The value, or the other item", rules=(not_blank(2_000),)),
        Column(
            "weight",
            "DOUBLE",
            "in_category: the item's share of the category's buyers. bought_with, bought_after: the lower end of the "
            "lift. instead_of: share of the buyers who changed from the subject. newer_than: days between the two "
            "listings. Others: confidence in the value, up to 1",
            rules=(between(0, None),),
        ),
        Column(
            "support",
            "BIGINT",
            "Buyers behind an edge of purchases and of in_category; else items of the category with the same object",
            rules=(between(0, None),),
        ),
        Column("source", "STRING", "What it was read from", rules=(one_of(*SOURCES),)),
        Column(
            "catalogue_hash",
            "STRING",
            "Hash of the catalogue whose columns and texts were read; null for edges of purchases",
            True,
        ),
    ),
    key=("subject", "relation", "object"),
    extra_checks=(
        row_check(
            "not_itself",
            "subject <> object OR relation NOT IN ('bought_with', 'bought_after', "
            "'instead_of', 'same_as', 'newer_than')",
            "an item must not be related to itself",
        ),
    ),
)
RELATED_ITEMS = Table(
    "gold.related_items",
    "one item that replaces an item, completes it, is a variant of it or follows it",
    (
        RUN_DATE,
        ITEM_ID,
        Column(
            "relation",
            "STRING",
            "substitute: same need, rarely in one basket. complement: in one basket more than chance explains, another "
            "need. variant: another size, colour or pack of the product, or another id of it. newer: listed later by "
            "the same maker, and bought instead",
            rules=(one_of(*RELATED),),
        ),
        RANK,
        Column("related_item_id", "STRING", "The related item, another one", rules=(not_blank(200),)),
        Column(
            "score",
            "DOUBLE",
            "substitute: probability among all items of the need. complement: the lift's lower end. variant: the "
            "item's share of its category's buyers. newer: days between the two listings",
            rules=(between(0, None),),
        ),
        Column("reason", "STRING", "Why, in a sentence that follows from features.relations", rules=(not_blank(500),)),
    ),
    key=("item_id", "relation", "rank"),
    extra_checks=(
        dense_rank_check("item_id", "relation"),
        unique_check("item_id", "relation", "related_item_id"),
        row_check("another_item", "item_id <> related_item_id", "an item must not be related to itself"),
    ),
    public=True,
    may_be_empty=True,
    shows="related_item_id",
)

TABLES = (RELATIONS, RELATED_ITEMS)
