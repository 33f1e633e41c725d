"""The page of the tools for tests of plugins."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from docs.pages.code import doc, first_line, signature
from kernel import testing
from kernel.loading.kernel import Kernel
from kernel.testing import fakes, fixtures
from kernel.testing.options import PluginLike

HEAD = """# Testing

`pip install -e '/path/to/caudex[testing]'`, with the path of a clone, installs the tools of this
page. `make setup` has done so for the clone's own `.venv`. pytest loads the fixtures by itself.
Import the rest from `kernel.testing`. Each test run has its own PostgreSQL, or uses the one that
`CAUDEX_TEST_DATABASE_URL` names. That account must be able to create databases.
"""
FIXTURES = ("server", "server_options", "make_server", "postgres", "database")
OBJECTS = ("Server", "Client", "HookRecorder", "HookCall", "EventRecorder", "Postgres")


def page(_: Kernel) -> str:
    """Fixtures, options, the objects that they give, fakes."""
    parts = [HEAD, doc(testing).partition("\n\n")[2], "## Fixtures"]
    parts.append("\n".join(f"- `{n}` ({_scope(n)}): {_fixture(n)}" for n in FIXTURES))
    parts += ["## ServerOptions", doc(testing.ServerOptions), f"A plugin is {_plugin_like()}"]
    for name in OBJECTS:
        parts += [f"## {name}", *_class(getattr(testing, name))]
    parts += ["## Fakes", doc(fakes)]
    for name in fakes.__all__:
        fake = getattr(fakes, name)
        parts += [f"### {name}", *_class(fake)] if inspect.isclass(fake) else []
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _fixture(name: str) -> str:
    return " ".join(doc(getattr(fixtures, name)).split())


def _scope(name: str) -> str:
    """How long a fixture lives."""
    return getattr(fixtures, name)._fixture_function_marker.scope


def _plugin_like() -> str:
    classes = {getattr(option, "__name__", str(option)) for option in PluginLike.__args__}
    assert classes == {"type", "Path", "str"}, "say what a plugin may be given as"
    return "given as its class, or as the path of a one-file plugin."


def _class(cls: type) -> Iterator[str]:
    """What it is for, then its own members; those of a service are on the service's page."""
    yield doc(cls)
    members = [_member(name, value) for name, value in _members(cls)]
    if members:
        yield "\n".join(members)


def _members(cls: type) -> Iterator[tuple[str, Any]]:
    seen: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("kernel."):
            seen |= vars(base)
    for name, value in seen.items():
        listed = inspect.isfunction(value) or isinstance(value, property)
        if listed and not name.startswith("_") and not _of_protocol(cls, value):
            yield name, value


def _of_protocol(cls: type, member: Any) -> bool:
    """Whether a member of a fake does as its Protocol says; its docstring names exceptions only."""
    if cls.__name__.startswith("Fake") and inspect.getdoc(member) is None:
        return True
    return doc(member).startswith("See `")


def _member(name: str, value: Any) -> str:
    if isinstance(value, property):
        shown = f"{name}: {inspect.signature(value.fget or _member).return_annotation}"
    else:
        shown = signature(value)
    rest = doc(value).partition("\n\n")[2]
    return f"- `{shown}`: {first_line(value)} {' '.join(rest.split())}".rstrip()
