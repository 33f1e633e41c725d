"""Links as the plugin knows them, and bodies and replies of its routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from kernel.public import Aggregation, Limits, LinkQuery, View

Format = Literal["csv", "ndjson"]
Name = Annotated[str, Meta(min_length=1, max_length=100)]


class ExportQuery(
    LinkQuery,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename="camel",
    omit_defaults=True,
):
    """What is exported of a table: members of the body of POST …/query; without any, everything."""

    expand: list[str | dict[str, Any]] | None = None
    group_by: list[str | dict[str, str]] | None = None
    aggregate: dict[str, dict[str, str]] | None = None
    having: dict[str, Any] | None = None
    timezone: str | None = None

    @property
    def has_groups(self) -> bool:
        """Whether groups are exported, not records."""
        return self.group_by is not None or self.aggregate is not None

    @property
    def view(self) -> View:
        """What is exported of each record."""
        return View(fields=self.fields, expand=self.expand or ())

    @property
    def aggregation(self) -> Aggregation:
        """The groups that are exported, to find out whether there can be such."""
        return Aggregation(
            where=self.where,
            search=self.search,
            group_by=self.group_by or (),
            aggregate=self.aggregate or {},
            having=self.having,
            order_by=self.order_by,
            order=self.order,
            timezone=self.timezone,
            limit=1,
            total=False,
        )


class NewExport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a link shows: a saved `view`, or the records of an `entity` that a `query` finds.

    A link is good until it is revoked, or until `expires`.
    """

    view: str | None = None
    entity: str | None = None
    query: ExportQuery | None = None
    format: Format = "csv"
    raw: Annotated[bool, Meta(description="leaves texts that are formulas as they are")] = False
    name: Name | None = None
    expires: Annotated[str | None, Meta(description="an RFC 3339 time")] = None


class ExportLink(msgspec.Struct, frozen=True, kw_only=True):
    """A link as it is stored. `limits` are those of the key that it was made with."""

    id: str
    app_id: str
    entity: str
    name: str
    format: Format
    raw: bool
    query: ExportQuery
    user_id: str
    username: str
    limits: Limits | None
    created_at: str
    expires: str | None
    last_used_at: str | None
    ended: bool


class NewLink(msgspec.Struct, frozen=True, kw_only=True):
    """A link that is about to be stored."""

    app_id: str
    entity: str
    name: str
    format: Format
    raw: bool
    query: ExportQuery
    expires: str | None


class ShownExport(msgspec.Struct, frozen=True, kw_only=True):
    """A link. `url` is null where another user made it: it has the rights of that one."""

    id: str
    url: str | None
    name: str
    entity: str
    query: Mapping[str, Any]
    format: Format
    raw: bool
    by: str
    created_at: str
    expires: str | None
    last_used_at: str | None


class FileQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of GET …/exports/{id}/file."""

    token: Annotated[str, Meta(description="what signs the link")] = ""


class LinkClaims(msgspec.Struct, frozen=True, kw_only=True):
    """What a token says: which link it opens."""

    app: str
    export: str
