"""The plugin as a provider of HTTP_SERVER: served, absent, replaced."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import uvicorn

from kernel.cli.serve import http_server, serve
from kernel.config.settings import Config, load_config
from kernel.contracts.server import HTTP_SERVER
from kernel.errors import BootError
from kernel.loading.loader import load
from kernel.testing import MakeServer, Server
from kernel.testing.options import NOTHING
from kernel.testing.servers import NO_TLS
from plugins.http_server.server import UvicornServer

OTHER = """
from caudex import HTTP_SERVER, Plugin, hookimpl, provide

class OtherPlugin(Plugin):
    name = "other"

    @hookimpl
    def provide_services(self):
        return [provide(HTTP_SERVER, lambda _: 1 / 0)]
"""


class PlainServer:
    """Another HTTP server, without `send_whole`: uvicorn as it comes."""

    async def serve(
        self,
        app: Any,
        sockets: Sequence[socket.socket],
        started: Callable[[], object],
        *,
        drain: float,
    ) -> None:
        config = uvicorn.Config(app, interface="asgi3", lifespan="off", log_config=None)
        self._server = uvicorn.Server(config)
        task = asyncio.get_running_loop().create_task(self._server.serve(list(sockets)))
        while not self._server.started:
            await asyncio.sleep(0.01)
        started()
        await task

    def stop(self) -> None:
        self._server.should_exit = True


def config(folder: Path, **tables: Any) -> Config:
    overrides = {"server.data_dir": str(folder), "server.port": 0, **tables}
    return load_config(str(NOTHING), environ={}, overrides=overrides)


def test_it_is_listed_as_the_provider(server: Server) -> None:
    [info] = [info for info in server.kernel.plugins if info.name == "http_server"]
    assert (info.state, info.provides, info.requires) == ("on", ("http_server",), ())
    assert server.kernel.services.provider("http_server") == "http_server"


def test_without_a_provider_nothing_is_served_and_no_database_starts(tmp_path: Path) -> None:
    without = config(tmp_path, **{"plugins.http_server": {"enabled": False}})
    with pytest.raises(BootError) as refused:
        serve(without, lambda: without)
    assert str(refused.value) == (
        "HTTP server: no plugin that is on provides it; "
        "enable one that provides 'http_server', as `caudex plugins` shows"
    )
    assert not (tmp_path / "postgres").exists()


def test_two_providers_need_a_choice_and_a_broken_one_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "other.py"
    file.write_text(OTHER)
    with pytest.raises(BootError, match="set http_server = 'http_server' or http_server = 'other'"):
        load(config(tmp_path, **{"server.plugin_files": [str(file)]}))
    chosen = {"server.plugin_files": [str(file)], "services.http_server": "other"}
    with pytest.raises(BootError, match="HTTP server: it failed to start: ZeroDivisionError"):
        http_server(load(config(tmp_path, **chosen)))


def test_another_server_answers_alike(make_server: MakeServer) -> None:
    """Without `send_whole` every reply leaves as ASGI messages."""
    other = make_server(services={HTTP_SERVER: PlainServer()})
    assert other.http.get("/health").json() == {"status": "ok"}
    assert other.http.get("/none").status_code == 404
    assert other.admin.get("/api/v1/auth/me").json()["username"] == "admin"


@asynccontextmanager
async def served() -> AsyncGenerator[tuple[UvicornServer, asyncio.Task[None], str]]:
    """A server of empty replies, the task that it runs in, and its address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        url, accepting = f"http://127.0.0.1:{listener.getsockname()[1]}", asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})

        server = UvicornServer()
        serving = asyncio.get_running_loop().create_task(
            server.serve(app, [listener], accepting.set, drain=1)
        )
        await accepting.wait()
        yield server, serving, url


async def test_a_cancelled_server_closes_its_listener() -> None:
    async with served() as (_, serving, url):
        assert (await asked(url)).status_code == 204
        serving.cancel()
        await asyncio.wait([serving])
        with pytest.raises(httpx.ConnectError):
            await asked(url)


async def test_the_date_of_replies_is_renewed_until_the_server_stops() -> None:
    async with served() as (server, serving, url):
        first = (await asked(url)).headers["date"]
        with anyio.fail_after(30):
            while (await asked(url)).headers["date"] == first:
                await asyncio.sleep(0.05)
        server.stop()
        with anyio.fail_after(30):
            await serving


async def asked(url: str) -> httpx.Response:
    async with httpx.AsyncClient(verify=NO_TLS) as client:
        return await client.get(url)
