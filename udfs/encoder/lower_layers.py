"""The layers of a BERT that do not learn: what they make of a training's texts, computed once for all its encoders."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np

from udfs.encoder import encoder, int8, model_folder, model_reader
from udfs.encoder.model_folder import Form
from udfs.interactions import Floats

CACHE_BYTES = 2 << 30  # of outputs, in half precision


class LowerLayers:
    """A base BERT, the tokens of the texts, and the output of the layers below the `tuned_layers` uppermost ones.

    hidden: per text float16 [tokens, hidden size], None for texts beyond CACHE_BYTES, whose output is computed each
    time; count: the number of these layers; vectors: the texts' as the base reads them, without an adapter, unit rows
    [texts, hidden size]. form: of the encoder that will be served; in "int8" all of this is computed in 8 bits.
    """

    def __init__(
        self, texts: Sequence[str], base: Path, tuned_layers: int, max_tokens: int, form: Form = "auto"
    ) -> None:
        """Read all texts once."""
        import torch

        self.base, self.texts, self.form = base, list(texts), form
        self.model, self.tokenizer, settings = model_reader.read_model(base)
        self.dims = settings.dims
        layers = self.model.encoder.layer
        self.count = len(layers) - min(max(tuned_layers, 1), len(layers))
        self.ids = encoder.token_ids(self.tokenizer, self.texts, max_tokens)
        precision = encoder.serving_dtype(torch.device("cpu"), "auto")
        self.autocast: dict[str, Any] = {
            "device_type": "cpu",
            "dtype": precision,
            "enabled": precision is torch.bfloat16,
        }
        self.hidden: list[torch.Tensor | None] = [None] * len(self.ids)
        self._room = CACHE_BYTES
        self._int8: int8.Int8Layers | None = None
        if form == "int8":
            self._int8 = int8.Int8Layers(self.model, range(self.count), upper=False)
            self._read_int8()
            self.vectors = self.int8_vectors(self.model)
        else:
            self.vectors = self._read()

    @property
    def tokens(self) -> int:
        """Tokens of all texts."""
        return sum(map(len, self.ids))

    def _batches(self) -> list[list[int]]:
        """Texts of one token count each."""
        return [rows.tolist() for rows in encoder.equal_length_batches(self.ids, encoder.TOKENS_PER_BATCH["cpu"])]

    def _hold(self, rows: Sequence[int], outputs: Any) -> None:
        """Cache the outputs [texts, tokens, hidden size] of these texts; there may be more, of copies of texts."""
        import torch

        for row, hidden in zip(rows, outputs.to(torch.float16), strict=False):
            self._room -= 2 * hidden.numel()
            if self._room >= 0:
                self.hidden[row] = hidden.clone()

    def _read(self) -> Floats:
        """The vectors; it also fills `hidden`."""
        import torch

        plain = encoder.Encoder(deepcopy(self.model), self.tokenizer, model_folder.Settings("lower", self.dims))
        outputs: list[torch.Tensor] = []
        last = plain.model.encoder.layer[self.count - 1] if self.count else plain.model.embeddings
        last.register_forward_hook(lambda _module, _given, hidden: outputs.append(hidden))
        vectors = np.empty((len(self.ids), plain.model.config.hidden_size), np.float32)
        with torch.inference_mode():
            for rows in self._batches():
                vectors[rows] = plain.read_batch([self.ids[row] for row in rows]).numpy()
                self._hold(rows, outputs.pop())
        return vectors

    def _read_int8(self) -> None:
        """Fill `hidden`, batches side by side."""
        import torch

        batches = self._batches()
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            for rows, hidden in zip(batches, pool.map(self._lower_int8, batches), strict=True):
                self._hold(rows, torch.from_numpy(hidden))

    def _lower_int8(self, rows: Sequence[int]) -> Floats:
        assert self._int8 is not None
        return self._int8(np.array([self.ids[row] for row in rows], np.int64))

    def int8_vectors(self, model: Any) -> Floats:
        """The texts' vectors by the upper layers of a BertModel in 8 bits over the output of these, without an adapter.

        They are what the 8-bit encoder of that model gives, but for the half precision of the cached output.
        """
        import torch

        upper = int8.Int8Layers(model, range(self.count, model.config.num_hidden_layers), upper=True)
        batches = self._batches()
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            parts = list(pool.map(lambda rows: int8.pooled(upper(self.of(rows).numpy())), batches))
        return np.concatenate(parts)[np.argsort(np.concatenate(batches))]

    def of(self, rows: Sequence[int]) -> Any:
        """The output for texts of one length, float32 [texts, tokens, hidden size]."""
        import torch

        cached = [hidden for row in rows if (hidden := self.hidden[row]) is not None]
        if len(cached) == len(rows):
            return torch.stack(cached).float()
        if self._int8 is not None:
            return torch.from_numpy(self._lower_int8(rows))
        with torch.no_grad(), torch.autocast(**self.autocast):
            hidden = self.model.embeddings(input_ids=torch.tensor([self.ids[row] for row in rows]))
            for layer in self.model.encoder.layer[: self.count]:
                hidden = layer(hidden)
        return hidden.float()

    def are_of(self, model: Any) -> bool:
        """Whether another BertModel has the same weights below its tuned layers."""
        import torch

        mine, other = ([m.embeddings, *m.encoder.layer[: self.count]] for m in (self.model, model))
        return all(
            torch.equal(a, b)
            for one, two in zip(mine, other, strict=True)
            for a, b in zip(one.parameters(), two.parameters(), strict=True)
        )
