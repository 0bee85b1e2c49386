"""Files of a lake, decoded into what can be searched: columns of text, JSON values with their keys, plain text."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

TEXTS = (".html", ".css", ".js", ".txt", ".log", ".md", ".toml", ".csv", ".svg", ".xml", ".yaml", ".py", ".conf")
# Numbers alone, or uncompressed: the bytes say all there is.
PLAIN_BYTES = (".onnx", ".bin", ".png")
HADOOP_CHECKSUM = b"crc\0"  # how Hadoop's checksum file beside another begins; Delta's is JSON
ZIP_MAGIC, GZIP_MAGIC = b"PK\x03\x04", b"\x1f\x8b"


class CannotDecodeError(ValueError):
    """A file whose content cannot be searched; the text says why."""


@dataclass(frozen=True)
class Cells:
    """A column of text of some rows: its first name, and its cells or elements."""

    column: str
    values: pa.Array


@dataclass(frozen=True)
class Value:
    """A text of a JSON document, with the name that it has there; "" for an element without one."""

    name: str
    text: str


@dataclass(frozen=True)
class Text:
    """A text without fields."""

    text: str


def decoded(name: str, content: bytes) -> Iterator[Cells | Value | Text]:
    """The parts of a file by its name's ending. CannotDecodeError where it is of no known format or damaged."""
    lower = name.lower()
    try:
        if lower.endswith(".gz") or content.startswith(GZIP_MAGIC):
            yield from decoded(name[:-3] if lower.endswith(".gz") else "", gzip.decompress(content))
        elif lower.endswith(".parquet"):
            yield from _parquet(content)
        elif lower.endswith((".npz", ".npy")) or content.startswith(ZIP_MAGIC):
            yield from _arrays(content)
        elif lower.endswith(".safetensors"):
            length = int.from_bytes(content[:8], "little")
            yield from _json(content[8 : 8 + length].decode())
        elif lower.endswith(PLAIN_BYTES) or content.startswith(HADOOP_CHECKSUM):
            return
        elif lower.endswith((".json", ".jsonl", ".crc", ".ipynb")) or name.endswith("_last_checkpoint"):
            yield from _json(content.decode())
        else:
            yield _text(lower, content)
    except (OSError, EOFError, ValueError, TypeError, zlib.error, pa.ArrowException) as error:
        raise CannotDecodeError(f"{type(error).__name__}") from None


def _text(name: str, content: bytes) -> Text:
    if b"\0" in content and not name.endswith(TEXTS):
        raise CannotDecodeError("its format is not known")
    return Text(content.decode("utf-8", "replace" if name.endswith(TEXTS) else "strict"))


def _parquet(content: bytes) -> Iterator[Cells]:
    """Each column of text, row group by row group, with what its dictionary has beyond the rows."""
    footer = pq.read_metadata(pa.BufferReader(content))
    texts = [
        footer.schema.column(place).path
        for place in range(footer.num_columns)
        if footer.schema.column(place).physical_type == "BYTE_ARRAY"
    ]
    file = pq.ParquetFile(pa.BufferReader(content), read_dictionary=texts)
    for group in range(file.num_row_groups):
        rows = file.read_row_group(group, columns=texts, use_threads=False)
        for name in rows.column_names:
            for chunk in rows.column(name).chunks:
                yield from (Cells(name, leaf) for leaf in leaves(chunk))


def leaves(values: pa.Array) -> Iterator[pa.Array]:
    """The arrays of text or bytes within an array: a dictionary's, a list's, a struct's, a map's."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        yield from leaves(values.dictionary)
    elif pa.types.is_map(kind):
        yield from leaves(values.keys)
        yield from leaves(values.items)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        yield from leaves(pc.list_flatten(values))
    elif pa.types.is_struct(kind):
        for child in values.flatten():
            yield from leaves(child)
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        yield values
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        yield pa.array([each.decode("latin-1") for each in pc.drop_null(values).to_pylist()], pa.string())


def _arrays(content: bytes) -> Iterator[Cells]:
    """The texts of NumPy's arrays; numbers are none. ValueError where one has objects."""
    loaded = np.load(io.BytesIO(content), allow_pickle=False)
    for name in loaded.files if isinstance(loaded, np.lib.npyio.NpzFile) else [""]:
        array = loaded[name] if name else loaded
        if array.dtype.kind in "US":
            yield Cells(name, pa.array(array.ravel().astype(str).tolist(), pa.string()))
        elif array.dtype.kind not in "biufc" and array.dtype.kind != "V":
            raise CannotDecodeError(f"an array of {array.dtype}")


def _json(text: str) -> Iterator[Value | Text]:
    """Every text of a document, or of one a line, those within texts too; what is no JSON as text."""
    try:
        documents = [json.loads(text)]
    except ValueError:
        try:
            documents = [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError:
            yield Text(text)
            return
    for document in documents:
        yield from _values("", document)


def _values(name: str, value: Any) -> Iterator[Value]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield Value("", str(key))
            yield from _values(str(key), below)
    elif isinstance(value, list):
        for below in value:
            yield from _values(name, below)
    elif isinstance(value, str):
        yield Value(name, value)
        if value[:1] in ("{", "["):
            try:
                yield from _values(name, json.loads(value))
            except ValueError:
                return
    elif value is not None and not isinstance(value, bool | float):
        yield Value(name, str(value))
