"""Checks and measures on a GPU all code that only a GPU runs: both encoders and their UDFs, exact top-K, full memory.

    python -m bench.gpu                                        # the first CUDA device; ends within eight minutes
    python -m bench.gpu --weights build/half --file texts.txt  # on a machine that has neither the package nor a lake
    python -m bench.gpu --device cpu                           # a dry run in tiny sizes: the same code, no kernel

Each part compares its results before it reports a figure, and raises GateError where they are off: vectors by their
cosine to those of the CPU in float32, lists place by place with the exact ones. The UDF is the function that a Spark
task runs, given Arrow batches in this process, so no Java is needed; Spark's own part is left out.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
from pyspark import SparkFiles

from bench import encode, gpu_users, topk
from bench.harness import RESULTS, Row, alternate, compare, console, gate, on_cpu, report
from bench.texts import real_texts
from jobs.transforms import devices, vectors
from udfs.encoder import base_model, encoder, model_reader, packed
from udfs.encoder.encoder import Encoder, Floats
from udfs.encoder.stored_vectors import from_bytes

LIMIT_SECONDS = 470.0  # eight minutes, less what the end of a process takes
BATCH_ROWS = 4_096  # spark.sql.execution.arrow.maxRecordsPerBatch in conf/
ROOM_BYTES = 384 * 2**20  # memory left for a pass: 131,072 tokens of MiniLM in half precision need over 1 GiB
HALVED = re.compile(r"out of memory on the GPU: (\d+) tokens a pass")
UDF_TARGET = 0.85  # of the encoder's own speed, called once with all texts


@dataclass(frozen=True)
class Sizes:
    """How much each part does. `cpu_texts`: texts whose vectors are compared with the CPU's; histories: of users."""

    texts: int
    cpu_texts: int
    histories: int
    naive_texts: int
    users: int
    items: int
    k: int
    repeats: int


GPU = Sizes(
    texts=16_384, cpu_texts=2_048, histories=4_096, naive_texts=1_024, users=200_000, items=100_000, k=100, repeats=3
)
DRY_RUN = Sizes(texts=512, cpu_texts=128, histories=64, naive_texts=32, users=64, items=2_000, k=10, repeats=1)


class Limited:
    """A PackedBert that acts like a device on which no more than `tokens` fit into one pass."""

    def __init__(self, model: packed.PackedBert, tokens: int) -> None:
        self._model, self._tokens = model, tokens

    def __call__(self, ids: Any, *arguments: Any) -> Any:
        """A pass; torch.cuda.OutOfMemoryError for too many tokens."""
        import torch

        if len(ids) > self._tokens:
            raise torch.cuda.OutOfMemoryError(f"{len(ids)} tokens")
        return self._model(ids, *arguments)


def encoder_on(folder: Path, device: str) -> Encoder:
    """The encoder as a GPU runs it; on a CPU its packed passes with plain attention."""
    on_device = Encoder(*model_reader.read_model(folder), device=device)
    if on_device.device.type == "cpu":
        on_device._packed = packed.PackedBert(on_device.model, packed.plain_attention)
    return on_device


def near(what: str, actual: Floats, expected: Floats) -> None:
    """Print the least cosine of unit vectors, text by text. GateError below encode.MIN_COSINE."""
    cosine = float((actual * expected).sum(axis=1).min())
    console().print(gate(f"{what}: cosine to the CPU's float32, the least,", cosine, encode.MIN_COSINE), style="dim")


def check_encoder(folder: Path, texts: list[str], expected: Floats, device: str) -> None:
    """The packed passes' vectors of the first texts against the CPU's; GateError."""
    read = texts[: len(expected)]
    near("packed passes", encoder_on(folder, device).encode(read, encode.MAX_TOKENS), expected)


def check_memory(folder: Path, texts: list[str], expected: Floats, device: str) -> str:
    """One line: the tokens per pass before and after memory ran out. GateError where they were not reduced.

    Also where the vectors then differ from the CPU's.
    """
    small = encoder_on(folder, device)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with _little_memory(small, texts):
            actual = small.encode(texts, encode.MAX_TOKENS)
    halved = [int(match[1]) for warning in warned if (match := HALVED.search(str(warning.message)))]
    gate("memory ended, and fewer tokens were tried", float(len(halved)), 1)
    near("with little memory", actual[: len(expected)], expected)
    return f"memory: {small.tokens_per_batch:,} tokens a pass did not fit, {halved[-1]:,} did"


@contextmanager
def _little_memory(small: Encoder, texts: list[str]) -> Iterator[None]:
    """Within the block, the encoder's largest pass does not fit into its device's memory."""
    import torch

    if small.device.type != "cuda":
        assert small._packed is not None
        tokens = sum(map(len, encoder.token_ids(small._tokenizer, texts, encode.MAX_TOKENS)))
        small.tokens_per_batch = max(encode.MAX_TOKENS, tokens // 2)
        small._packed = Limited(small._packed, small.tokens_per_batch // 3)  # type: ignore[assignment]
        yield
        return
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(small.device).total_memory
    torch.cuda.set_per_process_memory_fraction(
        (torch.cuda.memory_reserved(small.device) + ROOM_BYTES) / total, small.device
    )
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, small.device)
        torch.cuda.empty_cache()


def through_udf(folder: Path, texts: list[str], device: str, threads: int) -> Floats:
    """The vectors that the encoding UDF gives for Arrow batches of texts, as a table holds them."""
    with (
        mock.patch.object(devices, "of_this_task", return_value=(device, threads)),
        mock.patch.object(SparkFiles, "get", return_value=str(folder)),
    ):
        batches = pa.table({"text_key": texts, "text": texts}).to_batches(BATCH_ROWS)
        cells = [cell for batch in vectors._encoder(str(folder))(iter(batches)) for cell in batch["vector"].to_pylist()]
    return from_bytes(cells, len(cells[0]) // 2)


def measure_udf(folder: Path, texts: list[str], expected: Floats, device: str, repeats: int) -> Row:
    """The UDF against its encoder called once, after its vectors were compared with the CPU's."""
    threads = os.cpu_count() or 1
    alone = encoder.load_encoder(folder, device)
    longest = alone.settings.max_item_tokens
    run = partial(through_udf, folder, texts, device, threads)
    actual = run()[: len(expected)]
    near("the UDF", actual / np.linalg.norm(actual, axis=1, keepdims=True), expected)
    udf, one_call = (run, float(len(texts))), (partial(alone.encode, texts, longest), float(len(texts)))
    timings = alternate({"udf": udf, "alone": one_call}, repeats)
    where = name_of(device)
    return compare("the encoding UDF vs its encoder", where, timings["udf"], timings["alone"], "texts/s", UDF_TARGET)


def name_of(device: str) -> str:
    """The device of a row, in words."""
    import torch

    return on_cpu(torch.get_num_threads()) if device == "cpu" else torch.cuda.get_device_name(device)


def measure(folder: Path, texts: list[str], device: str, sizes: Sizes, part: Callable[[str], None]) -> list[Row]:
    """The rows of all parts; `part` is called with the name of each as it starts."""
    part("the CPU's own vectors")
    cpu = Encoder(*model_reader.read_model(folder), dtype="float32")
    read = texts[: sizes.cpu_texts]
    expected = cpu.encode(read, encode.MAX_TOKENS)
    as_items = cpu.encode(read, cpu.settings.max_item_tokens)
    part("encode")
    check_encoder(folder, texts, expected, device)
    with_peer = sizes is not DRY_RUN
    rows = encode.measure(encode.ITEMS, texts, folder, device, sizes.naive_texts, sizes.repeats, with_peer)
    part("memory")
    console().print(check_memory(folder, texts, expected, device))
    part("UDF")
    rows.append(measure_udf(folder, texts, as_items, device, sizes.repeats))
    part("user encoder")
    rows += gpu_users.measure(folder, read, as_items, device, sizes.histories, sizes.repeats)
    part("top-K")
    users, items = topk.directions(sizes.users, 7), topk.directions(sizes.items, 8)
    return rows + topk.measure_device(users, items, sizes.k, min(200, sizes.users), device, sizes.repeats)


class Deadline:
    """Ends the process when its time is over, also while it waits for a device: which part did not end is printed."""

    def __init__(self, seconds: float, end: Callable[[int], object] = os._exit) -> None:
        self.part, self._seconds, self._end = "start", seconds, end
        self._timer = threading.Timer(seconds, self._over)
        self._timer.daemon = True
        self._timer.start()

    def begin(self, part: str) -> None:
        """Another part begins."""
        self.part = part
        console().print(f"bench.gpu: {part} ...", style="dim")

    def cancel(self) -> None:
        """All parts have ended."""
        self._timer.cancel()

    def _over(self) -> None:
        print(f"bench.gpu: {self.part} had not ended after {self._seconds:.0f} s; nothing is reported", file=sys.stderr)
        sys.stderr.flush()
        self._end(1)


def main(arguments: list[str] | None = None) -> None:
    """Measure and print the table. Exit code 2 where there is no such device."""
    parser = argparse.ArgumentParser(
        "python -m bench.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", help="torch's name of a GPU, or cpu for a dry run")
    parser.add_argument("--file", help="texts, one a line; default: the shops' lakes, or the example's package")
    parser.add_argument("--weights", type=Path, help="a model folder; default: the base weights, by their package")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the JSON file that rows are appended to")
    given = parser.parse_args(arguments)
    import torch

    if given.device != "cpu" and not torch.cuda.is_available():
        print(
            f"bench.gpu: torch {torch.__version__} finds no CUDA device on this machine, so nothing was measured. "
            "`python -m bench.gpu --device cpu` runs the same code on a CPU in tiny sizes.",
            file=sys.stderr,
        )
        raise SystemExit(2)
    sizes = DRY_RUN if given.device == "cpu" else GPU
    deadline = Deadline(LIMIT_SECONDS)
    try:
        texts, words = real_texts(file=given.file)
        random.Random(7).shuffle(texts)
        texts = texts[: sizes.texts]
        console().print(f"{name_of(given.device)}, torch {torch.__version__}; {len(texts):,} texts of {words}")
        rows = measure(given.weights or base_model.base_folder(), texts, given.device, sizes, deadline.begin)
    finally:
        deadline.cancel()
    if sizes is DRY_RUN:
        console().print("a dry run on a CPU: the figures mean nothing, and are not appended to the results")
        return
    report(rows, given.results)


if __name__ == "__main__":
    main()
