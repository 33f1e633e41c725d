"""Requests with an `Idempotency-Key`: their writes join the transaction that keeps the key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from kernel.public import (
    IDEMPOTENCY,
    Action,
    Answer,
    BadRequest,
    Collections,
    Request,
    Response,
    Services,
    Transaction,
    reply,
)

from .reads.scopes import JOINED

Needed = Sequence[tuple[str, Action]]
_encode = msgspec.json.Encoder(order="sorted").encode


class Once:
    """Runs a handler once for each key of a client."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(
        self,
        request: Request,
        records: Callable[[], Collections],
        body: Any,
        needed: Needed,
        handle: Callable[[], Awaitable[Response]],
    ) -> Response:
        """Run `handle`, or give its first reply again; `needed` are the permissions it needs."""
        key: bytes | None = request.scope["caudex.headers"].get(b"idempotency-key")
        if key is None:
            return await handle()
        service = self._services.find(IDEMPOTENCY)
        if service is None:
            raise BadRequest("Idempotency-Key is not supported: the plugin idempotency is off")
        rights = await records().check(request.actor, request.path("app_id"), needed)

        async def work(tx: Transaction) -> Answer:
            token = JOINED.set(tx)
            try:
                response = await handle()
            finally:
                JOINED.reset(token)
            headers = {"etag": response.headers["etag"]} if "etag" in response.headers else {}
            return Answer(response.status_code, bytes(response.body), headers)

        query: bytes = request.scope["query_string"]
        route = f"{request.method} {request.url.path}?{query.decode('latin-1')}"
        raw = body if isinstance(body, bytes) else _encode(body)
        answer = await service.once(request.actor, route, key.decode("latin-1"), raw, rights, work)
        return reply(answer.body, answer.status, answer.headers)
