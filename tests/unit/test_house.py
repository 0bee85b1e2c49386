"""The house: which room may import which, and what a room may do. New files need no entry, new rooms need a line."""

from __future__ import annotations

import ast
import sys
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from jobs.flow import JOBS
from tests.support.bounded_calls import COLLECTED
from tests.support.source_code import Import, calls, functions, imports
from tests.support.tiny_shop import REPO

LEAVES, EVALUATION, TOP_K, ENCODER = "udfs", "udfs.evaluation", "udfs.top_k", "udfs.encoder"
RECOMMEND, DEMAND, INVENTORY, AUDIENCES = "udfs.recommend", "udfs.demand", "udfs.inventory", "udfs.audiences"
SEARCH, USERS, EXPERIMENTS, SENTIMENT, RELATIONS = (
    f"udfs.{name}" for name in ("search", "users", "experiments", "sentiment", "relations")
)
UDFS = (LEAVES, EVALUATION, TOP_K, ENCODER, RECOMMEND, DEMAND, INVENTORY, AUDIENCES)
PERSONS = "udfs.persons"
UDFS += (SEARCH, USERS, EXPERIMENTS, SENTIMENT, RELATIONS, PERSONS)
JOB, FLOW, TRANSFORMS, OFFLINE = "jobs.<job>", "jobs.flow", "jobs.transforms", "jobs.offline"
REPORTS, RUNNER, COMMANDS = "jobs.reports", "jobs.runner", "jobs.commands"

# Room: what it may import beside itself, rooms or single modules. `udfs` and `schemas` are what lies in them directly.
ROOMS: dict[str, tuple[str, ...]] = {
    "schemas": (),
    FLOW: ("schemas",),
    TRANSFORMS: ("schemas", *UDFS),
    OFFLINE: (TRANSFORMS, "schemas", *UDFS),
    REPORTS: (OFFLINE, "schemas", *UDFS),
    JOB: (TRANSFORMS, OFFLINE, REPORTS, FLOW, "schemas", *UDFS),  # never another job
    RUNNER: (FLOW, TRANSFORMS, "schemas", LEAVES, "udfs.encoder.model_folder", "udfs.encoder.base_model"),
    COMMANDS: (JOB, FLOW, TRANSFORMS, OFFLINE, REPORTS, RUNNER, "schemas", *UDFS),
    "dags": (FLOW, "schemas"),
    "examples": (),
    LEAVES: (),
    EVALUATION: (LEAVES,),
    TOP_K: (LEAVES,),
    ENCODER: (LEAVES, EVALUATION, TOP_K),
    RECOMMEND: (LEAVES, EVALUATION, TOP_K, ENCODER),
    DEMAND: (LEAVES, EVALUATION, TOP_K, ENCODER),
    INVENTORY: (LEAVES, EVALUATION, TOP_K, ENCODER, DEMAND),
    AUDIENCES: (LEAVES, EVALUATION),
    USERS: (LEAVES, EVALUATION),
    SEARCH: (LEAVES, EVALUATION, TOP_K, ENCODER),
    EXPERIMENTS: (LEAVES,),
    SENTIMENT: (LEAVES, EVALUATION, TOP_K, ENCODER),
    RELATIONS: (LEAVES, ENCODER),
    PERSONS: (),
}
OURS = {room.split(".")[0] for room in ROOMS} | {"bench", "conf", "tests"}
WITHOUT_SPARK = ("schemas", FLOW, "dags", "examples", *UDFS)

# A module that two modules import of each other, where one does so within a function: the two, and why.
LAZY_CIRCLES = {
    ("udfs.encoder.encoder", "udfs.encoder.int8"): "load_encoder chooses the class by the weights' file",
    (
        "udfs.encoder.model_folder",
        "udfs.encoder.text_vectors",
    ): "a model that is written has vectors of texts beside it",
}

STORAGE = ("spark.read", ".write.", ".write\n", "DeltaTable", "getOrCreate", "readStream", "saveAsTable", "insertInto")
CLOCK = ("current_date", "current_timestamp", "date.today", "utcnow")
# Words: the rooms of jobs/ and udfs/ in which they may be read.
WORDS: dict[tuple[str, ...], tuple[str, ...]] = {
    STORAGE: (RUNNER,),
    CLOCK: (),
    ("datetime.now",): (RUNNER,),  # when a run started
    ("great_expectations",): (RUNNER,),
}
PRINTING = (RUNNER, COMMANDS)

COLLECTING = (OFFLINE, RUNNER, COMMANDS)
# Jobs that are not of the night: they hold so many users or pairs of a shop in the driver's memory, on purpose.
BOUNDED_BY_MAX_USERS = {"jobs.backtest_plans", "jobs.evaluate_recommendations"}
FILE_LINES, FUNCTION_LINES = 300, 60
# Still longer. Nothing is added here; who splits one takes it off.
LONG_FILES: set[str] = set()
LONG_FUNCTIONS: set[str] = set()


def files() -> dict[str, Path]:
    """Every module of the house by its dotted name, packages by theirs."""
    paths = (path for top in sorted({room.split(".")[0] for room in ROOMS}) for path in (REPO / top).rglob("*.py"))
    return {".".join(path.relative_to(REPO).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


FILES = files()


def room_of(module: str) -> str:
    """The room that a module lies in; a folder of jobs/ or udfs/ is one, and what lies in jobs/ directly is a job."""
    first, *rest = module.split(".")
    if first in ("schemas", "dags", "examples") or not rest:
        return first
    folder = (REPO / first / rest[0]).is_dir()
    if first == "jobs" and not folder:
        return FLOW if rest == ["flow"] else JOB
    return f"{first}.{rest[0]}" if folder else first


IMPORTS = {module: list(imports(path, FILES)) for module, path in FILES.items()}


def in_rooms(*rooms: str) -> list[str]:
    return [module for module in FILES if room_of(module) in rooms]


def test_every_folder_is_a_room() -> None:
    found = {room_of(module) for module in FILES} - {"jobs"}  # jobs/__init__.py
    assert found == set(ROOMS), "a new room needs its line in ROOMS, and one in the design"
    for top in ("jobs", "udfs"):
        lines = (REPO / top / "__init__.py").read_text().splitlines()
        assert [line for line in lines if line.startswith(("import ", "from "))] in ([], ["import os"])
        for package in (REPO / top).iterdir():
            if package.is_dir() and package.name != "__pycache__":
                tree = ast.parse((package / "__init__.py").read_text(encoding="utf-8"))
                assert [type(node) for node in tree.body] == [ast.Expr], f"{package}: a docstring alone"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_what_its_line_allows(room: str) -> None:
    modules, wrong = in_rooms(room), []
    assert modules
    for module in modules:
        for found in IMPORTS[module]:
            if found.name.split(".")[0] not in OURS:
                continue
            allowed = {*ROOMS[room], *({RUNNER} if found.main and room == JOB else ()), *({room} - {JOB})}
            if not {room_of(found.name), found.name} & allowed:
                wrong.append(f"{module} imports {found.name}")
    assert not wrong


def test_an_import_is_found_wherever_it_is(tmp_path: Path) -> None:
    path = tmp_path / "job.py"
    path.write_text(
        "import jobs.flow\nfrom udfs import days as d\n"
        "def f():\n    from jobs.runner import lake\n    from jobs.clean_items import clean_items\n"
        "if __name__ == '__main__':\n    from jobs.runner import run_job\n"
    )
    assert list(imports(path, FILES)) == [
        Import("jobs.flow", False, False),
        Import("udfs.days", False, False),
        Import("jobs.runner.lake", False, True),
        Import("jobs.clean_items", False, True),
        Import("jobs.runner.run_job", True, False),
    ]
    assert [room_of(found.name) for found in imports(path, FILES)] == [FLOW, LEAVES, RUNNER, JOB, RUNNER]
    path.write_text("from . import flow\n")
    with pytest.raises(AssertionError, match="absolute imports alone"):
        list(imports(path, FILES))


def test_what_runs_without_java_imports_no_spark() -> None:
    for module in in_rooms(*WITHOUT_SPARK):
        found = {each.name.split(".")[0] for each in IMPORTS[module]} & {"pyspark", "delta"}
        assert not found, module


def test_what_cleans_records_reaches_no_encoder() -> None:
    """A Python worker and a spark-submit of these import no model, and no Great Expectations."""
    reached = {module for module in in_rooms(JOB) if module.startswith(("jobs.clean_", "jobs.ingest_"))}
    assert "jobs.clean_users" in reached
    waiting = list(reached)
    while waiting:
        for found in IMPORTS.get(waiting.pop(), ()):
            if found.name not in reached and not found.main:
                reached.add(found.name)
                waiting.append(found.name)
    assert not {name for name in reached if room_of(name).startswith("udfs.")}
    assert not {"great_expectations", "torch", "lightgbm", "implicit"} & {name.split(".")[0] for name in reached}


def test_no_two_modules_import_each_other() -> None:
    circles = {pair for pair in LAZY_CIRCLES if pair[1] in {each.name for each in IMPORTS[pair[0]]}}
    assert circles == set(LAZY_CIRCLES), "a circle that is none any more"
    graph = {
        module: {each.name for each in found if each.name in FILES and (module, each.name) not in LAZY_CIRCLES}
        for module, found in IMPORTS.items()
    }
    TopologicalSorter(graph).prepare()  # CycleError names the modules
    for one, other in LAZY_CIRCLES:
        assert all(each.lazy for each in IMPORTS[one] if each.name == other)


def test_in_jobs_there_are_the_jobs_of_the_flow() -> None:
    assert {path.stem for path in (REPO / "jobs").glob("*.py")} == {*JOBS, "flow", "__init__"}


def test_no_module_of_jobs_hides_another_package() -> None:
    """spark-submit puts jobs/ first on the import path: what lies there hides what has its name."""
    installed = {name for name, owners in packages_distributions().items() if set(owners) != {"nightshelf"}}
    names = {path.stem for path in (REPO / "jobs").rglob("*.py")} - {"__init__"}
    names |= {path.name for path in (REPO / "jobs").iterdir() if path.is_dir()}
    assert not names & (sys.stdlib_module_names | installed)


@pytest.mark.parametrize("words", WORDS, ids=lambda words: words[0])
def test_what_only_some_rooms_may_do(words: tuple[str, ...]) -> None:
    rooms = {room for room in ROOMS if room.split(".")[0] in ("jobs", "udfs")} - set(WORDS[words])
    for module in in_rooms(*rooms):
        text = FILES[module].read_text(encoding="utf-8")
        assert not [word for word in words if word in text], module


def test_files_and_functions_are_short() -> None:
    paths = [*FILES.values(), *(REPO / "tests").rglob("*.py")]
    lengths = {str(path.relative_to(REPO)): len(path.read_text("utf-8").splitlines()) for path in paths}
    assert {path for path, count in lengths.items() if count > FILE_LINES} == LONG_FILES, "split it by idea"
    long = {
        f"{module}.{name}" for module in FILES for name, count in functions(FILES[module]) if count > FUNCTION_LINES
    }
    assert long == LONG_FUNCTIONS, "split it by step"


def test_the_lines_of_a_function_are_counted_with_all_that_is_in_it(tmp_path: Path) -> None:
    file = tmp_path / "job.py"
    file.write_text("@cache\ndef outer():\n    def inner():\n        return 1\n\n    return inner\n")
    assert list(functions(file)) == [("outer", 6), ("inner", 2)]


def test_what_is_printed_is_printed_by_commands_and_the_runner() -> None:
    rooms = {room for room in ROOMS if room.split(".")[0] in ("jobs", "udfs", "schemas", "dags")} - set(PRINTING)
    for module in in_rooms(*rooms):
        nodes = ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8")))
        assert not any(isinstance(node, ast.Name) and node.id == "print" for node in nodes), module


def test_a_night_brings_neither_users_nor_items_to_the_driver() -> None:
    rooms = {room for room in ROOMS if room.startswith("jobs.")} - set(COLLECTING)
    found = {
        (module, *call): count
        for module in in_rooms(*rooms)
        if module not in BOUNDED_BY_MAX_USERS
        for call, count in calls(FILES[module]).items()
    }
    assert found == {call: count for call, (count, _) in COLLECTED.items()}, "say what bounds a new call, and list it"


def test_calls_are_found_wherever_they_are(tmp_path: Path) -> None:
    file = tmp_path / "job.py"
    file.write_text("def job(frame):\n    def inner():\n        return [frame.where('a').toPandas(), frame.count()]\n")
    assert calls(file) == {("inner", "toPandas"): 1}
