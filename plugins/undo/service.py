"""Undoes recorded changes: plans them, writes them back, and says what prevents it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Final

import msgspec
from anyio import to_thread

from kernel.public import (
    ACCESS,
    APPS,
    RECORDED,
    RECORDS,
    STATEMENTS,
    TRACES,
    Actor,
    App,
    BadRequest,
    ChangeSelection,
    RecordedChange,
    Services,
    Transaction,
)

from .attempt import UndoAttempt
from .errors import DryRun, UndoRefused
from .models import MAX_CHANGES, TouchedRecord, UndoBody, Undone
from .rights import UndoRights
from .selection import read_selection
from .states import find_inverse
from .writing import RecordsBack

MAX_INLINE_CHANGES: Final = 5000
"""Changes that are put together at once; more would delay other requests."""


class UndoService:
    """Undoes changes of an app in one transaction of its own."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._rights = UndoRights(services.get(ACCESS))
        self._recorded = services.get(RECORDED)

    async def undo(self, actor: Actor, app_id: str, body: UndoBody) -> Undone:
        """Undo what a body means. Raises Forbidden, BadRequest, UndoRefused."""
        app = await self._services.get(APPS).app(app_id)
        selection = read_selection(app, body)
        if body.children:
            selection = await self._add_children(selection)
        if body.actor is not None:
            await self._rights.check_author(actor, app_id, selection.actor_id)
        request_id = f"undo-{uuid.uuid4()}"
        own_actor = msgspec.structs.replace(actor, request_id=request_id)

        async def work(tx: Transaction) -> Undone:
            undone = await self._run(tx, app, selection, body)
            if body.dry_run:
                raise DryRun(undone)
            if undone.conflicts and body.mode == "all":
                raise UndoRefused(undone.conflicts)
            return undone

        statements = self._services.get(STATEMENTS)
        try:
            return await statements.run(own_actor, work, quick=False)
        except DryRun as dry_run:
            return dry_run.undone

    async def _run(
        self, tx: Transaction, app: App, selection: ChangeSelection, body: UndoBody
    ) -> Undone:
        if selection.after is not None:
            await self._check_begin(tx, selection)
        changes = await self._recorded.list(tx, selection, MAX_CHANGES + 1)
        if len(changes) > MAX_CHANGES:
            count = await self._recorded.count(tx, selection)
            raise BadRequest(
                f"{count} changes are meant, and one undo takes back at most {MAX_CHANGES}:"
                " narrow it by entities or times"
            )
        actor = tx.actor
        await self._rights.check_authors(actor, app.id, changes)
        records = await _find_touched(changes)
        grants = await self._rights.find_grants(actor, app, records)
        writer = RecordsBack(self._services.get(RECORDS), actor, app.id, grants)
        attempt = UndoAttempt(self._recorded, writer, app)
        await attempt.run(tx, records)
        return Undone(
            undone=attempt.undone,
            records=attempt.records,
            conflicts=attempt.conflicts,
            request=actor.request_id,
        )

    async def _add_children(self, selection: ChangeSelection) -> ChangeSelection:
        """Add the requests under which jobs of the request did what they did."""
        traces = self._services.find(TRACES)
        if traces is None:
            raise BadRequest("children: this server does not trace what requests cause")
        children = await traces.find_children(selection.request_ids[0])
        request_ids = (*selection.request_ids, *children)
        return msgspec.structs.replace(selection, request_ids=request_ids)

    async def _check_begin(self, tx: Transaction, selection: ChangeSelection) -> None:
        """Raise BadRequest for a time that the trail of the app does not reach back to."""
        begin = await self._recorded.begins(tx, selection.app_id)
        if begin is None or selection.after is None or selection.after < begin:
            raise BadRequest("to is before the app was installed, or its trail began")


async def _find_touched(changes: Sequence[RecordedChange]) -> Sequence[TouchedRecord]:
    """Return the records of changes that come newest first, in the order of their inverses."""
    if len(changes) <= MAX_INLINE_CHANGES:
        return _put_together(changes)
    return await to_thread.run_sync(_put_together, changes)


def _put_together(changes: Sequence[RecordedChange]) -> Sequence[TouchedRecord]:
    changes_of: dict[tuple[str, str], list[RecordedChange]] = {}
    for change in changes:
        changes_of.setdefault((change.entity, change.record_id), []).append(change)
    records: list[TouchedRecord] = []
    for (entity, record_id), own_changes in changes_of.items():
        inverse = find_inverse(change.operation for change in own_changes)
        records.append(TouchedRecord(entity, record_id, own_changes, inverse))
    return sorted(records, key=lambda record: record.place, reverse=True)
