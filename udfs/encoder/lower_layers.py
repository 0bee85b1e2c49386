"""The layers of a BERT that do not learn: what they make of a training's texts, computed once for all its encoders."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np

from udfs.encoder import encoder, model_folder, model_reader
from udfs.interactions import Floats

CACHE_BYTES = 2 << 30  # of outputs, in half precision


class LowerLayers:
    """A base BERT, the tokens of the texts, and the output of the layers below the `tuned_layers` uppermost ones.

    hidden: per text float16 [tokens, hidden size], None for texts beyond CACHE_BYTES, whose output is computed each
    time; count: the number of these layers; vectors: the texts' as the base reads them, without an adapter, unit rows
    [texts, hidden size].
    """

    def __init__(self, texts: Sequence[str], base: Path, tuned_layers: int, max_tokens: int) -> None:
        """Read all texts once."""
        import torch

        self.base, self.texts = base, list(texts)
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
        self.vectors = self._read()

    @property
    def tokens(self) -> int:
        """Tokens of all texts."""
        return sum(map(len, self.ids))

    def _read(self) -> Floats:
        """The vectors; it also fills `hidden`."""
        import torch

        plain = encoder.Encoder(deepcopy(self.model), self.tokenizer, model_folder.Settings("lower", self.dims))
        outputs: list[torch.Tensor] = []
        last = plain.model.encoder.layer[self.count - 1] if self.count else plain.model.embeddings
        last.register_forward_hook(lambda _module, _given, hidden: outputs.append(hidden))
        vectors, room = np.empty((len(self.ids), plain.model.config.hidden_size), np.float32), CACHE_BYTES
        with torch.inference_mode():
            for rows in encoder.equal_length_batches(self.ids, encoder.TOKENS_PER_BATCH["cpu"]):
                vectors[rows] = plain.read_batch([self.ids[row] for row in rows]).numpy()
                # Not strict: copies fill small batches.
                for row, hidden in zip(rows, outputs.pop().to(torch.float16), strict=False):
                    room -= 2 * hidden.numel()
                    if room >= 0:
                        self.hidden[row] = hidden.clone()
        return vectors

    def of(self, rows: Sequence[int]) -> Any:
        """The output for texts of one length, float32 [rows, tokens, hidden size]."""
        import torch

        cached = [hidden for row in rows if (hidden := self.hidden[row]) is not None]
        if len(cached) == len(rows):
            return torch.stack(cached).float()
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
