"""A plugin that leaves connections behind is named, and others go on."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
from structlog.testing import capture_logs

from kernel.public import (
    PUBLIC,
    STATEMENTS,
    Plugin,
    Request,
    Response,
    Route,
    Services,
    hookimpl,
    reply,
)
from kernel.testing import MakeServer
from tests.plugins.data.shop import COMPANIES, add, install
from tests.waiting import eventually

MODULE = f"{__name__}:LeakyPlugin"


class LeakyPlugin(Plugin):
    """Opens streams and does not close them."""

    name = "leaky"
    requires = (STATEMENTS,)
    kept: list[Any]

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        self._services = services
        self.kept = []
        self._goes_on = anyio.Event()
        return [
            Route("GET", "/leak", self.leak, needs=PUBLIC),
            Route("GET", "/hold", self.hold, needs=PUBLIC),
            Route("GET", "/go-on", self.go_on, needs=PUBLIC),
        ]

    async def leak(self, request: Request) -> Response:
        """Answer while a stream is open, which nothing closes."""
        stream = self._services.get(STATEMENTS).stream("select g from generate_series(1, 9999) g")
        self.kept.append((stream, await stream.__aenter__()))
        return reply({})

    async def hold(self, request: Request) -> Response:
        """Hold a stream until `go_on`."""
        async with self._services.get(STATEMENTS).stream("select 1"):
            await self._goes_on.wait()
        return reply({})

    async def go_on(self, request: Request) -> Response:
        """Let the others end."""
        self._goes_on.set()
        return reply({})


def test_streams_that_a_plugin_leaves_open_are_closed_and_named(make_server: MakeServer) -> None:
    server = make_server({"plugins": {"leaky": {"module": MODULE}}})
    install(server)
    add(server.admin, COMPANIES, name="Acme")
    with capture_logs() as logged:
        for _ in range(8):  # more than the pool has connections
            assert server.admin.get("/leak").status_code == 200
        for _ in range(3):
            assert [each["name"] for each in server.admin.get(COMPANIES).json()] == ["Acme"]
    lines = [line for line in logged if line["event"] == "a connection was not given back"]
    assert len(lines) == 8
    assert {(line["plugin"], line["kind"]) for line in lines} == {("leaky", "stream")}
    assert lines[0]["at"].startswith(f"{__file__}:")
    assert "async with" in lines[0]["remedy"]


def test_the_status_says_what_holds_connections(make_server: MakeServer) -> None:
    server = make_server({"plugins": {"leaky": {"module": MODULE}}})

    def held() -> list[dict[str, Any]]:
        return server.admin.get("/api/v1/status").json()["pool"]["held"]

    assert held() == []
    with ThreadPoolExecutor(2) as callers:
        answers = [callers.submit(server.admin.get, "/hold") for _ in range(2)]
        eventually(lambda: len(held()) == 1 and held()[0]["count"] == 2, 20, "no stream is held")
        [streams] = held()
        assert streams["kind"] == "stream"
        assert streams["seconds"] >= 0
        server.admin.get("/go-on")
        assert [answer.result().status_code for answer in answers] == [200, 200]
    assert held() == []
