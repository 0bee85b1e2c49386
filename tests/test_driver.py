"""What of a night reaches the driver: counts, days, a few examples; never its users or items."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

from jobs.flow import NIGHT
from tests.tiny_shop import REPO

# What brings rows of a frame into the driver's memory. count() does not: it is one number.
TO_DRIVER = frozenset(
    {"collect", "collectAsList", "first", "foreach", "head", "show", "tail", "take", "toArrow", "toLocalIterator"}
    | {"toPandas", "pandas_api", "broadcast"}
)
# Not of the night: training, evaluation and backtest hold a shop of so many users or pairs in memory, on purpose.
BOUNDED_BY_MAX_USERS = {
    "backtest_plans.py",
    "contenders.py",
    "evaluate_recommendations.py",
    "evaluation_page.py",
    "training_data.py",
    "train_model.py",
}
# (file, function, call): how many of them, and what bounds it.
ALLOWED = {
    ("build_default_recommendations.py", "build_default_recommendations", "broadcast"): (1, "twice top_k items"),
    ("build_default_recommendations.py", "build_default_recommendations", "take"): (1, "one row: is there any"),
    ("backtest_stock.py", "backtest_stock", "first"): (1, "no frame: pandas', in a backtest"),
    ("build_audiences.py", "__init__", "first"): (2, "no frame: pandas', on an executor"),
    ("build_audiences.py", "_allocated", "broadcast"): (3, "a row a running campaign"),
    ("build_audiences.py", "build_audiences", "collect"): (1, "one row: two models of some forty numbers"),
    ("build_audiences.py", "choose", "first"): (1, "no frame: pandas', on an executor"),
    ("build_audiences.py", "read_book", "toArrow"): (1, "one row, for a backtest: the catalogue and the campaigns"),
    ("build_audiences.py", "room", "toPandas"): (1, "a row a running campaign"),
    ("clean_campaigns.py", "_campaign_items", "broadcast"): (1, "a row a campaign"),
    ("drift.py", "measure", "collect"): (2, "one row of figures each"),
    ("drift.py", "past_nights", "collect"): (1, "a dozen figures of some nights"),
    ("forecast_demand.py", "forecast_demand", "collect"): (1, "one row: the model's text"),
    ("forecast_demand.py", "shop_of", "toPandas"): (1, "a row a day and category, or location, of two years"),
    ("ingest_logs.py", "ingest_logs", "broadcast"): (1, "a row a raw file that came twice"),
    ("run_job.py", "_of_one_model", "first"): (1, "one row: the model of a table"),
    ("log_days.py", "_without_repeats", "collect"): (1, "one row: the day of the oldest late record"),
    ("mapping.py", "canonical", "collect"): (1, "a row a day, where the mapping changes by date"),
    ("night.py", "run_night", "show"): (1, "no frame: jobs.commands.summary, below"),
    ("plan_stock.py", "_check_locations", "first"): (1, "one row: an example of a location"),
    ("plan_stock.py", "plan_stock", "toPandas"): (1, "a row a pair of locations with a way: 250,000 of 500 stores"),
    ("quality.py", "explain", "take"): (2, "a few failing rows to show"),
    ("night_page.py", "of_night", "collect"): (1, "a row a check, a figure, a day of one night"),
    ("publish_night.py", "publish_night", "first"): (1, "one row: the model of a table"),
    ("rank_recommendations.py", "fallback", "broadcast"): (1, "twice top_k items"),
    ("rollback.py", "act", "collect"): (1, "a row a gold table and publication"),
    ("rollback.py", "earlier_publication", "collect"): (1, "a row a gold table and publication"),
    ("lake.py", "_name_published", "collect"): (1, "a row a gold table"),
    ("lake.py", "_newest_published", "collect"): (1, "one row: the newest night"),
    ("lake.py", "clear", "collect"): (1, "a row a model that was ever promoted"),
    ("lake.py", "encoding_model", "first"): (1, "one row: the model of the night's vectors"),
    ("lake.py", "last_run", "collect"): (1, "a row a commit since the run began, a hundred at most"),
    ("lake.py", "maintain", "collect"): (3, "one row; a row a night; one row"),
    ("lake.py", "promoted_model", "first"): (1, "one model"),
    ("lake.py", "read", "first"): (1, "one row: the newest partition"),
    ("lake.py", "written", "first"): (2, "one commit"),
    ("sql.py", "act", "show"): (1, "what a person asks to see, cut at a hundred rows"),
    ("summary.py", "_first_user", "first"): (1, "one row"),
    ("summary.py", "_show_plans", "collect"): (4, "one row; a row an action; a row a running campaign; one row"),
    ("summary.py", "_show_split", "collect"): (3, "a sum; a row a reason of rejection; one row"),
    ("summary.py", "_show_users", "collect"): (3, "three users, their last purchases and first recommendations"),
    ("summary.py", "_version", "first"): (1, "one row"),
    ("summary.py", "new_columns", "collect"): (1, "a row a source with new columns"),
    ("summary.py", "show", "collect"): (2, "the row of ops.encodes; a row a table"),
    ("summary.py", "show_backtest", "collect"): (1, "a row a contender and metric"),
    ("summary.py", "show_evaluation", "collect"): (1, "a row a contender and metric"),
    ("vectors.py", "_account", "collect"): (1, "the row of ops.encodes"),
    ("vectors.py", "encode", "collect"): (1, "how many texts there are of each length, some thousand lengths at most"),
    ("vectors.py", "score", "take"): (2, "no frame: pyarrow's, on an executor"),
    ("pending_days.py", "_changed", "collect"): (1, "a row a raw file that was written again"),
    ("pending_days.py", "_days_to_clean", "collect"): (4, "a row a day"),
    ("pending_days.py", "_days_to_read", "collect"): (1, "a row a raw file ever read"),
}


def calls(path: Path) -> Counter[tuple[str, str, str]]:
    """How often each (file, function, call) by one of these names stands there."""
    found: Counter[tuple[str, str, str]] = Counter()

    def visit(node: ast.AST, function: str) -> None:
        if isinstance(node, ast.FunctionDef):
            function = node.name
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in TO_DRIVER:
            found[path.name, function, node.func.attr] += 1
        for child in ast.iter_child_nodes(node):
            visit(child, function)

    visit(ast.parse(path.read_text(encoding="utf-8")), "")
    return found


def test_a_night_brings_neither_users_nor_items_to_the_driver() -> None:
    paths = [path for path in (REPO / "jobs").rglob("*.py") if path.name not in BOUNDED_BY_MAX_USERS]
    assert {f"{job.name}.py" for job in NIGHT} <= {path.name for path in paths}
    found = sum((calls(path) for path in paths), Counter())
    assert found == {call: count for call, (count, _) in ALLOWED.items()}, "say what bounds a new call, and list it"


def test_calls_are_found_wherever_they_stand(tmp_path: Path) -> None:
    file = tmp_path / "job.py"
    file.write_text("def job(frame):\n    def inner():\n        return [frame.where('a').toPandas(), frame.count()]\n")
    assert calls(file) == {("job.py", "inner", "toPandas"): 1}
