"""README.md and docs/: what they name exists, and they keep to the words of docs/glossary.md."""

from __future__ import annotations

import inspect
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest

from jobs.flow import JOBS
from jobs.runner.settings import check_settings, function_of, knobs_of
from schemas import TABLES
from schemas.contract import Table
from schemas.deployment import Deployment
from schemas.gate import Gate
from schemas.lineage import Lineage
from schemas.lists import Lists, Variants
from schemas.prices import Prices
from schemas.privacy import Erasure, Pseudonyms
from schemas.segments import Segments
from schemas.silver import RECORDS_OF
from schemas.source import Source
from schemas.storage import Storage
from schemas.suspects import Suspects

REPO = next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").is_file())
README, DOCS = REPO / "README.md", REPO / "docs"
PAGES = [README, *sorted(DOCS.glob("*.md")), REPO / "examples" / "README.md"]
GENERATED = {"tables.md", "flow.md"}  # their words are those of schemas/ and of jobs/flow.py
WRITTEN = [page for page in PAGES if page.name not in GENERATED]

MOST_WORDS = 900  # of README.md, code included
# Words that read like a translation, and .29 for 0.29.
UNWANTED = re.compile(
    r"\b(told|said|stands?|whole|forgets?|forgotten|ways|made|kept|of which|that of|come back|the night)\b"
    r"|(?<![\w.])\.\d",
    re.IGNORECASE,
)
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^ {4}\S.*$", re.MULTILINE)
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
TARGET = re.compile(r"^([a-z][a-z0-9-]*):", re.MULTILINE)
MODULE = re.compile(r"python -m ((?:jobs|bench|examples)\.[\w.]*\w)")
PATH = re.compile(r"\b((?:schemas|jobs|udfs|dags|conf|tests|examples|bench|docs)/[\w./-]*)")
SETTING = re.compile(r"^\| `(\w+)\.(\w+)` \| (.+?) \| ", re.MULTILINE)
DUCKDB_TYPES = {"ARRAY<STRING>": "VARCHAR[]", "BINARY": "BLOB", "STRING": "VARCHAR"}

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPO)))
each_written = pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(REPO)))


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def code_of(page: Path) -> list[str]:
    """What a page shows as code: fenced and indented lines, and spans."""
    text = text_of(page)
    rest = FENCED.sub("", text)
    fenced = [line for block in FENCED.finditer(text) for line in block[2].splitlines()]
    return [*fenced, *INDENTED.findall(rest), *INLINE.findall(INDENTED.sub("", rest))]


def prose_of(page: Path) -> Iterator[tuple[int, str]]:
    """(number, text) of each line without code and link targets."""
    fenced = False
    for number, line in enumerate(text_of(page).splitlines(), start=1):
        if line.startswith("```"):
            fenced = not fenced
        elif not fenced and not INDENTED.match(line):
            yield number, re.sub(r"\]\([^)]*\)", "]", INLINE.sub("`", line))


def blocks(language: str) -> list[tuple[Path, str]]:
    """(page, content) of each fenced block of one language."""
    found = ((page, block) for page in WRITTEN for block in FENCED.finditer(text_of(page)))
    return [(page, block[2]) for page, block in found if block[1] == language]


def anchors(page: Path) -> set[str]:
    """The headings of a page as a browser's address has them."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", text_of(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@each_page
def test_every_relative_link_resolves(page: Path) -> None:
    for link in LINK.findall(text_of(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {path}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {path}#{anchor}"


@each_page
def test_every_make_target_exists(page: Path) -> None:
    targets = set(TARGET.findall((REPO / "Makefile").read_text(encoding="utf-8")))
    named = {name for line in code_of(page) for name in re.findall(r"(?:^|[ `])make ([a-z][a-z0-9-]*)", line)}
    assert named <= targets


@each_page
def test_every_module_and_path_of_the_repository_exists(page: Path) -> None:
    for line in code_of(page):
        for name in MODULE.findall(line):
            if "<" not in line:
                assert (REPO / f"{name.replace('.', '/')}.py").is_file(), f"{page.name}: {name}"
        for path in PATH.findall(line):
            if not re.search(r"[/<]$|mine", path) and "<" not in line and "." in path.rsplit("/", 1)[-1]:
                assert (REPO / path).exists(), f"{page.name}: {path}"


@each_written
def test_every_table_exists(page: Path) -> None:
    known = set(TABLES) | {name.replace("gold.", "published.") for name in TABLES if name.startswith("gold.")}
    pattern = re.compile(r"(?<![\w/.\[])(bronze|silver|features|gold|ops|published)\.([a-z_]+)(?![\w.*<(])")
    for line in (line for line in code_of(page) if "rejected_" not in line):
        for layer, name in pattern.findall(line):
            assert f"{layer}.{name}" in known, f"{page.name}: {line}"


def merged(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Two nested mappings as one; the second wins."""
    both = {**base, **more}
    for key in base.keys() & more.keys():
        if isinstance(base[key], Mapping) and isinstance(more[key], Mapping):
            both[key] = merged(base[key], more[key])
    return both


def test_the_deployment_in_the_readme_is_one_of_twelve_lines() -> None:
    (shown,) = [content for page, content in blocks("toml") if page == README]
    assert len(shown.splitlines()) == 12
    deployment = Deployment.model_validate(tomllib.loads(shown))
    assert set(deployment.sources) == {"events", "items"}


def test_every_piece_of_a_deployment_is_accepted() -> None:
    (readme,) = [tomllib.loads(content) for page, content in blocks("toml") if page == README]
    pieces = [(page, content) for page, content in blocks("toml") if page != README]
    assert pieces
    for page, content in pieces:
        deployment = Deployment.model_validate(merged(readme, tomllib.loads(content)) | {"file": page.name})
        check_settings(deployment)


def test_every_setting_has_the_default_of_its_job() -> None:
    rows = SETTING.findall(text_of(DOCS / "configuration.md"))
    assert len(rows) > 15
    for job, setting, shown in rows:
        assert job in JOBS, f"{job}.{setting}"
        knobs = knobs_of(function_of(job))
        assert setting in knobs, f"{job}.{setting}"
        default = knobs[setting].default
        expected = "none" if default == "" else f'`"{default}"`' if isinstance(default, str) else str(default).lower()
        assert shown == expected, f"{job}.{setting} is {default!r} by default"
        assert knobs[setting].kind is inspect.Parameter.KEYWORD_ONLY


def in_duckdb(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    """An empty table of a contract, and for a gold one the view of what was published."""
    layer, name = table.name.split(".")
    columns = ", ".join(
        f'"{c.name}" {DUCKDB_TYPES.get(c.type, c.type)}'
        for c in table.columns
        if not re.search(r"<STRING,|STRUCT<", c.type)
    )
    for schema in (layer, "published") if layer == "gold" else (layer,):
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}; CREATE TABLE {schema}.{name} ({columns})")


def test_every_query_names_columns_that_exist() -> None:
    connection = duckdb.connect()
    for table in TABLES.values():
        in_duckdb(connection, table)
    spans = [span for page in WRITTEN for span in INLINE.findall(text_of(page)) if span.startswith("SELECT ")]
    queries = [query for query in [*spans, *(content for _, content in blocks("sql"))] if "delta_scan" not in query]
    assert len(queries) >= 6
    for query in queries:
        connection.execute(query)


def test_the_readme_is_short() -> None:
    assert len(text_of(README).split()) <= MOST_WORDS


@each_written
def test_prose_has_none_of_the_unwanted_words(page: Path) -> None:
    found = [f"{page.name}:{number}: {hit[0]}" for number, line in prose_of(page) for hit in UNWANTED.finditer(line)]
    assert found == []


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_the_first_paragraph_says_for_whom_the_page_is(page: Path) -> None:
    paragraphs = text_of(page).split("\n\n")
    assert paragraphs[0].startswith("# ")
    if page.name != "flow.md":  # a picture, drawn from jobs/flow.py
        assert paragraphs[1].startswith("For ")


def test_the_glossary_has_some_forty_terms_that_other_pages_use() -> None:
    terms = re.findall(r"^\| (?!term|---)([^|]+) \|", text_of(DOCS / "glossary.md"), re.MULTILINE)
    assert 40 <= len(terms) <= 50
    assert terms == sorted(terms, key=str.lower)
    others = " ".join(text_of(page) for page in WRITTEN if page.name != "glossary.md").lower()
    unused = [term for term in terms if not re.search(rf"\b{re.escape(term.lower())}", re.sub(r"\s+", " ", others))]
    assert unused == []


def test_every_key_of_a_deployment_has_a_row_and_every_row_is_one() -> None:
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", text_of(DOCS / "configuration.md"), re.MULTILINE)
    written = [key for row in rows for key in re.findall(r"\w+", row)]
    tables = {
        "sources",
        "holidays",
        "experiments",
        "drift",
        "gate",
        "lists",
        "variants",
        "segments",
        "suspects",
        "prices",
        "lineage",
        "storage",
        "aspects",
        "encoder",
        "privacy",
        "jobs",
    }  # have sections of their own
    fields = (Deployment, Source, Gate, Lists, Variants, Segments, Suspects)
    fields += (Erasure, Pseudonyms, Prices, Lineage, Storage)
    keys = {name for model in fields for name in model.model_fields} | {"base"}
    keys -= tables  # `file` is of [lineage]; that of a deployment is no key
    kinds = set(RECORDS_OF)  # the table of kinds
    assert keys - set(written) == set()
    assert set(written) - keys - kinds == {"drift"}
