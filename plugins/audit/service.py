"""The rules of the audit trail: access, and what is recorded."""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

import structlog

from kernel.public import (
    Access,
    Actor,
    App,
    AuditFilter,
    BadRequest,
    Event,
    Forbidden,
    Statements,
    Transaction,
    nearest,
)

from . import store
from .models import ROW_OPERATIONS, SYSTEM_OPERATIONS

OPERATIONS: Final = (*ROW_OPERATIONS, *SYSTEM_OPERATIONS)
NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")

log = structlog.get_logger("caudex.audit")


class AuditService:
    """See `kernel.contracts.audit.Audit`."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def search(self, wanted: AuditFilter) -> bytes:
        """Return a JSON array of audit rows. Raises BadRequest for a value that no row can have."""
        _check_values(wanted)
        if wanted.operation is not None:
            await self._check_operation(wanted.operation)
        return await store.search(self._statements, wanted)

    async def _check_operation(self, operation: str) -> None:
        """Refuse a misspelt operation: an empty reply would mean that it never happened."""
        if operation in OPERATIONS or await store.knows_operation(self._statements, operation):
            return
        meant = nearest(operation, OPERATIONS)
        raise BadRequest(f"no operation {operation!r} is on record; {meant}")


async def reads_in_part(access: Access, actor: Actor, app_id: str | None) -> bool:
    """Whether the caller reads only the trail of the installed app, as its admins do. Core admins
    read everything. Raises Forbidden for other callers."""
    if await access.is_core_admin(actor.user_id):
        return False
    if app_id is None:
        raise Forbidden("only a core admin may read the whole audit log; an app admin gives app_id")
    if not await access.is_app_admin(actor.user_id, app_id):
        raise Forbidden("only an admin of the app may read its audit log")
    return True


async def record_event(tx: Transaction, event: Event) -> None:
    """Write a system event in the transaction in which it happens."""
    await store.record(tx, event)


async def watch(tx: Transaction, app: App) -> None:
    """Attach the triggers to the tables of an app that lack them, and record where its trail
    begins: what a former app of the same name did is kept from the admins of a new one."""
    await store.begin(tx, app.id)
    if lacking := await store.watch(tx, app.id, app.key, tuple(app.entities)):
        log.info("audit triggers attached", app_id=app.id, entities=lacking)


def _check_values(wanted: AuditFilter) -> None:
    for name, text in (("app_id", wanted.app_id), ("entity", wanted.entity)):
        if text is not None and not NAME.fullmatch(text):
            raise BadRequest(f"{name} must be a name of lower-case letters, digits and underscores")
    if wanted.current and wanted.app_id is None:
        raise BadRequest("current needs app_id: it is about one app")
    if wanted.record_id == "":
        raise BadRequest("record_id must not be empty")
    if wanted.actor_id is not None:
        try:
            UUID(wanted.actor_id)
        except ValueError:
            raise BadRequest("actor_id must be a UUID") from None
