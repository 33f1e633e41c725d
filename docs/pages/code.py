"""What the pages read from the code: sources, signatures, plugins; and how tables are written."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import contrib
import plugins
from kernel.config.settings import load_config
from kernel.hooks.plugin import Plugin
from kernel.loading.kernel import Kernel
from kernel.loading.loader import load

ROOT = Path(__file__).parents[2]
CONTRIB, PROXY = ROOT / "docs/contrib.toml", ROOT / "docs/proxy.toml"
"""Servers with the plugins of contrib/, which no server can have all at once."""


def folders() -> list[str]:
    """Import names of every plugin of this distribution."""
    return [
        f"{package.__name__}.{folder.name}"
        for package in (plugins, contrib)
        for folder in sorted(Path(package.__path__[0]).iterdir())
        if (folder / "__init__.py").is_file()
    ]


@cache
def with_contrib() -> Sequence[Kernel]:
    """Kernels that have every plugin of contrib/ on, one or the other."""
    return [load(load_config(str(path), environ={})) for path in (CONTRIB, PROXY)]


def plugin_classes() -> list[type[Plugin]]:
    """The class of every plugin, built in or contrib."""
    return [
        value
        for name in folders()
        for value in vars(importlib.import_module(name)).values()
        if inspect.isclass(value) and issubclass(value, Plugin) and value.__module__ == name
    ]


def modules(*names: str) -> Iterator[ModuleType]:
    """Import the modules of plugins that have these names, and are not absent."""
    for folder in folders():
        for name in names:
            if (ROOT / folder.replace(".", "/") / f"{name}.py").is_file():
                yield importlib.import_module(f"{folder}.{name}")


def attribute_docs(cls: type) -> dict[str, str]:
    """Return the docstrings of the attributes of a class."""
    [body] = [
        node.body
        for node in ast.parse(inspect.getsource(inspect.getmodule(cls) or cls)).body
        if isinstance(node, ast.ClassDef) and node.name == cls.__name__
    ]
    found: dict[str, str] = {}
    for before, after in pairwise(body):
        match before, after:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                found[name] = inspect.cleandoc(text)
            case _:
                pass
    return found


def readme_rows(plugin: type[Plugin]) -> dict[str, str]:
    """What the README of a plugin says in its tables, by the name in the first cell."""
    readme = Path(inspect.getsourcefile(plugin) or "").parent / "README.md"
    text = readme.read_text("utf-8") if readme.is_file() else ""
    return dict(re.findall(r"(?m)^\| *`([^`|]+)` *\|(?:.*\|)? *([^|]+?) *\|$", text))


class _Bare(str):
    """An annotation in the words of the source; `inspect` would put it into quotes."""

    __slots__ = ()
    __repr__ = str.__str__


def signature(function: Any) -> str:
    """A function as one reads it in the source, without `self`."""
    found = inspect.signature(function)
    parameters = [p for p in found.parameters.values() if p.name != "self"]
    shown = [_shown(parameter) for parameter in parameters]
    kinds = [parameter.kind for parameter in parameters]
    if inspect.Parameter.KEYWORD_ONLY in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
        shown.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    result = found.return_annotation
    prefix = "async def" if inspect.iscoroutinefunction(function) else "def"
    return f"{prefix} {function.__name__}({', '.join(shown)}) -> {result}"


def _shown(parameter: inspect.Parameter) -> str:
    kind = parameter.annotation
    return str(parameter.replace(annotation=_Bare(kind)) if isinstance(kind, str) else parameter)


def doc(thing: object) -> str:
    """A docstring; every public thing has one."""
    text = inspect.getdoc(thing)
    assert text, f"{thing} has no docstring"
    return text


def first_line(thing: object) -> str:
    """What a thing is for."""
    return doc(thing).split("\n\n")[0].replace("\n", " ")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; a bar within a cell is no border."""
    lines = [head, ["---"] * len(head), *rows]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)
