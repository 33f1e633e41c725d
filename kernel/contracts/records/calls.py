"""What calls of RECORDS are given and return, beside JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from kernel.contracts.access import Grant
from kernel.contracts.base import Actor

__all__ = [
    "MAX_PAGE", "MAX_PAGE_BYTES", "Aggregation", "FileDialect", "FormerRecord", "ImportOptions",
    "Operation", "Page", "RecordView", "Tagged", "Target", "View", "WithSnapshot",
    "WorkerOperation",
]  # fmt: skip

MAX_PAGE = 1000
"""Records of a page at most, and rows of other lists that have no limit of their own."""
MAX_PAGE_BYTES = 16_000_000
"""JSON of a page, unless it is a single record: a client that reads slowly keeps it in memory."""


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
    """An idempotency key, see `Records.run_once`."""
    if_match: str | None = None
    """As in `Records.update`."""


class WithSnapshot(msgspec.Struct, frozen=True):
    """What a read replies, and the value of an expression in the same statement."""

    reply: bytes
    snapshot: bytes


class RecordView(msgspec.Struct, frozen=True):
    """The records of an entity that a caller may read, as a query without parameters.

    With `is_narrowed` these may not be all: what else is asked of them must be computed after its
    conditions.
    """

    entity: str
    query: bytes
    is_narrowed: bool
