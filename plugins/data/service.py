"""Provides RECORDS. Each method only passes on: the object that it calls has the behaviour."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import CoroutineType
from typing import IO, Any, Literal

import msgspec

from kernel.public import (
    MAX_PAGE,
    Action,
    Actor,
    Aggregation,
    Answer,
    FormerRecord,
    ImportOptions,
    KeyedRequest,
    Operation,
    Page,
    Query,
    RecordView,
    Tagged,
    Target,
    Transaction,
    View,
    WithSnapshot,
    Work,
    WorkerOperation,
)

from .batches.batch import Batches, check_number
from .calls import Calls
from .exchange.worker_operations import WorkerOperations
from .imports.imports import Imports
from .reads.aggregates import AggregateReader
from .reads.complete import CompleteLists, ExportOptions
from .reads.pages import PageReader
from .reads.record_reader import RecordReader
from .rights.permissions import Permissions
from .rights.views import ViewWriter
from .upserts.upserts import Upserts
from .writes.conditional import ConditionalWrites, Expected
from .writes.former import FormerWrites
from .writes.once import KeyedWrites
from .writes.records import RecordWriter


class RecordReads(msgspec.Struct, frozen=True):
    """The objects that read records, or render them."""

    reader: RecordReader
    pages: PageReader
    lists: CompleteLists
    aggregates: AggregateReader
    views: ViewWriter


class RecordWrites(msgspec.Struct, frozen=True):
    """The objects that write records."""

    writer: RecordWriter
    upserts: Upserts
    conditional: ConditionalWrites
    batches: Batches
    former: FormerWrites
    imports: Imports
    keyed: KeyedWrites


class RecordsService:
    """Answers calls of RECORDS; see `kernel.contracts.records.Records`.

    Most methods return the coroutine of `Calls.run`: one frame less for each call.
    """

    def __init__(
        self, calls: Calls, permissions: Permissions, reads: RecordReads, writes: RecordWrites
    ) -> None:
        """`calls` is what all calls have in common: another attempt, the part in a transaction."""
        self.reads = reads
        self.writes = writes
        self._run = calls.run
        self._operations = WorkerOperations(self, permissions)

    # Reads

    def get(
        self,
        target: Target,
        record_id: str,
        view: View | None = None,
        *,
        tx: Transaction | None = None,
    ) -> CoroutineType[Any, Any, Tagged]:
        """See `Records.get`."""
        reader = self.reads.reader
        return self._run(target.app_id, lambda: reader.get(target, record_id, view, tx), tx)

    def page(
        self, target: Target, page: Page, *, tx: Transaction | None = None
    ) -> CoroutineType[Any, Any, bytes]:
        """See `Records.page`."""
        pages = self.reads.pages
        return self._run(target.app_id, lambda: pages.read(target, page, tx), tx)

    def count(
        self,
        target: Target,
        where: Mapping[str, Any] | None,
        search: str | None = None,
        *,
        tx: Transaction | None = None,
    ) -> CoroutineType[Any, Any, int]:
        """See `Records.count`."""
        pages = self.reads.pages
        return self._run(target.app_id, lambda: pages.count(target, where, search, tx), tx)

    def stream(
        self, target: Target, page: Page
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """See `Records.stream`."""
        return self.reads.lists.stream(target, page)

    def page_with(
        self, target: Target, page: Page, expression: Query, *, at_most: int = MAX_PAGE
    ) -> CoroutineType[Any, Any, WithSnapshot]:
        """See `SnapshotReads.page_with`."""
        pages = self.reads.pages
        return self._run(target.app_id, lambda: pages.read_with(target, page, expression, at_most))

    def stream_with(
        self, target: Target, page: Page, expression: Query
    ) -> AbstractAsyncContextManager[tuple[bytes, AsyncIterator[bytes]]]:
        """See `SnapshotReads.stream_with`."""
        return self.reads.lists.stream_with(target, page, expression)

    def count_with(
        self, target: Target, where: Mapping[str, Any] | None, search: str | None, expression: Query
    ) -> CoroutineType[Any, Any, WithSnapshot]:
        """See `SnapshotReads.count_with`."""
        pages = self.reads.pages
        return self._run(target.app_id, lambda: pages.count_with(target, where, search, expression))

    def export(
        self,
        target: Target,
        page: Page,
        file_format: Literal["csv", "ndjson"],
        *,
        limit: int | None = None,
        raw: bool = False,
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """See `Records.export`."""
        return self.reads.lists.export(target, page, ExportOptions(file_format, limit, raw))

    def aggregate(self, target: Target, aggregation: Aggregation) -> CoroutineType[Any, Any, bytes]:
        """See `Records.aggregate`."""
        aggregates = self.reads.aggregates
        return self._run(target.app_id, lambda: aggregates.read(target, aggregation))

    def aggregate_with(
        self, target: Target, aggregation: Aggregation, expression: Query
    ) -> CoroutineType[Any, Any, WithSnapshot]:
        """See `SnapshotReads.aggregate_with`."""
        aggregates = self.reads.aggregates
        return self._run(
            target.app_id, lambda: aggregates.read_with(target, aggregation, expression)
        )

    def write_views(
        self, actor: Actor, app_id: str, entities: Collection[str]
    ) -> CoroutineType[Any, Any, Sequence[RecordView]]:
        """See `RecordViews.write_views`."""
        views = self.reads.views
        return self._run(app_id, lambda: views.write(actor, app_id, entities))

    # Writes

    def create(
        self, target: Target, values: Mapping[str, Any], *, tx: Transaction | None = None
    ) -> CoroutineType[Any, Any, Tagged]:
        """See `Records.create`."""
        writer = self.writes.writer
        return self._run(target.app_id, lambda: writer.create(target, values, tx), tx)

    def create_many(
        self, target: Target, rows: Sequence[Mapping[str, Any]], *, tx: Transaction | None = None
    ) -> CoroutineType[Any, Any, bytes]:
        """See `Records.create_many`."""
        writer = self.writes.writer
        return self._run(target.app_id, lambda: writer.create_many(target, rows, tx), tx)

    def update(
        self,
        target: Target,
        record_id: str,
        values: Mapping[str, Any],
        *,
        if_match: str | None = None,
        tx: Transaction | None = None,
    ) -> CoroutineType[Any, Any, Tagged]:
        """See `Records.update`."""
        writer = self.writes.writer
        return self._run(
            target.app_id, lambda: writer.update(target, record_id, values, if_match, tx), tx
        )

    def delete(
        self,
        target: Target,
        record_id: str,
        *,
        if_match: str | None = None,
        tx: Transaction | None = None,
    ) -> CoroutineType[Any, Any, None]:
        """See `Records.delete`."""
        writer = self.writes.writer
        return self._run(target.app_id, lambda: writer.delete(target, record_id, if_match, tx), tx)

    def upsert(
        self,
        target: Target,
        rows: Sequence[Mapping[str, Any]],
        on: str,
        then: Literal["update", "ignore", "fail"] = "update",
        *,
        tx: Transaction | None = None,
    ) -> CoroutineType[Any, Any, bytes]:
        """See `Records.upsert`."""
        upserts = self.writes.upserts
        return self._run(target.app_id, lambda: upserts.upsert(target, rows, on, then, tx), tx)

    def update_where(
        self,
        target: Target,
        where: Mapping[str, Any],
        values: Mapping[str, Any],
        *,
        expect: int | None = None,
        at_most: int | None = None,
        tx: Transaction | None = None,
    ) -> CoroutineType[Any, Any, int]:
        """See `Records.update_where`."""
        conditional = self.writes.conditional
        expected = Expected(expect, at_most)
        return self._run(
            target.app_id, lambda: conditional.update(target, where, values, expected, tx), tx
        )

    def delete_where(
        self,
        target: Target,
        where: Mapping[str, Any],
        *,
        expect: int | None = None,
        at_most: int | None = None,
        tx: Transaction | None = None,
    ) -> CoroutineType[Any, Any, int]:
        """See `Records.delete_where`."""
        conditional = self.writes.conditional
        expected = Expected(expect, at_most)
        return self._run(target.app_id, lambda: conditional.delete(target, where, expected, tx), tx)

    async def batch(
        self,
        actor: Actor,
        app_id: str,
        operations: Sequence[Operation],
        *,
        dry_run: bool = False,
        tx: Transaction | None = None,
    ) -> bytes:
        """See `Records.batch`."""
        # Async, so that the error of a wrong number is raised where the call is awaited.
        check_number(operations)
        batches = self.writes.batches
        return await self._run(
            app_id, lambda: batches.run(actor, app_id, operations, dry_run, tx), tx
        )

    def restore(
        self, target: Target, records: Sequence[FormerRecord], *, tx: Transaction
    ) -> CoroutineType[Any, Any, None]:
        """See `Records.restore`."""
        former = self.writes.former
        return self._run(target.app_id, lambda: former.restore(target, records, tx), tx)

    def revert(
        self, target: Target, changes: Mapping[str, Mapping[str, Any]], *, tx: Transaction
    ) -> CoroutineType[Any, Any, None]:
        """See `Records.revert`."""
        former = self.writes.former
        return self._run(target.app_id, lambda: former.revert(target, changes, tx), tx)

    def import_file(
        self,
        target: Target,
        file: IO[bytes],
        options: ImportOptions,
        *,
        tx: Transaction | None = None,
    ) -> CoroutineType[Any, Any, bytes]:
        """See `Records.import_file`."""
        imports = self.writes.imports
        return self._run(target.app_id, lambda: imports.import_file(target, file, options, tx), tx)

    # For clients that repeat requests, and for workers

    def run_once(
        self,
        actor: Actor,
        app_id: str,
        request: KeyedRequest,
        needed: Sequence[tuple[str, Action]],
        work: Work[Answer],
    ) -> CoroutineType[Any, Any, Answer]:
        """See `Records.run_once`."""
        return self.writes.keyed.run_once(actor, app_id, request, needed, work)

    def operate(
        self, actor: Actor, app_id: str, operation: WorkerOperation
    ) -> CoroutineType[Any, Any, bytes]:
        """See `Records.operate`."""
        return self._operations.run(actor, app_id, operation)
