"""Records of apps: what REST, workers and jobs read and write."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import IO, Any, Literal, Protocol, runtime_checkable

from kernel.contracts.access import Action
from kernel.contracts.base import Actor, ServiceKey
from kernel.contracts.idempotency import Answer, KeyedRequest
from kernel.contracts.records.calls import (
    MAX_PAGE,
    Aggregation,
    FormerRecord,
    ImportOptions,
    Operation,
    Page,
    RecordView,
    Tagged,
    Target,
    View,
    WithSnapshot,
    WorkerOperation,
)
from kernel.contracts.statements import Query, Transaction, Work

__all__ = ["RECORDS", "RecordViews", "Records", "SnapshotReads"]


class Records(Protocol):
    """Reads and writes records: JSON in, JSON out, without a Python object per row.

    Check access, and pass the grant in the target; `record_scope` hooks apply here. Raises
    BadRequest, NotFound.

    With `tx` a call takes part in that transaction. A read sees what the transaction has written. A
    write is committed or undone with it, and observers hear of it after the commit. Owner, trail
    and events name the actor of `tx`. A call that fails leaves the transaction as it was before.

    A write within a transaction, such as in `record_writing`, needs its `tx`: outside of it the
    write could wait for what the transaction has locked. Raises PluginFailed without it.
    """

    async def get(
        self,
        target: Target,
        record_id: str,
        view: View | None = None,
        *,
        tx: Transaction | None = None,
    ) -> Tagged:
        """Return one record, as `view` says."""
        ...

    async def page(self, target: Target, page: Page, *, tx: Transaction | None = None) -> bytes:
        """Return a JSON array of records."""
        ...

    async def count(
        self,
        target: Target,
        where: Mapping[str, Any] | None,
        search: str | None = None,
        *,
        tx: Transaction | None = None,
    ) -> int:
        """Count the records that a page is taken from."""
        ...

    def stream(
        self, target: Target, page: Page
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Yield the pieces of one JSON array of every record; `limit` is ignored."""
        ...

    def export(
        self,
        target: Target,
        page: Page,
        file_format: Literal["csv", "ndjson"],
        *,
        limit: int | None = None,
        raw: bool = False,
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Yield the pieces of a file of records; only `limit` bounds it.

        In CSV a text that a spreadsheet would run gets a quote in front, unless `raw`.
        """
        ...

    async def aggregate(self, target: Target, aggregation: Aggregation) -> bytes:
        """Return `{"data": [...], "total": <groups>}`, a page of groups of the readable records."""
        ...

    async def create(
        self, target: Target, values: Mapping[str, Any], *, tx: Transaction | None = None
    ) -> Tagged:
        """Create a record and return it, as far as the actor may read it."""
        ...

    async def create_many(
        self, target: Target, rows: Sequence[Mapping[str, Any]], *, tx: Transaction | None = None
    ) -> bytes:
        """Create 1 to 1000 records, all or none, and return them in the order given."""
        ...

    async def update(
        self,
        target: Target,
        record_id: str,
        values: Mapping[str, Any],
        *,
        if_match: str | None = None,
        tx: Transaction | None = None,
    ) -> Tagged:
        """Change the fields that `values` names and return the record.

        If it names none that can be changed, the actor must be allowed to read the record.
        `if_match` is the text of the header, and needs `read` as well. Raises Forbidden, and a
        KernelError of status 412 where the record has changed.
        """
        ...

    async def delete(
        self,
        target: Target,
        record_id: str,
        *,
        if_match: str | None = None,
        tx: Transaction | None = None,
    ) -> None:
        """Delete a record; see `update`."""
        ...

    async def upsert(
        self,
        target: Target,
        rows: Sequence[Mapping[str, Any]],
        on: str,
        then: Literal["update", "ignore", "fail"] = "update",
        *,
        tx: Transaction | None = None,
    ) -> bytes:
        """Create records, or change those whose unique fields `on` a row has; all or none.

        Needs `create`, which the grant is for, and `update`. Returns `{"data": [{"result":
        "created" | "updated" | "ignored", "record": {...}}]}`.
        """
        ...

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
        """Change the records that match and return their number; needs `read` as well.

        Raises BadRequest with the number if it is not the expected one.
        """
        ...

    async def delete_where(
        self,
        target: Target,
        where: Mapping[str, Any],
        *,
        expect: int | None = None,
        at_most: int | None = None,
        tx: Transaction | None = None,
    ) -> int:
        """Delete the records that match; see `update_where`."""
        ...

    async def batch(
        self,
        actor: Actor,
        app_id: str,
        operations: Sequence[Operation],
        *,
        dry_run: bool = False,
        tx: Transaction | None = None,
    ) -> bytes:
        """Run 1 to 1000 writes in one transaction, each with the permission it needs.

        Returns `{"results": [{"op", "id", "record", "etag"}]}` in order. An error names the place
        of its operation; `dry_run` runs and rolls back.
        """
        ...

    async def restore(
        self, target: Target, records: Sequence[FormerRecord], *, tx: Transaction
    ) -> None:
        """Create 1 to 1000 deleted records of one owner again: all of them or none.

        Their ids, times and owner are those of then. It is a create otherwise: the grant is for it,
        and hooks take part. Values of fields that do not exist any more are left out. The records
        may hold the files that they held.
        """
        ...

    async def revert(
        self, target: Target, changes: Mapping[str, Mapping[str, Any]], *, tx: Transaction
    ) -> None:
        """Give fields of up to 1000 records, by their ids, former values: all of them or none.

        Each change names the same fields. See `restore` for fields and files.
        """
        ...

    async def import_file(
        self,
        target: Target,
        file: IO[bytes],
        options: ImportOptions,
        *,
        tx: Transaction | None = None,
    ) -> bytes:
        """Create records from a file, or with `on` change those that have its keys.

        Returns `{"rows", "valid", "created", "updated", "errors": [{"row", "field", "value",
        "error"}]}`, and with `preview` also `"preview": [{"row", "record"}]`. Raises BadRequest
        for a wrong header.
        """
        ...

    async def run_once(
        self,
        actor: Actor,
        app_id: str,
        request: KeyedRequest,
        needed: Sequence[tuple[str, Action]],
        work: Work[Answer],
    ) -> Answer:
        """Run writes of this provider once for an idempotency key, or return their first answer.

        `needed` are the permissions on entities, which are checked each time. `work` passes its
        transaction to each call, so that what it writes is committed with the key. Raises
        BadRequest where no plugin provides IDEMPOTENCY; see `Idempotency.run_once`.
        """
        ...

    async def operate(self, actor: Actor, app_id: str, operation: WorkerOperation) -> bytes:
        """Do what a worker asks for; checks the permissions."""
        ...


@runtime_checkable
class SnapshotReads(Protocol):
    """A provider of RECORDS that says what the statement of a read saw.

    `expression` is that of CHANGES, whose changes go on where such a read ends. So these methods
    read where CHANGES does: a replica may not have what the trail has.
    """

    async def page_with(
        self, target: Target, page: Page, expression: Query, *, at_most: int = MAX_PAGE
    ) -> WithSnapshot:
        """Return what `Records.page` does, up to `at_most` records."""
        ...

    def stream_with(
        self, target: Target, page: Page, expression: Query
    ) -> AbstractAsyncContextManager[tuple[bytes, AsyncIterator[bytes]]]:
        """Yield the value of the expression, and the pieces of `Records.stream`."""
        ...

    async def count_with(
        self, target: Target, where: Mapping[str, Any] | None, search: str | None, expression: Query
    ) -> WithSnapshot:
        """Return what `Records.count` does, as digits."""
        ...

    async def aggregate_with(
        self, target: Target, aggregation: Aggregation, expression: Query
    ) -> WithSnapshot:
        """Return what `Records.aggregate` does."""
        ...


@runtime_checkable
class RecordViews(Protocol):
    """A provider of RECORDS that can say in SQL what a caller may read."""

    async def write_views(
        self, actor: Actor, app_id: str, entities: Collection[str]
    ) -> Sequence[RecordView]:
        """Return what the caller may read of some entities; those without any right are absent.

        Without a user the app itself asks, which may read all.
        """
        ...


RECORDS = ServiceKey[Records]("records")
