"""Writes of many records over HTTP: bulks, batches, by condition, imports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

from kernel.public import (
    APP_USER,
    FORM_FRAME,
    MAX_BODY,
    Action,
    Record,
    Request,
    Response,
    Route,
    Services,
    Transaction,
    entity,
    one_of,
    reply,
    while_connected,
)

from .exchange.bodies import ImportBodies, read_options
from .exchange.worker_operations import permissions_of_batch
from .handlers import COLLECTION, CollectionRoutes, check_parameters, header_of, target_of
from .models import (
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
from .upserts.plan import Then

BATCH: Final = "/api/v1/apps/{app_id}/batch"


class ManyRoutes(CollectionRoutes):
    """The routes that write many records."""

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._bodies = ImportBodies()

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
                max_body=MAX_BODY + FORM_FRAME, query=ImportQuery, errors=(400,), workers=True,
                app_hosts=True, openapi=IMPORT_DOCS,
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

        With `on`, rows that have the key of a record change it, which needs `update` as well. The
        body is the file, or a form whose first file is taken.
        """
        target = target_of(request)
        async with self._bodies.receive(request) as received:
            options = read_options(request, received.content_type)
            actions: list[Action] = ["create"]
            if options.on is not None:
                actions.append("update")

            async def import_file(tx: Transaction | None) -> Response:
                file = received.file
                return reply(await self._records.import_file(target, file, options, tx=tx))

            return await while_connected(
                request, lambda: self._answer(request, received.digest, import_file, *actions)
            )
