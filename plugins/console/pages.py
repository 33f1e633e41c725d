"""Pages that plugins register, and their READMEs: what a caller may see of plugins."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from kernel.public import (
    HOOKS,
    REGISTRY,
    Access,
    Actor,
    Apps,
    BootError,
    ConsolePage,
    Forbidden,
    NotFound,
    PageAction,
    PageColumn,
    PageTable,
    Route,
    Services,
    limits_of,
    nearest,
)

from . import hookspecs
from .models import Manual, ShownAction, ShownColumn, ShownPage, ShownTable, page_id
from .sections import pages as section

KINDS: Final = ("public", "user", "core_admin", "core_permission", "app_admin")
"""What a page may need: the other kinds are about one app. `app_admin` is an admin of any app."""
FOLDER: Final = "console"
"""Folder beside a plugin's module that its JavaScript is served from."""

Routes = Mapping[str, Route]


class Registered(NamedTuple):
    """A page with what decides about it."""

    page: ConsolePage
    shown: ShownPage


class Pages:
    """The pages of all plugins."""

    def __init__(self, pages: Sequence[Registered], folders: Mapping[str, Path]) -> None:
        self._pages = pages
        self.folders = folders
        """The folder of each plugin that its modules are served from."""

    async def list_visible(
        self, actor: Actor, access: Access | None, apps: Apps | None
    ) -> list[ShownPage]:
        """Return the pages that the caller may see, then those of the caller's apps."""
        visible = [
            registered.shown
            for registered in self._pages
            if await _is_allowed(actor, access, apps, registered.page)
        ]
        if apps is None or access is None:
            return visible
        for installed in await apps.sections(section.KEY):
            user_id = actor.user_id or ""
            rights = await access.effective(user_id, installed.app_id, **limits_of(actor))
            if rights.roles:
                visible += section.describe_pages(installed.app_id, installed.value)
        return visible


async def _is_allowed(
    actor: Actor, access: Access | None, apps: Apps | None, page: ConsolePage
) -> bool:
    if page.needs.kind in ("public", "user"):
        return True
    if access is None:
        return False
    if page.needs.kind == "app_admin":
        return apps is not None and await _is_admin_of_any(actor, access, apps)
    try:
        await access.authorize(actor, page.needs, {})
    except Forbidden:
        return False
    return True


async def _is_admin_of_any(actor: Actor, access: Access, apps: Apps) -> bool:
    for app in await apps.all():
        if await access.is_app_admin(actor.user_id, app.id, **limits_of(actor)):
            return True
    return False


def collect(services: Services) -> Pages:
    """Ask every plugin for its pages. Raises BootError that names plugin and page."""
    routes = {
        f"{route.method} {_plain(route.path)}": route for _, route in services.get(REGISTRY).routes
    }
    pages: list[Registered] = []
    folders: dict[str, Path] = {}
    for implementation in services.get(HOOKS).implementations(hookspecs.register_pages):
        plugin = implementation.plugin
        folder = _folder(implementation.function)
        folders[plugin] = folder
        for page in implementation.invoke({"services": services}) or ():
            try:
                shown = _describe_page(plugin, page, routes, folder)
            except ValueError as error:
                place = f"plugin {plugin}, page {page.title!r}"
                raise BootError(place, str(error), "correct the page") from None
            pages.append(Registered(page, shown))
    return Pages(pages, folders)


def _folder(function: Callable[..., Any]) -> Path:
    module = sys.modules[function.__module__]
    return Path(module.__file__ or "").parent / FOLDER


def _describe_page(plugin: str, page: ConsolePage, routes: Routes, folder: Path) -> ShownPage:
    """Check a page and describe it to the browser. Raises ValueError."""
    if page.needs.kind not in KINDS:
        raise ValueError(f"needs: {page.needs} is about one app")
    if page.slot != "page" and not page.module:
        raise ValueError(f"the slot {page.slot!r} needs a module")
    if page.slot == "field" and not page.on:
        raise ValueError("the slot 'field' needs the names of fields: on=('crm.deals.stage',)")
    if page.module and not (folder / page.module).is_file():
        raise ValueError(f"there is no module {folder / page.module}")

    module = None
    if page.module:
        module = f"/console/ext/{plugin}/{page.module}"
    table = None
    if page.table is not None:
        table = _describe_table(page.table, routes)
    return ShownPage(
        plugin=plugin,
        id=page_id(page.title),
        title=page.title,
        icon=page.icon,
        text=page.text,
        table=table,
        actions=[_describe_action(action, routes) for action in page.actions],
        module=module,
        slot=page.slot,
        on=page.on,
    )


def _describe_table(table: PageTable, routes: Routes) -> ShownTable:
    method, path, _ = _find_route(table.route, routes)
    if method != "GET":
        raise ValueError(f"the table's route {table.route!r} must be a GET")
    columns = [_describe_column(column) for column in table.columns]
    return ShownTable(path=path, rows=table.rows, columns=columns)


def _describe_column(column: PageColumn | str) -> ShownColumn:
    if isinstance(column, str):
        column = PageColumn(column)
    return ShownColumn(name=column.name, title=column.title or column.name, kind=column.kind)


def _describe_action(action: PageAction, routes: Routes) -> ShownAction:
    method, path, route = _find_route(action.route, routes)
    body = None
    if route.body is not None:
        body = msgspec.json.schema(route.body)
    return ShownAction(
        title=action.title,
        method=method,
        path=path,
        confirm=action.confirm,
        body=body,
        row="{" in path,
    )


def _find_route(declared: str, routes: Routes) -> tuple[str, str, Route]:
    """Return method and path as declared, and the route that they lead to."""
    method, _, path = declared.partition(" ")
    route = routes.get(f"{method} {_plain(path)}")
    if route is None:
        raise ValueError(f"there is no route {declared!r}; {nearest(declared, list(routes))}")
    return method, path, route


def _plain(path: str) -> str:
    """Leave the names of path parameters out: the page names members of its rows."""
    return re.sub(r"\{\w+\}", "{}", path)


LARGEST: Final = 200_000
"""Bytes of a README that are shown."""


def manual(services: Services, plugin: str) -> Manual:
    """Return what is beside a plugin's module. Raises NotFound for an unknown plugin."""
    if plugin not in {info.name for info in services.get(REGISTRY).plugins}:
        raise NotFound(f"plugin '{plugin}' not found")
    folder = _home(services, plugin)
    if folder is None:
        return Manual("")
    readme = folder / "README.md"
    text = ""
    if readme.is_file():
        text = readme.read_bytes()[:LARGEST].decode(errors="replace")
    migrations = [path.name for path in folder.glob("migrations/[0-9]*.sql")]
    return Manual(text, sorted(name for name in migrations if not name.endswith(".adopt.sql")))


def _home(services: Services, plugin: str) -> Path | None:
    for implementation in services.get(HOOKS).all_implementations():
        if implementation.plugin == plugin:
            module = sys.modules[implementation.function.__module__]
            return Path(module.__file__ or "").parent
    return None
