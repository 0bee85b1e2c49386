"""Methods of 8-bit products for one encoder: speed, closeness to float32, and dependence on the batch.

    python -m bench.int8_choices --threads 1                # the base weights, texts of the shops' lakes or the example
    python -m bench.int8_choices --file texts.txt --texts 500
    python -m bench.int8_choices --weights lake/complete_journey/models/<version>   # a model's, with its adapter

"torch" and "ONNX Runtime" are the dynamic quantisation of these libraries: one scale for whatever is in a batch. "A
text at a time" is the same graph with batches of one text. Vectors are compared to those of float32, and each text's
ten nearest others.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import warnings
from functools import partial
from pathlib import Path
from typing import Any

from rich.table import Table

from bench.encode import NEIGHBOURS, neighbours
from bench.harness import Contenders, alternate, compare, console, on_cpu, report
from bench.texts import real_texts
from udfs.encoder import base_model, int8, model_folder, model_reader
from udfs.encoder.encoder import Encoder, Floats, load_encoder
from udfs.encoder.model_folder import new_folder
from udfs.top_k.int8_graph import Array, Graph, write_graph

OURS, ONNX, ALONE, TORCH = "8 bits, a scale per token", "ONNX Runtime", "ONNX Runtime, a text at a time", "torch"
FLOAT = "float32, ONNX Runtime"
MATES = 7  # every so-manieth text is encoded again, without the others


class FloatGraph(Graph):
    """The same graph with the weights as they are."""

    def looked_up(self, table: Array, ids: str) -> str:
        """The rows of a table."""
        return self.add("Gather", self.constant(table), ids)

    def quantised(self, rows: str) -> tuple[str, str]:
        """The rows themselves."""
        return rows, ""

    def linear(self, rows: tuple[str, str], weight: Array, bias: Array) -> str:
        """Rows x weight.T + bias."""
        return self.add("Add", self.add("MatMul", rows[0], self.constant(weight.T)), self.constant(bias))


def _copy(folder: Path, output: Path) -> None:
    """All but the weights of a model folder."""
    for name in (model_folder.CONFIG, model_folder.TOKENIZER, model_folder.SETTINGS, model_folder.ADAPTER):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, output / name)


def write_float(folder: Path, output: Path) -> None:
    """A model folder whose model.onnx has the folder's float32 weights."""
    weights = {name: tensor.numpy() for name, tensor in model_reader.read_model(folder)[0].state_dict().items()}
    config = json.loads((folder / model_folder.CONFIG).read_text("utf-8"))
    with new_folder(output) as scratch:
        _copy(folder, scratch)
        write_graph(weights, config, scratch / model_folder.INT8, FloatGraph())


def write_dynamic(folder: Path, output: Path) -> None:
    """The same, quantised as ONNX Runtime does it: columns each by their own scale, a batch by one."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with new_folder(output) as scratch:
        _copy(folder, scratch)
        quantize_dynamic(
            folder / model_folder.INT8,
            scratch / model_folder.INT8,
            op_types_to_quantize=["MatMul", "Gather"],
            per_channel=True,
            reduce_range=True,  # as ours: without VNNI sums of full 8 bits are cut off
            weight_type=QuantType.QInt8,
        )


def torch_dynamic(folder: Path) -> Encoder | None:
    """Linear layers as torch quantises them; None, with a line that says why, where it does not."""
    import torch

    model, tokenizer, settings = model_reader.read_model(folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is deprecated
            quantise: Any = torch.ao.quantization.quantize_dynamic
            quantised = quantise(model, {torch.nn.Linear}, torch.qint8)
    except (AttributeError, RuntimeError) as error:
        console().print(f"torch's is left out: {error}")
        return None
    return Encoder(quantised, tokenizer, settings, dtype="float32", adapter=model_reader.read_adapter(folder))


def measure(folder: Path, texts: list[str], scratch: Path, repeats: int) -> list[Any]:
    """The rows of all methods; prints the table."""
    import torch

    write_float(folder, scratch / "float")
    write_dynamic(scratch / "float", scratch / "dynamic")
    int8.write_int8(folder, scratch / "ours")
    ways: dict[str, Encoder | None] = {
        OURS: int8.Int8Encoder(scratch / "ours"),
        ONNX: int8.Int8Encoder(scratch / "dynamic"),
        ALONE: int8.Int8Encoder(scratch / "dynamic"),
        TORCH: torch_dynamic(folder),
        FLOAT: int8.Int8Encoder(scratch / "float"),
    }
    plain = load_encoder(folder, dtype="float32")
    encoders = {name: way for name, way in ways.items() if way is not None}
    encoders[ALONE].tokens_per_batch = 1
    peer = "float32, torch"

    def encode(model: Encoder, some: list[str]) -> Floats:
        return model.encode(some, model.settings.max_item_tokens)

    exact = encode(plain, texts)
    contenders: Contenders = {peer: (partial(encode, plain, texts), len(texts))}
    contenders |= {name: (partial(encode, way, texts), len(texts)) for name, way in encoders.items()}
    together = {name: encode(way, texts) for name, way in encoders.items()}
    timings = alternate(contenders, repeats)
    near = neighbours(exact, len(exact))
    table = Table(
        *("", "texts/s", "to float32 in torch", "spread", "cosine: mean", "least", f"shared top {NEIGHBOURS}"),
        "other bits among few",
    )
    rows = []
    for name, way in encoders.items():
        row = compare(
            f"8 bits: {name} vs {peer}", on_cpu(torch.get_num_threads()), timings[name], timings[peer], "texts/s"
        )
        rows.append(row)
        cosine = (together[name] * exact).sum(axis=1)
        few = encode(way, texts[::MATES])
        changed = float((few != together[name][::MATES]).any(axis=1).mean())
        figures = (f"{row.value:,.0f}", f"{row.ratio:.2f}", f"{row.spread:.2f}")
        pairs = zip(neighbours(together[name], len(exact)), near, strict=True)
        shared = sum(len(found & wanted) for found, wanted in pairs) / (NEIGHBOURS * len(near))
        table.add_row(name, *figures, f"{cosine.mean():.4f}", f"{cosine.min():.4f}", f"{shared:.1%}", f"{changed:.0%}")
    console().print(table)
    return rows


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        "python -m bench.int8_choices", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--file", help="a file of texts, one a line")
    parser.add_argument("--weights", type=Path, help="a model folder in place of the base weights")
    parser.add_argument("--texts", type=int, default=2_048)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args(arguments)

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import torch

    torch.set_num_threads(given.threads)
    texts, words = real_texts(file=given.file)
    random.Random(given.seed).shuffle(texts)
    console().print(f"texts of {words}: {len(texts):,} different ones, {len(texts[: given.texts]):,} of them read")
    with tempfile.TemporaryDirectory() as scratch:
        report(measure(given.weights or base_model.base_folder(), texts[: given.texts], Path(scratch), given.repeats))


if __name__ == "__main__":
    main(sys.argv[1:])
