"""Changes of records that a worker asks for, behind a position that is kept for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec

from kernel.public import (
    APPS,
    CHANGES,
    STATEMENTS,
    WATCHES,
    Actor,
    BadRequest,
    Changes,
    CommittedChange,
    InstallPlan,
    Services,
    Transaction,
    Verdict,
    Watched,
    cut_before_fill,
    judge_part,
)
from plugins.workers.child.protocol import CollectionOp

MAX_READERS: Final = 100
"""Names of readers of an app."""
MAX_PAGE: Final = 1_000
MAX_BYTES: Final = 8_000_000
"""Bytes of an answer, unless its first change has more: what is sent to a worker has a bound."""

_FIND: Final = """
select position from caudex_workers.positions
where app_id = $1::text and entity = $2::text and name = $3::text"""

_SAVE: Final = """
insert into caudex_workers.positions (app_id, entity, name, position)
select $1::text, $2::text, $3::text, $4::text
where exists (select from caudex_workers.positions
    where app_id = $1::text and entity = $2::text and name = $3::text)
or (select count(*) from caudex_workers.positions where app_id = $1::text) < $5::int
on conflict (app_id, entity, name) do update
set position = excluded.position, updated_at = excluded.updated_at
returning 'true'"""


_FORGET: Final = """
delete from caudex_workers.positions where app_id = $1::text and entity = $2::text"""

_RENAME: Final = """
update caudex_workers.positions set entity = $3::text
where app_id = $1::text and entity = $2::text"""


async def rename_readers(tx: Transaction, plan: InstallPlan) -> None:
    """Let readers of entities that an install renames go on under the new names."""
    for name in plan.renamed:
        if name.field is None:
            # Those of another entity, which had the new name before.
            await tx.execute(_FORGET, plan.app.id, name.entity)
            await tx.execute(_RENAME, plan.app.id, name.former, name.entity)


class ChangesRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `data` of the operation.

    With a `name` the server keeps the position. `done` is the one behind what has been handled; it
    is kept before the next changes are read. Without it a reader begins at `since`, else where it
    was, and a new one now. A `limit` of 0 reads nothing.
    """

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] | None = None
    since: str | None = None
    done: str | None = None
    where: dict[str, Any] | None = None
    fields: list[str] | None = None
    limit: Annotated[int, msgspec.Meta(ge=0)] = 500


class ChangeOperations:
    """Reads changes as the feed shows them, with the rights of the caller."""

    def __init__(self, services: Services, app_id: str) -> None:
        self._services = services
        self._app_id = app_id

    async def read(self, actor: Actor, op: CollectionOp) -> bytes:
        """Return the next changes as JSON. Raises KernelError."""
        try:
            request = msgspec.convert(op.data, ChangesRequest)
        except msgspec.ValidationError as error:
            raise BadRequest(f"changes: {error}") from None
        changes = self._services.find(CHANGES)
        watches = self._services.find(WATCHES)
        if changes is None or watches is None:
            raise BadRequest("this server keeps no trail of changes (plugins audit and data)")
        # Rights first: a caller without them learns nothing of positions.
        watched = Watched(
            app_id=self._app_id,
            entity=op.entity,
            where=request.where,
            fields=request.fields,
            former=True,
        )
        watch = await watches.open(actor, watched)
        begin = await self._find_begin(changes, op.entity, request)
        if request.limit == 0:
            return _Answer(begin, complete=False, lost=None).encode()
        subject = f"{self._app_id}.{op.entity}"
        limit = min(request.limit, MAX_PAGE)
        page = await changes.read(begin, [subject], limit, reshape=True)
        if page.reshaped:  # the catalog of this process may be a moment older
            await self._services.get(APPS).refresh()
            watch = await watches.open(actor, watched)
        answer = _Answer(page.position, complete=page.complete, lost=page.lost)
        for part in cut_before_fill(page.changes):
            verdicts = await judge_part(changes, watch, part)
            if not answer.add_all(part, verdicts):
                break
        return answer.encode()

    async def _find_begin(self, changes: Changes, entity: str, request: ChangesRequest) -> str:
        """Return where to read from, and keep it for a reader with a name."""
        begin = request.done or request.since
        if begin is not None:
            changes.check(begin)
        if request.name is None:
            return begin or await changes.now()
        statements = self._services.get(STATEMENTS)
        reader = (self._app_id, entity, request.name)
        if begin is None:
            position = await statements.fetch(_FIND, *reader)
            if position is not None:
                return position.decode()
            begin = await changes.now()
        if await statements.execute(_SAVE, *reader, begin, MAX_READERS) is None:
            raise BadRequest(f"an app has at most {MAX_READERS} readers of changes with names")
        return begin


class _Answer:
    """The changes of an answer, as far as they fit into it."""

    def __init__(self, position: str, *, complete: bool, lost: str | None) -> None:
        self._position = position
        self._complete = complete
        self._lost = lost
        self._events = list[bytes]()
        self._size = 0
        self._last_position = ""

    def add_all(
        self, changes: Sequence[CommittedChange], verdicts: Sequence[Verdict | None]
    ) -> bool:
        """Add changes in their order; return whether others may follow."""
        pairs = zip(changes, verdicts, strict=True)
        return all(self._add(change, verdict) for change, verdict in pairs)

    def _add(self, change: CommittedChange, verdict: Verdict | None) -> bool:
        if verdict is None:
            self._last_position = change.position
            return True
        if verdict.event == "unknown":
            self._lost = "value too large"
            self._position = change.position
            self._events.clear()
            return False
        event = _encode_event(change, verdict)
        if self._events and self._size + len(event) > MAX_BYTES:
            self._position = self._last_position
            self._complete = False
            return False
        self._events.append(event)
        self._size += len(event)
        self._last_position = change.position
        return True

    def encode(self) -> bytes:
        answer = {
            "changes": [msgspec.Raw(event) for event in self._events],
            "position": self._position,
            "complete": self._complete,
            "lost": self._lost,
        }
        return msgspec.json.encode(answer)


def _encode_event(change: CommittedChange, verdict: Verdict) -> bytes:
    event: dict[str, Any] = {
        "change": change.id,
        "event": verdict.event,
        "id": change.record_id,
        "record": None if verdict.record is None else msgspec.Raw(verdict.record),
        "old": None if verdict.former is None else msgspec.Raw(verdict.former),
        "at": change.at,
        "actor": change.actor,
        "request": change.request,
        "position": change.position,
    }
    if verdict.truncated:
        event["truncated"] = verdict.truncated
    return msgspec.json.encode(event)
