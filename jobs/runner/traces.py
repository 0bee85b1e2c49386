"""Proof of an erasure: every file of a lake is decoded and searched for ids; what cannot be decided is listed.

It shares no code with the erasure (jobs/runner/erasure.py): a fault of one does not hide in the other.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pa_fs
import pyarrow.parquet as pq

from jobs.runner.data_files import file_system
from jobs.runner.decoded import CannotDecodeError, Cells, Text, Value, decoded
from schemas import TABLES
from schemas.deployment import Deployment
from udfs.id_search import Ids

USER = "user_id"
RECORDS = ("bronze.events", "bronze.items", "bronze.records")
KNOWN = {column.name for table in TABLES.values() for column in table.columns if not column.personal}
VOCABULARY = ("tokenizer.json", "vocab.json", "vocab.txt")  # of the published weights: words of a language


@dataclass(frozen=True)
class Trace:
    """Ids in a place of a file of the lake. Not `decided`: it may be another thing of this name, or is not readable."""

    file: str
    place: str
    ids: frozenset[str]
    decided: bool = True


@dataclass(frozen=True)
class UserFields:
    """Which fields of a record are of its user_id: of each source, by the names of its SQL; separators of its lines."""

    places: Mapping[str, frozenset[int]]
    delimiters: Mapping[str, str]
    kinds: Mapping[str, str]

    @staticmethod
    def of(deployment: Deployment) -> UserFields:
        """Those of a deployment, over all versions of its sources."""
        places: dict[str, frozenset[int]] = {}
        for name, source in deployment.sources.items():
            found: set[int] = set()
            for _, version in source.versions():
                sql = version.map.get(USER, "").lower()
                found |= {place for place, column in enumerate(version.columns) if column.lower() in sql}
            places[name] = frozenset(found)
        sources = deployment.sources.items()
        return UserFields(
            places,
            {name: source.delimiter for name, source in sources},
            {name: source.kind or name for name, source in sources},
        )


def traces(uri: str, ids: Ids, fields: UserFields) -> Iterator[Trace]:
    """Where a lake still has ids, file by file, and what cannot be decided."""
    system, root = file_system(uri)
    base = root.rstrip("/") + "/"
    for info in system.get_file_info(pa_fs.FileSelector(root, allow_not_found=True, recursive=True)):
        if info.is_file:
            with system.open_input_file(info.path) as file:
                content = file.read()
            yield from in_file(info.path.removeprefix(base), content, ids, fields)


def in_file(path: str, content: bytes, ids: Ids, fields: UserFields) -> Iterator[Trace]:
    """Where one file has ids."""
    found: dict[tuple[str, bool], set[str]] = {}
    problem = ""
    try:
        values = []
        for part in decoded(path, content):
            if isinstance(part, Value):
                values.append(part)
                continue
            for place, hits, decided in _in_part(path, part, ids):
                if hits:
                    found.setdefault((place, decided), set()).update(hits)
        for place, hits, decided in _in_values(path, values, ids):
            found.setdefault((place, decided), set()).update(hits)
        if ids.short and path.endswith(".parquet"):
            for place, hits, decided in _short_in_records(path, content, ids, fields):
                if hits:
                    found.setdefault((place, decided), set()).update(hits)
    except CannotDecodeError as error:
        problem = str(error)
    decoded_ids = {each for hits in found.values() for each in hits}
    raw: dict[bool, set[str]] = {}
    for each, is_word in ids.in_bytes(content):
        raw.setdefault(is_word, set()).add(each)
    for is_word, hits in raw.items():
        if rest := hits - decoded_ids:
            found.setdefault(("its bytes", is_word), set()).update(rest)
    for (place, decided), hits in found.items():
        yield Trace(path, place, frozenset(hits), decided)
    if problem:
        yield Trace(path, f"it cannot be decoded: {problem}", frozenset(), decided=False)


def _in_part(path: str, part: Cells | Text, ids: Ids) -> Iterator[tuple[str, set[str], bool]]:
    """(place, ids, decided) of what a column or a text of a file has."""
    if isinstance(part, Cells):
        equal = ids.in_cells(part.values)
        yield f"column {part.column}", equal - ids.short | ids.words_of_cells(part.values), True
        if part.column.endswith(USER):
            yield f"column {part.column}", equal & ids.short, True
        elif _table(path) is None and part.column not in KNOWN:
            yield f"column {part.column}", equal & ids.short, False
    else:
        words = ids.in_text(part.text)
        yield "text", words - ids.short, True
        yield "text", words & ids.short, False


def _in_values(path: str, values: Sequence[Value], ids: Ids) -> Iterator[tuple[str, set[str], bool]]:
    """The same of a document's texts; they are searched together first, for there may be thousands of a word each."""
    if any(ids.in_bytes("\n".join(value.text for value in values).encode())):
        for value in values:
            if words := ids.in_text(value.text) - ids.short:
                yield f"field {value.name}", words, True
    for value in values:
        is_user = value.name.endswith(USER)
        if value.text in ids.short and (is_user or value.name not in KNOWN) and not path.endswith(VOCABULARY):
            yield f"field {value.name}", {value.text}, is_user


def _table(path: str) -> str | None:
    """The table of the lake that a data file belongs to, if any."""
    layer, _, rest = path.partition("/")
    name = f"{layer}.{rest.partition('/')[0]}"
    return name if name in TABLES and "_delta_log" not in path else None


def _short_in_records(path: str, content: bytes, ids: Ids, fields: UserFields) -> Iterator[tuple[str, set[str], bool]]:
    """Short ids in records as they landed: in the fields of user_id; elsewhere in a line they may be anything.

    A line that could not be read has no fields: what it has is not decided.
    """
    name = _table(path)
    if name is None or "raw" not in TABLES[name].personal:
        return
    wanted = [column for column in ("source", "fields", "raw") if column in TABLES[name].column_names]
    rows = pq.read_table(pa.BufferReader(content), columns=wanted)
    kind = name.split(".")[1].removeprefix("rejected_")
    of_kind = [source for source, its in fields.kinds.items() if its == kind]
    if name not in RECORDS:
        for line in rows.column("raw").to_pylist():
            yield "column raw", _in_line(line, of_kind, ids, fields), True
        return
    sources = pc.fill_null(rows.column("source"), kind).combine_chunks()
    for source, places in fields.places.items():
        own = rows.filter(pc.equal(sources, source))
        values = own.column("fields").combine_chunks()
        for place in places:
            long_enough = values.filter(pc.greater(pc.list_value_length(values), place))
            if len(long_enough):
                trimmed = pc.utf8_trim_whitespace(pc.list_element(long_enough, place))
                yield "column fields", ids.in_cells(trimmed) & ids.short, True
    unread = rows.filter(pc.is_null(rows.column("fields"))).column("raw").to_pylist()
    for line in unread:
        yield "column raw of a line that could not be read", ids.short_words(line or ""), False


def _in_line(line: str | None, sources: Sequence[str], ids: Ids, fields: UserFields) -> set[str]:
    """The short ids in the fields of user_id of a line of one of these sources."""
    found: set[str] = set()
    for source in sources:
        cells = next(csv.reader([line or ""], delimiter=fields.delimiters[source]), [])
        found |= {cells[place].strip() for place in fields.places[source] if place < len(cells)} & ids.short
    return found
