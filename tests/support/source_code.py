"""What a Python file holds: its imports, its functions, and its calls that bring rows to the driver."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

# What brings rows of a frame into the driver's memory. count() does not: it is one number.
TO_DRIVER = frozenset(
    {"collect", "collectAsList", "first", "foreach", "head", "show", "tail", "take", "toArrow", "toLocalIterator"}
    | {"toPandas", "pandas_api", "broadcast"}
)


class Import(NamedTuple):
    """One imported module by its full name; `main`: below `if __name__ == "__main__"`; `lazy`: within a function."""

    name: str
    main: bool
    lazy: bool


def imports(path: Path, modules: Collection[str]) -> Iterator[Import]:
    """Every import of a file, wherever it is; of what it imports from a module, `modules` are modules themselves."""

    def visit(node: ast.AST, main: bool, lazy: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, main, lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{path}:{node.lineno}: absolute imports alone: spark-submit puts jobs/ on the path"
            assert not node.level, f"{path}:{node.lineno}: absolute imports alone: spark-submit puts jobs/ on the path"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield Import(full if full in modules else node.module, main, lazy)
        main = main or (isinstance(node, ast.If) and "__name__" in ast.unparse(node.test))
        lazy = lazy or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            yield from visit(child, main, lazy)

    return visit(ast.parse(path.read_text(encoding="utf-8")), False, False)


def calls(path: Path) -> Counter[tuple[str, str]]:
    """How often each (function, method that brings rows to the driver) is in a file."""
    found: Counter[tuple[str, str]] = Counter()

    def visit(node: ast.AST, function: str) -> None:
        if isinstance(node, ast.FunctionDef):
            function = node.name
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in TO_DRIVER:
            found[function, node.func.attr] += 1
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "broadcast":
            found[function, "broadcast"] += 1
        for child in ast.iter_child_nodes(node):
            visit(child, function)

    visit(ast.parse(path.read_text(encoding="utf-8")), "")
    return found


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Each function of a file, with its lines from the first decorator or `def` to the end."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno
            yield node.name, node.end_lineno + 1 - min(part.lineno for part in (node, *node.decorator_list))
