"""[prices]: what the machine of a run costs. No Spark."""

from __future__ import annotations

from pydantic import Field

from schemas.strict import Strict

GIB = 2**30
HOUR = 3600.0


class Prices(Strict):
    """[prices]: the price of an hour of one core and of one GiB of memory, in `currency`.

    Without them a run has CPU seconds and no price.
    """

    core_hour: float = Field(default=0.0, ge=0)
    gib_hour: float = Field(default=0.0, ge=0)
    currency: str = Field(default="EUR", min_length=1, max_length=10)

    def of(self, cpu_seconds: float, peak_bytes: int, seconds: float) -> float | None:
        """The price of a run: its CPU seconds, and its largest memory for as long as it took; None without prices."""
        if not self.core_hour and not self.gib_hour:
            return None
        return self.core_hour * cpu_seconds / HOUR + self.gib_hour * peak_bytes / GIB * seconds / HOUR
