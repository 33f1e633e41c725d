"""Reads what became visible between two moments, page by page."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final, Literal, NamedTuple

import anyio
import anyio.lowlevel
import msgspec

from kernel.public import ChangeLoss, ChangesPage, CommittedChange, Statements, Unavailable

from .moments import Moment, Snapshot, read_snapshot
from .positions import (
    MAX_NUMBER,
    Place,
    Position,
    PositionWriter,
    hash_name,
    start_at,
    write_position,
)
from .replaced import find_replaced
from .reshaping import Loss, Reshaper
from .statements import BATCH_IDS, CHANGES, FIND_MARK, LOOK, MARK, SEEN_WITH_FLOORS, SNAPSHOT

MAX_PAGE: Final = 10_000
QUICK_PAGE: Final = 1_000
"""Most changes of a page that may use the connections of quick reads."""
FAR_BACK: Final = 200
"""Ids that a statement may look at again. If there are more, it takes a number of its own: from
that follows that later rows are behind those ids."""
TURN: Final = 200
"""Changes that are decoded, in some milliseconds, before other tasks have a turn."""
MAX_BYTES: Final = 16_000_000
RESHAPE_TRIES: Final = 3
"""Batches that are read until no install comes between them and their records."""
NO_OWNER: Final = "00000000-0000-0000-0000-000000000000"
"""The former owner of a record that had none."""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """What one statement read: the changes of `subjects` behind `begin`, and where it got to.

    Those of subjects in `gaps` are not all there. Subjects in `reshaped` have other fields since
    then, so their records cannot be read as those of today.
    """

    begin: Position
    subjects: frozenset[str]
    changes: tuple[CommittedChange, ...]
    position: Position
    complete: bool
    gaps: Mapping[str, Loss]
    reshaped: Mapping[str, Loss]
    transaction_ends: Mapping[int, int]
    """The greatest id of each transaction."""

    @property
    def concerned(self) -> frozenset[str]:
        """The subjects that this batch has something about."""
        changed = {change.subject for change in self.changes}
        return frozenset(changed | self.gaps.keys() | self.reshaped.keys())

    def narrow_to(self, subjects: frozenset[str]) -> Batch:
        """Return this batch with the changes of some subjects only."""
        changes = tuple(change for change in self.changes if change.subject in subjects)
        return msgspec.structs.replace(self, changes=changes)

    @property
    def finish(self) -> Moment:
        """What was visible where this batch, or what is left of it, ends."""
        return self.position.end or self.position.begin


class ReadPage(NamedTuple):
    """Changes of one reader, and the position behind them."""

    page: ChangesPage
    position: Position


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    now: str
    snapshot: str
    last_id: int
    is_now: bool
    own: int | None
    count: int
    is_too_old: bool
    was_off: bool
    gaps: dict[str, Loss] | None
    reshaped: dict[str, Loss] | None


class _Sight(msgspec.Struct, frozen=True):
    """What LOOK saw where it found nothing."""

    now: str
    own: int | None


class _Row(msgspec.Struct, frozen=True, array_like=True):
    """A change as the statement writes it, in this order."""

    end: int
    id: int
    app: str
    entity: str
    record: str
    old: msgspec.Raw
    new: msgspec.Raw
    first: str
    former: str | None
    first_owner: str | None
    owner: str | None
    actor: str | None
    request: str | None
    transaction: int
    at: str


class _SeenWithFloors(msgspec.Struct, frozen=True):
    seen: str
    floors: dict[int, int]


_HEADER: Final = msgspec.json.Decoder(_Header)
_SIGHT: Final = msgspec.json.Decoder(_Sight)
_ROW: Final = msgspec.json.Decoder(_Row)
_SEEN: Final = msgspec.json.Decoder(_SeenWithFloors)


class BatchReader:
    """Reads the trail by positions."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._reshaper = Reshaper(statements)

    async def find_now(self, seen: bytes | None = None) -> Position:
        """Return the position of now, or of a value of `caudex_audit.seen()`.

        Raises Unavailable.
        """
        seen_with_floors = await self._read_seen(seen)
        snapshot = read_snapshot(seen_with_floors.seen)
        all_floors = seen_with_floors.floors
        if not all_floors[snapshot.xmax] and seen is None:
            # The first mark of this history: without one, all of the trail would be looked through.
            await self._statements.execute(MARK, BATCH_IDS)
            seen_with_floors = await self._read_seen(None)
            snapshot = read_snapshot(seen_with_floors.seen)
            all_floors = seen_with_floors.floors
        floors = {number: all_floors[number] for number in snapshot.open}
        moment = Moment(
            xmax=snapshot.xmax,
            last_id=snapshot.last_id,
            open=floors,
            late=all_floors[snapshot.xmax],
        )
        return start_at(snapshot, moment)

    async def _read_seen(self, seen: bytes | None) -> _SeenWithFloors:
        answer = await self._statements.fetch(SEEN_WITH_FLOORS, seen)
        return _SEEN.decode(answer or b"")

    async def read_page(
        self, position: Position, subjects: Collection[str], limit: int, *, reshape: bool = False
    ) -> ReadPage:
        """Read the next changes of one reader."""
        batch = await self.read(position, subjects, limit)
        losses = {**batch.reshaped, **batch.gaps}
        is_reshaped = reshape and bool(batch.reshaped)
        if is_reshaped:
            batch = await self._reshape(batch, position, subjects, limit)
            losses = {**batch.gaps}
        if not losses:
            page = ChangesPage(
                changes=batch.changes,
                position=write_position(batch.position),
                complete=batch.complete,
                reshaped=is_reshaped,
            )
            return ReadPage(page, batch.position)
        now = await self.find_now()
        loss = find_first_loss(losses)
        page = ChangesPage(changes=(), position=write_position(now), complete=False, lost=loss)
        return ReadPage(page, now)

    async def _reshape(
        self, batch: Batch, position: Position, subjects: Collection[str], limit: int
    ) -> Batch:
        """Return a batch whose records have the fields of today.

        Raises Unavailable where installs follow one another.
        """
        names = frozenset(subjects)
        for _ in range(RESHAPE_TRIES):
            losses = {name: loss for name, loss in batch.reshaped.items() if name in names}
            if batch.gaps or not losses:
                return batch.narrow_to(names)
            history = await self._reshaper.read_history(losses)
            if history.subjects <= batch.subjects and history.has_shapes(losses):
                changes = await self._reshaper.reshape(history, batch.changes)
                if changes is not None:
                    reshaped = msgspec.structs.replace(batch, changes=tuple(changes))
                    return reshaped.narrow_to(names)
            batch = await self.read(position, names | history.subjects, limit)
        raise Unavailable("the entities change at this very moment")

    async def find_mark(self, time: datetime) -> Position | None:
        """Return the position of the newest mark that was made before a time, or None."""
        answer = await self._statements.fetch(FIND_MARK, time)
        if answer is None:
            return None
        [seen] = msgspec.json.decode(answer, type=tuple[str])
        return await self.find_now(seen.encode())

    async def is_newest(self, position: Position) -> bool:
        """Whether no transaction has ended since a position. Raises Unavailable."""
        if position.end is not None:
            return False
        snapshot = await self._statements.fetch(SNAPSHOT)
        return snapshot == position.begin.snapshot.encode()

    async def pass_others(self, position: Position, subjects: Collection[str]) -> Position | None:
        """Return a later position where nothing of some subjects is between both.

        None where something is, or may be. Raises Unavailable.
        """
        if position.end is not None:
            return None
        begin = position.begin
        answer = await self._statements.fetch(
            LOOK,
            begin.last_id,
            [str(number) for number in begin.open],
            list(begin.open.values()),
            str(begin.xmax),
            begin.late,
            sorted(subjects),
            begin.last_id - begin.late > FAR_BACK,
        )
        if answer is None:
            return None
        sight = _SIGHT.decode(answer)
        snapshot = read_snapshot(sight.now, sight.own or 0)
        if not _is_of_history(position, snapshot):
            return None
        return msgspec.structs.replace(position, begin=begin.lead_to(snapshot))

    async def read(self, position: Position, subjects: Collection[str], limit: int) -> Batch:
        """Read the next changes behind a position. Raises Unavailable."""
        names = frozenset(subjects)
        begin = position.begin
        end = position.end
        rows = await self._statements.fetch_all(
            CHANGES,
            begin.last_id,
            [str(number) for number in begin.open],
            list(begin.open.values()),
            end.snapshot if end is not None else None,
            end.last_id if end is not None else None,
            *position.place,
            sorted(names),
            min(limit, MAX_PAGE),
            MAX_BYTES,
            BATCH_IDS,
            begin.lowest,
            str(begin.xmax),
            begin.late,
            end is None and begin.last_id - begin.late > FAR_BACK,
            quick=limit <= QUICK_PAGE,
        )
        header = _HEADER.decode(rows[0])
        snapshot = read_snapshot(header.now)
        loss = _find_loss(position, header, snapshot)
        if loss is not None:
            now = await self.find_now()
            return Batch(
                begin=now,
                subjects=names,
                changes=(),
                position=now,
                complete=False,
                gaps=dict.fromkeys(names, Loss(loss, MAX_NUMBER, MAX_NUMBER)),
                reshaped={},
                transaction_ends={},
            )
        return await _make_batch(position, names, header, snapshot, rows[1:], limit)


def find_first_loss(losses: Mapping[str, Loss]) -> ChangeLoss:
    """Return the loss of the first subject that has one, by their names."""
    return losses[min(losses)].reason


def _is_of_history(position: Position, now: Snapshot) -> bool:
    """Whether a position is of the history that the server has now."""
    target = position.end or position.begin
    return position.branch == hash_name(now.branch) and target.last_id <= now.last_id


def _find_loss(position: Position, header: _Header, now: Snapshot) -> ChangeLoss | None:
    """Return why nothing behind a position can be read, if so."""
    if position.server != hash_name(now.server):
        return "another server"
    if not _is_of_history(position, now):
        return "restored"
    if header.is_too_old:
        return "too old"
    if header.was_off:
        return "trail was off"
    return None


async def _make_batch(
    position: Position,
    subjects: frozenset[str],
    header: _Header,
    now: Snapshot,
    rows: list[bytes],
    limit: int,
) -> Batch:
    end = position.end
    if end is None:
        snapshot = f"{now.branch} {header.snapshot} {header.last_id}"
        end = position.begin.lead_to(read_snapshot(snapshot, header.own or 0))
    reading = msgspec.structs.replace(position, end=end)

    writer = PositionWriter(reading)
    changes = list[CommittedChange]()
    transaction_ends = dict[int, int]()
    for number, row in enumerate(rows):
        if number % TURN == TURN - 1:
            await anyio.lowlevel.checkpoint()
        decoded = _ROW.decode(row)
        transaction_ends[decoded.transaction] = decoded.end
        change = _read_change(decoded, writer)
        if change is not None:
            changes.append(change)

    is_page_cut = len(rows) < header.count
    is_page_full = header.count == min(limit, MAX_PAGE)
    if is_page_cut or is_page_full:
        last = _ROW.decode(rows[-1])
        reached = msgspec.structs.replace(reading, place=Place(last.end, last.id))
        is_complete = False
    else:
        reached = Position(server=position.server, branch=position.branch, begin=end)
        is_complete = header.is_now
    return Batch(
        begin=position,
        subjects=subjects,
        changes=tuple(changes),
        position=reached,
        complete=is_complete,
        gaps=header.gaps or {},
        reshaped=header.reshaped or {},
        transaction_ends=transaction_ends,
    )


def _read_change(row: _Row, writer: PositionWriter) -> CommittedChange | None:
    """Return what a transaction did to a record, or None where nothing is left of it."""
    old = _read_record(row.old)
    new = _read_record(row.new)
    owner_before = row.first_owner
    if row.former is not None:
        owner_before = None if row.former == NO_OWNER else row.former
    if old == new and owner_before == row.owner:
        return None
    replaced = [*find_replaced(old), *find_replaced(new)]
    return CommittedChange(
        id=row.id,
        app_id=row.app,
        entity=row.entity,
        record_id=row.record,
        operation=_name_operation(old, new),
        old=old,
        new=new,
        owner_before=None if old is None else owner_before,
        owner_after=None if new is None else row.owner,
        actor=row.actor,
        request=row.request,
        at=row.at,
        transaction=row.transaction,
        position=writer.write(Place(row.end, row.id)),
        replaced=tuple(sorted(set(replaced))),
    )


def _read_record(raw: msgspec.Raw) -> bytes | None:
    text = bytes(raw)
    return None if text == b"null" else text


def _name_operation(old: bytes | None, new: bytes | None) -> Literal["INSERT", "UPDATE", "DELETE"]:
    if old is None:
        return "INSERT"
    return "DELETE" if new is None else "UPDATE"
