"""Queries as they arrive over HTTP, and the results of small look-ups."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from kernel.public import BadRequest, FieldFilters, NewRecord, Record, SortField, Where

Bulk = Annotated[list[NewRecord], Meta(extra_json_schema={"minItems": 1, "maxItems": 1000})]
"""The body of POST …/bulk; the service checks how many records there are."""


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
    filters: FieldFilters = {}


class RecordQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of GET …/{entity}/{id}; see `ListQuery`."""

    fields: str | None = None
    expand: str | None = None


PARAMETERS: Final = frozenset(ListQuery.__struct_fields__) - {"filters"}
"""Query parameters of a list that are not fields."""

VIEW_PARAMETERS: Final = frozenset({"fields", "expand", "etag"})
"""Those of them that are filters where the entity has a field of that name."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The reply of POST …/query; `total` is left out where the caller asked for no count."""

    data: list[Record]
    total: int | msgspec.UnsetType = msgspec.UNSET


class QueryBody(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"
):
    """The body of POST …/query; `None` is the same as leaving a member out."""

    where: Where | None = None
    order_by: SortField | None = None
    order: Literal["asc", "desc"] | None = None
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
        for name in ("after", "fields", "expand", "etag"):
            if getattr(self, name):
                raise BadRequest(f"{name} does not go with groupBy and aggregate")
        return True


class LastSeen(msgspec.Struct, frozen=True, kw_only=True):
    """The position of the last record seen: its id and its value of the sorted field, as text."""

    record_id: str
    value: str | None
