"""The kernel's own commands, each a question an operator has."""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import anyio
import psycopg

from kernel.config import Config
from kernel.connect import wait_for_database
from kernel.errors import BootError
from kernel.loader import Kernel, load
from kernel.migrations import migrate as apply
from kernel.migrations import pending
from kernel.serve import database_for

PACKAGES = ("kernel", "plugins", "contrib", "caudex")

TEMPLATE = """\
# Configuration of Caudex. Every line is the default; remove a `#` to change it.
# Each key can also come from the environment: CAUDEX_<SECTION>__<KEY>, for example
# CAUDEX_SERVER__PORT=9200, or CAUDEX_DATABASE__URL_FILE=/run/secrets/url to read it from a file.

[server]
# host = "127.0.0.1"
# port = 9100
# workers = 1                  # server processes
# data_dir = ""                # keys and the embedded database; `caudex doctor` shows where
# cors_origins = []            # exact origins; on a loopback address local ones are allowed
# trusted_proxies = []         # CIDRs whose X-Forwarded-For is believed, e.g. ["10.0.0.0/8"]
# plugins_dir = ""             # a folder of one-file plugins

[database]
# url = ""                     # "postgresql://user:password@host/name"; empty: embedded PostgreSQL
# direct_url = ""              # beside a transaction pooler: the address that LISTEN can use
# pool_size = 10
# statement_timeout = 10.0     # seconds
# lock_timeout = 3.0

[log]
# level = "info"               # debug, info, warning, error
# format = "auto"              # auto, json, pretty

[services]
# Which plugin answers where more than one could, e.g.
# vault = "vault_file"

# A plugin is switched off by
# [plugins.audit]
# enabled = false
# and configured by its own keys (see the README in its folder), e.g.
# [plugins.auth]
# registration = "closed"      # open, first-user, closed
"""


def init(options: argparse.Namespace) -> int:
    """Write a commented configuration; never over an existing one."""
    path = Path(options.file)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(TEMPLATE)
    except OSError as error:
        remedy = "name another file" if path.exists() else "choose another folder"
        raise BootError(str(path), str(error.strerror).lower(), remedy) from None
    print(f"wrote {path}")
    return 0


def plugins(kernel: Kernel) -> int:
    """Print every plugin that was found."""
    rows = [
        (p.name, p.version, p.state, " ".join(p.provides), " ".join(p.requires), p.origin, p.note)
        for p in kernel.plugins
    ]
    _table(("name", "version", "state", "provides", "requires", "from", "note"), rows)
    return 0


def routes(kernel: Kernel) -> int:
    """Print every route and what it needs."""
    rows = [(r.method, r.path, plugin, str(r.needs)) for plugin, r in kernel.routes]
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
        findings.good("configuration", kernel.config.source or "defaults, no file")
        findings.look("port", lambda: _check_port(kernel.config))
        findings.look("data directory", lambda: _check_data_dir(kernel.config))
        findings.look("keys", lambda: _check_keys(kernel.config.data_dir / "config"))
        findings.look("database", lambda: _check_database(kernel))
        for name, remark in _remarks(kernel):
            findings.warn(name, remark)
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
                print(f"  wrong  {name}: {line}")
            return None
        if isinstance(found, str):
            self.good(name, found)
        return found

    def good(self, name: str, text: str) -> None:
        print(f"  good   {name}: {text}")

    def warn(self, name: str, text: str) -> None:
        print(f"  mind   {name}: {text}")


def _check_port(config: Config) -> str:
    with socket.socket(socket.AF_INET6 if ":" in config.server.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        address = f"{config.server.host}:{config.server.port}"
        try:
            probe.bind((config.server.host, config.server.port))
        except OSError:
            return f"{address} is in use (by a running server?)"
        return f"{address} is free"


def _check_data_dir(config: Config) -> str:
    folder = config.data_dir
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        raise BootError(str(folder), "cannot be written", "choose another with --data-dir")
    return f"{folder}" + ("" if folder.exists() else " (will be made)")


def _check_keys(folder: Path) -> str:
    keys = sorted(folder.glob("*.key")) if os.access(folder, os.R_OK | os.X_OK) else []
    for key in keys:
        if key.stat().st_mode & 0o077:
            raise BootError(str(key), "others can read it", f"chmod 600 {key}")
    return ", ".join(key.name for key in keys) or "none yet; they are made on first boot"


def _check_database(kernel: Kernel) -> str:
    with database_for(kernel):
        return asyncio.run(_examine_database(kernel))


async def _examine_database(kernel: Kernel) -> str:
    config = kernel.config.database
    with anyio.fail_after(config.wait + 30):
        await wait_for_database(config)
        todo = await pending(config, kernel.migrations())
    async with await psycopg.AsyncConnection.connect(config.url) as connection:
        found = f"PostgreSQL {connection.info.server_version // 10000}"
    if todo:
        return f"{found}, {len(todo)} migrations to apply (a start does, or `caudex migrate`)"
    return f"{found}, up to date"


def _check_packages() -> str:
    """Another distribution that owns our folders would replace them without a word."""
    for distribution in distributions():
        name = distribution.metadata["Name"]
        if name == "caudex":
            continue
        tops = {str(path).split("/", 1)[0] for path in distribution.files or ()}
        if taken := tops.intersection(PACKAGES):
            remedy = f"uninstall {name}, or install caudex into an environment of its own"
            raise BootError(f"package {name}", f"it also owns {', '.join(taken)}", remedy)
    return "kernel, plugins and contrib are ours alone"


def _remarks(kernel: Kernel) -> Iterable[tuple[str, str]]:
    if not kernel.config.loopback:
        auth = kernel.config.plugins.get("auth", {})
        if auth.get("registration", "open") == "open":
            yield (
                "registration",
                (
                    f"anybody who reaches {kernel.config.server.host} can register; "
                    'set [plugins.auth] registration = "first-user" or "closed"'
                ),
            )
    for info in kernel.plugins:
        if info.state == "degraded":
            yield f"plugin {info.name}", info.note


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(len(head))]
    for row in [head, *rows]:
        line = "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))
        print(line.rstrip())
