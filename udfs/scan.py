"""One result is the scores of a block of queries with all items, nearly, and by how much they may be off.

A scan says which items may be among a query's best; udfs/topk.py scores these, and only these, exactly. So a scan may
be as coarse as is fast, if only its bound holds. In float32 the bound is tiny, and the product takes most of the time.
In 8 bits the product takes a quarter of that, and more items are left in question: a score q.k of rows that were
rounded to q', k' is off by (q - q').k + q'.(k - k'), which is at most |q - q'| |k| + |q'| |k - k'|.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]
Doubles: TypeAlias = npt.NDArray[np.float64]

LONGEST_ROW = 5.0  # of queries and of items; a normalised row is 1
HALF_BIT = 2.0**-24  # by how much at most, of itself, a value changes when it is rounded to float32

# Where 8 bits were faster, on vectors in random directions, of which they leave more in question than of texts'
ITEMS_PER_PLACE = 200  # with fewer items to choose a place's from, most of the time goes into exact scores
PAIRS = 2**27  # with fewer scores, into the rounding of the items and the start of ONNX Runtime, some .6 s
MAX_DIMS = 2**16  # of so many, sums of 8-bit products fit into 32 bits


class Scores(NamedTuple):
    """Of n queries: near x unit is off the exact score, rounded to float32, by at most slack."""

    unit: Doubles  # [n]
    slack: Doubles  # [n]
    near: Iterator[Floats]  # [n, block] for each block of items in turn


Scan: TypeAlias = Callable[[Doubles], Scores]  # of queries [n, d]; they and the items hold float16 values


def scan_of(items: Floats, block: int, queries: int, k: int) -> Scan:
    """The faster scan of these items [m, d], a block at a time, for the best k of so many queries."""
    m, dims = items.shape
    pays = m >= ITEMS_PER_PLACE * k and queries * m >= PAIRS and dims < MAX_DIMS
    return int8_scan(items, block) if pays and has_fast_bytes() else float_scan(items, block)


def float_scan(items: Floats, block: int) -> Scan:
    """Scores in float32."""

    def scan(queries: Doubles) -> Scores:
        single = queries.astype(np.float32)
        near = (single @ items[start : start + block].T for start in range(0, len(items), block))
        return Scores(np.ones(len(queries)), float_slack(queries), near)

    return scan


def float_slack(queries: Doubles) -> Doubles:
    """By how much at most the float32 scores of each query are off: [n].

    A float32 sum of d products is off by at most d x 2^-24 x the product of the lengths, in whatever order it is
    added; doubled for the roundings around it.
    """
    slack: Doubles = 2 * (queries.shape[1] + 2) * HALF_BIT * LONGEST_ROW * np.linalg.norm(queries, axis=1)
    return slack


def int8_scan(items: Floats, block: int) -> Scan:
    """Scores in 8 bits, each row rounded by its own largest value; a query's are in units of what it was rounded to."""
    from udfs.int8_graph import LARGEST, ZERO, rounded

    longest = astray = 0.0
    products = []
    for start in range(0, len(items), block):
        rows = items[start : start + block]
        whole, unit = rounded(rows, LARGEST)
        rest = unit[:, None].astype(np.float64) * whole
        rest -= rows
        longest, astray = max(longest, _longest(rows)), max(astray, _longest(rest))
        products.append(_product(whole, unit))

    def scan(queries: Doubles) -> Scores:
        whole, single = rounded(queries.astype(np.float32), LARGEST)
        unit = single.astype(np.float64)
        kept = unit[:, None] * whole
        off, length = np.linalg.norm(queries - kept, axis=1), np.linalg.norm(kept, axis=1)
        # Sums of integers are exact. What comes after them is rounded four times at most; doubled to be sure.
        slack = off * longest + length * astray + 8 * HALF_BIT * (off + length) * (longest + astray)
        unsigned = (whole.astype(np.int16) + ZERO).astype(np.uint8)
        return Scores(unit, slack, (product(unsigned) for product in products))

    return scan


def _longest(rows: npt.NDArray[np.floating]) -> float:
    return float(np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64).max(initial=0.0)))


def _product(items: npt.NDArray[np.int8], units: Floats) -> Callable[[npt.NDArray[np.uint8]], Floats]:
    """Of queries [n, d], ZERO for 0: their products with the items [m, d], times the items' units: float32 [n, m].

    The items are a constant of a graph: ONNX Runtime puts these into the order in which it reads them, once.
    """
    import onnxruntime
    from onnx import TensorProto, helper
    from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

    from udfs.int8_graph import IR_VERSION, OPSET, Graph

    graph = Graph()
    inputs = ["queries", graph.constant(items.T), graph.one, graph.constant(units), graph.zero]
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
def has_fast_bytes() -> bool:
    """Whether ONNX Runtime is there and the chip adds up products of 8 bits rightly.

    Without VNNI it cuts off what is more than 16 bits (udfs/int8_graph.py), and would gain little by any other way.
    """
    try:
        from udfs.int8_graph import LARGEST, ZERO

        product = _product(np.full((64, 64), LARGEST, np.int8), np.ones(64, np.float32))
    except ImportError:
        return False
    return bool((product(np.full((64, 64), 255, np.uint8)) == 64 * (255 - ZERO) * LARGEST).all())
