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
    loaded, of_configuration = _examine_configuration(registry, config_file)
    for finding in (*of_configuration, *_examine_packages()):
        yield finding
    if loaded is None:
        return

    of_database, query = await _examine_database(loaded)
    for finding in of_database:
        yield finding
    for info in loaded.plugins:
        if info.state == "degraded":
            yield Finding(name=f"plugin {info.name}", text=info.note, state="warn")
    for implementation in loaded.bus.implementations(hookspecs.diagnose):
        for finding in _ask_plugin(implementation, query):
            yield finding


def _examine_configuration(
    registry: Registry, config_file: str
) -> tuple[LoadedPlugins | None, list[Finding]]:
    try:
        loaded = registry.with_plugins({})
    except BootError as error:
        return None, _failures("configuration", error)
    return loaded, [Finding(name="configuration", text=config_file or "defaults, no file")]


def _failures(name: str, error: BootError) -> list[Finding]:
    return [Finding(name=name, text=line, state="fail") for line in str(error).splitlines()]


def _examine_packages() -> Iterator[Finding]:
    """Another distribution that owns our folders would replace them without a warning."""
    owners = packages_distributions()
    intruders: dict[str, str] = {}
    for package in PACKAGES:
        for owner in owners.get(package, ()):
            if not _is_ours(owner):
                intruders[owner] = package

    for intruder, package in intruders.items():
        remedy = f"uninstall {intruder}, or give caudex an environment of its own"
        error = BootError(f"package {intruder}", f"it also owns {package}", remedy)
        yield from _failures("packages", error)
    if not intruders:
        yield Finding(name="packages", text="kernel, plugins and contrib are ours alone")


def _is_ours(name: str) -> bool:
    """Whether a distribution is Caudex, or this very folder, installed under a former name."""
    if name == "caudex-core":
        return True
    source = distribution(name).read_text("direct_url.json") or "{}"
    this_folder = Path(str(sys.modules["kernel"].__file__)).parents[1].as_uri()
    return msgspec.json.decode(source).get("url") == this_folder


async def _examine_database(loaded: LoadedPlugins) -> tuple[list[Finding], DatabaseQuery]:
    """Connect at once; an embedded server that does not run is not started."""
    try:
        if not loaded.attach_database():
            text = "embedded, not running; `caudex serve` starts it"
            return [Finding(name="database", text=text)], _unanswered
        database = await loaded.examine_database()
    except BootError as error:
        return _failures("database", error), _unanswered
    return list(_describe_state(database)), partial(_query, loaded.database_url)


def _describe_state(database: DatabaseState) -> Iterator[Finding]:
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
        if row is not None and row[0] is not None:
            return str(row[0])
    return None


def _ask_plugin(implementation: Implementation, query: DatabaseQuery) -> list[Finding]:
    try:
        answer = implementation.invoke({"query": query}) or ()
        return [msgspec.convert(finding, Finding) for finding in answer]
    except BootError as error:
        return _failures("diagnosis", error)
    except Exception as error:
        frames = error.__traceback__ and error.__traceback__.tb_next  # without this function
        line = implementation.locate(error.with_traceback(frames))
        problem = f"diagnose failed: {type(error).__name__}: {error}"
        failure = BootError(f"plugin {implementation.plugin}, {line}", problem, REMEDY)
        return _failures("diagnosis", failure)
