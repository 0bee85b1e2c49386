"""The BERT of an item tower while it learns: its frozen layers' output is cached, an adapter follows its pooling."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from udfs.encoder import encoder, lora, model_folder, model_reader
from udfs.encoder.tower_settings import TowerSettings
from udfs.interactions import Floats

CACHE_BYTES = 2 << 30  # of the frozen layers' output


class Tower:
    """BERT whose lower layers' output is cached, its adapter, and the catalogue's texts."""

    def __init__(self, texts: Sequence[str], base: Path, settings: TowerSettings, seed: int) -> None:
        import torch

        self.model, self.tokenizer, base_settings = model_reader.read_model(base)
        self.settings, self.dims, self.texts = settings, base_settings.dims, list(texts)
        self.ids = encoder.token_ids(self.tokenizer, self.texts, settings.max_item_tokens)
        self.adapter = torch.nn.Linear(self.dims, self.dims)
        layers = self.model.encoder.layer
        self.frozen_layers = min(settings.frozen_layers, len(layers) - 1)  # of a small base one layer learns
        self.top = layers[self.frozen_layers :]
        self.with_lora: Any = None
        if settings.method == "lora":
            self.with_lora = lora.with_lora(self.model, self.frozen_layers, settings.lora_rank, seed)
        precision = encoder.serving_dtype(torch.device("cpu"), "auto")
        self._autocast: dict[str, Any] = {
            "device_type": "cpu",
            "dtype": precision,
            "enabled": precision is torch.bfloat16,
        }
        self.hidden: list[torch.Tensor | None] = [None] * len(self.ids)
        self.base_vectors = self._read_base()

    def _read_base(self) -> Floats:
        """The texts' vectors without the adapter, unit rows [items, dims].

        It also caches the frozen layers' output in half precision, for as many texts as CACHE_BYTES hold; for the
        others it is computed each time.
        """
        import torch

        plain = encoder.Encoder(self.plain_model(), self.tokenizer, model_folder.Settings("tower", self.dims))
        outputs: list[torch.Tensor] = []
        frozen = self.frozen_layers
        last = plain.model.encoder.layer[frozen - 1] if frozen else plain.model.embeddings
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

    def _lower(self, rows: Sequence[int]) -> Any:
        """The frozen layers' output for texts of one length, float32 [rows, tokens, hidden size]."""
        import torch

        cached = [hidden for row in rows if (hidden := self.hidden[row]) is not None]
        if len(cached) == len(rows):
            return torch.stack(cached).float()
        with torch.no_grad(), torch.autocast(**self._autocast):
            hidden = self.model.embeddings(input_ids=torch.tensor([self.ids[row] for row in rows]))
            for layer in self.model.encoder.layer[: self.frozen_layers]:
                hidden = layer(hidden)
        return hidden.float()

    def plain_model(self) -> Any:
        """A copy of the BertModel as it is served, with the learned values in its weights."""
        return lora.merged(self.with_lora) if self.with_lora else deepcopy(self.model)

    def set_adapter(self, tensors: dict[str, Any]) -> None:
        """Start from this map."""
        self.adapter.load_state_dict(tensors)

    def adapter_tensors(self) -> dict[str, Any]:
        """As the model folder holds them."""
        return {name: tensor.detach() for name, tensor in self.adapter.state_dict().items()}

    def mapped(self, vectors: Floats) -> Floats:
        """These vectors through the adapter as it is now, unit rows [items, dims]."""
        tensors = self.adapter_tensors()
        return model_reader.Adapter(**{name: tensor.numpy().copy() for name, tensor in tensors.items()})(vectors)

    def encode(self) -> Floats:
        """Every item's vector as the weights are now, unit rows [items, dims]."""
        import torch

        with torch.inference_mode():
            return self.mapped(self._pooled(np.arange(len(self.ids))).numpy())

    def forward(self, rows: npt.NDArray[np.int64]) -> Any:
        """The vectors of these items, unit rows, with gradients."""
        import torch

        return torch.nn.functional.normalize(self.adapter(self._pooled(rows)), dim=-1)

    def _pooled(self, rows: npt.NDArray[np.int64]) -> Any:
        """The vectors of these items without the adapter, unit rows."""
        import torch

        parts, order = [], []
        for places in encoder.equal_length_batches([self.ids[row] for row in rows], encoder.TOKENS_PER_BATCH["cpu"]):
            hidden = self._lower(rows[places].tolist())
            with torch.autocast(**self._autocast):
                for layer in self.top:
                    hidden = layer(hidden)
            parts.append(hidden.float().mean(dim=1))
            order.append(places)
        pooled = torch.cat(parts)[torch.from_numpy(np.argsort(np.concatenate(order)))]
        return torch.nn.functional.normalize(pooled, dim=-1)

    def trained(self) -> dict[str, Any]:
        """The parameters that learn, by name."""
        named = {f"top.{name}": value for name, value in self.top.named_parameters() if value.requires_grad}
        return named | {f"adapter.{name}": value for name, value in self.adapter.named_parameters()}

    def state(self) -> dict[str, Any]:
        """A copy of what has been learned."""
        return {name: value.detach().clone() for name, value in self.trained().items()}

    def load(self, state: dict[str, Any]) -> None:
        """Go back to a copy."""
        import torch

        with torch.no_grad():
            for name, value in self.trained().items():
                value.copy_(state[name])
