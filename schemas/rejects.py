"""The number of records that may be rejected, from a share and a least count. No Spark.

The driver and Spark SQL compute it by the same arithmetic, so logs, other kinds of files and pages agree.
"""

from __future__ import annotations

import math

TOLERANCE = 1e-6  # 0.29 of 100 is 28.999999999999996 in floating point, and means 29


def most_rejected(share: float, records: int, least: int = 0) -> int:
    """The number of `records` that may be rejected: `share` of them, or `least` if that is more."""
    return max(math.floor(share * records + TOLERANCE), least)


def most_rejected_sql(share: str, records: str, least: int = 0) -> str:
    """`most_rejected` as a BIGINT in Spark SQL; `share` and `records` are SQL."""
    return f"greatest(CAST(floor({share} * {records} + {TOLERANCE}D) AS BIGINT), {least}L)"
