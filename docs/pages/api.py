"""The page of the public names: everything that `from caudex import` gives."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, NamedTuple, get_args

import msgspec

from docs.pages.code import attribute_docs, doc, first_line, signature
from kernel import public
from kernel.contracts.base import ServiceKey
from kernel.loading.kernel import Kernel

HEAD = """# Public names

These are all names of `caudex`, by module: `from caudex import Plugin`. They do not change while
`caudex.KERNEL_API` is the same
([what is stable](../howto/write-a-plugin.md#what-is-stable)).

Times are in seconds and sizes in bytes, unless a name or its description says otherwise. `Raises`
names the errors of a call; [errors](errors.md) has their statuses. [Services](services.md) says
which plugin provides a service, and [hooks](hooks.md) says when a hook is called.
"""


class Name(NamedTuple):
    """A public name, the room that it belongs to, and what it says of itself."""

    name: str
    room: str
    value: Any
    doc: str
    source: str
    """The statement that assigns it, of a value that is no class, function or module."""


def page(_: Kernel) -> str:
    """Every public name, by room."""
    found = list(names())
    rooms = sorted({each.room for each in found}, key=_order)
    parts = [HEAD, " · ".join(map(_link, rooms))]
    for room in rooms:
        parts += [f"## {_title(room)}", _about(room)]
        parts += [_entry(each) for each in found if each.room == room]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def names() -> Iterator[Name]:
    """Every name of `caudex.__all__`, by the alphabet."""
    exported: list[str] = vars(public)["__all__"]
    for name in sorted(exported, key=lambda name: (name.lower(), name)):
        value = inspect.unwrap(getattr(public, name))  # of one that is cached
        if inspect.isclass(value) or inspect.isfunction(value):
            yield Name(name, _room(value.__module__), value, _words(value), "")
        elif isinstance(value, ModuleType):
            yield Name(name, _room(value.__name__), value, doc(value), "")
        else:
            yield _value(name, value)


def _words(value: Any) -> str:
    if value.__module__.startswith("kernel."):
        return inspect.getdoc(value) or ""
    return f"The class of {value.__module__.partition('.')[0]}; `reply` makes one of JSON."


def _value(name: str, value: Any) -> Name:
    """A constant, a key or a type: its words are the text below its assignment."""
    module, source, words = assignments()[name]
    if isinstance(value, ServiceKey):
        words = words or f"The key of the service `{source.split('[')[1].split(']')[0]}`."
    described = [each.description for each in get_args(value) if isinstance(each, msgspec.Meta)]
    if described:
        source = f"{name} = {inspect.formatannotation(get_args(value)[0])}".replace("typing.", "")
    return Name(name, _room(module), value, words or " ".join(filter(None, described)), source)


@cache
def assignments() -> dict[str, tuple[str, str, str]]:
    """Module, statement and text of each public value that a module of the kernel assigns."""
    found: dict[str, tuple[str, str, str]] = {}
    for module in [
        each for name, each in sys.modules.items() if name.partition(".")[0] == "kernel"
    ]:
        text = Path(module.__file__ or "").read_text("utf-8")
        body, lines = ast.parse(text).body, text.splitlines()
        for node, after in pairwise([*body, ast.Pass()]):
            name, value = _assigned(node), getattr(public, _assigned(node), None)
            if value is not None and vars(module).get(name) is value:
                source = "\n".join(lines[node.lineno - 1 : node.end_lineno])
                found[name] = (module.__name__, source, _text(after))
    return found


def _assigned(node: ast.stmt) -> str:
    match node:
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
        case _:
            return ""


def _text(node: ast.stmt) -> str:
    match node:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return inspect.cleandoc(text)
        case _:
            return ""


def _room(module: str) -> str:
    """A contract has a room of its own; other folders of the kernel are one."""
    parts = module.split(".")
    if parts[:2] == ["kernel", "contracts"]:
        return ".".join(parts[:3])
    if parts[0] != "kernel":
        return "kernel.web"  # a name of a library that handlers need
    return ".".join(parts[:2])


def _order(room: str) -> tuple[bool, str]:
    return ("contracts" in room, room)


def _title(room: str) -> str:
    return f"Names of {room.rpartition('.')[2]}"


def _link(room: str) -> str:
    return f"[{room.rpartition('.')[2]}](#{_title(room).lower().replace(' ', '-')})"


def _about(room: str) -> str:
    return first_line(sys.modules[room])


def _entry(each: Name) -> str:
    """One name: its code, its words, the words of its fields, its methods."""
    parts = [f"### {each.name}", f"```python\n{_code(each)}\n```", each.doc]
    if inspect.isclass(each.value):
        parts += ["\n".join(_lines(each.value))] if _lines(each.value) else []
    return "\n\n".join(parts)


def _code(each: Name) -> str:
    if inspect.isfunction(each.value):
        return signature(each.value)
    if inspect.isclass(each.value):
        return _declaration(each.value)
    return each.source or f"from caudex import {each.name}"


def _declaration(cls: type) -> str:
    """The head of a class, and its fields or the arguments of its constructor, as in its source."""
    if not cls.__module__.startswith("kernel."):
        return f"from {cls.__module__} import {cls.__name__}"
    lines, node = class_source(cls)
    shown = [_head(lines, node)]
    for each in node.body:
        if isinstance(each, ast.AnnAssign) and not _assigned(each).startswith("_"):
            shown += lines[each.lineno - 1 : each.end_lineno]
        elif isinstance(each, ast.FunctionDef) and each.name == "__init__":
            shown += [*([""] if shown[1:] else []), f"{_head(lines, each)} ..."]
    return "\n".join(shown) if shown[1:] else f"{shown[0]} ..."


def class_source(cls: type) -> tuple[list[str], ast.ClassDef]:
    """The lines of the module that declares a class, and the statement that does."""
    text = inspect.getsource(sys.modules[cls.__module__])
    found = [each for each in ast.parse(text).body if isinstance(each, ast.ClassDef)]
    return text.splitlines(), next(each for each in found if each.name == cls.__name__)


def _head(lines: list[str], node: ast.ClassDef | ast.FunctionDef) -> str:
    """The lines of a class or a function before its body."""
    start = node.body[0].lineno - 1
    while not lines[start - 1].rstrip().endswith(":"):
        start -= 1
    return "\n".join(lines[node.lineno - 1 : start])


def fields(cls: type) -> dict[str, str]:
    """The words of each field and attribute that has some of its own."""
    _, node = class_source(cls)
    made = [each.body for each in node.body if isinstance(each, ast.FunctionDef)]
    found = attribute_docs(cls)
    for body in made:
        for before, after in pairwise(body):
            match before:
                case ast.AnnAssign(target=ast.Attribute(attr=name)):
                    found |= {name: _text(after)} if _text(after) else {}
                case ast.Assign(targets=[ast.Attribute(attr=name)]):
                    found |= {name: _text(after)} if _text(after) else {}
                case _:
                    pass
    return {name: " ".join(text.split()) for name, text in found.items() if name[0] != "_"}


def _lines(cls: type) -> list[str]:
    """A line for each field, method and property of the class itself that has words."""
    if not cls.__module__.startswith("kernel."):
        return []
    own = [f"- `{name}`: {words}" for name, words in fields(cls).items()]
    return [*own, *[_member(*each) for each in members(cls)]]


def members(cls: type) -> Iterator[tuple[str, Any, bool]]:
    """Name and function of each public method of a class itself; true for a property."""
    for name, value in vars(cls).items():
        found: Any = value
        for holder in ("fget", "func", "__func__"):
            found = getattr(found, holder, found)
        if isinstance(found, FunctionType) and found.__name__ == name and name[0] != "_":
            yield name, inspect.unwrap(found), hasattr(value, "fget") or hasattr(value, "attrname")


def _member(name: str, function: Any, is_property: bool) -> str:
    words = " ".join(doc(function).split())
    if is_property:
        return f"- `{name}: {inspect.signature(function).return_annotation}`: {words}"
    return f"- `{signature(function)}`: {words}"
