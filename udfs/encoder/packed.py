"""Passes of a BERT over many texts as one row of tokens, without padding: for GPUs, where launches cost most.

Attention alone looks across tokens, so only it must know where texts end. It is a parameter: on a GPU torch's
variable-length FlashAttention (Dao 2023, arXiv:2307.08691), in a test a plain loop. The rest is the same code on both.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

Rows: TypeAlias = npt.NDArray[np.int64]
# (query, key, value: [tokens, heads, width of a head]; bounds: int32 [texts + 1]; longest text) -> like query
Attention: TypeAlias = "Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, int], torch.Tensor]"
# Weight and bias of query, key and value in one, and a BertLayer's other parts.
Layer: TypeAlias = "tuple[torch.Tensor, torch.Tensor, Any, Any, Any]"
T = TypeVar("T")


class PackedBert:
    """The weights of one BertModel, query, key and value of a layer in one product."""

    def __init__(self, model: Any, attention: Attention) -> None:
        """Raises ValueError for a BERT with parts that are not implemented here."""
        import torch

        config = model.config
        if config.hidden_act != "gelu" or getattr(config, "position_embedding_type", "absolute") != "absolute":
            raise ValueError(f"packed: gelu and absolute positions expected, not {config.hidden_act}")
        self._heads, self._attention, self._embeddings = config.num_attention_heads, attention, model.embeddings
        with torch.no_grad():
            self._layers = [stacked(layer) for layer in model.encoder.layer]

    def __call__(
        self, ids: "torch.Tensor", positions: "torch.Tensor", bounds: "torch.Tensor", longest: int
    ) -> "torch.Tensor":
        """One unit vector per text: float32 [texts, hidden size], the mean of its tokens' last states.

        ids and positions: int64 [tokens], positions from 0 in each text; bounds: int32 [texts + 1], where each text
        begins in them and the last one ends; longest: tokens of the longest text.
        """
        import torch
        from torch.nn import functional

        parts = self._embeddings
        hidden = parts.LayerNorm(
            parts.word_embeddings(ids) + parts.token_type_embeddings.weight[0] + parts.position_embeddings(positions)
        )
        for layer in self._layers:
            hidden = through(layer, self._heads, hidden, self._attention, bounds, longest)
        lengths = (bounds[1:] - bounds[:-1]).long()
        of_text = torch.repeat_interleave(torch.arange(len(lengths), device=ids.device), lengths, output_size=len(ids))
        sums = torch.zeros(len(lengths), hidden.shape[1], device=ids.device).index_add_(0, of_text, hidden.float())
        return functional.normalize(sums / lengths[:, None], dim=-1)


def stacked(layer: Any) -> Layer:
    """A BertLayer with query, key and value in one product; gradients reach its weights."""
    import torch

    own = layer.attention.self
    weight = torch.cat([own.query.weight, own.key.weight, own.value.weight])
    bias = torch.cat([own.query.bias, own.key.bias, own.value.bias])
    return weight, bias, layer.attention.output, layer.intermediate.dense, layer.output


def through(
    layer: Layer, heads: int, hidden: "torch.Tensor", attention: Attention, bounds: "torch.Tensor", longest: int
) -> "torch.Tensor":
    """The states [tokens, hidden size] after one layer."""
    from torch.nn import functional

    weight, bias, joined, up, down = layer
    query, key, value = functional.linear(hidden, weight, bias).view(len(hidden), 3, heads, -1).unbind(1)
    seen = attention(query, key, value, bounds, longest).reshape(len(hidden), -1)
    hidden = joined.LayerNorm(joined.dense(seen) + hidden)
    return cast("torch.Tensor", down.LayerNorm(down.dense(functional.gelu(up(hidden))) + hidden))


def plain_attention(
    query: "torch.Tensor", key: "torch.Tensor", value: "torch.Tensor", bounds: "torch.Tensor", _longest: int
) -> "torch.Tensor":
    """Attention text by text, on any device: the reference for the fast one."""
    import torch

    attended = torch.empty_like(query)
    for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        queries, keys, values = (part[start:stop].transpose(0, 1) for part in (query, key, value))
        attended[start:stop] = torch.nn.functional.scaled_dot_product_attention(queries, keys, values).transpose(0, 1)
    return attended


def flash_attention(
    query: "torch.Tensor", key: "torch.Tensor", value: "torch.Tensor", bounds: "torch.Tensor", longest: int
) -> "torch.Tensor":
    """The same by torch's variable-length FlashAttention: CUDA, bfloat16 or float16."""
    from torch.nn.attention.varlen import varlen_attn

    query, key, value = query.contiguous(), key.contiguous(), value.contiguous()
    return cast("torch.Tensor", varlen_attn(query, key, value, bounds, bounds, longest, longest))


def encode(
    model: PackedBert,
    chunks: Iterable[Callable[[], list[list[int]]]],
    tokens: int,
    device: "torch.device",
    tell: Callable[[int, int], None],
) -> npt.NDArray[np.float32]:
    """One unit vector per list of token ids: float32 [texts, hidden size], in order; [0, 0] for none.

    `chunks`: each a call that tokenises some of the texts; the next one runs in a thread beside the passes over the
    one before. `tokens`: at most as many in a pass, and half as many each time that the device's memory does not
    suffice. `tell` is called after each pass with its texts and tokens. Results leave the device at the end:
    a copy per pass would make the device wait.
    """
    import torch

    parts, places, count = [], [], 0
    with ThreadPoolExecutor(1) as pool, torch.inference_mode():
        for ids in _one_ahead(pool, chunks):
            lengths = np.array([len(row) for row in ids])
            order = np.argsort(-lengths, kind="stable")  # long ones first: what does not fit shows at once

            def run(rows: Rows, ids: Sequence[Sequence[int]] = ids) -> "torch.Tensor":
                pooled = model(*pack([ids[row] for row in rows], device))
                tell(len(rows), sum(len(ids[row]) for row in rows))
                return pooled

            vectors, tokens = within_memory(run, order, lengths, tokens)
            parts.extend(vectors)
            places.append(order + count)
            count += len(ids)
        if not parts:
            return np.empty((0, 0), np.float32)
        by_pass = torch.cat(parts).cpu().numpy()
    vectors_in_order = np.empty_like(by_pass)
    vectors_in_order[np.concatenate(places)] = by_pass
    return vectors_in_order


def pack(
    ids: Sequence[Sequence[int]], device: "torch.device"
) -> "tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]":
    """The arguments of PackedBert for some lists of token ids; copied from pinned memory, without waiting, to a GPU."""
    import torch

    lengths = np.array([len(row) for row in ids])
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    positions = np.arange(bounds[-1]) - np.repeat(bounds[:-1], lengths)
    flat = np.fromiter((token for row in ids for token in row), np.int64, count=int(bounds[-1]))

    def there(values: npt.NDArray[Any]) -> torch.Tensor:
        host = torch.from_numpy(values)
        return host.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else host.to(device)

    return there(flat), there(positions), there(bounds.astype(np.int32)), int(lengths.max())


def within_memory(
    run: Callable[[Rows], T], order: Rows, lengths: npt.NDArray[np.integer], tokens: int
) -> tuple[list[T], int]:
    """`run` of each batch of rows in `order`, at most `tokens` a batch (but one text at least), and the last `tokens`.

    Where a batch does not fit into the device's memory, half as many tokens are tried from there on, with a warning;
    a text that does not fit alone raises torch.cuda.OutOfMemoryError.
    """
    import torch

    results: list[T] = []
    start = 0
    while start < len(order):
        ends = np.cumsum(lengths[order[start : start + tokens]])
        rows = order[start : start + max(1, int(np.searchsorted(ends, tokens, side="right")))]
        try:
            results.append(run(rows))
        except torch.cuda.OutOfMemoryError:
            if len(rows) == 1:
                raise
            tokens //= 2
            warnings.warn(f"out of memory on the GPU: {tokens} tokens a pass from here on", stacklevel=2)
            torch.cuda.empty_cache()
        else:
            start += len(rows)
    return results, tokens


def _one_ahead(pool: ThreadPoolExecutor, calls: Iterable[Callable[[], T]]) -> Iterator[T]:
    """What each call returns, in order; the next one runs in the pool meanwhile."""
    ahead = None
    for call in calls:
        started = pool.submit(call)
        if ahead is not None:
            yield ahead.result()
        ahead = started
    if ahead is not None:
        yield ahead.result()
