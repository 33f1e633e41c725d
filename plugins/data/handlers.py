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
    Collections,
    Records,
    Request,
    Response,
    Services,
    Unavailable,
    headers_of,
    nearest,
    one_of,
    reply,
    supports,
)

COLLECTION: Final = "/api/v1/apps/{app_id}/collections/{entity}"

_encode = msgspec.json.Encoder(order="sorted").encode


class CollectionRoutes:
    """Handlers that ask the provider of RECORDS."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @cached_property
    def _records(self) -> Records:
        return self._services.get(RECORDS)

    @cached_property
    def _whole(self) -> Collections | None:
        """The provider of RECORDS if it has the whole data API; asking takes 20 µs."""
        return self._records if supports(self._records, Collections) else None

    @property
    def _collections(self) -> Collections:
        if self._whole is None:
            raise Unavailable("the provider of records does not offer this", retry_after=None)
        return self._whole

    def _acting(
        self,
        request: Request,
        body: Any,
        handle: Callable[[], Awaitable[Response]],
        *actions: Action,
    ) -> Awaitable[Response]:
        """Run a handler, once for an `Idempotency-Key`; it needs these actions on the entity."""
        if b"idempotency-key" not in headers_of(request.scope):
            return handle()
        name = request.path("entity")
        return self._once(request, body, lambda: [(name, action) for action in actions], handle)

    async def _once(
        self,
        request: Request,
        body: Any,
        needed: Callable[[], Sequence[tuple[str, Action]]],
        handle: Callable[[], Awaitable[Response]],
    ) -> Response:
        """Run a handler, or give its first reply again; `needed` are the permissions it needs."""
        key = headers_of(request.scope).get(b"idempotency-key")
        if key is None:
            return await handle()

        async def work() -> Answer:
            response = await handle()
            headers = {"etag": response.headers["etag"]} if "etag" in response.headers else {}
            return Answer(response.status_code, bytes(response.body), headers)

        query: bytes = request.scope["query_string"]
        route = f"{request.method} {request.url.path}?{query.decode('latin-1')}"
        raw = body if isinstance(body, bytes) else _encode(body)
        answer = await self._collections.once(
            request.actor,
            request.path("app_id"),
            (route, key.decode("latin-1"), raw),
            needed(),
            work,
        )
        return reply(answer.body, answer.status, answer.headers)


def header_of(request: Request, name: bytes) -> str | None:
    """Return a header of a request by its name in lower case."""
    value = headers_of(request.scope).get(name)
    return None if value is None else value.decode("latin-1")


def names_of(request: Request) -> tuple[str, str]:
    """Return the app and the entity of a request."""
    return request.path("app_id"), request.path("entity")


def check_parameters(given: Iterable[str], known: Iterable[str]) -> None:
    """Raise BadRequest for a query parameter that the route does not have."""
    known = frozenset(known)
    if (unknown := next((name for name in given if name not in known), None)) is not None:
        raise BadRequest(f"unknown parameter {unknown[:80]!r}; {nearest(unknown, known)}")


def flag(given: Mapping[str, str], name: str) -> bool:
    """Read a parameter that is true or false. Raises BadRequest."""
    return one_of(name, given.get(name, "false"), ("true", "false")) == "true"
