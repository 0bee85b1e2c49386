"""Parts of HTML pages: templates (*.html.j2, beside this module), tables, cells and numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

# Loaded from the package, so also from a wheel and the zip that spark-submit ships. All values but Markup are escaped.
TEMPLATES = Environment(
    loader=PackageLoader("jobs.reports", ""),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class Cell:
    """A figure and, in small type, its interval or a note, on a line of its own if `stacked`."""

    text: str
    small: str = ""
    stacked: bool = True
    code: bool = False


Row: TypeAlias = Sequence[Cell | str]


@dataclass(frozen=True)
class Table:
    """A table: the first `words` columns are text, the others right-aligned numbers; `marks`: CSS classes of rows."""

    head: Sequence[str]
    rows: Sequence[Row]
    marks: Sequence[str] = ()
    words: int = 1
    last_words: bool = False

    def is_number(self, place: int) -> bool:
        """Whether a column holds numbers."""
        return place >= self.words and not (self.last_words and place == len(self.head) - 1)

    def mark(self, place: int) -> str:
        """The class of a row, empty for none."""
        return self.marks[place] if place < len(self.marks) else ""


def render(template: str, **values: object) -> Markup:
    """A template of this package with these values."""
    return Markup(TEMPLATES.get_template(template).render(**values))


def number(value: float | None, *, as_share: bool = False) -> str:
    """A number with about four digits; with `as_share` a signed percentage; n/a for None and NaN."""
    if value is None or math.isnan(value):
        return "n/a"
    if as_share:
        return f"{value:+.1%}".replace("%", " %")
    if value == 0 or abs(value) >= 0.001:
        return f"{value:.2f}" if abs(value) >= 10 else f"{value:.4f}" if abs(value) < 1 else f"{value:.3f}"
    return f"{value:.1e}"


def interval(
    value: float | None, low: float | None, high: float | None, *, as_share: bool = False, stacked: bool = True
) -> Cell:
    """A figure and, where there is one, its interval in small type."""
    figure = number(value, as_share=as_share)
    if low is None or high is None or math.isnan(low):
        return Cell(figure)
    return Cell(figure, " to ".join(number(end, as_share=as_share) for end in (low, high)), stacked)
