"""One row is a SIMULATED stock level: no public data set has real ones, so a stated policy plays a shop's buyers.

The policy runs on the real sales of every store and product, day by day from the first day of logs, and its state at
the end of a few Sundays becomes the raw file stock/simulated_stock_DATE.csv. Whoever shows these numbers says that they
are simulated. A state depends on nothing after its day: the draws are hashes of ids and days, not a stream.

- A pair of store and product is listed from its first sale on, with 1 to 3 units left on that day.
- Each store reviews its pairs once a week, on a weekday of its own: (s, S) with s = m x lead and S = m x (lead + 14
  days), at least 1, where m is the mean of the last 28 days times the buyer's error for the pair, lognormal with a
  spread of 0.6. So some pairs are short for good and others overstocked. One order in ten is forgotten.
- An order arrives after the lead time, in the evening. It takes 2 to 10 days, by store and department.
- What was really sold but was not there in the simulation leaves the stock at 0.
- A pair with no sale in 26 weeks is no longer ordered, and not in the file.
"""

from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

SUNDAYS = ("2017-11-05", "2017-12-03", "2017-12-31")  # the dates of the files
LISTED_DAYS, MEAN_DAYS, COVER_DAYS = 182, 28, 14
LEAD_DAYS = (2, 10)  # shortest, longest
ERROR_SPREAD, FORGOTTEN, FIRST_UNITS = 0.6, 0.1, 3
MOST_UNITS = 1_000  # a line of more is fuel in gallons or a mistake
NOT_STOCKED = (
    "FUEL",
    "COUPON",
    "MISCELLANEOUS",
    "CNTRL/STORE SUP",
    "POSTAL CENTER",
    "PROD-WHS SALES",
    "CHARITABLE CONT",
)
SEED = 20_171_231
COLUMNS = ("store_id", "product_id", "on_hand", "on_order", "lead_time_days")

Days = NDArray[np.datetime64]
Longs = NDArray[np.int64]
Doubles = NDArray[np.float64]


def draws(*keys: NDArray[np.integer] | int) -> Doubles:
    """One number in [0, 1) per entry, decided by the seed and the keys alone (the mixer of splitmix64)."""
    with np.errstate(over="ignore"):
        state = np.full(1, SEED, np.uint64)
        for key in keys:
            state = (state + np.asarray(key).astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state = state ^ (state >> np.uint64(31))
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53


def lead_days(store: Longs, department: NDArray[np.object_]) -> Longs:
    """Days from an order to its arrival, of each pair of a store and a department's name."""
    names, code = np.unique(department.astype(str), return_inverse=True)
    shortest, longest = LEAD_DAYS
    drawn = draws(1, store, np.array([crc32(name.encode()) for name in names.tolist()], np.int64)[code])
    return shortest + (drawn * (longest - shortest + 1)).astype(np.int64)


def simulated_stock(transactions: pa.Table, dates: Days, products: pa.Table) -> tuple[pa.Table, Days]:
    """The rows of every file (COLUMNS, by date, store and product), and the date of each."""
    names = [*pc.fill_null(products["department"], "").to_pylist(), ""]  # the last is a product's that is not listed
    place = pc.index_in(transactions["product_id"], value_set=products["product_id"].combine_chunks())
    place = pc.fill_null(place, len(names) - 1).to_numpy()
    quantity, value = transactions["quantity"].to_numpy(), transactions["sales_value"].to_numpy()
    stocked = np.array([name not in NOT_STOCKED for name in names])[place]
    sold = stocked & (quantity >= 1) & (quantity <= MOST_UNITS) & (value > 0)
    store, product = (transactions[name].to_numpy()[sold] for name in ("store_id", "product_id"))
    most = int(product.max(initial=0)) + 1
    _, first, pair = np.unique(store * most + product, return_index=True, return_inverse=True)
    department = np.array(names, object)[place[sold][first]]
    shop = _Shop(store[first], product[first], department)
    first_day = dates.min()
    day = (dates[sold] - first_day).astype(np.int64)
    files = {int((np.datetime64(date) - first_day).astype(int)): date for date in SUNDAYS}
    order = np.argsort(day, kind="stable")
    day, pair, units = day[order], pair[order], quantity[sold][order].astype(np.int64)
    bounds = np.searchsorted(day, np.arange(day.max(initial=0) + 2))
    parts, row_dates = [], []
    for today in range(len(bounds) - 1):
        lines = slice(bounds[today], bounds[today + 1])
        shop.live(today, pair[lines], units[lines])
        if today in files:
            parts.append(shop.state(today))
            row_dates.append(np.full(len(parts[-1]), np.datetime64(files[today], "D")))
    empty = pa.table({name: pa.array([], pa.int64()) for name in COLUMNS})
    return pa.concat_tables([empty, *parts]), np.concatenate([np.empty(0, "datetime64[D]"), *row_dates])


class _Shop:
    """All pairs of the year; one that was not sold yet has nothing and is not looked at."""

    def __init__(self, store: Longs, product: Longs, department: NDArray[np.object_]) -> None:
        self.store, self.product = store, product
        self.lead = lead_days(store, department)
        # Box and Muller: a normal number of two even ones.
        one, other = draws(2, store, product), draws(3, store, product)
        self.error = np.exp(ERROR_SPREAD * np.sqrt(-2 * np.log1p(-one)) * np.cos(2 * np.pi * other))
        weekday = (draws(4, store) * 7).astype(np.int64)
        self.of_weekday = [np.flatnonzero(weekday == number) for number in range(7)]
        count = len(store)
        self.on_hand, self.on_order, self.recent = (np.zeros(count, np.int64) for _ in range(3))
        self.last_sold = np.full(count, -LISTED_DAYS)
        self.listed = np.zeros(count, bool)
        self.sales: list[tuple[Longs, Longs]] = []  # of each day so far
        self.arrivals: dict[int, list[tuple[Longs, Longs]]] = {}

    def live(self, today: int, pair: Longs, units: Longs) -> None:
        """One day: sales, arrivals, review."""
        pair, line = np.unique(pair, return_inverse=True)
        units = np.bincount(line, units, len(pair)).astype(np.int64)
        new = pair[~self.listed[pair]]
        self.on_hand[pair] = np.maximum(self.on_hand[pair] - units, 0)
        self.on_hand[new] = 1 + (draws(5, self.store[new], self.product[new]) * FIRST_UNITS).astype(np.int64)
        self.listed[pair], self.last_sold[pair] = True, today
        self.recent[pair] += units
        self.sales.append((pair, units))
        if today >= MEAN_DAYS:
            old, left = self.sales[today - MEAN_DAYS]
            self.recent[old] -= left
        for rows, arrived in self.arrivals.pop(today, []):
            self.on_hand[rows] += arrived
            self.on_order[rows] -= arrived
        self._review(today, self.of_weekday[today % 7])

    def _review(self, today: int, rows: Longs) -> None:
        rows = rows[self.listed[rows] & (self.last_sold[rows] > today - LISTED_DAYS)]
        mean = self.recent[rows] / MEAN_DAYS * self.error[rows]
        position = self.on_hand[rows] + self.on_order[rows]
        up_to = np.maximum(np.ceil(mean * (self.lead[rows] + COVER_DAYS)), 1).astype(np.int64)
        low = (position <= mean * self.lead[rows]) & (position < up_to)
        kept = draws(6, self.store[rows], self.product[rows], today) >= FORGOTTEN
        rows, units = rows[low & kept], (up_to - position)[low & kept]
        self.on_order[rows] += units
        for days in np.unique(self.lead[rows]).tolist():
            late = self.lead[rows] == days
            self.arrivals.setdefault(today + days, []).append((rows[late], units[late]))

    def state(self, today: int) -> pa.Table:
        """What the pairs sold within LISTED_DAYS have at the end of the day."""
        rows = np.flatnonzero(self.last_sold > today - LISTED_DAYS)
        columns = (self.store, self.product, self.on_hand, self.on_order, self.lead)
        return pa.table({name: column[rows] for name, column in zip(COLUMNS, columns, strict=True)})
