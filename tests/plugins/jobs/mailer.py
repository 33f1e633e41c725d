"""A plugin with jobs of its own: `POST /api/v1/mail {"to": ...}`, which a test lets succeed."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
from structlog.contextvars import bind_contextvars, get_contextvars

from caudex import (
    JOBS,
    PUBLIC,
    NewJob,
    Plugin,
    Request,
    Response,
    Route,
    Services,
    hookimpl,
    plugin_jobs,
    reply,
    server_actor,
)


class MailerPlugin(Plugin):
    name = "mailer"
    requires = (JOBS,)

    def __init__(self, config: Any, context: Any) -> None:
        super().__init__(config, context)
        self.sent = list[str]()
        self.logged = list[dict[str, Any]]()
        """What each job's lines in the log have, at its start."""
        self.works = anyio.Event()

    @hookimpl
    def register_routes(self, services: Services) -> list[Route]:
        self._services = services
        return [Route("POST", "/api/v1/mail", self.mail, needs=PUBLIC, body=dict)]

    async def mail(self, request: Request, body: dict[str, Any]) -> Response:
        job = NewJob(payload=msgspec.Raw(msgspec.json.encode(body)))
        jobs = self._services.get(JOBS)
        return reply({"id": await jobs.enqueue(server_actor(), plugin_jobs(self.name), job)})

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncGenerator[None]:
        async with services.get(JOBS).handling(self.name, self.send):
            yield

    async def send(self, payload: bytes) -> None:
        to = msgspec.json.decode(payload)["to"]
        self.logged.append(get_contextvars())
        bind_contextvars(to=to)
        if to == "nowhere":
            raise ValueError("there is no such address")
        await self.works.wait()
        self.sent.append(to)
