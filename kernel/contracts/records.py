"""Records of apps: what REST, workers and jobs read and write."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import IO, Annotated, Any, Final, Literal, Protocol, runtime_checkable

import msgspec

from kernel.contracts.access import Action, Grant
from kernel.contracts.base import Actor, ServiceKey
from kernel.contracts.idempotency import Answer
from kernel.contracts.statements import Transaction

__all__ = [
    "MAX_PAGE", "RECORDS", "SHAPE", "Aggregation", "Collections", "FieldFilters", "NewRecord",
    "Operation", "Page", "Record", "RecordChanges", "Records", "SortField", "Tagged", "View",
    "Where",
]  # fmt: skip

MAX_PAGE = 1000
"""Records of a page at most."""
SHAPE: Final = "x-caudex-shape"
"""Marks, in the schema of a type, what depends on the entity: a document of an app puts the fields
there. It does not affect decoding."""


def shape(name: str, description: str) -> msgspec.Meta:
    """Describe a type in a schema; nothing is validated by it."""
    return msgspec.Meta(title=name, description=description, extra_json_schema={SHAPE: name})


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
    `order_by` the order is that of `created_at`, for a `search` that of the rank. `limit` is the
    number of records, 1 to MAX_PAGE; `offset` the number that is skipped. For a `view` or a
    `search` the provider must be one of `Collections`.
    """

    where: Mapping[str, Any] | None = None
    order_by: str | None = None
    order: Literal["asc", "desc"] = "desc"
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


class Records(Protocol):
    """Reads and writes records: JSON in, JSON out, without a Python object per row.

    Check access, and pass the grant; `record_scope` hooks apply here. Raises BadRequest, NotFound.

    With `tx` a call takes part in that transaction. A read sees what the transaction has written. A
    write is committed or undone with it, and observers hear of it after the commit. Owner, trail
    and events name the actor of `tx`. A call that fails leaves the transaction as it was before.

    A write within a transaction, such as in `record_writing`, needs its `tx`: outside of it the
    write could wait for what the transaction has locked. Raises PluginFailed without it.
    """

    async def page(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        page: Page,
        *,
        tx: Transaction | None = None,
    ) -> bytes:
        """Return a JSON array of records."""
        ...

    async def count(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        where: Mapping[str, Any] | None,
        *,
        tx: Transaction | None = None,
    ) -> int:
        """Count the records that a page is taken from."""
        ...

    def stream(
        self, actor: Actor, grant: Grant, app_id: str, entity: str, page: Page
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Yield the pieces of one JSON array of every record; `limit` is ignored."""
        ...

    async def get(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        record_id: str,
        *,
        tx: Transaction | None = None,
    ) -> bytes:
        """Return one record."""
        ...

    async def create(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        values: Mapping[str, Any],
        *,
        tx: Transaction | None = None,
    ) -> bytes:
        """Create a record and return it."""
        ...

    async def create_many(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        rows: Sequence[Mapping[str, Any]],
        *,
        tx: Transaction | None = None,
    ) -> bytes:
        """Create 1 to 1000 records, all or none, and return them in the order given."""
        ...

    async def update(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        record_id: str,
        values: Mapping[str, Any],
        *,
        tx: Transaction | None = None,
    ) -> bytes:
        """Change the fields that `values` names and return the record; if it names none that
        can be changed, the actor must be allowed to read the record. Raises Forbidden."""
        ...

    async def delete(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        record_id: str,
        *,
        tx: Transaction | None = None,
    ) -> None:
        """Delete a record."""
        ...


@runtime_checkable
class Collections(Records, Protocol):
    """A provider of RECORDS with the whole data API; the same rules apply."""

    async def view(
        self, actor: Actor, grant: Grant, app_id: str, entity: str, record_id: str, view: View
    ) -> Tagged:
        """Return one record as `view` says."""
        ...

    async def count(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        where: Mapping[str, Any] | None,
        search: str | None = None,
        *,
        tx: Transaction | None = None,
    ) -> int:
        """Count the records that a page is taken from."""
        ...

    def export(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        page: Page,
        kind: Literal["csv", "ndjson"],
        *,
        limit: int | None = None,
        raw: bool = False,
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Yield the pieces of a file of records; only `limit` bounds it.

        In CSV a text that a spreadsheet would run gets a quote in front, unless `raw`.
        """
        ...

    async def import_file(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        file: IO[bytes],
        kind: Literal["csv", "ndjson"],
        *,
        mode: Literal["all", "valid"] = "all",
        on: str | None = None,
        dry_run: bool = False,
        raw: bool = False,
        preview: int = 0,
    ) -> bytes:
        """Create records from a file, or with `on` change those that have its keys.

        With mode `all` nothing is written if a row is wrong. Returns `{"rows", "valid", "created",
        "updated", "errors": [{"row", "field", "value", "error"}]}`. With `preview` it also has
        `"preview": [{"row", "record"}]`, for so many of the first rows. Raises BadRequest for a
        wrong header.
        """
        ...

    async def aggregate(
        self, actor: Actor, grant: Grant, app_id: str, entity: str, wanted: Aggregation
    ) -> bytes:
        """Return `{"data": [...], "total": <groups>}`, a page of groups of the readable records."""
        ...

    async def add(
        self, actor: Actor, grant: Grant, app_id: str, entity: str, values: Mapping[str, Any]
    ) -> Tagged:
        """Create a record and return it, as far as the actor may read it."""
        ...

    async def change(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        record_id: str,
        values: Mapping[str, Any],
        if_match: str | None = None,
    ) -> Tagged:
        """Like `Records.update`; `if_match` is the text of the header, and needs `read` as well.

        Raises a KernelError of status 412 where the record has changed.
        """
        ...

    async def remove(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        record_id: str,
        if_match: str | None = None,
    ) -> None:
        """Like `Records.delete`; see `change`."""
        ...

    async def upsert(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        rows: Sequence[Mapping[str, Any]],
        on: str,
        then: Literal["update", "ignore", "fail"] = "update",
    ) -> bytes:
        """Create records, or change those whose unique fields `on` a row has; all or none.

        Needs `create`, which `grant` is for, and `update`. Returns `{"data": [{"result": "created"
        | "updated" | "ignored", "record": {...}}]}`.
        """
        ...

    async def update_where(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        where: Mapping[str, Any],
        values: Mapping[str, Any],
        *,
        expect: int | None = None,
        at_most: int | None = None,
    ) -> int:
        """Change the records that match and return their number; needs `read` as well.

        Raises BadRequest with the number if it is not the expected one.
        """
        ...

    async def delete_where(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        where: Mapping[str, Any],
        *,
        expect: int | None = None,
        at_most: int | None = None,
    ) -> int:
        """Delete the records that match; see `update_where`."""
        ...

    async def once(
        self,
        actor: Actor,
        app_id: str,
        request: tuple[str, str, bytes],
        needed: Sequence[tuple[str, Action]],
        work: Callable[[], Awaitable[Answer]],
    ) -> Answer:
        """Run writes of this provider once for an idempotency key, or return their first answer.

        `request` is the route, the key and the body; `needed` are the permissions on entities,
        which are checked each time. What `work` writes is one transaction with the key. Raises
        BadRequest where no plugin provides IDEMPOTENCY; see `Idempotency.once`.
        """
        ...

    async def operate(
        self,
        actor: Actor,
        app_id: str,
        entity: str,
        op: str,
        data: Mapping[str, Any],
        *,
        key: str | None = None,
        if_match: str | None = None,
    ) -> bytes:
        """Do what a route does, with its body as `data`, for workers; checks the permissions.

        `op` is `query`, `updateWhere`, `deleteWhere` or `batch`, which return what the routes do;
        `insert`, `update` or `delete` with an `id` in the data; `insertMany` or `upsert` with
        `rows`; `export` (`format`), which returns a text; or `import` (`text`, `format`). `key` is
        an idempotency key, see `once`; `if_match` is as in `change`.
        """
        ...

    async def batch(
        self, actor: Actor, app_id: str, operations: Sequence[Operation], *, dry_run: bool = False
    ) -> bytes:
        """Run 1 to 1000 writes in one transaction, each with the permission it needs.

        Returns `{"results": [{"op", "id", "record", "etag"}]}` in order. An error names the place
        of its operation; `dry_run` runs and rolls back.
        """
        ...


RECORDS = ServiceKey[Records]("records")
