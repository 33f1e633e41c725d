"""`caudex doctor`: findings about everything that a start needs; nothing is started or changed."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from functools import partial
from importlib.metadata import distribution, packages_distributions
from pathlib import Path
from typing import Final, LiteralString

import msgspec
import psycopg

from kernel.public import (
    BootError,
    DatabaseQuery,
    DatabaseState,
    Finding,
    Implementation,
    LoadedPlugins,
    Registry,
    hookspecs,
)

PACKAGES: Final = ("kernel", "plugins", "contrib", "caudex")
REMEDY: Final = 'fix it, disable it (enabled = false), or start without it (on_failure = "degrade")'


async def findings(registry: Registry, config_file: str) -> AsyncGenerator[Finding]:
    """Look at the configuration, the packages and the database, then ask the plugins."""
    loaded, found = _configuration(registry, config_file)
    for finding in (*found, *_packages()):
        yield finding
    if loaded is None:
        return
    database, query = await _database(loaded)
    for finding in database:
        yield finding
    for info in loaded.plugins:
        if info.state == "degraded":
            yield Finding(name=f"plugin {info.name}", text=info.note, state="warn")
    for impl in loaded.bus.implementations(hookspecs.diagnose):
        for finding in _diagnosis(impl, query):
            yield finding


def _configuration(
    registry: Registry, config_file: str
) -> tuple[LoadedPlugins | None, list[Finding]]:
    try:
        loaded = registry.with_plugins({})
    except BootError as error:
        return None, _failures("configuration", error)
    return loaded, [Finding(name="configuration", text=config_file or "defaults, no file")]


def _failures(name: str, error: BootError) -> list[Finding]:
    return [Finding(name=name, text=line, state="fail") for line in str(error).splitlines()]


def _packages() -> Iterator[Finding]:
    """Another distribution that owns our folders would replace them without a warning."""
    owners = packages_distributions()
    taken = {by: name for name in PACKAGES for by in owners.get(name, ()) if not _is_ours(by)}
    for other, name in taken.items():
        remedy = f"uninstall {other}, or give caudex an environment of its own"
        error = BootError(f"package {other}", f"it also owns {name}", remedy)
        yield from _failures("packages", error)
    if not taken:
        yield Finding(name="packages", text="kernel, plugins and contrib are ours alone")


def _is_ours(name: str) -> bool:
    """Whether a distribution is Caudex, or this very folder, installed under a former name."""
    found = distribution(name).read_text("direct_url.json") or "{}"
    here = Path(str(sys.modules["kernel"].__file__)).parents[1].as_uri()
    return name == "caudex-core" or msgspec.json.decode(found).get("url") == here


async def _database(loaded: LoadedPlugins) -> tuple[list[Finding], DatabaseQuery]:
    """Connect at once; an embedded server that does not run is not started."""
    try:
        if not loaded.attach_database():
            text = "embedded, not running; `caudex serve` starts it"
            return [Finding(name="database", text=text)], _unanswered
        database = await loaded.examine_database()
    except BootError as error:
        return _failures("database", error), _unanswered
    return list(_state(database)), partial(_query, loaded.database_url)


def _state(database: DatabaseState) -> Iterator[Finding]:
    migrations = "up to date"
    if database.missing:
        count = len(database.missing)
        migrations = f"{count} migrations to apply (a start does, or `caudex migrate`)"
    yield Finding(name="database", text=f"PostgreSQL {database.version}, {migrations}")
    if database.unknown:
        names = ", ".join(database.unknown)
        text = f"a newer release has applied {names}; if something fails, go back to that release"
        yield Finding(name="migrations", text=text, state="warn")


def _unanswered(_statement: LiteralString, *_arguments: str) -> None:
    return None


def _query(url: str, statement: LiteralString, *arguments: str) -> str | None:
    """See `DatabaseQuery`."""
    with (
        suppress(psycopg.errors.UndefinedTable),
        psycopg.connect(url, cursor_factory=psycopg.RawCursor, connect_timeout=5) as connection,
    ):
        connection.execute("set local statement_timeout = '10s'")
        row = connection.execute(statement, arguments).fetchone()
        return None if row is None or row[0] is None else str(row[0])
    return None


def _diagnosis(impl: Implementation, query: DatabaseQuery) -> list[Finding]:
    try:
        return [msgspec.convert(each, Finding) for each in impl.invoke({"query": query}) or ()]
    except BootError as error:
        return _failures("diagnosis", error)
    except Exception as error:
        frames = error.__traceback__ and error.__traceback__.tb_next  # without this function
        where = f"plugin {impl.plugin}, {impl.locate(error.with_traceback(frames))}"
        problem = f"diagnose failed: {type(error).__name__}: {error}"
        return _failures("diagnosis", BootError(where, problem, REMEDY))
