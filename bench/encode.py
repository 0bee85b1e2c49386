"""Speed of the encoder against peers, in texts per second, and against the chip's own matrix product.

    python -m bench.encode                                          # texts of the shops' lakes, or of the example
    python -m bench.encode --texts 1000 --threads 1 --repeats 3     # smaller; one thread is steadier on a busy machine
    python -m bench.encode --file texts.txt --device cuda           # one text a line; needs no Spark and no lake

Peers read the same different texts with the same weights, and are timed from text to vector. Only tokens of a text
count as real, [CLS] and [SEP] included; padding does not.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from bench.harness import Contenders, Row, Timing, alternate, compare, console, gate, on_cpu, report
from bench.texts import joined, real_texts
from udfs.encoder import base_model, encoder, model_reader
from udfs.encoder.encoder import Encoder, Floats

MAX_TOKENS = 128  # where a text is cut, and what the naive loop pads to
NAIVE_ROWS, PLAIN_ROWS = 16, 64
PEER_ROWS = (16, 32, 64, 128, 256)  # the batches among which sentence-transformers is tuned
MATMULS = ((4096, 384, 1536), (4096, 1536, 384), (4096, 384, 384))  # BERT's: rows, width in, width out
MATMUL_REPEATS = 24
MIN_COSINE, NEIGHBOURS, OVERLAP_QUERIES = 0.999, 10, 2_000
OURS, NAIVE = "ours", "naive loop (pad 128, batch 16, float32)"
ITEMS, JOINED = "items", "joined items"
PLAIN, TUNED = "plain bucketed loop", "sentence-transformers, tuned"
# Joined texts are random mixtures, so near to each other that bfloat16 swaps the tenth neighbour with the next.
MIN_OVERLAP = {ITEMS: 0.99, JOINED: 0.97}
MIN_TEXTS = 500
PEER_LOSES = 0.02  # sentence-transformers also pools in bfloat16; enough to know that it does the same work
TARGETS = {NAIVE: 12.0, TUNED: 1.6}  # for item texts; there is no target for the plain loop, nor for joined texts
NAIVE_TARGET_FLOAT32 = 3.0  # where the chip does not multiply bfloat16
UTILISATION_TARGET = 0.4


@dataclass
class Padded:
    """A loop over padded batches of `rows` texts: by token count or as they come, to the longest or to `pad_to`."""

    model: Any
    tokenizer: Any
    rows: int
    in_order_of_length: bool = True
    pad_to: int = 0
    max_tokens: int = MAX_TOKENS
    read_tokens: int = 0  # of the last call, padding included

    def __call__(self, texts: Sequence[str]) -> Floats:
        """One unit vector per text: float32 [texts, dims]."""
        import torch

        ids = encoder.token_ids(self.tokenizer, texts, self.max_tokens)
        lengths = np.array([len(row) for row in ids])
        order = np.argsort(lengths, kind="stable") if self.in_order_of_length else np.arange(len(ids))
        vectors = np.empty((len(ids), self.model.config.hidden_size), np.float32)
        self.read_tokens = 0
        with torch.inference_mode():
            for start in range(0, len(order), self.rows):
                at = order[start : start + self.rows]
                width = self.pad_to or int(lengths[at].max())
                padded = torch.tensor([ids[row] + [0] * (width - len(ids[row])) for row in at])
                mask = (torch.arange(width) < torch.tensor(lengths[at])[:, None]).long().to(self.model.device)
                hidden = self.model(padded.to(self.model.device), attention_mask=mask).last_hidden_state.float()
                mean = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
                vectors[at] = torch.nn.functional.normalize(mean, dim=-1).cpu().numpy()
                self.read_tokens += padded.numel()
        return vectors


def sentence_transformers(folder: Path, device: str, dtype: Any, sample: Sequence[str]) -> Callable[..., Floats] | None:
    """The peer at the batch size that is fastest on the sample; None, with a line that says why, if it cannot load."""
    try:
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging
    except ImportError as error:
        console().print(f"sentence-transformers is left out: {error} (uv sync --group bench installs it)")
        return None
    logging.disable_progress_bar()
    try:
        model = SentenceTransformer(str(folder), device=device, local_files_only=True, model_kwargs={"dtype": dtype})
    except (OSError, ValueError) as error:
        console().print(f"sentence-transformers is left out: it cannot load the weights offline: {error}")
        return None
    model.max_seq_length = MAX_TOKENS

    def encode(texts: Sequence[str], rows: int) -> Floats:
        return np.asarray(
            model.encode(list(texts), batch_size=rows, normalize_embeddings=True, show_progress_bar=False), np.float32
        )

    encode(sample, PEER_ROWS[0])  # the first pass is slower than the rest
    tried = alternate({str(rows): (partial(encode, sample, rows), 1.0) for rows in PEER_ROWS}, repeats=2)
    best = min(PEER_ROWS, key=lambda rows: min(tried[str(rows)].seconds))
    console().print(f"sentence-transformers: batches of {best}, the fastest of {', '.join(map(str, PEER_ROWS))}")
    return partial(encode, rows=best)


def operations(lengths: Sequence[int], config: Any) -> float:
    """Floating point operations of one pass of BERT over texts of these token counts: products alone, no padding."""
    n = np.asarray(lengths, np.float64)
    wide, inner = config.hidden_size, config.intermediate_size
    linear = 2 * (4 * wide * wide + 2 * wide * inner)
    return float(config.num_hidden_layers * (linear * n + 4 * wide * n * n).sum())


def matmul(shape: tuple[int, int, int], device: str, dtype: Any) -> tuple[Callable[[], None], float]:
    """A contender that multiplies matrices of one shape, with its number of operations."""
    import torch

    rows, inner, columns = shape
    left = torch.randn(rows, inner, device=device).to(dtype)
    right = torch.randn(columns, inner, device=device).to(dtype)

    def run() -> None:
        with torch.inference_mode():
            for _ in range(MATMUL_REPEATS):
                torch.nn.functional.linear(left, right)
        if left.is_cuda:
            torch.cuda.synchronize()

    run()
    return run, 2.0 * rows * inner * columns * MATMUL_REPEATS


def dtype_name(dtype: Any) -> str:
    """bfloat16 for torch.bfloat16."""
    return str(dtype).removeprefix("torch.")


def neighbours(vectors: Floats, queries: int) -> list[set[int]]:
    """For each of the first vectors, the NEIGHBOURS others that are nearest to it; equal ones in order."""
    scores = vectors[:queries] @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    return [set(row[:NEIGHBOURS].tolist()) for row in np.argsort(-scores, axis=1, kind="stable")]


def check(name: str, actual: Floats, expected: Floats, min_overlap: float) -> str:
    """Two lines on how close the vectors are to padded float32 ones, text by text. Raises GateError."""
    lengths = np.linalg.norm(actual, axis=1) * np.linalg.norm(expected, axis=1)
    cosine = float(((actual * expected).sum(axis=1) / lengths).min())
    pairs = zip(*(neighbours(vectors, OVERLAP_QUERIES) for vectors in (actual, expected)), strict=True)
    overlap = float(np.mean([len(mine & right) / len(right) for mine, right in pairs]))
    near = gate(f"{name}: cosine to float32", cosine, MIN_COSINE)
    return f"{near}\n{gate(f'{name}: top-{NEIGHBOURS} overlap', overlap, min_overlap)}"


def measure(
    regime: str, texts: list[str], folder: Path, device: str, naive_texts: int, repeats: int, with_tuned: bool = True
) -> list[Row]:
    """The rows of one length regime: gates first, so that no figure is printed of vectors that are wrong."""
    import torch

    ours = Encoder(*model_reader.read_model(folder), device=device)
    model, tokenizer, _ = model_reader.read_model(folder)
    exact = Padded(model.to(device), tokenizer, PLAIN_ROWS)
    naive = Padded(model, tokenizer, NAIVE_ROWS, in_order_of_length=False, pad_to=MAX_TOKENS)
    plain = Padded(model_reader.read_model(folder)[0].to(device, ours.dtype), tokenizer, PLAIN_ROWS)
    encode: dict[str, Callable[[list[str]], Floats]] = {
        OURS: partial(ours.encode, max_tokens=MAX_TOKENS),
        PLAIN: plain,
        NAIVE: naive,
    }
    if with_tuned and (tuned := sentence_transformers(folder, device, ours.dtype, texts[: len(texts) // 4])):
        encode[TUNED] = tuned
    # Texts come in random order, so the first of them are a fair sample for the slow one.
    read = {name: texts[:naive_texts] if name == NAIVE else texts for name in encode}

    expected = exact(texts)
    for name, run in encode.items():  # which warms them up, too
        min_overlap = MIN_OVERLAP[regime] - (PEER_LOSES if name == TUNED else 0)
        console().print(check(name, run(read[name]), expected[: len(read[name])], min_overlap), style="dim")

    contenders: Contenders = {name: (partial(run, read[name]), len(read[name])) for name, run in encode.items()}
    products = {f"{dtype_name(ours.dtype)} {' x '.join(map(str, shape))}": shape for shape in MATMULS}
    contenders |= {name: matmul(shape, device, ours.dtype) for name, shape in products.items()}
    timings = alternate(contenders, repeats)
    peak = max(products, key=lambda name: timings[name].value("operations/s"))

    lengths = [len(row) for row in encoder.token_ids(tokenizer, texts, MAX_TOKENS)]
    passes = {
        name: Timing(timings[name].seconds, operations(lengths[: len(read[name])], model.config)) for name in read
    }
    title = f"{regime}: {len(texts):,} texts, tokens {np.mean(lengths):.1f} on average, {max(lengths)} at most"
    table = Table("", "texts/s", "real tokens/s", "real share", "utilisation", title=title, title_justify="left")
    for name, run in encode.items():
        real = sum(lengths[: len(read[name])])
        share = {OURS: "1.00", TUNED: ""}.get(name)  # ours pads nothing; sentence-transformers does not report it
        table.add_row(
            name,
            f"{timings[name].value('texts/s'):,.0f}",
            f"{Timing(timings[name].seconds, real).value('tokens/s'):,.0f}",
            f"{real / run.read_tokens:.2f}" if isinstance(run, Padded) else share,
            f"{compare('', '', passes[name], timings[peak], 'operations/s').ratio:.2f}",
        )
    console().print(table)

    where = on_cpu(torch.get_num_threads()) if device == "cpu" else torch.cuda.get_device_name(device)
    slower = {} if ours.dtype == torch.bfloat16 else {NAIVE: NAIVE_TARGET_FLOAT32}
    targets = TARGETS | slower if regime == ITEMS else {}
    rows = [
        compare(f"encode {regime} vs {name}", where, timings[OURS], timings[name], "texts/s", targets.get(name))
        for name in encode
        if name != OURS
    ]
    used = f"encode {regime}: utilisation of {peak}"
    return [*rows, compare(used, where, passes[OURS], timings[peak], "TFLOP/s", UTILISATION_TARGET, scale=1e-12)]


def main(arguments: list[str]) -> None:
    """Measure both length regimes and print the tables."""
    parser = argparse.ArgumentParser(
        "python -m bench.encode", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--conf", help="a deployment whose lake holds the texts; default: both shops', if there")
    source.add_argument("--file", help="a file of texts, one a line")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--weights", type=Path, help="a model folder; default: the base weights, by their package")
    parser.add_argument("--texts", type=int, default=4_096, help="short texts; half as many long ones")
    parser.add_argument("--naive-texts", type=int, default=384, help="how many of them the naive loop reads")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args(arguments)

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # as in a run: tasks fill the cores
    import torch

    torch.set_num_threads(given.threads)
    texts, words = real_texts(given.conf, given.file)
    random.Random(given.seed).shuffle(texts)
    short = texts[: given.texts]
    if len(short) < MIN_TEXTS:
        raise SystemExit(
            f"{len(short)} different texts of {words}: the overlap of fewer than {MIN_TEXTS} says too little"
        )
    console().print(f"texts of {words}: {len(texts):,} different ones, {len(short):,} of them read")
    long = list(dict.fromkeys(joined(texts, len(short) // 2, given.seed)))
    folder = given.weights or base_model.base_folder()
    rows = measure(ITEMS, short, folder, given.device, given.naive_texts, given.repeats)
    rows += measure(JOINED, long, folder, given.device, given.naive_texts, given.repeats)
    report(rows)


if __name__ == "__main__":
    main(sys.argv[1:])
