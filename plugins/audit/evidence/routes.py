"""GET /api/v1/audit/evidence and /api/v1/audit/export."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Final

import msgspec
from msgspec import Meta
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from kernel.public import (
    CORE_ADMIN,
    BadRequest,
    ConcurrencyLimiter,
    Request,
    Response,
    Route,
    Services,
    coerce_value,
    nearest,
    one_of,
    reply,
)

from .service import EVIDENCE
from .store import RowFilter
from .verifier import Report

VERIFY_SECONDS: Final = 10.0
MAX_EXPORTS: Final = 4


class EvidenceQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of GET …/evidence."""

    since: Annotated[str | None, Meta(description="verify rows since this time (one day)")] = None


class ExportQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of GET …/export."""

    app_id: Annotated[str | None, Meta(description="rows of this app, or `core`")] = None
    since: Annotated[str | None, Meta(description="rows of this time or later")] = None
    until: Annotated[str | None, Meta(description="rows of times before this one")] = None
    proofs: Annotated[
        bool, Meta(description="add what `caudex audit check` needs: complete rows, and proofs")
    ] = False


class EvidenceRoutes:
    """The evidence over HTTP."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._verifications = ConcurrencyLimiter(
            1, queue=4, timeout=30, message="the trail is being verified"
        )
        self._exports = ConcurrencyLimiter(
            MAX_EXPORTS, per_key=MAX_EXPORTS // 2, message="too many exports are under way"
        )

    def routes(self) -> Sequence[Route]:
        """Declare the routes, for core admins."""
        return [
            Route(
                "GET", "/api/v1/audit/evidence", self.verify, CORE_ADMIN,
                returns=Report, query=EvidenceQuery, errors=(400, 503),
            ),
            Route(
                "GET", "/api/v1/audit/export", self.export, CORE_ADMIN,
                query=ExportQuery, errors=(400, 503),
                openapi={"responses": {"200": {
                    "description": "A row of the trail on each line, the oldest first",
                    "content": {"application/x-ndjson": {}},
                }}},
            ),
        ]  # fmt: skip

    async def verify(self, request: Request) -> Response:
        """Verify the chain of seals, and the rows since a time, for ten seconds at most.

        `caudex audit verify` verifies everything.
        """
        parameters = _read_parameters(request, EvidenceQuery)
        since = read_moment("since", parameters.get("since"))
        if since is None:
            since = datetime.now(UTC) - timedelta(days=1)
        verifier = self._services.get(EVIDENCE).verifier()
        async with self._verifications.hold():
            return reply(await verifier.verify(since, seconds=VERIFY_SECONDS))

    async def export(self, request: Request) -> Response:
        """Export rows of the trail with the numbers of their seals, the oldest first."""
        parameters = _read_parameters(request, ExportQuery)
        with_proofs = one_of("proofs", parameters.get("proofs", "false"), ("true", "false"))
        rows = RowFilter(
            app_id=parameters.get("app_id"),
            since=read_moment("since", parameters.get("since")),
            until=read_moment("until", parameters.get("until")),
        )
        exporter = self._services.get(EVIDENCE).exporter
        pieces = exporter.export(rows, with_proofs=with_proofs == "true")
        return StreamedExport(pieces, partial(self._exports.hold, request.actor.user_id))


class StreamedExport(StreamingResponse):
    """Lines of any number. An error before the first piece is still an ordinary reply."""

    def __init__(
        self,
        pieces: AsyncGenerator[bytes],
        hold_place: Callable[[], AbstractAsyncContextManager[None]],
    ) -> None:
        super().__init__((), media_type="application/x-ndjson")
        self._pieces = pieces
        self._hold_place = hold_place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the lines; a HEAD gets the head alone."""
        if scope["method"] == "HEAD":
            head = {"status": 200, "headers": self.raw_headers}
            await send({"type": "http.response.start", **head})
            await send({"type": "http.response.body", "body": b""})
            return
        async with self._hold_place(), aclosing(self._pieces) as pieces:
            first = await anext(pieces, b"")
            self.body_iterator = _prepend(first, pieces)
            await super().__call__(scope, receive, send)


async def _prepend(first: bytes, rest: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    yield first
    async for piece in rest:
        yield piece


def read_moment(name: str, text: str | None) -> datetime | None:
    """Read a time that a caller gave. Raises BadRequest."""
    value = coerce_value("timestamp", text, name)
    return None if value is None else datetime.fromisoformat(value)


def _read_parameters(request: Request, query_type: type[msgspec.Struct]) -> Mapping[str, str]:
    parameters = request.query()
    for name in parameters:
        if name not in query_type.__struct_fields__:
            suggestion = nearest(name, query_type.__struct_fields__)
            raise BadRequest(f"unknown parameter {name!r}; {suggestion}")
    return parameters
