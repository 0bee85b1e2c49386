"""One result is the scores of a block of queries with all items, nearly, and by how much they may be off.

A scan says which items may be among a query's best; udfs/top_k/exact.py scores these, and only these, exactly. So a
scan may be as coarse as is fast, if only its bound holds. In float32 the bound is tiny, and the product takes most of
the time. In 8 bits the product takes a quarter to a half of that, and more items are left in question: a score q.k of
rows that were rounded to q', k' is off by (q - q').k + q'.(k - k'), which is at most |q - q'| |k| + |q'| |k - k'|.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]
Doubles: TypeAlias = npt.NDArray[np.float64]
Indices: TypeAlias = npt.NDArray[np.int64]

LONGEST_ROW = 5.0  # of queries and of items; a normalised row is 1
HALF_BIT = 2.0**-24  # by how much at most, of itself, a value changes when it is rounded to float32

# A row's values are rounded to whole numbers from -steps to steps. ONNX Runtime multiplies bytes of 0 to 2 x steps by
# signed ones. A chip without VNNI adds two such products in 16 bits and cuts off what is more: 2 x 180 x 90 is not. As
# many steps for either side are the best with such a product, for the bound is about 1 / steps + 1 / steps.
# By steps, how many items there must be to choose each place from: with fewer, exact scores take most of the time. Seen
# on vectors in random directions, of which 8 bits leave more in question than of texts'.
ITEMS_PER_PLACE = {127: 200, 90: 800}
PAIRS = 2**27  # with fewer scores the rounding of the items and the start of ONNX Runtime, some .6 s, count
MAX_DIMS = 2**16  # of so many, sums of 8-bit products fit into 32 bits


class Scores(NamedTuple):
    """Of n queries, for each block of items in turn: slack [n] and near [n, block], which times unit [n] is the exact
    score, rounded to float32, but for slack x unit at most.
    """

    unit: Doubles
    blocks: Iterator[tuple[Doubles, Floats]]


class Scan(NamedTuple):
    """A way to scan some items. They come in `order` [m], of their positions."""

    order: Indices
    scores: Callable[[Doubles], Scores]  # of queries [n, d]; they and the items hold float16 values


def scan_of(items: Floats, block: int, queries: int, k: int) -> Scan:
    """The faster scan of these items [m, d], a block at a time, for the best k of so many queries."""
    m, dims = items.shape
    may_pay = m >= min(ITEMS_PER_PLACE.values()) * k and queries * m >= PAIRS and dims < MAX_DIMS
    steps = most_steps() if may_pay else 0
    pays = steps and m >= ITEMS_PER_PLACE[steps] * k
    return int8_scan(items, block, steps) if pays else float_scan(items, block)


def float_scan(items: Floats, block: int) -> Scan:
    """Scores in float32."""

    def scores(queries: Doubles) -> Scores:
        single, slack = queries.astype(np.float32), float_slack(queries)
        near = ((slack, single @ items[start : start + block].T) for start in range(0, len(items), block))
        return Scores(np.ones(len(queries)), near)

    return Scan(np.arange(len(items)), scores)


def float_slack(queries: Doubles) -> Doubles:
    """By how much at most the float32 scores of each query are off: [n].

    A float32 sum of d products is off by at most d x 2^-24 x the product of the lengths, in whatever order it is
    added; doubled for the roundings around it.
    """
    slack: Doubles = 2 * (queries.shape[1] + 2) * HALF_BIT * LONGEST_ROW * np.linalg.norm(queries, axis=1)
    return slack


def int8_scan(items: Floats, block: int, steps: int) -> Scan:
    """Scores in 8 bits, each row rounded by its own largest value; a query's are in units of what it was rounded to.

    Items come by their largest values, so that those of one block lose about as much by rounding: one item that loses
    much would leave more in question wherever it is.
    """
    from udfs.top_k.int8_graph import rounded

    largest = np.maximum(items.max(axis=1, initial=0), -items.min(axis=1, initial=0))
    order = np.argsort(largest, kind="stable")
    blocks = []
    for start in range(0, len(items), block):
        rows = items[order[start : start + block]]
        whole, unit = rounded(rows, steps)
        rest = unit[:, None].astype(np.float64) * whole
        rest -= rows
        blocks.append((_longest(rows), _longest(rest), _product(whole, unit, steps)))

    def scores(queries: Doubles) -> Scores:
        whole, single = rounded(queries.astype(np.float32), steps)
        unit = single.astype(np.float64)
        kept = unit[:, None] * whole
        off, length = np.linalg.norm(queries - kept, axis=1), np.linalg.norm(kept, axis=1)
        unsigned = (whole.astype(np.int16) + steps).astype(np.uint8)

        def slack(longest: float, astray: float) -> Doubles:
            # Sums of integers are exact. What comes after them is rounded five times at most; doubled to be sure.
            most: Doubles = off * longest + length * astray + 10 * HALF_BIT * (off + length) * (longest + astray)
            return most / unit

        return Scores(unit, ((slack(longest, astray), product(unsigned)) for longest, astray, product in blocks))

    return Scan(order, scores)


def _longest(rows: npt.NDArray[np.floating]) -> float:
    return float(np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64).max(initial=0.0)))


def _product(items: npt.NDArray[np.int8], units: Floats, zero: int) -> Callable[[npt.NDArray[np.uint8]], Floats]:
    """Of queries [n, d], `zero` for 0: their products with the items [m, d], times the items' units: float32 [n, m].

    The items are a constant of a graph: ONNX Runtime puts these into the order in which it reads them, once.
    """
    import onnxruntime
    from onnx import TensorProto, helper
    from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

    from udfs.top_k.int8_graph import IR_VERSION, OPSET, Graph

    graph = Graph()
    inputs = ["queries", graph.constant(items.T), graph.one, graph.constant(units), graph.constant(np.uint8(zero))]
    near = graph.add("MatMulIntegerToFloat", *inputs, domain="com.microsoft")
    takes = helper.make_tensor_value_info("queries", TensorProto.UINT8, ["n", items.shape[1]])
    gives = helper.make_tensor_value_info(near, TensorProto.FLOAT, ["n", len(items)])
    whole_graph = helper.make_graph(graph.nodes, "scan", [takes], [gives], graph.constants)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(whole_graph, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString()
    threads = max((pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"), default=1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # each block's session has its threads
    options.log_severity_level = 3  # errors
    session: Any = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
    return lambda queries: session.run(None, {"queries": queries})[0]


@cache
def most_steps() -> int:
    """The most steps with which this chip adds up products rightly; 0 where ONNX Runtime is missing."""
    try:
        for steps in ITEMS_PER_PLACE:
            product = _product(np.full((64, 64), steps, np.int8), np.ones(64, np.float32), steps)
            if bool((product(np.full((64, 64), 2 * steps, np.uint8)) == 64 * steps**2).all()):
                return steps
    except ImportError:
        pass
    return 0
