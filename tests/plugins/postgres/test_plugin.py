"""The plugin as the kernel uses it."""

import os
import signal
import socket
from pathlib import Path
from typing import cast

import pytest

from kernel.public import DATABASE_SERVER, BootError, Context, DatabaseServer, Services
from plugins.postgres import PostgresConfig, PostgresPlugin
from plugins.postgres.processes import postmaster_pid
from tests.plugins.postgres.support import ask, can_connect
from tests.waiting import eventually


def service(data: Path, *, loopback: bool = True, **config: object) -> DatabaseServer:
    context = Context(data_dir=data, host="", port=9100, loopback=loopback)
    plugin = PostgresPlugin(PostgresConfig(**({"port": 0} | config)), context)
    (made,) = plugin.provide_services()
    assert made.key is DATABASE_SERVER
    return made.factory(cast(Services, None))


def test_the_service_starts_attaches_and_stops(data: Path) -> None:
    first, second = service(data), service(data)
    assert (first.port, first.notice, first.attach()) == (None, "", None)
    dsn = first.start()
    assert second.attach() == dsn
    assert second.port == first.port
    assert first.port == int(ask(dsn, "SHOW port"))
    assert str(data) in first.notice
    first.stop()
    first.stop()
    assert second.attach() is None


def test_the_configured_figures_hold(data: Path) -> None:
    settings = {"work_mem": "5MB", "jit": False, "max_connections": 20}
    server = service(data, max_connections=40, shared_buffers="32MB", settings=settings)
    dsn = server.start()
    shown = [ask(dsn, f"SHOW {name}") for name in ("max_connections", "shared_buffers", "jit")]
    assert shown == ["20", "32MB", "off"]
    server.stop()


def test_a_dead_server_is_brought_back(data: Path) -> None:
    server = service(data)
    dsn = server.start()
    old = postmaster_pid(data / "postgres")
    os.kill(old, signal.SIGKILL)

    def back() -> bool:
        server.ensure_running()
        return postmaster_pid(data / "postgres") != old and can_connect(dsn)

    eventually(back)
    server.stop()


def test_what_goes_wrong_is_a_boot_error_of_one_line(data: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(BootError, match=f"embedded PostgreSQL: port {port} is taken"):
            service(data, port=port, loopback=False).start()
    with pytest.raises(BootError, match="is decided by Caudex"):
        service(data, settings={"port": 1}).start()
