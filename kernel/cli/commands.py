"""The kernel's own commands, each a question an operator has."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, LiteralString, cast
from urllib.parse import urlsplit

import msgspec
import psycopg

from kernel.cli.serve import bound_socket, database_server, use_database
from kernel.config.settings import Config, DatabaseConfig
from kernel.database.connect import connect_options, connected, wait_for_database
from kernel.database.migrations import migrate as apply
from kernel.database.migrations import pending
from kernel.errors import BootError, KernelError
from kernel.hooks import hookspecs
from kernel.hooks.bus import Implementation
from kernel.hooks.plugin import DatabaseQuery
from kernel.loading.kernel import Kernel
from kernel.loading.loader import load
from kernel.loading.sources import blamed

TEMPLATE = Path(__file__).with_name("template.toml")
PACKAGES = ("kernel", "plugins", "contrib", "caudex")
TOKEN = "set CAUDEX_TOKEN to the access token of a core admin"
PLUGIN = ("name", "version", "state", "provides", "requires", "routes", "origin", "note")
HOOK = ("plugin", "hook", "calls", "refusals", "errors", "p50_ms", "p99_ms", "last_error")
TASK = ("plugin", "name", "state", "failures", "error")
LOCAL = {"Host": "localhost"}
"""The one name that a server answers to on its own machine, whatever it listens on."""
MAKES_ROLES = "select 1 from pg_roles where rolname = current_user and (rolsuper or rolcreaterole)"
SERVED = """
select pid from pg_stat_activity where datname = current_database()
    and application_name like 'caudex%' and pid <> pg_backend_pid() limit 1"""
NO_ROLES = "this login may not make roles, so apps get no login of their own"
LARGEST = 10_000_000
"""Bytes of a reply: what listens there may be anything."""


def init(file: str) -> int:
    """Write a commented configuration; never over an existing one."""
    path = Path(file)
    try:
        path.touch(0o600, exist_ok=False)  # keys and passwords may come to stand in it
        path.write_text(TEMPLATE.read_text("utf-8"), "utf-8")
    except OSError as error:
        remedy = "name another file" if path.exists() else "choose another folder"
        raise BootError(str(path), str(error.strerror).lower(), remedy) from None
    print(f"wrote {path}")
    return 0


def plugins(config: Config, url: str, token: str) -> int:
    """Print every plugin that was found; a running server that may be asked tells of its own."""
    asked = bool(url or token)
    shown = _asked(config, url, token) if asked else _found(load(config))
    _table(PLUGIN, [[plugin[key] for key in PLUGIN] for plugin in shown])
    if asked:
        hooks = [{"plugin": p["name"], **hook} for p in shown for hook in p["hooks"]]
        print()
        _table(HOOK, [[hook[key] for key in HOOK] for hook in hooks if hook["calls"]])
        if tasks := [{"plugin": p["name"], **task} for p in shown for task in p.get("tasks", ())]:
            print()
            _table(TASK, [[task[key] for key in TASK] for task in tasks])
    else:
        print(f"\nTo see what the hooks of a running server cost, {TOKEN}.")
    return 0


def _found(kernel: Kernel) -> list[dict[str, Any]]:
    routes = Counter(plugin for plugin, _ in kernel.routes)
    return [{**msgspec.to_builtins(p), "routes": routes[p.name]} for p in kernel.plugins]


def _asked(config: Config, url: str, token: str) -> list[dict[str, Any]]:
    """What a server tells of its plugins. Raises KernelError with the remedy."""
    address, local = (url, {}) if url else (_address(config), LOCAL)
    try:
        bearer = {"Authorization": f"Bearer {token.strip()}"}
        status, body = _get(address, "/api/v1/plugins", bearer | local)
        problem = f"it answers {status}"
        if status == 200:
            answer = msgspec.json.decode(body)["plugins"]
            return [{**plugin, "routes": len(plugin["routes"])} for plugin in answer]
    except (OSError, HTTPException, ValueError, LookupError, TypeError) as error:
        problem = f"it does not tell: {error}"
    raise KernelError(f"{address}: {problem}; name a running server by --url, and {TOKEN}")


def routes(kernel: Kernel) -> int:
    """Print every route and what it needs."""
    rows = [(r.method, r.path, plugin, r.needs) for plugin, r in kernel.routes]
    _table(("method", "path", "plugin", "needs"), sorted(rows, key=lambda row: (row[1], row[0])))
    return 0


def check(kernel: Kernel) -> int:
    """Say that the configuration could be used; loading it has raised otherwise."""
    on = sum(info.state == "on" for info in kernel.plugins)
    print(f"{kernel.config.source or 'the default configuration'} is good: {on} plugins are on")
    return 0


async def migrate(kernel: Kernel) -> int:
    """Apply what is missing."""
    await wait_for_database(kernel.config.database)
    applied = await apply(kernel.config.database, kernel.migrations())
    print("\n".join(f"applied {name}" for name in applied) or "the database is up to date")
    return 0


def doctor(config: Callable[[], Config]) -> int:
    """Look at everything a start depends on; 0 when nothing is wrong."""
    findings = _Findings()
    kernel = findings.look("configuration", lambda: load(config()))
    findings.look("packages", _check_packages)
    if isinstance(kernel, Kernel):
        findings.ok("configuration", kernel.config.source or "defaults, no file")
        _check_hosts(kernel.config, findings)
        findings.look("data directory", lambda: _check_data_dir(kernel.config))
        findings.look("keys", lambda: _check_keys(kernel.config.data_dir / "config"))
        database = _Database(kernel)
        findings.look("database", database.check)
        findings.look("port", lambda: _check_port(kernel.config, database.served))
        for info in kernel.plugins:
            if info.state == "degraded":
                findings.warn(f"plugin {info.name}", info.note)
        for impl in kernel.bus.implementations(hookspecs.diagnose):
            findings.look("diagnosis", partial(_diagnose, impl, database.ask, findings))
    return findings.status


class _Findings:
    """Prints as it looks."""

    def __init__(self) -> None:
        self.status = 0

    def look(self, name: str, examine: Callable[[], Any]) -> Any:
        try:
            found = examine()
        except BootError as error:
            self.status = 1
            for line in str(error).splitlines():
                print(f"  fail   {name}: {line}")
            return None
        if isinstance(found, str):
            self.ok(name, found)
        return found

    def ok(self, name: str, text: str) -> None:
        print(f"  ok     {name}: {text}")

    def warn(self, name: str, text: str) -> None:
        print(f"  warn   {name}: {text}")


def _diagnose(impl: Implementation, ask: DatabaseQuery, findings: _Findings) -> None:
    with blamed(f"plugin {impl.plugin}", "diagnose failed"):
        for finding in impl.invoke({"query": ask}) or ():
            say = findings.ok if finding.ok else findings.warn
            say(finding.name, finding.text)


def _check_port(config: Config, served: bool | None) -> str:
    place = f"{config.server.host}:{config.server.port}"
    try:
        with bound_socket(config):
            return f"{place} is free"
    except BootError:
        if not _answers(config):
            raise
    if served is False:
        problem = "the Caudex server that answers there is another one, of other data"
        raise BootError(place, problem, "choose another port by --port or [server] port")
    return f"a Caudex server answers on {place}"


def _check_hosts(config: Config, findings: _Findings) -> None:
    """A proxy on the same machine hands on the name that the browser asked for."""
    names = config.server.allowed_hosts
    if config.loopback and config.server.trusted_proxies and not names:
        said = "only localhost is served: name what the proxy hands on in [server] allowed_hosts"
        findings.warn("hosts", said)
    elif names or config.loopback:
        findings.ok("hosts", ", ".join(["localhost", *names]))


def _answers(config: Config) -> bool:
    with suppress(OSError, HTTPException, ValueError):
        return b'"ok"' in _get(_address(config), "/health", LOCAL)[1]
    return False


def _address(config: Config) -> str:
    """Where the configured server is reached from its own machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.server.host, config.server.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{config.server.port}"


def _get(url: str, path: str, headers: dict[str, str]) -> tuple[int, bytes]:
    """Status and body. Raises OSError, HTTPException, ValueError; no redirect is followed."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("write http://host:port or https://host")
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    with closing(kind(parts.hostname, parts.port, timeout=5)) as connection:
        connection.request("GET", parts.path.rstrip("/") + path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(LARGEST)


def _check_data_dir(config: Config) -> str:
    folder = config.data_dir
    existing = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    if not os.access(existing, os.W_OK | os.X_OK, effective_ids=True):
        remedy = "run as the account that owns it, or choose another with --data-dir"
        raise BootError(str(folder), "cannot be written", remedy)
    return f"{folder}" + ("" if folder.exists() else " (will be made)")


def _check_keys(folder: Path) -> str:
    try:
        keys = {p: p.stat().st_mode for p in sorted(folder.iterdir()) if p.suffix == ".key"}
    except FileNotFoundError:
        keys = dict[Path, int]()
    except OSError as error:
        remedy = "run as the account that owns it"
        raise BootError(str(folder), f"cannot be read: {error.strerror}", remedy) from None
    for key, mode in keys.items():
        if mode & 0o077:
            raise BootError(str(key), "others can read it", f"chmod 600 {key}")
    names = ", ".join(key.name for key in keys)
    return f"only this account reads {names}" if names else "none yet; they are made on first boot"


class _Database:
    """Looks without changing anything: an embedded server that does not run is not started."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._reached: DatabaseConfig | None = None
        self.served: bool | None = None
        """Whether a server runs on it, None where it does not answer."""

    def check(self) -> str:
        if not self._kernel.config.database.url:
            server = database_server(self._kernel)
            if (url := server.attach()) is None:
                self.served = False
                return "embedded, not running; `caudex serve` starts it"
            use_database(self._kernel, url, server.port)
        return asyncio.run(self._examine())

    async def _examine(self) -> str:
        config = msgspec.structs.replace(self._kernel.config.database, wait=0.0)
        found = f"PostgreSQL {await wait_for_database(config)}"
        self._reached = config
        self.served = await _first(config, SERVED) is not None
        if await _first(config, MAKES_ROLES) is None:
            found += f" ({NO_ROLES})"
        if todo := await pending(config, self._kernel.migrations()):
            return f"{found}, {len(todo)} migrations to apply (a start does, or `caudex migrate`)"
        return f"{found}, up to date"

    def ask(self, statement: LiteralString, *arguments: str) -> str | None:
        """See `DatabaseQuery`."""
        with suppress(psycopg.errors.UndefinedTable):
            if self._reached is not None:
                return asyncio.run(_first(self._reached, statement, *arguments))
        return None


async def _first(config: DatabaseConfig, statement: LiteralString, *given: str) -> str | None:
    async with connected(config.url, connect_options(config)) as connection:
        row = await (await connection.execute(statement, given)).fetchone()
        return None if row is None else str(row[0])


def _check_packages() -> str:
    """Another distribution that owns our folders would replace them without a word."""
    for distribution in distributions():
        name = distribution.metadata["Name"]
        if name == "caudex":
            continue
        tops = {str(path).split("/", 1)[0] for path in distribution.files or ()}
        if taken := tops.intersection(PACKAGES):
            remedy = f"uninstall {name}, or give caudex an environment of its own"
            raise BootError(f"package {name}", f"it also owns {', '.join(taken)}", remedy)
    return "kernel, plugins and contrib are ours alone"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    lines = [head, *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(map(str.ljust, line, widths)).rstrip())


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        value = [*cast("dict[str, str]", value).values()]
    if isinstance(value, list | tuple):
        return " ".join(cast("Sequence[str]", value))
    return "" if value is None else str(value)
