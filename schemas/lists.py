"""[lists] and [variants]: what the lists of recommendations, similar items and defaults may show. No Spark."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from schemas.strict import Strict

PRODUCT_ID = "product_id"  # the column of silver.items that a mapping may fill


class Lists(Strict):
    """[lists]: which of the items that are still sold may be shown.

    `in_stock`: with a source of stock, only items of which the newest snapshots have units on hand at some location.
    `stock_locations`: the locations whose stock counts, such as the warehouse that an online shop sends from; empty:
    all. `without_stock_rows`: of an item that no snapshot has. A shop that sells services or prints on demand shows it;
    one that exports what is there alone hides it.
    """

    in_stock: bool = True
    stock_locations: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list)
    without_stock_rows: Literal["show", "hide"] = "show"


class Variants(Strict):
    """[variants]: sizes or colours of one product. `product`: SQL over silver.items that names it, null for none.

    `per_list`: the most variants of a product in a list, but for those that the user has bought.
    """

    product: str = Field(default=PRODUCT_ID, min_length=1)
    per_list: int = Field(default=1, ge=1)
