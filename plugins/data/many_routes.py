"""Writes of many records over HTTP: bulks, batches, by condition, imports."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import IO, Any, Final, Literal, cast

from anyio import to_thread

from kernel.public import (
    APP_USER,
    MAX_BODY,
    Action,
    BadRequest,
    ConcurrencyLimiter,
    ImportOptions,
    Record,
    Request,
    Response,
    Route,
    Services,
    Transaction,
    entity,
    one_of,
    read_pieces,
    reply,
    while_connected,
    whole_number,
)

from .exchange.worker_operations import permissions_of_batch
from .handlers import (
    COLLECTION,
    CollectionRoutes,
    check_parameters,
    header_of,
    read_flag,
    target_of,
)
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
from .openapi import BULK_DOCS, IMPORT_DOCS, WRITE_DOCS
from .reads.export import MEDIA, Format
from .writes.upsert import Then

IMPORT_PARAMETERS: Final = ("dryRun", "on", "mode", "raw", "preview")
BATCH: Final = "/api/v1/apps/{app_id}/batch"

Mode = Literal["all", "valid"]


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
        create = entity("create")
        update = entity("update")
        delete = entity("delete")
        return [
            Route(
                "POST", f"{COLLECTION}/bulk", self._bulk, create, Bulk,
                returns=list[Record], status=201, query=BulkQuery, workers=True, app_hosts=True,
                openapi=BULK_DOCS,
            ),
            Route(
                "POST", f"{COLLECTION}/update-where", self._update_where, update, UpdateWhere,
                returns=Updated, workers=True, app_hosts=True, openapi=WRITE_DOCS,
            ),
            Route(
                "POST", f"{COLLECTION}/delete-where", self._delete_where, delete, DeleteWhere,
                returns=Deleted, workers=True, app_hosts=True, openapi=WRITE_DOCS,
            ),
            Route(
                "POST", f"{COLLECTION}/import", self._import, create, returns=Imported,
                query=ImportQuery, errors=(400,), workers=True, app_hosts=True, openapi=IMPORT_DOCS,
            ),
            Route(
                "POST", BATCH, self._batch, APP_USER, Batch, returns=Results, errors=(404, 412),
                workers=True, app_hosts=True, openapi=WRITE_DOCS,
            ),
        ]  # fmt: skip

    async def _bulk(self, request: Request, body: list[dict[str, Any]]) -> Response:
        """Create 1 to 1000 records, all of them or none, and return them in the order given.

        With `on`, rows that have the key of a record change it: the reply is 200, and says of each
        row what became of it.
        """
        parameters = request.query()
        check_parameters(parameters, ("on", "then"))
        target = target_of(request)
        on = parameters.get("on")
        if on is None:

            async def create(tx: Transaction | None) -> Response:
                return reply(await self._records.create_many(target, body, tx=tx), 201)

            return await self._answer(request, body, create, "create")
        then = one_of("then", parameters.get("then", "update"), ("update", "ignore", "fail"))

        async def upsert(tx: Transaction | None) -> Response:
            return reply(await self._records.upsert(target, body, on, cast("Then", then), tx=tx))

        return await self._answer(request, body, upsert, "create", "update")

    async def _update_where(self, request: Request, body: UpdateWhere) -> Response:
        """Change the records that match a where-tree, if they are as many as expected."""
        target = target_of(request)

        async def update(tx: Transaction | None) -> Response:
            updated = await self._records.update_where(
                target, body.where, body.set, expect=body.expect, at_most=body.max, tx=tx
            )
            return reply({"updated": updated})

        return await self._answer(request, body, update, "update", "read")

    async def _delete_where(self, request: Request, body: DeleteWhere) -> Response:
        """Delete the records that match a where-tree, if they are as many as expected."""
        target = target_of(request)

        async def delete(tx: Transaction | None) -> Response:
            deleted = await self._records.delete_where(
                target, body.where, expect=body.expect, at_most=body.max, tx=tx
            )
            return reply({"deleted": deleted})

        return await self._answer(request, body, delete, "delete", "read")

    async def _batch(self, request: Request, body: Batch) -> Response:
        """Run 1 to 1000 writes of any entities in one transaction, all of them or none.

        Each needs its own permission. `{"$ref": "acme.id"}` is a value of the record that an
        earlier operation named by `as` wrote.
        """
        app_id = request.path("app_id")

        async def run(tx: Transaction | None) -> Response:
            results = await self._records.batch(
                request.actor, app_id, body.operations, dry_run=body.dry_run, tx=tx
            )
            return reply(results)

        if header_of(request, b"idempotency-key") is None:
            return await run(None)
        needed = permissions_of_batch(body.operations)
        return await self._answer_once(request, body, run, needed)

    async def _import(self, request: Request) -> Response:
        """Create records from a CSV file with a header, or from JSON lines, and report on its rows.

        With `on`, rows that have the key of a record change it, which needs `update` as well.
        """
        options = _read_import_options(request)
        target = target_of(request)
        actions: list[Action] = ["create"]
        if options.on is not None:
            actions.append("update")
        async with self._receive(request) as (file, digest):

            async def import_file(tx: Transaction | None) -> Response:
                return reply(await self._records.import_file(target, file, options, tx=tx))

            return await while_connected(
                request, lambda: self._answer(request, digest, import_file, *actions)
            )

    @asynccontextmanager
    async def _receive(self, request: Request) -> AsyncGenerator[tuple[IO[bytes], bytes]]:
        """Keep the body of a request in a file, and yield that with the body's digest."""
        user = request.actor.user_id
        size = 0
        digest = hashlib.sha256()
        with tempfile.SpooledTemporaryFile(1_000_000) as file:
            try:
                async for piece in read_pieces(request, MAX_BODY):
                    self._files.take(user, len(piece))
                    size += len(piece)
                    digest.update(piece)
                    await to_thread.run_sync(file.write, piece)
                yield cast("IO[bytes]", file), digest.digest()
            finally:
                self._files.give_back(user, size)


def _read_import_options(request: Request) -> ImportOptions:
    """Read how a file is imported. Raises BadRequest."""
    parameters = request.query()
    check_parameters(parameters, IMPORT_PARAMETERS)
    file_format = _format_of_body(request)
    mode = one_of("mode", parameters.get("mode", "all"), ("all", "valid"))
    return ImportOptions(
        file_format=file_format,
        mode=cast("Mode", mode),
        on=parameters.get("on"),
        dry_run=read_flag(parameters, "dryRun"),
        raw=read_flag(parameters, "raw"),
        preview=whole_number("preview", parameters.get("preview", "0"), maximum=MAX_PREVIEW),
    )


def _format_of_body(request: Request) -> Format:
    """Return the format of a body. Raises BadRequest."""
    content_type = header_of(request, b"content-type") or ""
    media_type, _, type_parameters = content_type.lower().partition(";")
    file_format = MEDIA.get(media_type.strip())
    if file_format is None:
        raise BadRequest(f"the content type must be one of {', '.join(MEDIA)}")
    charset = re.search(r"charset\s*=\s*\"?([\w-]+)", type_parameters)
    if charset is not None and charset[1] not in ("utf-8", "utf8"):
        raise BadRequest("the body must be in UTF-8")
    return file_format
