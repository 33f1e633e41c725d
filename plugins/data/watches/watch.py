"""A watch: judges changes for its caller, and knows whether it is still what it was."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Final, Literal

import msgspec

from kernel.public import (
    Actor,
    App,
    Apps,
    CommittedChange,
    Forbidden,
    NotFound,
    Reader,
    Verdict,
    Watched,
    WatchEnd,
    cut_changes,
)
from plugins.data.rendering import TOO_LARGE, keep_members
from plugins.data.rights.row_scope import RowScope

from .marks import PlainRows, put_back, take_out_marks
from .statement import JudgeStatement

_encode = msgspec.json.Encoder().encode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Compiled(msgspec.Struct, frozen=True):
    """What a watch was compiled from, and what it became."""

    app: App
    scope: RowScope
    statement: JudgeStatement
    key: Hashable


Compile = Callable[[Actor, Compiled | None], Awaitable[Compiled]]
"""Compiles a watch for a caller, or returns what it became before. Raises Forbidden, NotFound,
BadRequest."""


class Doors(msgspec.Struct, frozen=True):
    """The services that a watch asks while it lasts."""

    apps: Apps
    reader: Reader


class EntityWatch:
    """See `kernel.contracts.trail.watches.Watch`."""

    def __init__(
        self, watched: Watched, actor: Actor, compiled: Compiled, compile_: Compile, doors: Doors
    ) -> None:
        self.watched = watched
        self._actor = actor
        self._compiled = compiled
        self._compile = compile_
        self._apps = doors.apps
        self._reader = doors.reader

    @property
    def key(self) -> Hashable:
        """See `Watch.key`."""
        return self._compiled.key

    @property
    def app_key(self) -> int:
        """See `Watch.app_key`."""
        return self._compiled.app.key

    async def find_end(self, actor: Actor | None = None) -> WatchEnd | None:
        """See `Watch.find_end`."""
        before = self._compiled
        try:
            app = await self._apps.app(self.watched.app_id)
        except NotFound:
            return "app removed"
        if app.key != before.app.key:
            return "app removed"
        if app.entities.get(self.watched.entity) != before.app.entities[self.watched.entity]:
            return "entity changed"
        try:
            now = await self._compile(actor or self._actor, before)
        except (Forbidden, NotFound):
            return "role"
        if now.key != before.key:
            return "role"
        self._compiled = now
        return None

    async def judge(self, changes: Sequence[CommittedChange]) -> list[Verdict | None]:
        """See `Watch.judge`."""
        verdicts = list[Verdict | None]()
        for part in cut_changes(changes):
            verdicts += await self._judge_part(part)
        return verdicts

    async def _judge_part(self, changes: Sequence[CommittedChange]) -> list[Verdict | None]:
        """Judge changes by one statement."""
        statement = self._compiled.statement
        plain_rows = [take_out_marks(change) for change in changes]
        document = b"[%b]" % b",".join(
            _write_change(change, rows, statement)
            for change, rows in zip(changes, plain_rows, strict=True)
        )
        texts = await self._reader.fetch_all(
            statement.query, document, *statement.params, quick=statement.quick
        )
        return [
            self._read_verdict(text, change, rows)
            for text, change, rows in zip(texts, changes, plain_rows, strict=True)
        ]

    def _read_verdict(
        self, text: bytes, change: CommittedChange, rows: PlainRows
    ) -> Verdict | None:
        """Read what the statement says of a change."""
        statement = self._compiled.statement
        if not statement.deciding.isdisjoint(change.replaced):
            return Verdict("unknown")
        if text == b"null":
            return None
        event = _EVENTS[text[:1]]
        raw_record, _, raw_former = text[1:].partition(b"\n")
        if TOO_LARGE in (raw_record, raw_former):
            return Verdict("unknown")

        record: bytes | None = None
        truncated: list[str] = []
        if event != "leave":
            record = statement.rendering.finish_record(raw_record)
            taken_out = statement.shown.intersection(rows.taken_out)
            if taken_out:
                record = put_back(record, rows.taken_out, taken_out)
                truncated = [name for name in rows.taken_out if name in taken_out & rows.marked]
        former: bytes | None = None
        if raw_former:
            former = statement.rendering.finish_record(raw_former)
            lost = statement.shown.intersection(rows.taken_out_before)
            if lost:
                former = put_back(former, rows.taken_out_before, lost)
            if change.new is not None:
                former = keep_members(former, _find_changed(change))
        return Verdict(event, record, former, tuple(truncated))


_EVENTS: Final[Mapping[bytes, Literal["enter", "change", "leave"]]] = {
    b"e": "enter",
    b"c": "change",
    b"l": "leave",
}


def _write_change(change: CommittedChange, rows: PlainRows, statement: JudgeStatement) -> bytes:
    """Write a change as the statement reads it, with the owners that the trail keeps apart."""
    old = _add_owner(rows.old, change.owner_before)
    new = _add_owner(rows.new, change.owner_after)
    differs = b"false" if rows.differing.isdisjoint(statement.shown) else b"true"
    return b"[%b,%b,%b]" % (old, new, differs)


def _add_owner(row: bytes | None, owner: str | None) -> bytes:
    if row is None:
        return b"null"
    return row if owner is None else b'{"_owner":"%b",%b' % (owner.encode(), row[1:])


def _find_changed(change: CommittedChange) -> set[str]:
    """Return the fields whose values differ between the two rows; PostgreSQL prints equal ones
    alike."""
    assert change.old is not None
    assert change.new is not None
    old = _decode_members(change.old)
    new = _decode_members(change.new)
    return {name for name, value in old.items() if new.get(name) != value}
