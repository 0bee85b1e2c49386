"""Lists whose last places are drawn at random from what follows, with the probability of each draw."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.transforms.top_n import top_n
from schemas.errors import ConfError


@dataclass(frozen=True)
class Exploration:
    """How many last places are drawn from a pool of how many candidates; the seed of the draws. ConfError if unfit."""

    places: int = 0
    pool: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what no list can follow."""
        if self.places < 0:
            raise ConfError(f"[jobs.rank_recommendations] explore_places must be at least 0; it is {self.places}")
        if self.places and self.pool < max(self.places, 2):
            least = max(self.places, 2)
            raise ConfError(f"[jobs.rank_recommendations] explore_pool must be at least {least}; it is {self.pool}")


def explored(
    ranked: DataFrame, possible: DataFrame, top_k: int, cap: int, how: Exploration, run_date: dt.date
) -> DataFrame:
    """`ranked` (user_id, item_id, rank, category, ...) with is_explored, propensity and pool_place.

    The last `how.places` places of each list hold items drawn from the user's pool: the first `how.pool` of `possible`
    (rows as `ranked` has them, without rank) that the places above do not show. A pool is ordered by a hash of seed,
    date, user and item: a run repeated gives the same lists, and each of n items has the propensity 1/n at each place
    that is drawn. `pool_place` is the item's place by weight in the pool: with it other choices from the same pool can
    be valued (jobs/value_policies.py). What was not drawn has the propensity 1 and no pool_place. The list of a user
    with fewer than two more candidates, or fewer than there are places, stays as it is; a category is not drawn where
    `cap` leaves fewer rows of it than there are places.
    """
    certain = ranked.withColumns(
        {"is_explored": F.lit(False), "propensity": F.lit(1.0), "pool_place": F.lit(None).cast("int")}
    )
    first = top_k - how.places
    above = ranked.where(F.col("rank") <= first)
    rest = possible.join(above.select("user_id", "item_id"), ["user_id", "item_id"], "left_anti")
    if cap:
        counts = above.where("category IS NOT NULL").groupBy("user_id", "category").count()
        full = counts.where(F.col("count") + how.places > cap).select("user_id", "category")
        rest = rest.join(full, ["user_id", "category"], "left_anti")
    order: list[Column | str] = [F.desc("weight"), "item_id"]
    pool = top_n(rest, ["user_id"], order, how.pool, rank="pool_place")
    size = F.count(F.lit(1)).over(Window.partitionBy("user_id"))
    many = pool.withColumn("_size", size).where(F.col("_size") >= max(how.places, 2))
    chance: list[Column | str] = [F.xxhash64(F.lit(how.seed), F.lit(str(run_date)), "user_id", "item_id"), "item_id"]
    drawn = top_n(many, ["user_id"], chance, how.places, rank="_drawn").withColumns(
        {"rank": F.col("_drawn") + first, "is_explored": F.lit(True), "propensity": 1 / F.col("_size")}
    )
    leaving = drawn.select("user_id", "rank")
    stays = certain.join(leaving, ["user_id", "rank"], "left_anti")
    return stays.unionByName(drawn.drop("_drawn", "_size"), allowMissingColumns=True)
