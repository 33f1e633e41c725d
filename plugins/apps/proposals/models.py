"""A proposed app, and why it is as it is."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta


class Rows(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Rows of JSON by the names of tables, for an app of that name.

    `dates` says how dates are read whose day and month can be either way.
    """

    name: Annotated[str, Meta(max_length=200)]
    tables: Annotated[dict[str, list[dict[str, Any]]], Meta(min_length=1, max_length=20)]
    app_id: Annotated[str, Meta(max_length=63)] | None = None
    dates: Literal["dmy", "mdy"] | None = None


class ProposedColumn(msgspec.Struct, frozen=True, kw_only=True):
    """A column of a file; without a `name` it is left out. `why` says how its type was found."""

    heading: str
    name: str | None
    type: str
    why: str


class ProposedTable(msgspec.Struct, frozen=True, kw_only=True):
    """An entity from a file. Tables come in the order in which they can be imported.

    `header` has the names for the first line of the file, and `options` the parameters of its
    import. `questions` are what only a person knows.
    """

    entity: str
    source: str
    rows: int
    columns: list[ProposedColumn]
    header: list[str]
    options: dict[str, str]
    questions: list[str]


class ProposedLink(msgspec.Struct, frozen=True, kw_only=True):
    """A link that was found: every value of the field is one of `key` in the target."""

    entity: str
    field: str
    target: str
    key: str
    why: str


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest to install as it is or changed, then to import the files. Nothing is made."""

    manifest: dict[str, Any]
    tables: list[ProposedTable]
    links: list[ProposedLink]
