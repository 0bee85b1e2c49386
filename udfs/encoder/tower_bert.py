"""The BERT of an item tower while it learns: its lower layers' output is cached, an adapter follows its pooling."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import numpy.typing as npt

from udfs.encoder import encoder, lora, model_reader
from udfs.encoder.lower_layers import LowerLayers
from udfs.encoder.tower_settings import TowerSettings
from udfs.interactions import Floats


class Tower:
    """The layers of a BERT that learn, over the cached output of the layers below, and its adapter."""

    def __init__(self, lower: LowerLayers, model: Any, settings: TowerSettings, seed: int) -> None:
        """Start from a BertModel, which is changed; ValueError if its lower layers are not those of `lower`."""
        import torch

        if not lower.are_of(model):
            raise ValueError(f"the encoder's lower {lower.count} layers are not those of {lower.base}")
        self.lower, self.model, self.settings = lower, model, settings
        self.texts, self.ids = lower.texts, lower.ids
        self.adapter = torch.nn.Linear(lower.dims, lower.dims)
        self.top = model.encoder.layer[lower.count :]
        self.with_lora: Any = None
        if settings.method == "lora":
            self.with_lora = lora.with_lora(model, lower.count, settings.lora_rank, seed)

    def base_vectors(self) -> Floats:
        """The texts' vectors without the adapter, unit rows [items, hidden size]."""
        import torch

        with torch.inference_mode():
            return np.asarray(self._pooled(np.arange(len(self.ids))).numpy())

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
            hidden = self.lower.of(rows[places].tolist())
            with torch.autocast(**self.lower.autocast):
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
