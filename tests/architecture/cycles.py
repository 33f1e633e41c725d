"""Finds modules that import each other in a circle, also where only types are imported.

import-linter knows packages and layers. Within a folder of one plugin it allows a circle.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

Graph = Mapping[str, set[str]]
"""The modules that each module imports."""


def read_graph(root: Path, packages: tuple[str, ...]) -> Graph:
    """Read which modules of some packages import which others of them."""
    paths = {
        _name_of(path.relative_to(root)): path
        for package in packages
        for path in sorted((root / package).rglob("*.py"))
    }
    graph: dict[str, set[str]] = {name: set() for name in paths}
    for name, path in paths.items():
        home = name if path.stem == "__init__" else name.rpartition(".")[0]
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            for target in _targets_of(node, home):
                module = target if target in paths else target.rpartition(".")[0]
                if module in paths:
                    graph[name].add(module)
    return graph


def find_circles(graph: Graph) -> list[list[str]]:
    """Return the modules of each circle: all that can be reached from each other."""
    reachable = {name: _reach(graph, name) for name in graph}
    circles = {
        tuple(sorted(other for other in others if name in reachable[other]))
        for name, others in reachable.items()
        if name in others
    }
    return [list(circle) for circle in sorted(circles)]


def _name_of(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _targets_of(node: ast.AST, home: str) -> Iterator[str]:
    """Yield what a statement imports: modules, or names within them."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = home.split(".")
        base = above[: len(above) - node.level + 1] if node.level else []
        if node.module:
            base.append(node.module)
        yield from (".".join([*base, alias.name]) for alias in node.names)


def _reach(graph: Graph, start: str) -> set[str]:
    reached = set[str]()
    waiting = [*graph[start]]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += graph[name]
    return reached
