"""Approximate scores of a block of queries with all items, with a bound on their error.

A scan selects the items that may be among a query's best; udfs/top_k/exact.py scores only these exactly. So a scan may
be as coarse as is fast, as long as its bound holds. In float32 the bound is tiny, and the product takes most of
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
HALF_BIT = 2.0**-24  # largest relative change of a value that is rounded to float32

# A row's values are rounded to whole numbers from -steps to steps. ONNX Runtime multiplies bytes of 0 to 2 x steps by
# signed ones. A chip without VNNI adds two such products in 16 bits, with saturation; 2 x 180 x 90 fits. Equal steps on
# both sides are best for such a product, for the bound is about 1 / steps + 1 / steps.
# By steps, the items needed per place of a list: with fewer, exact scores take most of the time. Measured on vectors in
# random directions, of which 8 bits leave more in question than of text vectors.
ITEMS_PER_PLACE = {127: 200, 90: 800}
PAIRS = 2**27  # with fewer scores the rounding of the items and the start of ONNX Runtime, some .6 s, count
MAX_DIMS = 2**16  # of so many, sums of 8-bit products fit into 32 bits


class Scores(NamedTuple):
    """Approximate scores of n queries: for each block of items in turn slack [n] and near [n, block].

    near x unit [n] differs from the exact score, rounded to float32, by slack x unit at most.
    """

    unit: Doubles
    blocks: Iterator[tuple[Doubles, Floats]]


class Scan(NamedTuple):
    """A scan of some items, which come in `order` [m], their positions."""

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
    """Error bound of the float32 scores of each query: [n].

    A float32 sum of d products is off by at most d x 2^-24 x the product of the lengths, in whatever order it is
    added; doubled for the roundings around it.
    """
    slack: Doubles = 2 * (queries.shape[1] + 2) * HALF_BIT * LONGEST_ROW * np.linalg.norm(queries, axis=1)
    return slack


def int8_scan(items: Floats, block: int, steps: int) -> Scan:
    """Scores in 8 bits, each row rounded by its own largest value; a query's scores are in units of its own scale.

    Items are ordered by their largest values, so that the items of one block have similar rounding errors: an item with
    a large error leaves more of its block in question.
    """
    from udfs.top_k.int8_graph import rounded

    largest = np.maximum(items.max(axis=1, initial=0), -items.min(axis=1, initial=0))
    order = np.argsort(largest, kind="stable")
    blocks = []
    for start in range(0, len(items), block):
        rows = items[order[start : start + block]]
        integers, unit = rounded(rows, steps)
        residual = unit[:, None].astype(np.float64) * integers
        residual -= rows
        blocks.append((_longest(rows), _longest(residual), _product(integers, unit, steps)))

    def scores(queries: Doubles) -> Scores:
        integers, single = rounded(queries.astype(np.float32), steps)
        unit = single.astype(np.float64)
        approximate = unit[:, None] * integers
        off, length = np.linalg.norm(queries - approximate, axis=1), np.linalg.norm(approximate, axis=1)
        unsigned = (integers.astype(np.int16) + steps).astype(np.uint8)

        def slack(longest: float, astray: float) -> Doubles:
            # Sums of integers are exact. The steps after them round five times at most; doubled to be sure.
            most: Doubles = off * longest + length * astray + 10 * HALF_BIT * (off + length) * (longest + astray)
            return most / unit

        return Scores(unit, ((slack(longest, astray), product(unsigned)) for longest, astray, product in blocks))

    return Scan(order, scores)


def _longest(rows: npt.NDArray[np.floating]) -> float:
    return float(np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64).max(initial=0.0)))


def _product(items: npt.NDArray[np.int8], units: Floats, zero: int) -> Callable[[npt.NDArray[np.uint8]], Floats]:
    """Products of queries [n, d] (`zero` for 0) with the items [m, d], times the items' units: float32 [n, m].

    The items are a constant of a graph: ONNX Runtime brings them into its reading order once.
    """
    import onnxruntime
    from onnx import TensorProto, helper
    from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

    from udfs.top_k.int8_graph import IR_VERSION, OPSET, Graph

    graph = Graph()
    inputs = ["queries", graph.constant(items.T), graph.one, graph.constant(units), graph.constant(np.uint8(zero))]
    near = graph.add("MatMulIntegerToFloat", *inputs, domain="com.microsoft")
    input_info = helper.make_tensor_value_info("queries", TensorProto.UINT8, ["n", items.shape[1]])
    output_info = helper.make_tensor_value_info(near, TensorProto.FLOAT, ["n", len(items)])
    onnx_graph = helper.make_graph(graph.nodes, "scan", [input_info], [output_info], graph.constants)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(onnx_graph, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString()
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
    """The most steps with which this chip adds up products correctly; 0 where ONNX Runtime is missing."""
    try:
        for steps in ITEMS_PER_PLACE:
            product = _product(np.full((64, 64), steps, np.int8), np.ones(64, np.float32), steps)
            if bool((product(np.full((64, 64), 2 * steps, np.uint8)) == 64 * steps**2).all()):
                return steps
    except ImportError:
        pass
    return 0
