"""Bronze: the logs as they landed, unchanged, with the origin of each row."""

from schemas.contract import Column, Table, between, not_blank, row_check

RUN_DATE = Column(
    "run_date", "DATE", "The night: the last full day of logs it may see; in bronze, the day of the raw file"
)
SOURCE_FILE = Column("source_file", "STRING", "Path of the raw file below the landing folder", rules=(not_blank(1024),))
SOURCE_ROW = Column(
    "source_row", "BIGINT", "Line of its file on which the record begins; the first is 1", rules=(between(1, None),)
)
RAW = Column(
    "raw",
    "STRING",
    "The record as it stood in the file; a byte that is no text is \\xNN, and then a backslash two",
    personal=True,
)

KINDS = ("events", "items")  # kinds of raw files with a table of their own; all others share bronze.records
RECORD = (
    RUN_DATE,
    SOURCE_FILE,
    SOURCE_ROW,
    RAW,
    Column(
        "fields",
        "ARRAY<STRING>",
        "Its values in the order of the deployment's columns; null if unreadable",
        True,
        personal=True,
    ),
    Column("problem", "STRING", "Why the record could not be read into fields", True, (not_blank(500),)),
)

FILES = Table(
    "bronze.files",
    "one raw file that was read, and how it was found",
    (
        RUN_DATE,
        Column("source", "STRING", "Which source of the deployment it belongs to, such as events"),
        SOURCE_FILE,
        Column("bytes", "BIGINT", "Size of the file as it landed", rules=(between(0, None),)),
        Column("sha256", "STRING", "Hash of the file as it landed"),
        Column("record_count", "BIGINT", "Records in the file, the header not counted", rules=(between(0, None),)),
        Column("unreadable_count", "BIGINT", "Records that could not be read into fields", rules=(between(0, None),)),
        Column("extra_columns", "ARRAY<STRING>", "Columns of the file that the deployment does not name"),
        Column("columns", "ARRAY<STRING>", "The columns it was read by, in the order of its records' fields", True),
        Column("problem", "STRING", "Why the file as a whole cannot be read, such as a wrong header", True),
        Column("modified_at", "TIMESTAMP", "When the file had last been written, as its storage says", True),
        Column("duplicate_of", "STRING", "The file that was read instead: it has the same content", True),
        Column(
            "skipped_count",
            "BIGINT",
            "Lines below the header that are no records, for nothing is in them",
            True,
            (between(0, None),),
        ),
        Column("content_sha256", "STRING", "Hash of what the file holds, without compression", True),
    ),
    key=("source", "source_file"),
    extra_checks=(
        row_check("file_readable", "problem IS NULL", "a raw file must be readable, with the header the conf names"),
        row_check(
            "columns_known",
            "size(extra_columns) = 0",
            "a raw file should have no columns that the conf does not name (they stay in raw)",
            "warning",
        ),
    ),
)

ITS_SOURCE = Column("source", "STRING", "Which source of the deployment it belongs to; null for the kind's name", True)
EVENTS = Table("bronze.events", "one record of an event log", (*RECORD, ITS_SOURCE), key=("source_file", "source_row"))
ITEMS = Table(
    "bronze.items",
    "one record of a catalogue, or of a log that describes items",
    (*RECORD, ITS_SOURCE),
    key=("source_file", "source_row"),
)

RECORDS = Table(
    "bronze.records",
    "one record of any other kind of raw file that a retailer may have: stock, campaigns, promotions and so on",
    (*RECORD, Column("source", "STRING", "Which source of the deployment it belongs to, such as stock")),
    key=("source", "source_file", "source_row"),
)

TABLES = (FILES, EVENTS, ITEMS, RECORDS)
