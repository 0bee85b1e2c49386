"""How much of a shop item models are fitted on, in training and in every run that its model scores."""

from __future__ import annotations

from dataclasses import asdict, dataclass

BYTES_PER_LINE = 160  # of a purchase line in the memory of the process that fits: ids, dates, basket, quantity


@dataclass(frozen=True)
class SampleBudget:
    """The most that a sample of a shop holds. Users and baskets of guests are drawn by the hash of their ids.

    users, lines: of users; a smaller share of them is drawn where either would be more. guest_baskets: as large a share
    as of the users, and at most so many, with at most `lines` lines too. lines_per_user: the newest. lines_per_basket:
    drawn by the hash of the item.
    """

    users: int = 20_000
    lines: int = 10_000_000
    guest_baskets: int = 50_000
    lines_per_user: int = 10_000
    lines_per_basket: int = 500

    @property
    def bytes(self) -> int:
        """The most that the sample takes in memory, about."""
        return 2 * self.lines * BYTES_PER_LINE

    def to_dict(self) -> dict[str, int]:
        """As training.json has it."""
        return asdict(self)
