"""A fake of the records of apps."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import IO, Any, Literal

import msgspec

from kernel.contracts.access import Action
from kernel.contracts.apps import OWNER_COLUMN
from kernel.contracts.base import Actor
from kernel.contracts.idempotency import Answer, KeyedRequest
from kernel.contracts.records import (
    Aggregation,
    FormerRecord,
    ImportOptions,
    Operation,
    Page,
    Tagged,
    Target,
    View,
    WorkerOperation,
)
from kernel.contracts.statements import Transaction, Work
from kernel.errors import NotFound

Record = dict[str, Any]
FIRST_MOMENT = datetime(2030, 1, 1, tzinfo=UTC)
TICK = timedelta(milliseconds=1)


class FakeRecords:
    """RECORDS in memory: any app, any entity, any field. `rows` by app and entity, oldest first.

    It keeps single records, and lists of them. `where` maps fields to equal values. Other filters
    (`$or`, comparisons), views, searches, files, batches and the like raise NotImplementedError:
    test them on a server. A write with `tx` is listed in `joined`. It is not undone with the
    transaction.
    """

    def __init__(self) -> None:
        self.joined: list[tuple[Transaction, str]] = []
        """Transactions that writes took part in, each with the subject of the write."""
        self.rows = defaultdict[tuple[str, str], list[Record]](list)
        self._now = FIRST_MOMENT

    async def get(
        self,
        target: Target,
        record_id: str,
        view: View | None = None,
        *,
        tx: Transaction | None = None,
    ) -> Tagged:
        if view is not None and (view.fields is not None or view.expand):
            raise NotImplementedError("FakeRecords shows every field, and no linked records")
        return _tagged(self._find(target, record_id))

    async def page(self, target: Target, page: Page, *, tx: Transaction | None = None) -> bytes:
        rows = self._sort(target, page)
        if page.after is not None:
            ids = [row["id"] for row in rows]
            rows = rows[ids.index(page.after) + 1 :] if page.after in ids else []
        return _json(rows[page.offset : page.offset + page.limit])

    async def count(
        self,
        target: Target,
        where: Mapping[str, Any] | None,
        search: str | None = None,
        *,
        tx: Transaction | None = None,
    ) -> int:
        if search is not None:
            raise NotImplementedError("FakeRecords searches no words")
        return len(self._select(target, where))

    @asynccontextmanager
    async def stream(self, target: Target, page: Page) -> AsyncGenerator[AsyncIterator[bytes]]:
        """See `Records.stream`; one piece."""

        async def pieces() -> AsyncIterator[bytes]:
            yield _json(self._sort(target, page))

        yield pieces()

    async def create(
        self, target: Target, values: Mapping[str, Any], *, tx: Transaction | None = None
    ) -> Tagged:
        self._note(tx, target)
        return _tagged(self._add(target, values, tx))

    async def create_many(
        self, target: Target, rows: Sequence[Mapping[str, Any]], *, tx: Transaction | None = None
    ) -> bytes:
        self._note(tx, target)
        return _json([self._add(target, values, tx) for values in rows])

    async def update(
        self,
        target: Target,
        record_id: str,
        values: Mapping[str, Any],
        *,
        if_match: str | None = None,
        tx: Transaction | None = None,
    ) -> Tagged:
        row = self._find(target, record_id)
        _check_match(row, if_match)
        self._note(tx, target)
        row |= {**values, "updated_at": self._moment()}
        return _tagged(row)

    async def delete(
        self,
        target: Target,
        record_id: str,
        *,
        if_match: str | None = None,
        tx: Transaction | None = None,
    ) -> None:
        row = self._find(target, record_id)
        _check_match(row, if_match)
        self._note(tx, target)
        self.rows[target.app_id, target.entity].remove(row)

    # What takes PostgreSQL

    def export(
        self,
        target: Target,
        page: Page,
        file_format: Literal["csv", "ndjson"],
        *,
        limit: int | None = None,
        raw: bool = False,
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        raise _only_on_a_server("export")

    async def aggregate(self, target: Target, aggregation: Aggregation) -> bytes:
        raise _only_on_a_server("aggregate")

    async def upsert(
        self,
        target: Target,
        rows: Sequence[Mapping[str, Any]],
        on: str,
        then: Literal["update", "ignore", "fail"] = "update",
        *,
        tx: Transaction | None = None,
    ) -> bytes:
        raise _only_on_a_server("upsert")

    async def update_where(
        self,
        target: Target,
        where: Mapping[str, Any],
        values: Mapping[str, Any],
        *,
        expect: int | None = None,
        at_most: int | None = None,
        tx: Transaction | None = None,
    ) -> int:
        raise _only_on_a_server("update_where")

    async def delete_where(
        self,
        target: Target,
        where: Mapping[str, Any],
        *,
        expect: int | None = None,
        at_most: int | None = None,
        tx: Transaction | None = None,
    ) -> int:
        raise _only_on_a_server("delete_where")

    async def batch(
        self,
        actor: Actor,
        app_id: str,
        operations: Sequence[Operation],
        *,
        dry_run: bool = False,
        tx: Transaction | None = None,
    ) -> bytes:
        raise _only_on_a_server("batch")

    async def restore(
        self, target: Target, records: Sequence[FormerRecord], *, tx: Transaction
    ) -> None:
        raise _only_on_a_server("restore")

    async def revert(
        self, target: Target, changes: Mapping[str, Mapping[str, Any]], *, tx: Transaction
    ) -> None:
        raise _only_on_a_server("revert")

    async def import_file(
        self,
        target: Target,
        file: IO[bytes],
        options: ImportOptions,
        *,
        tx: Transaction | None = None,
    ) -> bytes:
        raise _only_on_a_server("import_file")

    async def run_once(
        self,
        actor: Actor,
        app_id: str,
        request: KeyedRequest,
        needed: Sequence[tuple[str, Action]],
        work: Work[Answer],
    ) -> Answer:
        raise _only_on_a_server("once")

    async def operate(self, actor: Actor, app_id: str, operation: WorkerOperation) -> bytes:
        raise _only_on_a_server("operate")

    def _note(self, tx: Transaction | None, target: Target) -> None:
        if tx is not None:
            self.joined.append((tx, f"{target.app_id}.{target.entity}"))

    def _add(self, target: Target, values: Mapping[str, Any], tx: Transaction | None) -> Record:
        owner = target.actor if tx is None else tx.actor
        now = self._moment()
        record = {"id": str(uuid.uuid4()), **values, "created_at": now, "updated_at": now}
        row = {**record, OWNER_COLUMN: owner.user_id}
        self.rows[target.app_id, target.entity].append(row)
        return row

    def _find(self, target: Target, record_id: str) -> Record:
        for row in self._select(target, {"id": record_id}):
            return row
        raise NotFound(f"record '{record_id}' not found")

    def _select(self, target: Target, where: Mapping[str, Any] | None) -> list[Record]:
        values = dict(where or {})
        for field, value in values.items():
            if field.startswith("$") or isinstance(value, Mapping):
                raise NotImplementedError(f"FakeRecords compares for equality only, not {field!r}")
        if target.grant.own_only:
            values[OWNER_COLUMN] = target.actor.user_id
        rows = self.rows[target.app_id, target.entity]
        return [
            row for row in rows if all(row.get(field) == value for field, value in values.items())
        ]

    def _sort(self, target: Target, page: Page) -> list[Record]:
        """Return rows in order; rows without a value come last, as in PostgreSQL."""
        rows = self._select(target, page.where)
        # A sort keeps the order of equal values: the last field is sorted by first.
        for item in reversed(page.then_by):
            for name, order in item.items():
                rows = _sort_by(rows, name, order)
        return _sort_by(rows, page.order_by or "created_at", page.order)

    def _moment(self) -> str:
        """Return the time of a clock that each write advances, for a definite order."""
        self._now += TICK
        return self._now.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _sort_by(rows: Sequence[Record], name: str, order: str) -> list[Record]:
    with_value = [row for row in rows if row.get(name) is not None]
    without_value = [row for row in rows if row.get(name) is None]
    with_value.sort(key=lambda row: row[name], reverse=order == "desc")
    return with_value + without_value


def _only_on_a_server(method: str) -> NotImplementedError:
    return NotImplementedError(f"FakeRecords has no {method}: test it on a server")


def _json(value: Record | Sequence[Record]) -> bytes:
    shown = _shown(value) if isinstance(value, dict) else [_shown(row) for row in value]
    return msgspec.json.encode(shown)


def _tagged(row: Record) -> Tagged:
    return Tagged(_json(row), _etag(row))


def _etag(row: Record) -> str:
    return f'"{row["updated_at"]}"'


def _check_match(row: Record, if_match: str | None) -> None:
    if if_match is not None and if_match not in ("*", _etag(row)):
        raise NotImplementedError("FakeRecords refuses no other entity tag: test it on a server")


def _shown(row: Record) -> Record:
    return {name: value for name, value in row.items() if name != OWNER_COLUMN}
