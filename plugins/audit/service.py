"""The rules of the audit trail: access, what is recorded, and how long it is kept."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from datetime import date
from typing import Final
from uuid import UUID

import msgspec
import structlog

from kernel.public import (
    Access,
    Actor,
    App,
    AuditFilter,
    BadRequest,
    BootError,
    Forbidden,
    KernelError,
    Reader,
    Statements,
    Transaction,
    failure,
    limits_of,
    nearest,
    server_actor,
)

from . import store
from .models import ROW_OPERATIONS, SYSTEM_OPERATIONS, Months

OPERATIONS: Final = (*ROW_OPERATIONS, *SYSTEM_OPERATIONS)
NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
LATER: Final = 600.0
"""Seconds until months are looked at again that could not be dropped."""

log = structlog.get_logger("caudex.audit")


class AuditService:
    """See `kernel.contracts.logs.Audit`."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def search(self, criteria: AuditFilter) -> bytes:
        """Return a JSON array of audit rows. Raises BadRequest for a value that no row can have."""
        _check_values(criteria)
        if criteria.operation is not None:
            await self._check_operation(criteria.operation)
        return await store.search(self._reader, criteria)

    async def _check_operation(self, operation: str) -> None:
        """Refuse a misspelt operation: an empty reply would mean that it never happened."""
        if operation in OPERATIONS or await store.knows_operation(self._reader, operation):
            return
        suggestion = nearest(operation, OPERATIONS)
        raise BadRequest(f"no operation {operation!r} is on record; {suggestion}")


async def reads_own_app_only(access: Access, actor: Actor, app_id: str | None) -> bool:
    """Whether the caller reads only the trail of the installed app, as its admins do.

    Core admins read everything, unless limits narrow them. Raises Forbidden for other callers.
    """
    limits = actor.limits
    is_narrow = limits is not None and limits.narrow
    if not is_narrow and await access.is_core_admin(actor.user_id):
        return False
    if app_id is None:
        raise Forbidden("only a core admin may read the whole audit log; an app admin gives app_id")
    if not await access.is_app_admin(actor.user_id, app_id, **limits_of(actor)):
        raise Forbidden("only an admin of the app may read its audit log")
    return True


Announce = Callable[[Transaction, date], Awaitable[bool]]
"""States that rows before a day may be gone; False where they have to stay."""


class Maintenance:
    """Creates partitions ahead of time and drops expired ones."""

    def __init__(
        self, statements: Statements, keep_months: int, announce: Announce | None = None
    ) -> None:
        """`announce` is called in the transaction that drops months."""
        self._statements = statements
        self._keep_months = keep_months
        self._announce = announce

    async def maintain(self) -> float | None:
        """Update the partitions; there is nothing to do on most days.

        Returns the seconds until the next time, where that is sooner than a day.
        """
        months = await store.find_months(self._statements, self._keep_months)
        if months.blocked:
            log.warning("rows of a month are in the default partition", months=months.blocked)
        if not months.missing and not months.expired:
            return None
        changed = await self._statements.run(server_actor(), self._change)
        if changed.missing or changed.expired:
            log.info("audit partitions changed", made=changed.missing, dropped=changed.expired)
        if len(changed.expired) < len(months.expired):
            log.warning("months are kept until their rows are sealed", months=months.expired)
            return LATER
        return None

    async def _change(self, tx: Transaction) -> Months:
        await tx.lock("audit.months")
        # Query again: another process may have changed them before this one got the lock.
        months = await store.find_months(tx, self._keep_months)
        if months.expired and self._announce is not None:
            last = max(months.expired)
            kept_from = date(last.year + last.month // 12, last.month % 12 + 1, 1)
            if not await self._announce(tx, kept_from):
                months = msgspec.structs.replace(months, expired=[])
        await store.change_months(tx, months)
        return months

    async def start(self, apps: Iterable[App]) -> None:
        """Update the partitions before the first row, and watch the apps that were installed while
        the plugin was disabled.

        A failure of the first loses nothing: months are created ahead, and the default partition
        takes the other rows. Raises BootError for the second: a table without triggers must not be
        served.
        """
        try:
            await self.maintain()
        except Exception as error:
            log.error("audit partitions are not up to date", **failure(error))
        for app in apps:
            try:
                await self._statements.run(server_actor(), lambda tx, app=app: store.watch(tx, app))
            except KernelError as error:
                problem = f"the tables of app {app.id!r} cannot be watched: {error.message}"
                raise BootError("plugin audit", problem, "start again") from error


def _check_values(criteria: AuditFilter) -> None:
    for name, text in (("app_id", criteria.app_id), ("entity", criteria.entity)):
        if text is not None and not NAME.fullmatch(text):
            raise BadRequest(f"{name} must be a name of lower-case letters, digits and underscores")
    if criteria.current and criteria.app_id is None:
        raise BadRequest("current needs app_id: it is about one app")
    if criteria.record_id == "":
        raise BadRequest("record_id must not be empty")
    if criteria.actor_id is not None:
        try:
            UUID(criteria.actor_id)
        except ValueError:
            raise BadRequest("actor_id must be a UUID") from None
