"""[[blocked]]: items that no list may show, whatever sells. No Spark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from schemas.strict import Strict

MOST_BLOCKED = 0.2  # of the catalogue, by one pattern: a pattern that fits more is a mistake


class Blocked(Strict):
    """[[blocked]]: `items` by id, or those of which `column` of silver.items is `like` a pattern (SQL, any case).

    `reason`: why, for people; it names the rule in messages.
    """

    reason: str = Field(min_length=1)
    items: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list)
    column: Literal["", "item_id", "text", "title", "category", "brand"] = ""
    like: str = ""

    @model_validator(mode="after")
    def _is_one_rule(self) -> Blocked:
        if bool(self.items) == bool(self.column or self.like):
            raise ValueError("must have either items or column and like")
        if bool(self.column) != bool(self.like):
            raise ValueError("column and like: neither is anything without the other")
        if self.like.endswith("\\"):
            raise ValueError(f"like = {self.like!r}: a backslash at its end escapes nothing")
        return self

    @property
    def sql(self) -> str:
        """SQL over silver.items that is true for the items of this rule; never null."""
        if self.items:
            return f"item_id IN ({', '.join(map(_quoted, self.items))})"
        return f"coalesce({self.column} ILIKE {_quoted(self.like)}, false)"


def blocked_sql(rules: Sequence[Blocked]) -> str:
    """SQL over silver.items that is true for the items of any rule; never null."""
    return " OR ".join(rule.sql for rule in rules) or "false"


def _quoted(text: str) -> str:
    """A text as a literal of Spark SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
