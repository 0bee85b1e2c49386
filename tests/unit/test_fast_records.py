"""The columnwise reader gives the records and the report of the careful one, and is used wherever a block is sound."""

from __future__ import annotations

import gzip
import random
import zlib

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udfs import fast_records, records
from udfs.fast_records import read_batches
from udfs.records import FileFormat, FileReport, read_records

COLUMNS = ["id", "at"]
FORM = FileFormat(COLUMNS)
SOUND = "id,at\na,1\nb,2\n"
ENCODINGS = ["utf-8"] * 6 + ["utf-8-sig", "ascii", "latin-1", "cp1252", "koi8-r", "utf-16", "utf-16-le", "gbk", "utf-7"]
DELIMITERS = [","] * 6 + [";", "\t", "|", " ", "§"]


def careful(content: bytes, name: str, form: FileFormat) -> tuple[list, FileReport]:
    report = FileReport()
    read = read_records(content, name, form, report)
    return [(record.row, record.raw, record.fields, record.problem) for record in read], report


def fast(content: bytes, name: str, form: FileFormat) -> tuple[list, FileReport]:
    report, rows = FileReport(), []
    for batch in read_batches(content, name, form, report):
        batch.validate(full=True)
        assert batch.schema == fast_records.SCHEMA
        assert 0 < batch.num_rows <= fast_records.ROWS_PER_BATCH
        rows += [tuple(row.values()) for row in batch.to_pylist()]
    return rows, report


def same(content: bytes, name: str = "a.csv", form: FileFormat = FORM) -> list:
    rows, report = fast(content, name, form)
    assert (rows, report) == careful(content, name, form)
    return rows


@pytest.fixture
def small(monkeypatch):
    """Sets a block's bytes and a batch's rows and characters."""

    def limits(block_bytes: int, rows: int = 3, characters: int = 10_000) -> None:
        monkeypatch.setattr(fast_records, "BLOCK_BYTES", block_bytes)
        monkeypatch.setattr(fast_records, "ROWS_PER_BATCH", rows)
        monkeypatch.setattr(fast_records, "CHARACTERS_PER_BATCH", characters)

    return limits


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_fields_are_in_one_normal_form_and_the_line_as_it_stood(encoding):
    """Cafe and an accent is Café; a field of what looks like a semicolon does not end there."""
    lines = ["id;at", "Cafe\u0301;\u212b", "Caf\u00e9;a\u037eb", "\u0301;=\u0338"]
    rows = same("\n".join(lines).encode(encoding), form=FileFormat(COLUMNS, ";", encoding))
    assert [row[1] for row in rows] == lines[1:]
    assert [row[2] for row in rows] == [["Caf\u00e9", "\u00c5"], ["Caf\u00e9", "a;b"], ["\u0301", "\u2260"]]


def test_a_header_and_a_deployment_name_a_column_alike_in_either_form():
    form = FileFormat(["Gr\u00f6\u00dfe", "at"])
    assert same("Gro\u0308\u00dfe,at\na,1\n".encode(), form=form)[0][2] == ["a", "1"]


def words(delimiter: str) -> st.SearchStrategy[str]:
    """Fields: mostly sound ones; \udc80 and up are bytes that are no text."""
    plain = st.text(st.sampled_from("ab7 .é€"), max_size=4)
    decomposed = st.text(st.sampled_from("ae\u0301\u0323\u212b\u037e "), max_size=4)
    nasty = st.text(st.sampled_from(f'a{delimiter},"\r\n\0\ufeff\\é\x85\u2028\udc80\udcc3\udced\udcff'), max_size=4)
    quoted = st.text(st.sampled_from(f'a{delimiter}"\r\n\\é'), max_size=6).map(lambda text: text.replace('"', '""'))
    quoted = quoted.map('"{}"'.format)
    return st.sampled_from([plain] * 15 + [nasty, quoted, decomposed]).flatmap(lambda chosen: chosen)


def lines(delimiter: str, header: list[str]) -> st.SearchStrategy[str]:
    width = len(header)
    fitting = st.lists(words(delimiter), min_size=width, max_size=width)
    other = st.lists(words(delimiter), max_size=width + 2)
    empty, again = st.just([""] * width), st.just(header)
    return st.sampled_from([fitting] * 15 + [other, empty, again]).flatmap(lambda chosen: chosen).map(delimiter.join)


def encoded(text: str, encoding: str) -> bytes:
    """What the encoding lacks as `?`, a stand-in for a byte as that byte, where the encoding has bytes."""
    if encoding.startswith("utf-16"):
        return text.encode(encoding, "surrogatepass")
    kept = "".join(c if "\udc80" <= c <= "\udcff" else c.encode(encoding, "replace").decode(encoding) for c in text)
    return kept.encode(encoding, "surrogateescape")


@st.composite
def files(draw) -> tuple[bytes, str, FileFormat]:
    """The arguments of read_records: content, name, format."""
    delimiter, encoding = draw(st.sampled_from(DELIMITERS)), draw(st.sampled_from(ENCODINGS))
    header = draw(
        st.permutations(["id", "at", *draw(st.sampled_from([[], [], ["more"], ["id"], [" x", ""], ["", ""]]))])
    )
    columns = draw(st.sampled_from([["id", "at"], ["id", "at"], ["at", "id", "id"], ["at"], header, ["id", "lacking"]]))
    ends = draw(
        st.sampled_from([["\n"], ["\r\n"], ["\n", "\r\n"], ["\n", "\n", "\r\n", "\r\r\n", "\n\n", "\r"], ["\r"]])
    )
    body = draw(st.lists(lines(delimiter, header), max_size=12))
    marks = draw(st.sampled_from(["", "", "", "\ufeff", "\ufeff\ufeff", '"', "\udcff"]))
    above = draw(st.sampled_from([[], [], [], [""], [f"sep={delimiter}"], ["sep=;"], ["# of", "", "a shop"]]))
    form = FileFormat(
        columns,
        delimiter,
        encoding,
        escape=draw(st.sampled_from(["", "", "\\"])),
        skip_lines=draw(st.sampled_from([0, 0, 0, len(above), 2, 20])),
        fill_short_lines=draw(st.booleans()),
    )
    parts = [*above, delimiter.join(header), *body]
    text = marks + "".join(part + draw(st.sampled_from(ends)) for part in parts)
    if draw(st.booleans()):
        text = text[: len(text) - draw(st.integers(0, 3))]
    content = encoded(text, encoding) if draw(st.integers(0, 30)) else draw(st.binary(max_size=30))
    if draw(st.integers(0, 3)):
        return content, "a.csv", form
    packed = gzip.compress(content, draw(st.sampled_from([0, 6])))
    damage, place = draw(st.sampled_from(["none", "none", "cut", "changed"])), draw(st.integers(0, len(packed) - 1))
    if damage == "cut":
        packed = packed[:place]
    elif damage == "changed":
        packed = packed[:place] + bytes([packed[place] ^ draw(st.integers(1, 255))]) + packed[place + 1 :]
    return packed, draw(st.sampled_from(["a.csv.gz", "a.csv"])), form


@settings(max_examples=400, deadline=None)
@given(files(), st.integers(1, 80), st.integers(1, 9), st.integers(1, 60), st.integers(1, 6), st.integers(1, 60))
def test_any_file_is_read_as_the_careful_reader_reads_it(file, block_bytes, rows, characters, most_lines, most):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast_records, "BLOCK_BYTES", block_bytes)
        patch.setattr(fast_records, "ROWS_PER_BATCH", rows)
        patch.setattr(fast_records, "CHARACTERS_PER_BATCH", characters)
        patch.setattr(records, "RECORD_LINES", most_lines)
        patch.setattr(records, "RECORD_CHARACTERS", most)
        same(*file)


@pytest.mark.parametrize("block_bytes", range(1, 40))
def test_blocks_end_at_line_ends_wherever_their_bytes_end(small, block_bytes):
    small(block_bytes)
    content = 'id,at\na,1\r\n\n,\nlong field of a line,é\n"q,",€\n,\r\n\r\nb\0,2\n"last\none",3'.encode()
    for end in ("", "\n", "\r\n", "\r", "\n\n"):
        rows = same(content + end.encode())
        assert [row[0] for row in rows] == [2, 5, 6, 9, 10], "lines of the file; what is empty is no record"
        same(gzip.compress(content + end.encode()), "a.csv.gz")


@pytest.mark.parametrize("level", [0, 1])
def test_of_a_damaged_gzip_file_the_same_records_are_given(small, level):
    """The file is longer than what is decompressed at a time; its damage may show in a piece or in the checksum."""
    small(15_000, rows=1_000)
    draw = random.Random(5)
    text = "id,at\n" + "".join(f"{draw.getrandbits(90)},{draw.getrandbits(40)}\n" for _ in range(1_200))
    packed, seen = gzip.compress(text.encode(), level), set()
    for place in [*draw.sample(range(len(packed)), 15), *range(len(packed) - 9, len(packed))]:
        changed = packed[:place] + bytes([packed[place] ^ 16]) + packed[place + 1 :]
        for content in (packed[:place], changed):
            _, report = fast(content, "a.csv.gz", FORM)
            same(content, "a.csv.gz")
            seen.add((report.problem or "none").rpartition(":")[2].split(" while")[0].strip())
    assert len(seen) >= 3, seen


def test_of_a_gzip_file_with_an_impossible_block_the_same_records_are_given():
    packer = zlib.compressobj(wbits=31)
    before = packer.compress(b"id,at\n" + b"a,1\n" * 7_500) + packer.flush(zlib.Z_FULL_FLUSH)
    content = before + b"\x07" * 9
    rows = same(content, "a.csv.gz")
    _, report = fast(content, "a.csv.gz", FORM)
    assert "invalid block type" in report.problem
    assert 0 < len(rows) < 7_500, "what is decompressed together with the damage is lost"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"id,at",
        b"id,at\n",
        b"\xef\xbb\xbfid,at\r\n1,2",
        b"\xef\xbb\xbf\xef\xbb\xbfid,at\n1,2\n",
        b'"id","at"\n1,2\n',
        b'id,"at\n1,2\n',
        b"at,id\n1,2\n",
        b"more,at,id\n1,2,3\n",
        b"id\n1\n",
        b"id,at\nc\nd\n1,2\n",
        b"id,at\nc\nd,e,f\n1,2\n",
        b"id,at,id\n1,2,3\n",
        b"id,at\r1,2\r3,4",
        b"\x80\x81\nid,at\n",
    ],
)
def test_headers_and_lines_of_another_width(small, content):
    same(content)
    small(1)
    same(content)


def test_in_a_file_of_one_column_a_space_is_a_field_and_an_empty_line_is_no_record():
    assert same(b"id\na\n\n \r\n\r\nb", form=FileFormat(["id"])) == [
        (row, text, [text], None) for row, text in ((2, "a"), (4, " "), (6, "b"))
    ]


def test_fields_stay_texts():
    rows = same(b"id,at\n,null\nNULL,007\n 1 ,2024-01-01\nnan,true\n")
    assert [row[2] for row in rows] == [["", "null"], ["NULL", "007"], [" 1 ", "2024-01-01"], ["nan", "true"]]


def refuse(*_: object) -> None:
    raise AssertionError("the careful reader has been called")


@pytest.mark.parametrize(
    ("text", "encoding", "delimiter"),
    [
        (SOUND, "utf-8", ","),
        (SOUND, "ascii", ","),
        (SOUND[:-1], "UTF8", ","),
        (SOUND.replace("\n", "\r\n"), "utf-8", ","),
        (SOUND.replace("b,2\n", "b,2\r\n"), "utf-8", ","),
        ("\ufeff" + SOUND, "utf-8", ","),
        (SOUND, "utf-8-sig", ","),
        (SOUND.replace("b", "é€\U0001f375"), "utf-8", ","),
        (SOUND.replace("b", "\xe9\x85"), "latin-1", ","),
        (SOUND.replace("b", "€"), "cp1252", ","),
        (SOUND.replace(",", "\t"), "utf-8", "\t"),
        ('"id","at"\na,1\n', "utf-8", ","),
        ("at,x,id\n1,x,a\n", "utf-8", ","),
    ],
)
def test_a_sound_block_is_split_columnwise(monkeypatch, text, encoding, delimiter):
    form = FileFormat(COLUMNS, delimiter, encoding)
    expected = careful(text.encode(encoding), "a.csv", form)
    monkeypatch.setattr(fast_records, "read_lines", refuse)
    monkeypatch.setattr(fast_records, "read_records", refuse)
    assert fast(text.encode(encoding), "a.csv", form) == expected


@pytest.mark.parametrize(
    "line",
    [
        b'"c",3',
        b"c\0,3",
        b"\xef\xbb\xbfc,3",
        b"c\r,3",
        b"c,3\r\r",
        b"c",
        b"c,3,4",
        b"",
        b",",
        b"id,at",
        b"\xff,3",
        b"\xe2\x82,3",
        b"\xed\xa0\x80,3",
        b"x" * 200 + b",3",
    ],
)
def test_any_other_block_goes_to_the_careful_reader_and_the_next_is_sound_again(small, monkeypatch, line):
    small(len(b"id,at\na,1\nb,2\n"), rows=9, characters=150)
    content = b"id,at\na,1\nb,2\n" + b"d,4\n" + line + b"\n" + b"eeeeeeeeeeeee,5\nf,6\nffffffffff,7\n"
    read, firsts = fast_records.read_lines, []

    def noted(lines, *more):
        firsts.append(lines.number)
        return read(lines, *more)

    monkeypatch.setattr(fast_records, "read_lines", noted)
    rows = same(content)
    no_record = line in (b"", b",")
    assert [row[0] for row in rows] == [row for row in range(2, 9) if row != 5 or not no_record]
    assert firsts in ([4], [5]), "one block, with its own numbers"


def test_a_batch_is_bounded_in_rows_and_characters(small):
    small(1_000, rows=50, characters=2_000)
    content = b"id,at\n" + b"x,1\n" * 600 + (b'"' + b"y" * 900 + b'",2\n') * 7 + b"z" * 5_000 + b",3\n"
    report, batches = FileReport(), []
    for batch in read_batches(content, "a.csv", FORM, report):
        texts = batch["raw"].to_pylist()
        assert len(texts) <= 50
        assert len(texts) == 1 or sum(map(len, texts[:-1])) < 2_000
        batches.append(batch)
    assert pa.Table.from_batches(batches).num_rows == report.record_count == 608
    same(content)
