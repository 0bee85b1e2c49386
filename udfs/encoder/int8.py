"""Encoder of 8-bit products: ONNX Runtime in place of torch.

Neither torch nor transformers is imported to read a folder's model.onnx. A text's vector has the same bits whatever
its batch mates are, on any chip whose float operations round alike (udfs/top_k/int8_graph.py explains why).
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from udfs.encoder import encoder, model_folder, model_reader
from udfs.encoder.encoder import Encoder, Floats


class Int8Encoder(Encoder):
    """One int8 model in memory: a session of ONNX Runtime and a Tokenizer."""

    _threads = 1

    def __init__(self, folder: Path) -> None:
        """Read a folder that `write_int8` wrote. Raises ModelError."""
        model_folder.check_files(folder)
        config = json.loads((folder / model_folder.CONFIG).read_text("utf-8"))
        settings = model_reader.read_settings(folder, config["hidden_size"])
        tokenizer, adapter = model_reader.read_tokenizer(folder), model_reader.read_adapter(folder)
        self._prepare(tokenizer, settings, adapter, config["max_position_embeddings"])
        self.tokens_per_batch = encoder.TOKENS_PER_BATCH["cpu"]
        self._session = _session(folder / model_folder.INT8)

    def use_threads(self, count: int) -> None:
        """Set the number of batches that are read in parallel, each on one thread: the bits stay the same."""
        self._threads = max(1, count)

    def _read(self, batches: Iterable[list[list[int]]]) -> Floats:
        known = list(batches)
        self.work.read_tokens += sum(len(ids) * len(ids[0]) for ids in known)
        if self._threads == 1:
            return np.concatenate([self._batch(ids) for ids in known])
        with ThreadPoolExecutor(self._threads) as pool:
            return np.concatenate(list(pool.map(self._batch, known)))

    def _batch(self, ids: list[list[int]]) -> Floats:
        (hidden,) = self._session.run(None, {"ids": np.array(ids, np.int64)})
        return pooled(hidden)


def pooled(hidden: Floats) -> Floats:
    """The unit vectors of texts of one token count, from [texts, tokens, width]."""
    total = hidden.sum(axis=1)  # the mean's direction
    unit: Floats = total / np.linalg.norm(total, axis=1, keepdims=True)
    return unit


def _session(path: Path) -> Any:
    """A graph of one thread in memory. Raises ModelError."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    try:
        return onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    except Exception as error:  # of a class of its own for each reason
        raise model_folder.ModelError(f"{path} is no graph that ONNX Runtime reads: {error}") from error


class Int8Layers:
    """Consecutive layers of a BertModel in 8 bits, the embeddings with the first: the same bits as in its graph."""

    def __init__(self, model: Any, layers: range, *, upper: bool) -> None:
        """Round the weights; upper: read the output of the layers below in place of token ids."""
        from udfs.top_k.int8_graph import write_graph

        weights = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / model_folder.INT8
            write_graph(weights, model.config.to_dict(), path, layers=layers, upper=upper)
            self._session = _session(path)
        self._input = "lower" if upper else "ids"

    def __call__(self, rows: npt.NDArray[Any]) -> Floats:
        """The output for texts of one token count, float32 [texts, tokens, width]; safe in several threads."""
        (hidden,) = self._session.run(None, {self._input: rows})
        return np.asarray(hidden, np.float32)


def write_int8(folder: Path, output: Path, known: Mapping[str, Any] | None = None) -> None:
    """A model folder of the same tokenizer, settings and adapters, its weights 8-bit. Raises ModelError.

    known: vectors that this encoder gives, by text (text_vectors.py).
    """
    from udfs.encoder import text_vectors
    from udfs.encoder.model_folder import new_folder
    from udfs.top_k.int8_graph import write_graph

    model, _, _ = model_reader.read_model(folder)
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    config = json.loads((folder / model_folder.CONFIG).read_text("utf-8"))
    with new_folder(output) as scratch:
        for name in (
            model_folder.CONFIG,
            model_folder.TOKENIZER,
            model_folder.SETTINGS,
            model_folder.ADAPTER,
            model_folder.FROZEN_ADAPTER,
        ):
            if (folder / name).is_file():
                shutil.copyfile(folder / name, scratch / name)
        if (scratch / model_folder.SETTINGS).is_file():  # a base model has none
            model_folder.record_form(scratch, "int8")
        if known:
            text_vectors.write(scratch, list(known), np.stack(list(known.values())))
        write_graph(weights, config, scratch / model_folder.INT8)
