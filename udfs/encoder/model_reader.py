"""Readers of a model folder's files: a BertModel, a tokenizer, adapters, settings.

torch and the one BERT module of transformers are imported when a model is read. Nothing here reads the network.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from udfs.encoder.base_model import plain_name
from udfs.encoder.model_folder import (
    ADAPTER,
    CONFIG,
    INT8,
    SETTINGS,
    TOKENIZER,
    WEIGHTS,
    Form,
    ModelError,
    Settings,
    check_files,
    weights_file,
)

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Floats: TypeAlias = npt.NDArray[np.float32]

os.environ["HF_HUB_OFFLINE"] = "1"  # before the first import of transformers, which reads it once


@dataclass(frozen=True)
class Adapter:
    """A linear map from pooled vectors to those of a shop: weight [dims, hidden size], bias [dims]."""

    weight: Floats
    bias: Floats

    def __call__(self, vectors: Floats) -> Floats:
        """One unit vector per row, float32 [n, dims]."""
        # In float64, rounded at the end: a row's bits do not depend on the number of rows.
        mapped = vectors.astype(np.float64) @ self.weight.T.astype(np.float64) + self.bias
        lengths = np.linalg.norm(mapped, axis=1, keepdims=True)
        return np.asarray(mapped / np.maximum(lengths, 1e-12), dtype=np.float32)


def read_model(folder: Path) -> tuple[Any, Tokenizer, Settings]:
    """A folder's BertModel, tokenizer and settings, float32 on the CPU, after every file's hash has been checked.

    Without encoder.json (a base model) the settings are the defaults. Raises ModelError.
    """
    check_files(folder)
    if weights_file(folder).name == INT8:
        raise ModelError(f"{folder} holds 8-bit weights only: nothing can be trained or compared from {INT8}")
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    from transformers.models.bert.configuration_bert import BertConfig
    from transformers.models.bert.modeling_bert import BertModel

    config = BertConfig.from_json_file(str(folder / CONFIG))
    with torch.device("meta"):  # without drawing millions of random weights, which the file's replace
        model: Any = BertModel(config, add_pooling_layer=False)
    model.to_empty(device="cpu")
    embeddings = model.embeddings  # its two buffers are constants, which no file has
    embeddings.position_ids.copy_(torch.arange(config.max_position_embeddings))
    embeddings.token_type_ids.zero_()
    try:
        tensors = {plain_name(name): tensor for name, tensor in load_file(folder / WEIGHTS).items()}
        # Spare tensors (a pooler, a training head) do no harm; absent ones would stay undefined.
        absent = model.load_state_dict(tensors, strict=False).missing_keys
    except (SafetensorError, RuntimeError) as error:
        raise ModelError(f"{folder / WEIGHTS} is no safetensors file that fits {CONFIG}: {error}") from error
    if absent:
        raise ModelError(f"{folder / WEIGHTS} lacks {len(absent)} tensors of {CONFIG}, the first {absent[0]}")
    return model.eval(), read_tokenizer(folder), read_settings(folder, config.hidden_size)


def read_tokenizer(folder: Path) -> Tokenizer:
    """A folder's tokenizer; it pads nothing."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    tokenizer.no_padding()
    return tokenizer


def read_adapter(folder: Path, name: str = ADAPTER) -> Adapter | None:
    """The linear map after the pooling; None for a folder without one. Raises ModelError."""
    path = folder / name
    if not path.is_file():
        return None
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(path)
        return Adapter(tensors["weight"].astype(np.float32), tensors["bias"].astype(np.float32))
    except (SafetensorError, KeyError) as error:
        raise ModelError(f"{path}: a safetensors file with weight and bias expected: {error}") from error


def read_settings(folder: Path, hidden_size: int) -> Settings:
    """The settings in encoder.json; the defaults for a base model, which has none. Raises ModelError."""
    path = folder / SETTINGS
    adapter = read_adapter(folder)
    dims = hidden_size if adapter is None else len(adapter.bias)
    if adapter is not None and adapter.weight.shape != (dims, hidden_size):
        raise ModelError(f"{folder / ADAPTER}: weight {adapter.weight.shape}; ({dims}, {hidden_size}) expected")
    if not path.is_file():
        return Settings(name=folder.name, dims=dims)
    try:
        settings = Settings(**json.loads(path.read_text("utf-8")))
    except (TypeError, json.JSONDecodeError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    if (settings.pooling, settings.normalised, settings.dims) != ("mean", True, dims):
        raise ModelError(f"{path}: pooling mean, normalised true, dims {dims} expected; {settings} found")
    if settings.form not in get_args(Form):
        raise ModelError(f"{path}: form is {settings.form!r}; one of {', '.join(get_args(Form))} expected")
    return settings
