"""The user tower: a BERT that reads a user's purchases, each as its item's vector, and gives the user's vector.

Inputs are item vectors in place of words (UniSRec, arXiv:2206.05941; Recformer, arXiv:2305.13731), with embeddings of
the days between the user's own baskets, of how many baskets ago and how many days before the last one a line is, and
of its units. Attention goes both ways (BERT4Rec, arXiv:1904.06690). The layers are some of the item encoder's BERT;
the pooled result is added to the mean of the item vectors, so that training starts at the mean vector.

Sequences are packed: nothing is padded, and only attention knows where a user's lines end.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from udfs.encoder import packed
from udfs.encoder.model_folder import CONFIG, USER_SETTINGS, USER_WEIGHTS, ModelError, check_files
from udfs.encoder.user_history import Histories

if TYPE_CHECKING:
    import torch

BUCKETS = 16  # of a count n: floor(log2(1 + n)), so 14 are the days of 45 years
CODES = ("gap", "age", "basket", "units")


@dataclass(frozen=True)
class UserSettings:
    """Settings of a user tower. layers: BERT layers, 0 for none; residual: whether the pooled item vectors are added.

    max_lines: a user's newest purchases that are read; baskets: whether attention is over baskets, each the mean of its
    lines; heads: of attention; dims: of a vector.
    """

    dims: int
    heads: int
    layers: int = 2
    residual: bool = True
    max_lines: int = 64
    baskets: bool = False


class UserTower:
    """Weights of a user tower: a dict of modules, and how they are applied."""

    def __init__(self, settings: UserSettings, norm: Any, layers: list[Any]) -> None:
        """New weights but for `layers` (BertLayer) and the LayerNorm before them."""
        import torch

        dims = settings.dims
        self.settings, self.device = settings, torch.device("cpu")
        parts: dict[str, Any] = {name: torch.nn.Embedding(BUCKETS, dims) for name in CODES}
        parts |= {"score": torch.nn.Linear(dims, 1), "age_score": torch.nn.Embedding(BUCKETS, 1), "norm": norm}
        parts |= {"layers": torch.nn.ModuleList(layers), "output": torch.nn.Linear(dims, dims)}
        for name in CODES:
            torch.nn.init.normal_(parts[name].weight, std=0.02)
        zero = [parts["score"].weight, parts["score"].bias, parts["age_score"].weight]
        if settings.residual:  # starts at the mean of the item vectors
            zero += [parts["output"].weight, parts["output"].bias]
        for weights in zero:
            torch.nn.init.zeros_(weights)
        self.parts: Any = torch.nn.ModuleDict(parts)

    def to(self, device: str, dtype: torch.dtype) -> UserTower:
        """The same tower there, in this precision."""
        import torch

        self.device = torch.device(device)
        self.parts.to(device=self.device, dtype=dtype).requires_grad_(False)
        return self

    def forward(self, read: Histories, vectors: torch.Tensor, attention: packed.Attention) -> torch.Tensor:
        """One unit vector per user, float32 [users, dims]; vectors: [rows, dims] of the items, on its device."""
        import torch
        from torch.nn import functional

        parts, settings = self.parts, self.settings
        dtype = parts["output"].weight.dtype

        def there(values: npt.NDArray[Any]) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

        codes = {name: there(bucket(getattr(read, name))) for name in CODES}
        values = vectors[there(read.item)].float()
        states = values.to(dtype) * float(np.sqrt(settings.dims))
        for name in CODES:
            states = states + parts[name](codes[name])
        states = parts["norm"](states)
        of_basket, starts = baskets(read) if settings.baskets else (None, read.bounds)
        if of_basket is not None:
            rows = there(of_basket)
            sums = states.new_zeros(starts[-1], states.shape[1]).index_add_(0, rows, states)
            states = sums / torch.bincount(rows).to(dtype)[:, None]
        bounds, longest = there(starts.astype(np.int32)), int(np.diff(starts).max())
        for layer in parts["layers"]:
            states = packed.through(packed.stacked(layer), settings.heads, states, attention, bounds, longest)
        if of_basket is not None:
            states = states[rows]
        score = (parts["score"](states) + parts["age_score"](codes["age"])).float()[:, 0]
        weight = score.clamp(-10, 10).exp() * there(read.weight)
        user = torch.repeat_interleave(there(read.lengths), output_size=len(read.item))

        def pooled(rows: torch.Tensor) -> torch.Tensor:
            sums = torch.zeros(len(read), rows.shape[1], device=self.device)
            return sums.index_add_(0, user, rows * weight[:, None])

        result: Any = functional.normalize(pooled(values), dim=-1) if settings.residual else 0.0
        if settings.layers or not settings.residual:
            total = torch.zeros(len(read), device=self.device).index_add_(0, user, weight)
            hidden = pooled(states.float()) / total[:, None]
            output = parts["output"]
            result = result + functional.linear(hidden, output.weight.float(), output.bias.float())
        return functional.normalize(result, dim=-1)


def baskets(read: Histories) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The basket of each line, counted over all users, and the bounds of each user's baskets, [users + 1]."""
    new = np.diff(read.basket, prepend=-1) != 0
    new[read.bounds[:-1]] = True
    number = np.cumsum(new)
    return number - 1, np.r_[0, number[read.bounds[1:] - 1]]


def bucket(count: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """The bucket of each number of days, baskets or units."""
    return np.asarray(np.minimum(np.log2(1 + np.maximum(count, 0)), BUCKETS - 1), np.float64).astype(np.int64)


def dense_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bounds: torch.Tensor, longest: int
) -> torch.Tensor:
    """Attention within each sequence by one product; sequences of several lengths are padded for it, and masked."""
    import torch

    count, rows = len(bounds) - 1, len(query)
    same = count * longest == rows
    place = None
    if not same:
        lengths = (bounds[1:] - bounds[:-1]).long()
        place = torch.arange(rows) + torch.repeat_interleave(
            torch.arange(count) * longest - bounds[:-1].long(), lengths
        )

    def dense(part: torch.Tensor) -> torch.Tensor:
        if place is not None:
            wide = part.new_zeros(count * longest, *part.shape[1:])
            part = wide.index_copy(0, place, part)
        return part.reshape(count, longest, *part.shape[1:]).transpose(1, 2)

    mask = None if same else (torch.arange(longest) < lengths[:, None])[:, None, None, :]
    seen = torch.nn.functional.scaled_dot_product_attention(dense(query), dense(key), dense(value), attn_mask=mask)
    flat = seen.transpose(1, 2).reshape(count * longest, *query.shape[1:])
    return flat if place is None else flat[place]


def tower_over(model: Any, settings: UserSettings, seed: int) -> UserTower:
    """A new tower whose layers and LayerNorm are the upper ones of a BertModel, copied. ValueError for too many."""
    from copy import deepcopy

    import torch

    layers = model.encoder.layer
    if settings.layers > len(layers):
        raise ValueError(f"layers is {settings.layers}; the BERT has {len(layers)}")
    torch.manual_seed(seed)
    own = [deepcopy(layer) for layer in layers[len(layers) - settings.layers :]]
    return UserTower(settings, deepcopy(model.embeddings.LayerNorm), own)


def write_tower(tower: UserTower, folder: Path) -> None:
    """Write a tower into a model folder, before its manifest is written."""
    from safetensors.torch import save_file

    save_file({name: value.contiguous() for name, value in tower.parts.state_dict().items()}, folder / USER_WEIGHTS)
    (folder / USER_SETTINGS).write_text(json.dumps(asdict(tower.settings), indent=2) + "\n", "utf-8")


def read_settings(folder: Path) -> UserSettings | None:
    """The settings of a folder's user tower; None for a folder without one. Raises ModelError."""
    path = folder / USER_SETTINGS
    if not path.is_file():
        return None
    try:
        return UserSettings(**json.loads(path.read_text("utf-8")))
    except (TypeError, json.JSONDecodeError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error


def read_tower(folder: Path) -> UserTower | None:
    """A folder's user tower, float32 on the CPU, after every file's hash has been checked; None without one.

    Raises ModelError.
    """
    settings = read_settings(folder)
    if settings is None:
        return None
    check_files(folder)
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    from transformers.models.bert.configuration_bert import BertConfig
    from transformers.models.bert.modeling_bert import BertLayer

    config = BertConfig.from_json_file(str(folder / CONFIG))
    layers = [BertLayer(config) for _ in range(settings.layers)]
    tower = UserTower(settings, torch.nn.LayerNorm(settings.dims, eps=config.layer_norm_eps), layers)
    try:
        tower.parts.load_state_dict(load_file(folder / USER_WEIGHTS))
    except (SafetensorError, OSError, RuntimeError) as error:
        raise ModelError(f"{folder / USER_WEIGHTS} does not fit {USER_SETTINGS}: {error}") from error
    tower.parts.eval()
    return tower
