"""What views and tiles show, as manifests and clients write it."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

Name = Annotated[str, Meta(min_length=1, max_length=63)]
Title = Annotated[str, Meta(min_length=1, max_length=80)]
RoleName = Annotated[str, Meta(min_length=1, max_length=64)]
Layout = Literal["table", "board", "calendar", "gallery", "chart"]
TileKind = Literal["number", "bar", "line", "list", "view", "plugin"]
Period = Literal["day", "week", "month", "quarter", "year"]
Operator = Literal["$count", "$countDistinct", "$sum", "$avg", "$min", "$max"]
Figure = Annotated[dict[Operator, Name], Meta(min_length=1, max_length=1)]
"""One figure, as a member of `aggregate` in a query: `{"$sum": "value"}`, `{"$count": "*"}`."""

COUNT: Final = "$count"


class Selection(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel",
    omit_defaults=True,
):  # fmt: skip
    """Which records are shown, and by what.

    `by` is the field of a board's columns, of a calendar's days, of a gallery's pictures, or of the
    groups of a chart. `period` puts times into groups.
    """

    where: dict[str, Any] | None = None
    order_by: Name | None = None
    order: Literal["asc", "desc"] = "desc"
    columns: Annotated[tuple[Name, ...], Meta(max_length=100)] = ()
    by: Name | None = None
    period: Period | None = None
    figure: Figure | None = None


class DeclaredView(Selection, frozen=True, kw_only=True):
    """A view of a table. With `role` its holders see it, else every user of the app.

    `search` are words that are searched for. `chart` is how a chart is drawn.
    """

    name: Title
    entity: Name
    role: RoleName | None = None
    layout: Layout = "table"
    search: Annotated[str, Meta(max_length=200)] = ""
    chart: Literal["bar", "line"] = "bar"


class Tile(Selection, frozen=True, kw_only=True):
    """A part of a dashboard: a number, a chart, a list of records, a view by its id or name, or a
    part of a plugin, as `weather/today`.

    `since` is a number of days: the number is shown with its change since. `width` is that on a
    grid of four columns.
    """

    kind: TileKind
    title: Annotated[str, Meta(max_length=80)] = ""
    entity: Name | None = None
    view: Title | None = None
    plugin: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*/[a-z0-9-]+$", max_length=160)] | None = (
        None
    )
    since: Annotated[int, Meta(ge=1, le=3650)] | None = None
    limit: Annotated[int, Meta(ge=1, le=50)] = 5
    width: Annotated[int, Meta(ge=1, le=4)] = 1


Tiles = Annotated[tuple[Tile, ...], Meta(max_length=24)]


class DeclaredDashboard(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"
):
    """Tiles about the records of an app. With `role` its holders see them, else all its users."""

    name: Title
    role: RoleName | None = None
    tiles: Tiles


class Dashboard(msgspec.Struct, frozen=True):
    """The state of a dashboard."""

    tiles: Tiles
