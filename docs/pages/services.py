"""The page of the services."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from docs.pages.code import ROOT, doc, first_line, folders, plugin_classes, signature, with_contrib
from kernel.contracts.base import ServiceKey
from kernel.loading.kernel import Kernel
from kernel.loading.ordering import KERNEL_SERVICES

HEAD = """# Services

A service has exactly one provider: a typed key, provided by a plugin and used by others. A plugin
names the keys that it `requires`, never another plugin. If two plugins provide the same key, the
operator selects one:

```toml
[services]
vault = "vault_file"
```

The kernel's own providers need no selection. For `statements` the pipelined driver, `pipeline`, is
the default; `statements = "kernel"` selects the pool.
"""


class Key(NamedTuple):
    """A service key as the source names it."""

    constant: str
    name: str
    module: str
    interface: type


def page(kernel: Kernel) -> str:
    """Return the public keys, then those of single plugins."""
    shared = [key for key in service_keys() if key.module.startswith("kernel.")]
    own = [key for key in service_keys() if not key.module.startswith("kernel.")]
    parts = [
        HEAD,
        *[_service(kernel, key) for key in shared],
        "## Keys of single plugins",
        _own(own),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def service_keys() -> Iterator[Key]:
    """Every service key of the kernel and of the plugins."""
    for path in _sources():
        name = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        module = importlib.import_module(name)
        for node in ast.parse(path.read_text("utf-8")).body:
            match node:
                case ast.Assign(
                    targets=[ast.Name(id=constant)],
                    value=ast.Call(
                        func=ast.Subscript(value=ast.Name(id="ServiceKey"), slice=ast.Name(id=of)),
                        args=[ast.Constant(value=str(key))],
                    ),
                ):
                    yield Key(constant, key, name, getattr(module, of))
                case _:
                    pass


def _sources() -> list[Path]:
    found = sorted((ROOT / "kernel/contracts").rglob("*.py"))
    for folder in folders():
        found += sorted((ROOT / folder.replace(".", "/")).glob("*.py"))
    return found


def _service(kernel: Kernel, key: Key) -> str:
    infos = [info for each in (kernel, *with_contrib()) for info in each.plugins]
    given = _names({info.name for info in infos if key.name in info.provides})
    if key.name in KERNEL_SERVICES:
        given = f"the kernel, {given}" if given else "the kernel"
    needed = _names(cls.name for cls in plugin_classes() if key.name in _named(cls.requires))
    asked = ((cls.name, (*cls.uses, *cls.finds)) for cls in plugin_classes())
    found = _names(name for name, keys in asked if key.name in _named(keys))
    plugins = (
        f"Provided by {given or 'no built-in plugin'}; required by {needed or 'no built-in plugin'}"
    )
    plugins += f"; used, where it is present, by {found}." if found else "."
    members = [_member(name, value) for name, value in _members(key.interface)]
    about = f"## {key.constant}\n\n`{key.name}`: {doc(key.interface)}\n\n{plugins}\n\n"
    return about + "\n".join(members)


def _named(keys: Iterable[ServiceKey[Any]]) -> set[str]:
    return {key.name for key in keys}


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


def _members(interface: type) -> Iterator[tuple[str, Any]]:
    """Public methods and properties, those of base Protocols included, in order of declaration."""
    seen: dict[str, Any] = {}
    for cls in reversed(interface.__mro__):
        if cls.__module__.startswith("kernel."):
            seen |= {name: value for name, value in vars(cls).items() if not name.startswith("_")}
    return ((n, v) for n, v in seen.items() if callable(v) or isinstance(v, property))


def _member(name: str, value: Any) -> str:
    """A line for a method or property, with the first paragraph of what it says of itself."""
    if isinstance(value, property):
        shown = f"{name}: {inspect.signature(value.fget or _member).return_annotation}"
    else:
        shown = signature(value)
    return f"- `{shown}`: {first_line(value)}"


def _own(own: list[Key]) -> str:
    lines = [
        f"- `{key.name}` of the plugin `{key.module.split('.')[1]}`: {first_line(key.interface)}"
        for key in own
    ]
    return "\n".join(lines)
