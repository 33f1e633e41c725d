"""The kernel's own commands, each a question an operator has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import LiteralString

import msgspec
import psycopg

from kernel.cli.serve import database_server, use_database
from kernel.config.settings import Config, DatabaseConfig
from kernel.database.connect import connect_options, connected, wait_for_database
from kernel.database.migrations import migrate as apply
from kernel.database.migrations import pending
from kernel.errors import BootError
from kernel.hooks import hookspecs
from kernel.hooks.bus import Implementation
from kernel.hooks.plugin import DatabaseQuery, Finding
from kernel.loading.kernel import Kernel
from kernel.loading.loader import load
from kernel.loading.sources import blamed

TEMPLATE = Path(__file__).with_name("template.toml")
PACKAGES = ("kernel", "plugins", "contrib", "caudex")


def init(file: str) -> int:
    """Write a commented configuration; never over an existing one."""
    path = Path(file)
    try:
        path.touch(0o600, exist_ok=False)  # it may get keys and passwords
        path.write_text(TEMPLATE.read_text("utf-8"), "utf-8")
    except OSError as error:
        remedy = "name another file" if path.exists() else "choose another folder"
        raise BootError(str(path), str(error.strerror).lower(), remedy) from None
    print(f"wrote {path}")
    return 0


async def migrate(kernel: Kernel) -> int:
    """Apply what is missing."""
    await wait_for_database(kernel.config.database)
    applied = await apply(kernel.config.database, kernel.migrations())
    print("\n".join(f"applied {name}" for name in applied) or "the database is up to date")
    return 0


def doctor(read: Callable[[], Config]) -> int:
    """Print findings about everything that a start needs; return 1 if one of them is a failure."""
    failed = False
    for finding in _findings(read):
        failed |= finding.state == "fail"
        print(f"  {finding.state:<6} {finding.name}: {finding.text}")
    return int(failed)


def _findings(read: Callable[[], Config]) -> Iterator[Finding]:
    loaded: list[Kernel] = []
    yield from _examined("configuration", lambda: _configuration(read, loaded))
    yield from _examined("packages", _packages)
    for kernel in loaded:
        database = _Database(kernel)
        yield from _examined("database", database.look)
        for info in kernel.plugins:
            if info.state == "degraded":
                yield Finding(name=f"plugin {info.name}", text=info.note, state="warn")
        for impl in kernel.bus.implementations(hookspecs.diagnose):
            yield from _examined("diagnosis", partial(_diagnosis, impl, database.query))


def _examined(name: str, examine: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    try:
        yield from examine()
    except BootError as error:
        for line in str(error).splitlines():
            yield Finding(name=name, text=line, state="fail")


def _configuration(read: Callable[[], Config], loaded: list[Kernel]) -> Iterator[Finding]:
    loaded.append(kernel := load(read()))
    yield Finding(name="configuration", text=kernel.config.source or "defaults, no file")


def _packages() -> Iterator[Finding]:
    """Another distribution that owns our folders would replace them without a warning."""
    owners = packages_distributions()
    taken = {by: name for name in PACKAGES for by in owners.get(name, ()) if by != "caudex"}
    for other, name in taken.items():
        remedy = f"uninstall {other}, or give caudex an environment of its own"
        raise BootError(f"package {other}", f"it also owns {name}", remedy)
    yield Finding(name="packages", text="kernel, plugins and contrib are ours alone")


def _diagnosis(impl: Implementation, query: DatabaseQuery) -> Iterator[Finding]:
    with blamed(f"plugin {impl.plugin}", "diagnose failed"):
        for finding in impl.invoke({"query": query}) or ():
            yield msgspec.convert(finding, Finding)


class _Database:
    """Looks without changing anything: an embedded server that does not run is not started."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._reached: DatabaseConfig | None = None

    def look(self) -> Iterator[Finding]:
        if not self._kernel.config.database.url:
            server = database_server(self._kernel)
            if (url := server.attach()) is None:
                text = "embedded, not running; `caudex serve` starts it"
                yield Finding(name="database", text=text)
                return
            use_database(self._kernel, url, server.port)
        yield Finding(name="database", text=asyncio.run(self._examine()))

    async def _examine(self) -> str:
        config = msgspec.structs.replace(self._kernel.config.database, wait=0.0)
        found = f"PostgreSQL {await wait_for_database(config)}"
        self._reached = config
        if todo := await pending(config, self._kernel.migrations()):
            return f"{found}, {len(todo)} migrations to apply (a start does, or `caudex migrate`)"
        return f"{found}, up to date"

    def query(self, statement: LiteralString, *arguments: str) -> str | None:
        """See `DatabaseQuery`."""
        with suppress(psycopg.errors.UndefinedTable):
            return asyncio.run(self._first(statement, arguments))
        return None

    async def _first(self, statement: LiteralString, arguments: tuple[str, ...]) -> str | None:
        if (config := self._reached) is None:
            return None
        async with connected(config.url, connect_options(config)) as connection:
            row = await (await connection.execute(statement, arguments)).fetchone()
            return None if row is None else str(row[0])
