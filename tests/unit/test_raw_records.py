"""What shops' exports do to delimited text: each is read rightly, rejected by line, or the file is refused by name."""

from __future__ import annotations

import csv
import gzip
import io
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udfs import records
from udfs.dialect import NOT_DOUBLED, UNCLOSED, Dialect
from udfs.fast_records import read_batches
from udfs.raw_files import content_sha256
from udfs.records import HEADER_AGAIN, FileFormat, FileReport, read_records

COLUMNS = ["sku", "name", "kind", "body"]
HEADER = "sku,name,kind,body\n"
BOM = "\ufeff"


def read(content: str | bytes, name: str = "a.csv", **keys: object) -> tuple[dict, FileReport]:
    """The fields, or the problem, of each record by its line; the columnwise reader must say the same."""
    form = FileFormat(keys.pop("columns", COLUMNS), **keys)
    data = content if isinstance(content, bytes) else content.encode()
    report, other = FileReport(), FileReport()
    found = {record.row: record.fields or record.problem for record in read_records(data, name, form, report)}
    rows = [row for batch in read_batches(data, name, form, other) for row in batch.to_pylist()]
    assert ({row["source_row"]: row["fields"] or row["problem"] for row in rows}, other) == (found, report)
    return found, report


def test_a_quoted_field_may_have_lines_commas_and_quotes():
    found, report = read(
        HEADER
        + 'S15,"Rye bread 750 g",bread,"<p>Baked in the morning.</p>\n<p>Contains rye, wheat</p>"\n'
        + "S16,Oat rolls,bread,<p>Six pieces</p>\n"
        + 'S17,"Gift basket ""Spring""",gift,"<ul>\r\n<li>Green tea, black tea, mint tea, sugar</li>\r\n</ul>"\r\n'
        + 'S18,Honey,sweet,"Two lines:\nAcacia, 250 g, glass, with spoon"'
    )
    assert found == {
        2: ["S15", "Rye bread 750 g", "bread", "<p>Baked in the morning.</p>\n<p>Contains rye, wheat</p>"],
        4: ["S16", "Oat rolls", "bread", "<p>Six pieces</p>"],
        5: ["S17", 'Gift basket "Spring"', "gift", "<ul>\r\n<li>Green tea, black tea, mint tea, sugar</li>\r\n</ul>"],
        8: ["S18", "Honey", "sweet", "Two lines:\nAcacia, 250 g, glass, with spoon"],
    }
    assert report.record_count == 4


def test_a_file_without_a_header_begins_with_a_record():
    lines = ['{"a": "x, y", "b": 1}', "", '{"a": "\\"q\\"", "b": 2}']
    found, report = read("\n".join(lines), columns=["line"], delimiter="\x01", header=False)
    assert found == {1: [lines[0]], 3: [lines[2]]}
    assert (report.record_count, report.skipped_count, report.problem) == (2, 1, None)
    assert read("S1,b,c,d\nS2,b,c,d\n", header=False)[0] == {1: ["S1", "b", "c", "d"], 2: ["S2", "b", "c", "d"]}
    assert read("", header=False)[0] == {}


def test_an_unclosed_quote_costs_its_own_line_alone(monkeypatch):
    lines = [f"S{number},b,c,d" for number in range(3, 20)]
    found, report = read(HEADER + 'S2,"b,c,d\n' + "\n".join(lines))
    assert found == {2: UNCLOSED, **{number: [f"S{number}", "b", "c", "d"] for number in range(3, 20)}}
    assert report.unreadable_count == 1
    closed_late = HEADER + 'S2,"b,c,d\n' + "x\n" * 9 + '",c,d\nS3,b,c,d\n'
    assert list(read(closed_late)[0]) == [2, 13]
    monkeypatch.setattr(records, "RECORD_LINES", 10)
    assert read(closed_late)[0] == {
        2: UNCLOSED,
        **dict.fromkeys(range(3, 12), "1 fields, the header has 4"),
        12: UNCLOSED,
        13: ["S3", "b", "c", "d"],
    }
    monkeypatch.setattr(records, "RECORD_LINES", 1_000)
    monkeypatch.setattr(records, "RECORD_CHARACTERS", 12)
    assert read(closed_late)[0][2] == UNCLOSED


def test_two_unclosed_quotes_do_not_make_one_record_of_two():
    found, _ = read(HEADER + 'S1,"5 nail,c,d\nS2,"7 nail,c,d\nS3,b,c,d\n')
    assert found == {2: UNCLOSED, 3: UNCLOSED, 4: ["S3", "b", "c", "d"]}


BACKSLASHED = 'S19,"Nail 5\\" zinc",nails,box\nS20,"TV 43\\", black",tv,"He said \\"wow\\""\nS22,"C:\\temp",label,x\n'


def test_an_escaped_quote_is_read_where_the_deployment_says_so_and_never_wrongly():
    assert read(HEADER + BACKSLASHED, escape="\\")[0] == {
        2: ["S19", 'Nail 5" zinc', "nails", "box"],
        3: ["S20", 'TV 43", black', "tv", 'He said "wow"'],
        4: ["S22", "C:\\temp", "label", "x"],
    }
    assert read(HEADER + BACKSLASHED)[0] == {2: NOT_DOUBLED, 3: NOT_DOUBLED, 4: ["S22", "C:\\temp", "label", "x"]}
    assert Dialect(",", "\\").split('"a\\\\","b""\\"c"') == ["a\\", 'b""c']


def test_the_header_again_is_rejected_and_empty_lines_and_marks_within_are_no_records():
    joined = f'{BOM}{HEADER}S24,Salt,salt,\n{BOM}{HEADER}{BOM}"S25","Pepper, black",pepper,fine\n\n,,,\n ,\nS26,P,,\n'
    found, report = read(joined)
    assert found == {
        2: ["S24", "Salt", "salt", ""],
        3: HEADER_AGAIN,
        4: ["S25", "Pepper, black", "pepper", "fine"],
        7: "2 fields, the header has 4",
        8: ["S26", "P", "", ""],
    }
    assert (report.record_count, report.skipped_count) == (5, 2)
    assert read(f"{BOM}{BOM}{HEADER}S1,b,c,d\n")[0] == {2: ["S1", "b", "c", "d"]}
    assert read('"sku","name","kind","body"\nsku,name,kind,body\nS1,b,c,d\n')[0][2] == HEADER_AGAIN


def test_lines_short_of_their_last_cells_are_filled_where_the_deployment_says_so():
    short = HEADER + "S1,b\nS2,b,c,d\nS3,b,c,d,e\n"
    assert read(short)[0][2] == "2 fields, the header has 4"
    assert read(short, fill_short_lines=True)[0] == {
        2: ["S1", "b", "", ""],
        3: ["S2", "b", "c", "d"],
        4: "5 fields, the header has 4",
    }


def test_what_is_above_the_header():
    preamble = "# ----\n# Sales by line\n\n"
    assert read(preamble + HEADER + "S1,b,c,d\n", skip_lines=3)[0] == {5: ["S1", "b", "c", "d"]}
    _, report = read(preamble + HEADER + "S1,b,c,d\n")
    assert report.problem == (
        "wrong header: lacks sku, name, kind, body; it has # ----; line 4 has them: skip_lines = 3 reads it as the "
        "header"
    )
    assert read("\n\n" + HEADER + "S1,b,c,d\n")[0] == {4: ["S1", "b", "c", "d"]}
    assert read("a\nb\n", skip_lines=4)[1].problem == (
        "wrong header: none, the file has no line after the 4 of skip_lines"
    )
    spreadsheet = "sep=;\r\nsku;name;kind;body\r\nS1;5,50;c;\r\n"
    assert read(spreadsheet)[0] == {3: ["S1", "5,50", "c", ""]}
    assert read(f"A report\n{spreadsheet}", skip_lines=1)[0] == {4: ["S1", "5,50", "c", ""]}


def test_columns_without_a_name_are_extra_ones():
    found, report = read("sku,name,,kind,body,,\nS1,b,,c,d,,\n")
    assert found == {2: ["S1", "b", "c", "d"]}
    assert report.extra_columns == ["(column 3)", "(column 6)", "(column 7)"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_line_ends_and_unicode_are_read_whatever_is_declared(end, encoding):
    text = end.join(["sku,name,kind,body", 'S1,"é, €",c,d', 'S2,"a\nb",c,', ""])
    for declared in ("utf-8", "cp1252"):
        if encoding == "utf-8" and declared == "cp1252":
            continue  # without a mark there is nothing to see it by
        found, report = read(text.encode(encoding), encoding=declared)
        assert found == {2: ["S1", "é, €", "c", "d"], 3: ["S2", "a\nb", "c", ""]}
        assert report.problem is None


def test_what_is_no_text_is_refused_by_what_it_is():
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("a.csv", HEADER)
    for content, words in (
        (archive.getvalue(), "a zip archive or a spreadsheet"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 9, "a spreadsheet (.xls)"),
        (b"PAR1\x15\x04", "a Parquet file"),
        (gzip.compress(archive.getvalue()), "a zip archive"),
    ):
        _, report = read(content)
        assert report.problem.startswith(words)
        assert "not delimited text: export it as CSV" in report.problem


def test_a_compressed_file_is_known_by_what_it_holds():
    content = (HEADER + "S1,b,c,d\n").encode()
    for name in ("a.csv.gz", "a.csv"):  # some forget the suffix
        found, report = read(gzip.compress(content, mtime=5), name)
        assert found == {2: ["S1", "b", "c", "d"]}
        assert report.content_sha256 == content_sha256(content, "a.csv") == content_sha256(gzip.compress(content), name)
    assert read(content)[1].content_sha256 is None
    damaged = gzip.compress(content)[:-9]
    assert content_sha256(damaged, "a.csv.gz") == content_sha256(damaged + b"", "other.gz")


FIELDS = st.text(st.sampled_from('ab ,;"\n\r\\é<\t'), max_size=12)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(FIELDS, min_size=4, max_size=4), max_size=8),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from([("\r\n", csv.QUOTE_MINIMAL), ("\r\n", csv.QUOTE_ALL), ("\n", csv.QUOTE_ALL)]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be"]),
)
def test_what_a_csv_writer_writes_is_read_back(rows, delimiter, how, encoding):
    text, (end, quoting) = io.StringIO(newline=""), how
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    found, _ = read(text.getvalue().encode(encoding), delimiter=delimiter)
    assert list(found.values()) == [row for row in rows if any(row)]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(FIELDS, min_size=4, max_size=4), max_size=8))
def test_what_escapes_by_backslash_is_read_back(rows):
    def quoted(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    text = HEADER + "".join(",".join(map(quoted, row)) + "\n" for row in rows)
    assert list(read(text, escape="\\")[0].values()) == [row for row in rows if any(row)]
