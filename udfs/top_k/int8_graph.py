"""ONNX graph of a BERT with products of 8-bit integers, read by udfs/encoder/int8.py.

A matrix is rounded once, with one scale per column; its inputs are rounded at run time, with one scale per token. One
scale per batch, as in the quantisers of ONNX Runtime and torch, makes a text's vector depend on its batch mates. Here
it cannot: tokens of different texts share only sums of integers, which are exact in any order.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]

IDS, HIDDEN = "ids", "hidden"  # int64 [texts, tokens], texts of one token count; float32 [texts, tokens, width]
LOWER = "lower"  # HIDDEN of a graph of the layers below, as the input of one of upper layers
OPSET, IR_VERSION = 23, 11
LARGEST = 127
ZERO = 128  # ONNX Runtime has fast sums of unsigned by signed integers on every chip, of signed ones on few
# Without VNNI a chip adds two 8-bit products in 16 bits, with saturation; 2 x 255 x 64 fits. So the same graph gives
# the same sums on every chip.
LARGEST_WEIGHT = 63
SMALLEST_SCALE = np.float32(1e-12)  # of a token or column of zeros


def rounded(rows: Array, largest: int) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """The rows as integers from -largest to largest, and each row's scale: integers x scale approximate the row."""
    scale = np.maximum(np.abs(rows).max(axis=1) / np.float32(largest), SMALLEST_SCALE).astype(np.float32)
    return np.round(rows / scale[:, None]).astype(np.int8), scale


class Graph:
    """Nodes in the order in which they are added, and constants; each is known by a name of its own."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.one = self.constant(np.float32(1))
        self.zero = self.constant(np.uint8(ZERO))
        self.by_token = self.constant(np.array([1]))

    def constant(self, values: Any) -> str:
        """The name of a new constant."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def add(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """The name of the one output of a new node."""
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name, domain=domain, **attributes))
        return name

    def looked_up(self, table: Array, ids: str) -> str:
        """The rows of a table, approximately: it is stored in 8 bits."""
        integers, scale = rounded(table, LARGEST)
        rows = self.add("Cast", self.add("Gather", self.constant(integers), ids), to=TensorProto.FLOAT)
        return self.add("Mul", rows, self.add("Gather", self.constant(scale[:, None]), ids))

    def quantised(self, rows: str) -> tuple[str, str]:
        """uint8 [tokens, width] of float rows, ZERO for 0, and their scales [tokens, 1]."""
        largest = self.add("ReduceMax", self.add("Abs", rows), self.by_token, keepdims=0)
        scale = self.add("Mul", largest, self.constant(np.float32(1 / LARGEST)))
        scale = self.add("Max", scale, self.constant(SMALLEST_SCALE))
        zeros = self.add("Expand", self.zero, self.add("Shape", scale))
        integers = self.add("QuantizeLinear", rows, scale, zeros, axis=0)
        return integers, self.add("Unsqueeze", scale, self.by_token)

    def linear(self, rows: tuple[str, str], weight: Array, bias: Array) -> str:
        """Rows x weight.T + bias, weight [out, in] as torch has it."""
        matrix, scale = rounded(weight, LARGEST_WEIGHT)
        product = self.add(
            "MatMulIntegerToFloat",
            *(rows[0], self.constant(matrix.T), self.one, self.constant(scale), self.zero),
            domain="com.microsoft",
        )
        return self.add("Add", self.add("Mul", product, rows[1]), self.constant(bias))


def write_graph(
    weights: Mapping[str, Array],
    config: Mapping[str, Any],
    path: Path,
    graph: Graph | None = None,
    *,
    layers: range | None = None,
    upper: bool = False,
) -> None:
    """Write the graph of a BertModel's weights, by their names in torch, float32. Raises ValueError.

    graph: an empty Graph, or one of a subclass that multiplies in another way; layers: those in the graph, default all;
    upper: it reads LOWER in place of IDS.
    """
    for name, wanted in (("hidden_act", "gelu"), ("position_embedding_type", "absolute")):
        if config.get(name, wanted) != wanted:
            raise ValueError(f"{name} is {config[name]}; the 8-bit graph has {wanted} only")
    graph = graph or Graph()
    heads, epsilon = config["num_attention_heads"], float(config.get("layer_norm_eps", 1e-12))

    def normed(rows: str, name: str) -> str:
        scale, shift = (graph.constant(weights[f"{name}.LayerNorm.{part}"]) for part in ("weight", "bias"))
        return graph.add("LayerNormalization", rows, scale, shift, axis=-1, epsilon=epsilon)

    def linear(rows: tuple[str, str], name: str) -> str:
        return graph.linear(rows, weights[f"{name}.weight"], weights[f"{name}.bias"])

    by_row = graph.constant(np.array([-1, config["hidden_size"]]))
    shape = graph.add("Shape", LOWER if upper else IDS, start=0, end=2)
    by_text = graph.add("Concat", shape, graph.constant(np.array([-1])), axis=0)
    if upper:
        rows = graph.add("Reshape", LOWER, by_row)
    else:
        words = graph.looked_up(weights["embeddings.word_embeddings.weight"], IDS)
        places = (
            weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
        )
        tokens = graph.add("Shape", IDS, start=1, end=2)
        place = graph.add("Slice", graph.constant(places), graph.constant(np.array([0])), tokens)
        rows = graph.add("Reshape", normed(graph.add("Add", words, place), "embeddings"), by_row)
    for number in layers if layers is not None else range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{number}"
        own = graph.quantised(rows)
        projections = [
            graph.add("Reshape", linear(own, f"{layer}.attention.self.{part}"), by_text)
            for part in ("query", "key", "value")
        ]
        seen = graph.add("Attention", *projections, q_num_heads=heads, kv_num_heads=heads)
        seen = graph.add("Reshape", seen, by_row)
        seen = linear(graph.quantised(seen), f"{layer}.attention.output.dense")
        rows = normed(graph.add("Add", seen, rows), f"{layer}.attention.output")
        inner = graph.add("Gelu", linear(graph.quantised(rows), f"{layer}.intermediate.dense"))
        inner = linear(graph.quantised(inner), f"{layer}.output.dense")
        rows = normed(graph.add("Add", inner, rows), f"{layer}.output")
    # Means are not in the graph: ONNX Runtime adds up the tokens of one text in another order than those of many.
    graph.nodes.append(helper.make_node("Reshape", [rows, by_text], [HIDDEN], HIDDEN))
    _save(graph, path, config["hidden_size"], upper)


def _save(graph: Graph, path: Path, width: int, upper: bool) -> None:
    """Write the graph with its input, LOWER if `upper`, and its output."""
    ids = helper.make_tensor_value_info(IDS, TensorProto.INT64, ["texts", "tokens"])
    lower, hidden = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["texts", "tokens", width]) for name in (LOWER, HIDDEN)
    )
    onnx_graph = helper.make_graph(graph.nodes, "bert", [lower if upper else ids], [hidden], graph.constants)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(onnx_graph, opset_imports=opsets, ir_version=IR_VERSION), str(path))
