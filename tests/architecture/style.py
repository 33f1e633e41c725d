"""How dense the code is, in figures that `tests.architecture.numbers` prints beside those of peers.

They are a thermometer and no limit: no code is written for them, a reader decides.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

Function = ast.FunctionDef | ast.AsyncFunctionDef

WEAK_NAMES = {
    "found", "given", "each", "wanted", "said", "made", "own", "most", "known", "kept", "taken",
    "several", "whole", "more",
}  # fmt: skip
"""Names of values that leave out what the value is."""


class Density(NamedTuple):
    """Figures of a code base, per 1,000 lines; the last one is a share of all bindings."""

    walruses: float
    tuple_assignments: float
    conditionals: float
    weak_names: float


PEERS = ("0 to 0.5, Litestar 3.3", "0 to 1.4", "1.7 to 6.5", "0 to 1 %")
"""The same of Datasette, procrastinate, Starlette, Kinto, Litestar and pluggy."""


class Class(NamedTuple):
    """A class of ours, with the names of what it inherits from and its attributes."""

    path: Path
    name: str
    bases: tuple[str, ...]
    attributes: frozenset[str]


def density(paths: Sequence[Path]) -> Density:
    """Count what packs several thoughts into one line, and names without a noun."""
    lines = walruses = tuple_assignments = conditionals = 0
    bindings = Counter[str]()
    for path in paths:
        source = path.read_text("utf-8")
        lines += len(source.splitlines())
        for node in ast.walk(ast.parse(source)):
            match node:
                case ast.NamedExpr():
                    walruses += 1
                case ast.Assign(targets=[ast.Tuple()], value=ast.Tuple()):
                    tuple_assignments += 1
                case ast.IfExp():
                    conditionals += 1
                case ast.Name(id=name, ctx=ast.Store()):
                    bindings[name] += 1
                case ast.arg(arg=name) if name not in ("self", "cls"):
                    bindings[name] += 1
                case _:
                    pass
    weak = sum(count for name, count in bindings.items() if name.lstrip("_") in WEAK_NAMES)
    thousands = lines / 1000
    return Density(
        walruses / thousands,
        tuple_assignments / thousands,
        conditionals / thousands,
        weak / bindings.total(),
    )


def many_parameters(paths: Sequence[Path], limit: int) -> dict[str, int]:
    """Return the functions with more parameters than that, `self` apart."""
    counts = dict[str, int]()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, Function):
                names = [one.arg for one in (*node.args.posonlyargs, *node.args.args)]
                names += [one.arg for one in node.args.kwonlyargs]
                count = len([name for name in names if name not in ("self", "cls")])
                if count > limit:
                    counts[f"{path}:{node.name}"] = count
    return counts


def many_attributes(paths: Sequence[Path], limit: int) -> dict[str, int]:
    """Return the classes whose methods set more attributes than that, inherited ones included."""
    classes = _classes(paths)
    counts = dict[str, int]()
    for cls in classes:
        attributes = set(cls.attributes)
        for ancestor in _ancestors(cls, classes):
            attributes |= ancestor.attributes
        if len(attributes) > limit:
            counts[f"{cls.path}:{cls.name}"] = len(attributes)
    return counts


def many_ancestors(paths: Sequence[Path], limit: int) -> dict[str, int]:
    """Return the classes with more ancestors of ours than that.

    Contracts and errors are left out: they are trees on purpose.
    """
    classes = _classes(paths)
    counts = dict[str, int]()
    for cls in classes:
        family = [cls, *_ancestors(cls, classes)]
        if any(_is_tree(one.path) for one in (family[0], family[-1])):
            continue
        if len(family) - 1 > limit:
            counts[f"{cls.path}:{cls.name}"] = len(family) - 1
    return counts


def _is_tree(path: Path) -> bool:
    return "contracts" in path.parts or path.stem == "errors"


def _classes(paths: Sequence[Path]) -> list[Class]:
    return [
        Class(path, node.name, tuple(_last_names(node.bases)), frozenset(_attributes(node)))
        for path in paths
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ClassDef)
    ]


def _last_names(bases: Sequence[ast.expr]) -> Iterator[str]:
    """Yield the names of bases without their modules and type arguments."""
    for base in bases:
        plain = base.value if isinstance(base, ast.Subscript) else base
        yield ast.unparse(plain).rpartition(".")[2]


def _attributes(cls: ast.ClassDef) -> Iterator[str]:
    for node in ast.walk(cls):
        match node:
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                yield name
            case _:
                pass


def _ancestors(cls: Class, classes: Sequence[Class]) -> list[Class]:
    """Return what a class inherits from, the nearest first. A name means the nearest file."""
    ancestors = list[Class]()
    names = list(cls.bases)
    while names:
        name = names.pop(0)
        candidates = [one for one in classes if one.name == name and one is not cls]
        candidates.sort(key=lambda one: _distance(one.path, cls.path))
        if candidates and candidates[0] not in ancestors:
            ancestors.append(candidates[0])
            names += candidates[0].bases
    return ancestors


def _distance(one: Path, other: Path) -> int:
    """Return how many folders and files are between two files."""
    shared = len([1 for left, right in zip(one.parts, other.parts, strict=False) if left == right])
    return len(one.parts) + len(other.parts) - 2 * shared
