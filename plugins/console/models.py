"""Bodies and replies of the routes."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Name = Annotated[str, Meta(min_length=1, max_length=63)]


class OpenSession(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The refresh token of a login, to keep in the cookie; or the `key` that opens the cookie."""

    refresh_token: str | None = None
    key: str = ""


class CloseSession(msgspec.Struct, frozen=True, kw_only=True):
    """The key that opens the cookie."""

    key: str = ""


class OpenedSession(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An access token with its duration in seconds; null where no session can be continued.

    `key` opens the cookie, which alone is useless: a page keeps it in the storage of its origin.
    `sign_in` is `external` where a proxy or another plugin authenticates the requests.
    """

    access_token: str | None = None
    expires_in: int = 0
    key: str | None = None
    sign_in: Literal["password", "external"] = "password"


class ViewContent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a view shows, and to whom.

    The state of a view of a table has texts by the names that the address of the page has: filter,
    order, columns, layout. That of a dashboard has `tiles`. With `role` all holders of that role
    see it; only admins of the app may save such a view.
    """

    name: Annotated[str, Meta(min_length=1, max_length=80)]
    state: dict[str, Any]
    role: Annotated[str, Meta(max_length=64)] | None = None


class NewView(ViewContent, frozen=True, kw_only=True):
    """A view of a table to save; without `entity` a dashboard."""

    app: Name
    entity: Name | None = None


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A view or a dashboard.

    `own` is true for those that the caller saved, `editable` for those that it may change. One that
    is `declared` comes from the manifest.
    """

    id: str
    app: str
    entity: str | None
    name: str
    role: str | None
    own: bool
    editable: bool
    declared: bool
    version: int
    state: dict[str, Any]


class StoredView(msgspec.Struct, frozen=True, kw_only=True):
    """A view as it is stored; it has no owner where the manifest declares it."""

    id: str
    app_id: str
    entity: str | None
    name: str
    role: str | None
    owner_id: str | None
    version: int
    state: dict[str, Any]

    @property
    def etag(self) -> str:
        """The entity tag: each change has a number of its own."""
        return f'"{self.version}"'


class DeclaredRow(msgspec.Struct, frozen=True, kw_only=True):
    """A view or a dashboard of a manifest, to store."""

    name: str
    entity: str | None = None
    role: str | None
    state: dict[str, Any]


class ViewQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of GET …/views; without `entity` the views of all tables, and dashboards."""

    app: str
    entity: str | None = None


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """The id of a view that was saved."""

    id: str


class Features(msgspec.Struct, frozen=True):
    """Names of the plugins that are on: the console shows no screen that nothing answers."""

    plugins: list[str]


class ShownAction(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A button of a page, with the JSON Schema of the body where the route has one.

    `rpc` is the method of an app's worker; `row` shows the button on each row.
    """

    title: str
    method: str
    path: str
    confirm: str = ""
    body: dict[str, Any] | None = None
    rpc: str = ""
    row: bool = False


class ShownColumn(msgspec.Struct, frozen=True, kw_only=True):
    """A column of a page's table."""

    name: str
    title: str
    kind: str


class ShownTable(msgspec.Struct, frozen=True, kw_only=True):
    """The table of a page; `rpc` is the method of an app's worker that returns its rows."""

    path: str
    rows: str
    columns: list[ShownColumn]
    rpc: str = ""


class ShownPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page that the caller may see; `module` is the address of its JavaScript.

    `on` names the tables or fields that a part of another screen is for; empty means all.
    """

    plugin: str
    id: str
    title: str
    icon: str
    text: str
    table: ShownTable | None
    actions: list[ShownAction]
    module: str | None
    slot: str
    on: tuple[str, ...] = ()


def page_id(title: str) -> str:
    """Return the part of a page's address that its title makes."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


class Manual(msgspec.Struct, frozen=True):
    """The README of a plugin, Markdown text, empty where it has none; and its migrations."""

    text: str
    migrations: list[str] = []
