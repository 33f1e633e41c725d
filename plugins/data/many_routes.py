"""Writes of many records over HTTP: bulks, batches, by condition, imports."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import IO, Any, Final, cast

from anyio import to_thread

from kernel.public import (
    APP_USER,
    MAX_BODY,
    Action,
    BadRequest,
    ConcurrencyLimiter,
    Record,
    Request,
    Response,
    Route,
    Services,
    entity,
    limited,
    one_of,
    reply,
    while_connected,
    whole_number,
)

from .described import ACTED, IMPORTED, MET
from .exchange.export import MEDIA, Format
from .exchange.imports import Mode
from .exchange.operations import needs_of
from .handlers import COLLECTION, CollectionRoutes, check_parameters, flag, header_of, names_of
from .models import (
    MAX_PREVIEW,
    Batch,
    Bulk,
    BulkQuery,
    Deleted,
    DeleteWhere,
    Imported,
    ImportQuery,
    Results,
    Updated,
    UpdateWhere,
)
from .writes.upsert import Then

IMPORT_PARAMETERS: Final = ("dryRun", "on", "mode", "raw", "preview")
BATCH: Final = "/api/v1/apps/{app_id}/batch"


class ManyRoutes(CollectionRoutes):
    """The routes that write many records."""

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        # The bytes on disk of files that are imported, or wait for that.
        self._files = ConcurrencyLimiter(
            20 * MAX_BODY, per_key=10 * MAX_BODY, message="too many files wait to be imported",
            key_message="too many files of this user wait to be imported", retry_after=10,
        )  # fmt: skip

    def routes(self) -> Sequence[Route]:
        """Declare every route."""
        create, update, delete = entity("create"), entity("update"), entity("delete")
        many = list[Record]
        return [
            Route(
                "POST", f"{COLLECTION}/bulk", self._bulk, create, Bulk,
                returns=many, status=201, query=BulkQuery, workers=True, openapi=MET,
            ),
            Route(
                "POST", f"{COLLECTION}/update-where", self._update_where, update, UpdateWhere,
                returns=Updated, workers=True, openapi=ACTED,
            ),
            Route(
                "POST", f"{COLLECTION}/delete-where", self._delete_where, delete, DeleteWhere,
                returns=Deleted, workers=True, openapi=ACTED,
            ),
            Route(
                "POST", f"{COLLECTION}/import", self._import, create, returns=Imported,
                query=ImportQuery, errors=(400,), workers=True, openapi=IMPORTED,
            ),
            Route(
                "POST", BATCH, self._batch, APP_USER, Batch, returns=Results, errors=(404, 412),
                workers=True, openapi=ACTED,
            ),
        ]  # fmt: skip

    async def _bulk(self, request: Request, body: list[dict[str, Any]]) -> Response:
        """Create 1 to 1000 records, all of them or none, and return them in the order given.

        With `on`, rows that have the key of a record change it: the reply is 200, and says of each
        row what became of it.
        """
        caller, given = (request.actor, request.grant, *names_of(request)), request.query()
        check_parameters(given, ("on", "then"))
        if "on" not in given:

            async def create() -> Response:
                return reply(await self._records.create_many(*caller, body), 201)

            return await self._acting(request, body, create, "create")
        then = one_of("then", given.get("then", "update"), ("update", "ignore", "fail"))

        async def upsert() -> Response:
            return reply(
                await self._collections.upsert(*caller, body, given["on"], cast("Then", then))
            )

        return await self._acting(request, body, upsert, "create", "update")

    async def _update_where(self, request: Request, body: UpdateWhere) -> Response:
        """Change the records that match a where-tree, if they are as many as expected."""

        async def handle() -> Response:
            done = await self._collections.update_where(
                request.actor, request.grant, *names_of(request), body.where, body.set,
                expect=body.expect, at_most=body.max,
            )  # fmt: skip
            return reply({"updated": done})

        return await self._acting(request, body, handle, "update", "read")

    async def _delete_where(self, request: Request, body: DeleteWhere) -> Response:
        """Delete the records that match a where-tree, if they are as many as expected."""

        async def handle() -> Response:
            done = await self._collections.delete_where(
                request.actor, request.grant, *names_of(request), body.where,
                expect=body.expect, at_most=body.max,
            )  # fmt: skip
            return reply({"deleted": done})

        return await self._acting(request, body, handle, "delete", "read")

    async def _batch(self, request: Request, body: Batch) -> Response:
        """Run 1 to 1000 writes of any entities in one transaction, all of them or none.

        Each needs its own permission. `{"$ref": "acme.id"}` is a value of the record that an
        earlier operation named by `as` wrote.
        """

        async def handle() -> Response:
            return reply(
                await self._collections.batch(
                    request.actor, request.path("app_id"), body.operations, dry_run=body.dry_run
                )
            )

        return await self._once(request, body, lambda: needs_of(body.operations), handle)

    async def _import(self, request: Request) -> Response:
        """Create records from a CSV file with a header, or from JSON lines, and report on its rows.

        With `on`, rows that have the key of a record change it, which needs `update` as well.
        """
        given = request.query()
        check_parameters(given, IMPORT_PARAMETERS)
        kind = _given_format(request)
        mode = cast("Mode", one_of("mode", given.get("mode", "all"), ("all", "valid")))
        options = {"dry_run": flag(given, "dryRun"), "raw": flag(given, "raw")}
        preview = whole_number("preview", given.get("preview", "0"), maximum=MAX_PREVIEW)
        async with self._received(request) as (file, digest):
            caller = (request.actor, request.grant, *names_of(request))

            async def handle() -> Response:
                done = await self._collections.import_file(
                    *caller, file, kind, mode=mode, on=given.get("on"), preview=preview, **options,
                )  # fmt: skip
                return reply(done)

            actions: list[Action] = ["create", "update"] if "on" in given else ["create"]
            return await while_connected(
                request, lambda: self._acting(request, digest, handle, *actions)
            )

    @asynccontextmanager
    async def _received(self, request: Request) -> AsyncGenerator[tuple[IO[bytes], bytes]]:
        """Keep the body of a request in a file, and yield that with the body's digest."""
        user, size, digest = request.actor.user_id, 0, hashlib.sha256()
        with tempfile.SpooledTemporaryFile(1_000_000) as file:
            try:
                async for piece in limited(request, MAX_BODY):
                    self._files.take(user, len(piece))
                    size += len(piece)
                    digest.update(piece)
                    await to_thread.run_sync(file.write, piece)
                yield cast("IO[bytes]", file), digest.digest()
            finally:
                self._files.give_back(user, size)


def _given_format(request: Request) -> Format:
    """Return the format of a body. Raises BadRequest."""
    kind, _, parameters = (header_of(request, b"content-type") or "").lower().partition(";")
    found = MEDIA.get(kind.strip())
    if found is None:
        raise BadRequest(f"the content type must be one of {', '.join(MEDIA)}")
    charset = re.search(r"charset\s*=\s*\"?([\w-]+)", parameters)
    if charset and charset[1] not in ("utf-8", "utf8"):
        raise BadRequest("the body must be in UTF-8")
    return found
