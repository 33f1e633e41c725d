"""What the handlers of collections have in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import msgspec

from kernel.public import (
    RECORDS,
    Action,
    Answer,
    BadRequest,
    KeyedRequest,
    Records,
    Request,
    Response,
    Services,
    Target,
    Transaction,
    headers_of,
    nearest,
    one_of,
    reply,
)

COLLECTION: Final = "/api/v1/apps/{app_id}/collections/{entity}"

WriteHandler = Callable[[Transaction | None], Awaitable[Response]]
"""Answers a request by writes, which are part of a transaction if there is one."""

_encode_sorted = msgspec.json.Encoder(order="sorted").encode


class CollectionRoutes:
    """Handlers that ask the provider of RECORDS."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @cached_property
    def _records(self) -> Records:
        return self._services.get(RECORDS)

    def _answer(
        self, request: Request, body: Any, handler: WriteHandler, *actions: Action
    ) -> Awaitable[Response]:
        """Run a handler, once for an `Idempotency-Key`; it needs these actions on the entity."""
        if b"idempotency-key" not in headers_of(request.scope):
            return handler(None)
        name = request.path("entity")
        needed: list[tuple[str, Action]] = [(name, action) for action in actions]
        return self._answer_once(request, body, handler, needed)

    async def _answer_once(
        self,
        request: Request,
        body: Any,
        handler: WriteHandler,
        needed: Sequence[tuple[str, Action]],
    ) -> Response:
        """Run a handler, or give its first reply again; `needed` are the permissions it needs."""
        key = headers_of(request.scope)[b"idempotency-key"]

        async def work(tx: Transaction) -> Answer:
            response = await handler(tx)
            headers: dict[str, str] = {}
            if "etag" in response.headers:
                headers["etag"] = response.headers["etag"]
            return Answer(response.status_code, bytes(response.body), headers)

        query: bytes = request.scope["query_string"]
        route = f"{request.method} {request.url.path}?{query.decode('latin-1')}"
        raw_body = body if isinstance(body, bytes) else _encode_sorted(body)
        keyed_request = KeyedRequest(route, key.decode("latin-1"), raw_body)
        app_id = request.path("app_id")
        answer = await self._records.run_once(request.actor, app_id, keyed_request, needed, work)
        return reply(answer.body, answer.status, answer.headers)


def header_of(request: Request, name: bytes) -> str | None:
    """Return a header of a request by its name in lower case."""
    value = headers_of(request.scope).get(name)
    return None if value is None else value.decode("latin-1")


def target_of(request: Request) -> Target:
    """Return what a request is about: its entity, within the grant that the route has asked for."""
    path = request.scope["path_params"]
    return Target(request.actor, request.grant, path["app_id"], path["entity"])


def check_parameters(parameters: Iterable[str], allowed_names: Iterable[str]) -> None:
    """Raise BadRequest for a query parameter that the route does not have."""
    allowed = frozenset(allowed_names)
    for name in parameters:
        if name not in allowed:
            raise BadRequest(f"unknown parameter {name[:80]!r}; {nearest(name, allowed)}")


def read_flag(parameters: Mapping[str, str], name: str) -> bool:
    """Read a parameter that is true or false. Raises BadRequest."""
    return one_of(name, parameters.get(name, "false"), ("true", "false")) == "true"
