"""Queries as they arrive over HTTP, and the results of small look-ups."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from kernel.public import (
    SCHEMA_SHAPE,
    Aggregation,
    BadRequest,
    FieldFilters,
    NewRecord,
    Operation,
    Page,
    Record,
    RecordChanges,
    SortField,
    View,
    Where,
)

MAX_PREVIEW: Final = 100
"""Rows of an import of which a reply shows what they become."""

MAX_THEN_BY: Final = 7
"""Fields that a page is ordered by beside the first."""

Bulk = Annotated[list[NewRecord], Meta(extra_json_schema={"minItems": 1, "maxItems": 1000})]
"""The body of POST …/bulk; the service checks how many records there are."""

OrderBy = Annotated[
    str,
    Meta(
        description="A field; of groups a member of theirs, such as the name of an aggregate.",
        extra_json_schema={"anyOf": [{SCHEMA_SHAPE: "SortField"}, {"type": "string"}]},
    ),
]

ThenBy = Annotated[
    list[dict[str, Literal["asc", "desc"]]],
    Meta(
        description="More fields to order by, each with its direction, for equal values of"
        ' `orderBy`: `[{"value": "desc"}]`.',
        max_length=MAX_THEN_BY,
    ),
]


class ListQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of GET …/{entity}."""

    limit: (
        Annotated[int, Meta(ge=1, description="above 1000 it is 1000; without it: every record")]
        | None
    ) = None
    offset: Annotated[int, Meta(ge=0, description="how many to leave out first")] = 0
    sort: SortField = "created_at"
    order: Annotated[Literal["asc", "desc"], Meta(description="ties by id, alike")] = "desc"
    after: Annotated[
        str | None, Meta(description="id of the last record seen, with the same `sort`")
    ] = None
    fields: (
        Annotated[str, Meta(description="names of fields, with commas between: only these and id")]
        | None
    ) = None
    expand: (
        Annotated[str, Meta(description="paths of links, with commas between, at most 3 deep")]
        | None
    ) = None
    etag: Annotated[bool, Meta(description="adds `_etag` to each record")] = False
    raw: Annotated[bool, Meta(description="in CSV: leaves texts that are formulas as they are")] = (
        False
    )
    format: (
        Annotated[Literal["csv", "ndjson", "json"], Meta(description="of the reply, as `Accept`")]
        | None
    ) = None
    filters: FieldFilters = {}


class RecordQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of GET …/{entity}/{id}; see `ListQuery`."""

    fields: str | None = None
    expand: str | None = None


class ExportQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of POST …/{entity}/query for files; see `ListQuery`."""

    raw: bool = False
    format: Literal["csv", "ndjson", "json"] | None = None


PARAMETERS: Final = frozenset(ListQuery.__struct_fields__) - {"filters"}
"""Query parameters of a list that are not fields."""

VIEW_PARAMETERS: Final = frozenset({"fields", "expand", "etag", "raw", "format"})
"""Those of them that are filters where the entity has a field of that name."""


_GROUP: Final = {"type": "object", "title": "Group", SCHEMA_SHAPE: "Group"}
RECORDS_OR_GROUPS: Final = {
    "anyOf": [
        {"type": "array", "items": {SCHEMA_SHAPE: "Record"}},
        {"type": "array", "items": _GROUP},
    ]
}
"""Two arrays, so that clients have a type for each: a query without groups answers with records."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The reply of POST …/query; `total` is left out where the caller asked for no count."""

    data: Annotated[
        list[Any],
        Meta(
            description="Records; or groups, each with its fields, units and aggregates.",
            extra_json_schema=RECORDS_OR_GROUPS,
        ),
    ]
    total: int | msgspec.UnsetType = msgspec.UNSET


class QueryBody(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"
):
    """The body of POST …/query; `None` is the same as leaving a member out."""

    where: Where | None = None
    order_by: OrderBy | None = None
    order: Literal["asc", "desc"] | None = None
    then_by: ThenBy | None = None
    limit: Annotated[int | None, Meta(extra_json_schema={"minimum": 1, "default": 100})] = None
    offset: Annotated[int | None, Meta(extra_json_schema={"minimum": 0})] = None
    after: str | None = None
    total: bool | None = True
    fields: list[str] | None = None
    expand: list[str | dict[str, Any]] | None = None
    etag: bool | None = None
    search: str | None = None
    group_by: list[str | dict[str, str]] | None = None
    aggregate: dict[str, dict[str, str]] | None = None
    having: dict[str, Any] | None = None
    timezone: str | None = None

    @property
    def aggregates(self) -> bool:
        """Whether groups are wanted, not records. Raises BadRequest for a mixture of both."""
        if self.group_by is None and self.aggregate is None:
            for name, value in (("having", self.having), ("timezone", self.timezone)):
                if value is not None:
                    raise BadRequest(f"{name} goes with groupBy and aggregate only")
            return False
        refused = {
            "after": self.after,
            "fields": self.fields,
            "expand": self.expand,
            "etag": self.etag,
            "thenBy": self.then_by,
        }
        for name, value in refused.items():
            if value:
                raise BadRequest(f"{name} does not go with groupBy and aggregate")
        return True

    @property
    def members(self) -> list[str]:
        """The members of each group, in order."""
        names: list[str] = []
        for item in self.group_by or ():
            if isinstance(item, str):
                names.append(item)
            else:
                names.append(next(iter(item.values()), ""))
        return [*names, *(self.aggregate or {})]

    @property
    def page(self) -> Page:
        """The page of records that is wanted."""
        view = View(fields=self.fields, expand=self.expand or (), etag=self.etag is True)
        return Page(
            where=self.where,
            order_by=self.order_by,
            order=self.order or "desc",
            then_by=self.then_by or (),
            limit=100 if self.limit is None else self.limit,
            offset=self.offset or 0,
            after=self.after,
            view=None if view == View() else view,
            search=self.search,
        )

    @property
    def aggregation(self) -> Aggregation:
        """The groups that are wanted."""
        return Aggregation(
            where=self.where,
            group_by=self.group_by or (),
            aggregate=self.aggregate or {},
            having=self.having,
            order_by=self.order_by,
            order=self.order,
            limit=100 if self.limit is None else self.limit,
            offset=self.offset or 0,
            timezone=self.timezone,
            search=self.search,
            total=self.total is not False,
        )


class ExportBody(QueryBody, frozen=True, kw_only=True):
    """The data of the operation `export`; without `limit` every record."""

    format: Literal["csv", "ndjson"] = "csv"
    raw: bool = False


class Rows(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The data of the operation `insertMany`."""

    rows: list[dict[str, Any]]


class UpsertRows(Rows, frozen=True, kw_only=True):
    """The data of the operation `upsert`; see `BulkQuery`."""

    on: str
    then: Literal["update", "ignore", "fail"] = "update"


class BulkQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of POST …/bulk."""

    on: (
        Annotated[str, Meta(description="fields of a unique index: rows may meet records")] | None
    ) = None
    then: Annotated[
        Literal["update", "ignore", "fail"], Meta(description="of a record that a row meets")
    ] = "update"


class ImportQuery(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Parameters of POST …/import."""

    dry_run: Annotated[bool, Meta(description="checks everything and writes nothing")] = False
    on: (
        Annotated[str, Meta(description="fields of a unique index: rows may meet records")] | None
    ) = None
    mode: Annotated[
        Literal["all", "valid"], Meta(description="`valid` leaves out the rows that are wrong")
    ] = "all"
    raw: Annotated[bool, Meta(description="texts were exported with `raw`")] = False
    preview: Annotated[
        int,
        Meta(ge=0, description=f"rows, {MAX_PREVIEW} at most, of which the reply has the records"),
    ] = 0
    create: (
        Annotated[Literal["ids"], Meta(description="rows create records under their ids")] | None
    ) = None
    charset: Annotated[
        str, Meta(description="`utf-8`, `utf-16` or `latin-1`; the content type may say it too")
    ] = "utf-8"
    delimiter: (
        Annotated[str, Meta(description="`,`, `;`, `tab` or `|`; else the header shows it")] | None
    ) = None
    decimal: (
        Annotated[Literal[".", ","], Meta(description="what is before the fraction of a number")]
        | None
    ) = None
    dates: (
        Annotated[
            Literal["iso", "dmy", "mdy"],
            Meta(description="the order of day and month; a date that needs it is refused without"),
        ]
        | None
    ) = None
    null: Annotated[str, Meta(description="a cell that means no value, as `N/A`")] | None = None


class ImportBody(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"
):
    """The data of the operation `import`: a file as text; see `ImportQuery`."""

    text: str
    format: Literal["csv", "ndjson"] = "csv"
    dry_run: bool = False
    on: str | None = None
    mode: Literal["all", "valid"] = "all"
    raw: bool = False
    preview: Annotated[int, Meta(ge=0, le=MAX_PREVIEW)] = 0
    create: Literal["ids"] | None = None
    delimiter: Literal[",", ";", "\t", "|"] | None = None
    decimal: Literal[".", ","] | None = None
    dates: Literal["iso", "dmy", "mdy"] | None = None
    null: str | None = None


class ImportProblem(msgspec.Struct, frozen=True):
    """What is wrong with a row of an import; rows count from 1 without the header."""

    row: int
    field: str | None
    value: Any
    error: str


class ImportRow(msgspec.Struct, frozen=True):
    """What a row of an import becomes; rows count from 1 without the header."""

    row: int
    record: Record


class Imported(msgspec.Struct, frozen=True, omit_defaults=True):
    """The reply of POST …/import; `errors` has the first 1000.

    `preview` has the valid ones of the first rows, where it was asked for. Of the `updated` rows
    `unchanged` had all their values already. `ignored` are columns that were not read, `delimiter`
    what was between the cells, where that is no comma.
    """

    rows: int
    valid: int
    created: int
    updated: int
    errors: list[ImportProblem]
    unchanged: int | msgspec.UnsetType = msgspec.UNSET
    ignored: list[str] | msgspec.UnsetType = msgspec.UNSET
    delimiter: str | msgspec.UnsetType = msgspec.UNSET
    preview: list[ImportRow] | msgspec.UnsetType = msgspec.UNSET


class UpdateWhere(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of POST …/update-where; `expect` or `max` is needed."""

    where: Where
    set: RecordChanges
    expect: int | None = None
    max: int | None = None


class DeleteWhere(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of POST …/delete-where; `expect` or `max` is needed."""

    where: Where
    expect: int | None = None
    max: int | None = None


class Updated(msgspec.Struct, frozen=True):
    """The reply of POST …/update-where."""

    updated: int


class Deleted(msgspec.Struct, frozen=True):
    """The reply of POST …/delete-where."""

    deleted: int


class Batch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """The body of POST /apps/{app_id}/batch; the service checks how many operations there are."""

    operations: Annotated[
        list[Operation], Meta(extra_json_schema={"minItems": 1, "maxItems": 1000})
    ]
    dry_run: bool = False


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one operation of a batch did."""

    op: str
    result: str | None = None
    id: str | None = None
    record: Record | None = None
    etag: str | None = None


class Results(msgspec.Struct, frozen=True):
    """The reply of a batch, in the order of its operations."""

    results: list[Result]
