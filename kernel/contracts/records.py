"""Records of apps: what REST, workers and jobs read and write."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import IO, Annotated, Any, Final, Literal, Protocol, runtime_checkable

import msgspec

from kernel.contracts.access import Action, Grant
from kernel.contracts.base import Actor, ServiceKey
from kernel.contracts.idempotency import Answer, KeyedRequest
from kernel.contracts.statements import Query, Transaction, Work

__all__ = [
    "MAX_PAGE", "MAX_PAGE_BYTES", "RECORDS", "SCHEMA_SHAPE", "Aggregation", "FieldFilters",
    "FileDialect", "FormerRecord", "ImportOptions", "NewRecord", "Operation", "Page", "Record",
    "RecordChanges", "RecordView", "RecordViews", "Records", "SnapshotReads", "SortField", "Tagged",
    "Target", "View", "Where", "WithSnapshot", "WorkerOperation",
]  # fmt: skip

MAX_PAGE = 1000
"""Records of a page at most, and rows of other lists that have no limit of their own."""
MAX_PAGE_BYTES = 16_000_000
"""JSON of a page, unless it is a single record: a client that reads slowly keeps it in memory."""
SCHEMA_SHAPE: Final = "x-caudex-shape"
"""Marks, in the schema of a type, what depends on the entity: a document of an app puts the fields
there. It does not affect decoding."""


def shape(name: str, description: str) -> msgspec.Meta:
    """Describe a type in a schema; nothing is validated by it."""
    return msgspec.Meta(title=name, description=description, extra_json_schema={SCHEMA_SHAPE: name})


Record = Annotated[
    dict[str, Any],
    shape("Record", "A record: `id`, the declared fields in order, `created_at`, `updated_at`."),
]
NewRecord = Annotated[
    dict[str, Any],
    shape("NewRecord", "Values by field name; what is left out is the field's default, or null."),
]
RecordChanges = Annotated[
    dict[str, Any],
    shape("RecordChanges", "New values by field name; what is left out stays as it is."),
]
Where = Annotated[
    dict[str, Any],
    shape("Where", "A value or operators by field name, and `$and`, `$or`, `$not` around them."),
]
SortField = Annotated[str, shape("SortField", "Name of a field to sort by.")]
FieldFilters = Annotated[
    dict[str, str], shape("FieldFilters", "Any field by its name: records with this very value.")
]


class Target(msgspec.Struct, frozen=True):
    """What a call of RECORDS is about: the records of an entity, within the grant of an actor.

    RECORDS checks no permission: get the grant from ACCESS, or from the request of a route.
    """

    actor: Actor
    grant: Grant
    app_id: str
    entity: str


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of each record, validated by the provider; by default every field.

    `expand` holds paths of links, and objects with options by path; `etag` adds the member `_etag`
    to the records of a list.
    """

    fields: Sequence[str] | None = None
    expand: Sequence[Any] = ()
    etag: bool = False


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """The requested part of a collection, validated against the entity by the provider.

    `where` is a tree as in POST …/query; `after` the id of the last record seen (keyset). Without
    `order_by` the order is that of `created_at`, for a `search` that of the rank. `then_by` orders
    records with the same value of it: each object names one more field and its direction, as
    `{"value": "asc"}`. `limit` is the number of records, 1 to MAX_PAGE; `offset` the number that is
    skipped.
    """

    where: Mapping[str, Any] | None = None
    order_by: str | None = None
    order: Literal["asc", "desc"] = "desc"
    then_by: Sequence[Mapping[str, Literal["asc", "desc"]]] = ()
    limit: int = 100
    offset: int = 0
    after: str | None = None
    view: View | None = None
    search: str | None = None


class Aggregation(msgspec.Struct, frozen=True, kw_only=True):
    """Groups of records and what is computed of each, validated by the provider.

    `group_by` holds fields and objects `{"$month": field}`; `aggregate` maps names to objects
    `{"$sum": field}`; `having` is a where-tree over both. `limit` is the number of groups, `offset`
    the number that is skipped, `timezone` an IANA name.
    """

    where: Mapping[str, Any] | None = None
    search: str | None = None
    group_by: Sequence[Any] = ()
    aggregate: Mapping[str, Any] = {}
    having: Mapping[str, Any] | None = None
    order_by: str | None = None
    order: Literal["asc", "desc"] | None = None
    limit: int = 100
    offset: int = 0
    timezone: str | None = None
    total: bool = True


class Operation(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"
):
    """One write of a batch.

    A value `{"$ref": "acme.id"}` in `data`, or as `id`, is a field of the record that an earlier
    operation with `"as": "acme"` wrote.
    """

    op: Literal["create", "update", "upsert", "delete"]
    entity: str
    id: Any = None
    data: dict[str, Any] | None = None
    as_: str | None = msgspec.field(default=None, name="as")
    if_match: str | None = None
    on: str | None = None
    then: Literal["update", "ignore", "fail"] = "update"


class Tagged(msgspec.Struct, frozen=True):
    """A record as JSON, and its entity tag with quotes; without one the caller may not read it."""

    record: bytes
    etag: str | None


class FileDialect(msgspec.Struct, frozen=True, kw_only=True):
    """How a file with a header writes its cells; by default as an export does.

    Without a `delimiter` the header says what is between its names. `decimal` is the mark before
    the fraction of a number. `dates` is the order of days and months; without it a date whose order
    is not clear refuses the file. `null` is a text that means no value, as an empty cell does.
    """

    charset: Literal["utf-8", "utf-16", "utf-16le", "utf-16be", "latin-1"] = "utf-8"
    delimiter: Literal[",", ";", "\t", "|"] | None = None
    decimal: Literal[".", ","] | None = None
    dates: Literal["iso", "dmy", "mdy"] | None = None
    null: str | None = None


class ImportOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a file of records is read, and what is written of it.

    With `on`, the fields of a unique index, a row that has the key of a record changes it. `on` may
    be `id` for every entity: a row with an id that no record has is wrong, unless `create_ids`,
    which creates records under the ids of their rows. With mode `all` nothing is written if a row
    is wrong. `dry_run` checks everything and writes nothing. `raw` says that texts were exported
    with `raw`. The reply shows the records of the first `preview` rows.
    """

    file_format: Literal["csv", "ndjson"]
    dialect: FileDialect = FileDialect()
    create_ids: bool = False
    mode: Literal["all", "valid"] = "all"
    on: str | None = None
    dry_run: bool = False
    raw: bool = False
    preview: int = 0


class FormerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A record that was deleted, as the trail has it: its values by field, and what the server set.

    `created_at` and `updated_at` are RFC 3339 texts, `owner` is the user who created it.
    """

    id: str
    values: Mapping[str, Any]
    created_at: str
    updated_at: str
    owner: str | None


class WorkerOperation(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker asks for: the same as a route, with its body as `data`."""

    entity: str
    op: str
    """One of these, with what `data` has beside the body of the route:

    - `query`, `updateWhere`, `deleteWhere`, `batch`: nothing
    - `insert`, `update`, `delete`: the `id` of the record
    - `insertMany`, `upsert`: `rows`
    - `export`: `format`; it returns a text
    - `import`: `text` and `format`
    """
    data: Mapping[str, Any]
    key: str | None = None
    """An idempotency key, see `Records.once`."""
    if_match: str | None = None
    """As in `Records.update`."""


class WithSnapshot(msgspec.Struct, frozen=True):
    """What a read replies, and the value of an expression in the same statement."""

    reply: bytes
    snapshot: bytes


@runtime_checkable
class SnapshotReads(Protocol):
    """A provider of RECORDS that says what the statement of a read saw.

    `expression` is that of CHANGES, whose changes go on where such a read ends.
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


class RecordView(msgspec.Struct, frozen=True):
    """The records of an entity that a caller may read, as a query without parameters.

    With `is_narrowed` these may not be all: what else is asked of them must be computed after its
    conditions.
    """

    entity: str
    query: bytes
    is_narrowed: bool


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

    async def once(
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
        BadRequest where no plugin provides IDEMPOTENCY; see `Idempotency.once`.
        """
        ...

    async def operate(self, actor: Actor, app_id: str, operation: WorkerOperation) -> bytes:
        """Do what a worker asks for; checks the permissions."""
        ...


RECORDS = ServiceKey[Records]("records")
