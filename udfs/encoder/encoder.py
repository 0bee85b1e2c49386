"""Vectors of texts: float32, unit length, from a BERT encoder that each Python worker holds once.

A model folder may hold an adapter (adapter.safetensors): a linear map after the pooling, unit length again. Beside
it may lie the one that was learned over the base weights instead (frozen_adapter.safetensors), for comparison only.
The weights are model.safetensors, read by torch, or model.onnx, a graph of 8-bit products that ONNX Runtime reads
(udfs/encoder/int8.py).

Importing this module costs NumPy alone. torch and the one BERT module of transformers are imported when a model is
first loaded (all of transformers would cost 15-25 s in every worker). Nothing here reads the network.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from udfs.encoder import packed
from udfs.encoder.model_folder import INT8, ModelError, Settings, weights_file
from udfs.encoder.model_reader import Adapter, read_adapter, read_model
from udfs.encoder.packed import PackedBert, flash_attention

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

DType: TypeAlias = Literal["auto", "float32", "bfloat16"]
Floats: TypeAlias = npt.NDArray[np.float32]

# A batch is bounded in tokens, not rows. 2,048 tokens of the widest layer (1,536 x bf16) are 6 MiB; the C library
# returns blocks twice as large to the system, and each layer pays for new pages (5 % of the time). Smaller batches
# slow the products down. A GPU needs far more work per launch.
TOKENS_PER_BATCH = {"cpu": 2_048, "cuda": 131_072}

# On a CPU a batch has no fewer tokens than this; a smaller one is filled up with copies. oneDNN adds up a product of
# few rows in another order (seen with AMX: 33 to some 150 rows), and a text's last bits would depend on its batch.
FEWEST_TOKENS = 512

TEXTS_AHEAD = 20_000  # tokenised in a thread while a GPU reads the ones before


@dataclass
class Work:
    """Counters of an encoder: different texts, their own tokens, tokens read (fillers too), forward passes."""

    texts: int = 0
    real_tokens: int = 0
    read_tokens: int = 0
    passes: int = 0


class Encoder:
    """One model in memory, in serving precision: a BertModel (converted in place) and its Tokenizer."""

    _packed: PackedBert | None = None

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        settings: Settings,
        device: str = "cpu",
        dtype: DType = "auto",
        adapter: "Adapter | None" = None,
    ) -> None:
        """Move the model to the device and to the precision serving_dtype names."""
        import torch

        self._prepare(tokenizer, settings, adapter, model.config.max_position_embeddings)
        self.device = torch.device(device)
        self.dtype = serving_dtype(self.device, dtype)
        self.tokens_per_batch = TOKENS_PER_BATCH.get(self.device.type, TOKENS_PER_BATCH["cpu"])
        self.model = model.to(device=self.device, dtype=self.dtype).eval()
        # FlashAttention takes half precision only; an older GPU runs batches of one length, as a CPU does.
        if self.device.type == "cuda" and self.dtype != torch.float32:
            self._packed = PackedBert(self.model, flash_attention)

    def _prepare(self, tokenizer: Any, settings: Settings, adapter: Adapter | None, most_tokens: int) -> None:
        """Set the fields that every kind of encoder has."""
        self.settings, self.work = settings, Work()
        self._tokenizer, self._adapter, self._most_tokens = tokenizer, adapter, most_tokens

    def use_threads(self, count: int) -> None:
        """Set the number of threads that multiply in this process: as many as its task slot has cores."""
        import torch

        torch.set_num_threads(count)

    def encode(self, texts: Sequence[str], max_tokens: int) -> Floats:
        """One row per text, in their order: float32 [len(texts), dims], of length 1; [0, dims] for no texts.

        max_tokens bounds a text's tokens, [CLS] and [SEP] included; the rest is cut. The empty text is valid.
        A batch holds texts of equal token count only, so nothing is padded or masked, and a text's vector
        does not depend on its batch mates: bit for bit in bfloat16 on one thread of a CPU (seen with AVX-512
        and AMX), to about 1e-6 in float32 (a matrix product's last bits may depend on its number of rows).
        Raises ValueError if max_tokens does not fit.
        """
        vectors = self.plain(texts, max_tokens)
        return vectors if self._adapter is None or not len(vectors) else self._adapter(vectors)

    def plain(self, texts: Sequence[str], max_tokens: int) -> Floats:
        """`encode` before the adapter: what the BERT alone gives."""
        if not 3 <= max_tokens <= self._most_tokens:
            raise ValueError(f"max_tokens is {max_tokens}; model {self.settings.name} takes 3 to {self._most_tokens}")
        if not texts:
            return np.empty((0, self.settings.dims), np.float32)
        place = {text: number for number, text in enumerate(dict.fromkeys(texts))}
        encode = self._packed_vectors if self._packed is not None else self._vectors_by_length
        vectors = encode(list(place), max_tokens)
        return vectors[[place[text] for text in texts]]

    def _vectors_by_length(self, texts: list[str], max_tokens: int) -> Floats:
        """One row per text, by batches of one token count each."""
        ids = token_ids(self._tokenizer, texts, max_tokens)
        batches = list(equal_length_batches(ids, self.tokens_per_batch))
        self.work.texts += len(ids)
        self.work.real_tokens += sum(map(len, ids))
        self.work.passes += len(batches)
        vectors = self._read([ids[row] for row in batch] for batch in batches)
        return vectors[np.argsort(np.concatenate(batches))]

    def _read(self, batches: Iterable[list[list[int]]]) -> Floats:
        """One unit vector per text, in the order of the batches."""
        import torch

        with torch.inference_mode():
            parts = [self.read_batch(ids) for ids in batches]
            return np.asarray(torch.cat(parts).cpu().numpy())  # one copy: one per batch would stall a GPU each time

    def _packed_vectors(self, texts: list[str], max_tokens: int) -> Floats:
        """One row per text, by packed passes of many lengths."""
        assert self._packed is not None
        chunks = (
            partial(token_ids, self._tokenizer, texts[start : start + TEXTS_AHEAD], max_tokens)
            for start in range(0, len(texts), TEXTS_AHEAD)
        )

        def tell(count: int, tokens: int) -> None:
            self.work.texts += count
            self.work.real_tokens += tokens
            self.work.read_tokens += tokens
            self.work.passes += 1

        return packed.encode(self._packed, chunks, self.tokens_per_batch, self.device, tell)

    def read_batch(self, ids: list[list[int]]) -> "torch.Tensor":
        """One unit vector per row of ids (all of one length), before the adapter: float32 [len(ids), dims]."""
        import torch

        rows, length = len(ids), len(ids[0])
        if self.device.type == "cpu" and rows * length < FEWEST_TOKENS:
            ids = (ids * (FEWEST_TOKENS // (rows * length) + 1))[: -(-FEWEST_TOKENS // length)]
        self.work.read_tokens += len(ids) * length
        hidden = self.model(input_ids=torch.tensor(ids, device=self.device)).last_hidden_state[:rows]
        return torch.nn.functional.normalize(hidden.float().mean(dim=1), dim=-1)


@lru_cache(maxsize=2)  # a run needs one model, a comparison two; a model folder never changes once written
def _load(folder: Path, device: str, dtype: DType) -> Encoder:
    if weights_file(folder).name == INT8:
        from udfs.encoder.int8 import Int8Encoder  # which builds on this module

        if device != "cpu":
            raise ModelError(f"{folder / INT8} is for CPUs: train a model with the Spark properties that have the GPUs")
        return Int8Encoder(folder)
    model, tokenizer, settings = read_model(folder)
    if dtype == "auto":
        model, dtype = _in_its_form(model, settings, device)
    return Encoder(model, tokenizer, settings, device, dtype, read_adapter(folder))


def _in_its_form(model: Any, settings: Settings, device: str) -> tuple[Any, DType]:
    """The model and its precision: the form that training has chosen for a served model, on any chip."""
    if settings.form == "bfloat16" and not multiplies_bfloat16(device):
        return model.bfloat16().float(), "float32"  # the nearest that this chip has, at its full speed
    return model, "auto" if settings.form == "int8" else settings.form


def load_encoder(folder: str | Path, device: str = "cpu", dtype: DType = "auto") -> Encoder:
    """One encoder per (folder, device, dtype) and Python worker, cached between batches. Raises ModelError.

    dtype "auto" is the form that training has recorded for a served model, else the best of the chip. An int8 folder
    has no other precision: dtype is ignored.
    """
    return _load(Path(folder).resolve(), device, dtype)


def serving_dtype(device: "torch.device", wanted: DType) -> "torch.dtype":
    """The precision of weights and products; "auto": bfloat16 where the chip multiplies it, else float32."""
    import torch

    if wanted != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[wanted]
    return torch.bfloat16 if multiplies_bfloat16(device.type) else torch.float32


def multiplies_bfloat16(device: str) -> bool:
    """Whether the chip of a device ("cpu", "cuda:1") multiplies bfloat16 itself."""
    import torch

    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    features = torch.cpu.get_capabilities()
    return any(features.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def token_ids(tokenizer: "Tokenizer", texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    """One list of token ids per text, [CLS] first and [SEP] last, cut to max_tokens."""
    tokenizer.enable_truncation(max_tokens)
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts))]


def equal_length_batches(ids: Sequence[Sequence[int]], tokens: int) -> Iterator[npt.NDArray[np.int64]]:
    """One batch at a time: positions in ids whose lists are of one length, at most `tokens` together."""
    return same_length_batches(np.array([len(row) for row in ids]), tokens)


def same_length_batches(lengths: npt.NDArray[np.integer], tokens: int) -> Iterator[npt.NDArray[np.int64]]:
    """The same of sequences with these lengths."""
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        step = max(1, tokens // int(length))
        yield from (rows[start : start + step] for start in range(0, len(rows), step))
