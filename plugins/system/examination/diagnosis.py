"""What `caudex doctor` reports of the machine: names, folders, keys, port and Python."""

from __future__ import annotations

import os
import platform
import socket
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from kernel.public import Context, DatabaseQuery, Finding, Registry
from plugins.system.client import is_running

from .certificates import certificate_findings
from .chosen_ports import chosen_port_findings
from .disk import disk_findings

SLOW: Final = (
    "was built without profile-guided optimization, which costs about a third of the speed; "
    "use one of your distribution, or build it with --enable-optimizations"
)
BESIDE_THE_POOL: Final = 9
"""Connections that a process of the default plugins opens in addition to its pool."""
ACCEPTED: Final = """
select current_setting('max_connections')::int
    - current_setting('superuser_reserved_connections')::int"""
OWNER: Final = "run as the account that owns it"
SERVED: Final = """
select exists (select from pg_stat_activity where datname = current_database()
    and application_name like 'caudex%' and pid <> pg_backend_pid())"""


def findings(registry: Registry, context: Context, query: DatabaseQuery) -> Iterator[Finding]:
    """Look at everything; nothing is changed."""
    yield from _hosts(registry, context.loopback)
    yield _data_dir(context.data_dir)
    yield from disk_findings(context.data_dir, query)
    yield from _keys(context.data_dir / "config")
    yield _port(registry, query)
    yield from chosen_port_findings(registry.config.server.port)
    yield from _connections(registry, query)
    yield from certificate_findings(registry.config.database.url)


def _hosts(registry: Registry, loopback: bool) -> Iterator[Finding]:
    """A proxy on the same machine passes on the name that the browser asked for."""
    server = registry.config.server
    if loopback and server.trusted_proxies and not server.allowed_hosts:
        text = "only localhost is served: name what the proxy hands on in [server] allowed_hosts"
        yield Finding(name="hosts", text=text, state="warn")
    elif server.allowed_hosts or loopback:
        yield Finding(name="hosts", text=", ".join(["localhost", *server.allowed_hosts]))


def _data_dir(folder: Path) -> Finding:
    existing = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    if not existing.is_dir():
        text = f"{existing} is a file; choose a folder with --data-dir or [server] data_dir"
        return Finding(name="data directory", text=text, state="fail")
    if os.access(existing, os.W_OK | os.X_OK, effective_ids=True):
        text = str(folder)
        if not folder.exists():
            text += " (will be made)"
        return Finding(name="data directory", text=text)
    text = f"{folder}: cannot be written; {OWNER}, or choose another with --data-dir"
    return Finding(name="data directory", text=text, state="fail")


def _keys(folder: Path) -> Iterator[Finding]:
    modes: dict[Path, int] = {}
    try:
        for path in sorted(folder.iterdir()):
            if path.suffix == ".key":
                modes[path] = path.stat().st_mode
    except FileNotFoundError:
        pass
    except OSError as error:
        text = f"{folder}: cannot be read: {error.strerror}; {OWNER}"
        yield Finding(name="keys", text=text, state="fail")
        return

    for key, mode in modes.items():
        if mode & 0o077:
            text = f"{key}: others can read it; chmod 600 {key}"
            yield Finding(name="keys", text=text, state="fail")
            return
    text = "none yet; they are made on first boot"
    if modes:
        names = ", ".join(key.name for key in modes)
        text = f"only this account reads {names}"
    yield Finding(name="keys", text=text)


def _port(registry: Registry, query: DatabaseQuery) -> Finding:
    host = registry.config.server.host
    port = registry.config.server.port
    address = f"{host}:{port}"
    obstacle = _find_obstacle(host, port)
    if obstacle is None:
        return Finding(name="port", text=f"{address} is free")
    if not is_running(registry):
        text = f"address {address}: {obstacle}; choose another with --host or --port"
        return Finding(name="port", text=text, state="fail")
    # An embedded database without an address does not run, so the server has another one.
    if query(SERVED) == "False" or not registry.database_url:
        text = (
            f"{address}: the Caudex server that answers there is another one, of other data; "
            "choose another port by --port or [server] port"
        )
        return Finding(name="port", text=text, state="fail")
    return Finding(name="port", text=f"a Caudex server answers on {address}")


def _find_obstacle(host: str, port: int) -> str | None:
    """Return why a server cannot listen on an address; None where it can."""
    family = socket.AF_INET
    if ":" in host:
        family = socket.AF_INET6
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except (OSError, TypeError) as error:
            reason: str = getattr(error, "strerror", None) or str(error)
            return reason.lower()
    return None


def _connections(registry: Registry, query: DatabaseQuery) -> Iterator[Finding]:
    """Compare what all processes open at most with what PostgreSQL accepts."""
    answer = query(ACCEPTED)
    if answer is None:
        return
    config = registry.config
    accepted = int(answer)
    needed = config.process_count * (config.database.pool_size + BESIDE_THE_POOL)
    text = f"this server opens up to {needed}, PostgreSQL accepts {accepted}"
    if needed <= accepted:
        yield Finding(name="connections", text=text)
        return
    remedy = "raise max_connections, or lower [database] pool_size or [server] workers"
    yield Finding(name="connections", text=f"{text}; {remedy}", state="fail")


def python_build() -> Finding:
    """Report whether the Python that runs is an optimized build."""
    version = platform.python_version()
    if profiled(sysconfig.get_config_vars()):
        return Finding(name="python", text=f"{version} is profile-guided")
    return Finding(name="python", text=f"{version} {SLOW}", state="warn")


def profiled(built: Mapping[str, Any]) -> bool:
    """Whether a build, as `sysconfig` describes it, was optimized by a profile.

    Every `configure` finds the flag for it; Debian, which gives it to make and not to configure,
    takes it out of what it installs.
    """
    flag = str(built.get("PGO_PROF_USE_FLAG") or "")
    if not flag:
        return True
    options = f"{built.get('CONFIG_ARGS')} {built.get('PY_CORE_CFLAGS')}"
    return "--enable-optimizations" in options or flag.split()[0] in options
