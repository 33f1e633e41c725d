"""Pages that plugins register, and their READMEs: what a caller may see of plugins."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
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
    Route,
    Services,
    nearest,
)

from . import hookspecs, section
from .models import Manual, ShownAction, ShownColumn, ShownPage, ShownTable, page_id

KINDS: Final = ("public", "user", "core_admin", "core_permission")
"""What a page may need: the other kinds are about one app."""
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

    async def of(self, actor: Actor, access: Access | None, apps: Apps | None) -> list[ShownPage]:
        """Return the pages that the caller may see, then those of the caller's apps."""
        found = [each.shown for each in self._pages if await _allowed(actor, access, each.page)]
        if apps is not None and access is not None:
            for each in await apps.sections(section.KEY):
                if (await access.effective(actor.user_id or "", each.app_id)).roles:
                    found += section.shown(each.app_id, each.value)
        return found


async def _allowed(actor: Actor, access: Access | None, page: ConsolePage) -> bool:
    if access is None or page.needs.kind in ("public", "user"):
        return page.needs.kind in ("public", "user")
    try:
        await access.authorize(actor, page.needs, {})
    except Forbidden:
        return False
    return True


def collect(services: Services) -> Pages:
    """Ask every plugin for its pages. Raises BootError that names plugin and page."""
    routes = {
        f"{route.method} {_plain(route.path)}": route for _, route in services.get(REGISTRY).routes
    }
    pages, folders = list[Registered](), dict[str, Path]()
    for implementation in services.get(HOOKS).implementations(hookspecs.register_pages):
        folder = _folder(implementation.function)
        folders[implementation.plugin] = folder
        for page in implementation.invoke({"services": services}) or ():
            try:
                pages.append(Registered(page, _shown(implementation.plugin, page, routes, folder)))
            except ValueError as error:
                where = f"plugin {implementation.plugin}, page {page.title!r}"
                raise BootError(where, str(error), "correct the page") from None
    return Pages(pages, folders)


def _folder(function: Callable[..., Any]) -> Path:
    module = sys.modules[function.__module__]
    return Path(module.__file__ or "").parent / FOLDER


def _shown(plugin: str, page: ConsolePage, routes: Routes, folder: Path) -> ShownPage:
    """Check a page and describe it to the browser. Raises ValueError."""
    if page.needs.kind not in KINDS:
        raise ValueError(f"needs: {page.needs} is about one app")
    if page.slot != "page" and not page.module:
        raise ValueError(f"the slot {page.slot!r} needs a module")
    if page.slot == "field" and not page.on:
        raise ValueError("the slot 'field' needs the names of fields: on=('crm.deals.stage',)")
    if page.module and not (folder / page.module).is_file():
        raise ValueError(f"there is no module {folder / page.module}")
    return ShownPage(
        plugin=plugin,
        id=page_id(page.title),
        title=page.title,
        icon=page.icon,
        text=page.text,
        table=None if page.table is None else _table(page, routes),
        actions=[_action(action, routes) for action in page.actions],
        module=f"/console/ext/{plugin}/{page.module}" if page.module else None,
        slot=page.slot,
        on=page.on,
    )


def _table(page: ConsolePage, routes: Routes) -> ShownTable:
    assert page.table is not None
    method, path, _ = _find(page.table.route, routes)
    if method != "GET":
        raise ValueError(f"the table's route {page.table.route!r} must be a GET")
    given = page.table.columns
    columns = [each if isinstance(each, PageColumn) else PageColumn(each) for each in given]
    return ShownTable(
        path=path,
        rows=page.table.rows,
        columns=[ShownColumn(name=c.name, title=c.title or c.name, kind=c.kind) for c in columns],
    )


def _action(action: PageAction, routes: Routes) -> ShownAction:
    method, path, route = _find(action.route, routes)
    body = None if route.body is None else msgspec.json.schema(route.body)
    return ShownAction(
        title=action.title,
        method=method,
        path=path,
        confirm=action.confirm,
        body=body,
        row="{" in path,
    )


def _find(declared: str, routes: Routes) -> tuple[str, str, Route]:
    """Return method and path as declared, and the route that they lead to."""
    method, _, path = declared.partition(" ")
    if (route := routes.get(f"{method} {_plain(path)}")) is None:
        raise ValueError(f"there is no route {declared!r}; {_nearest(declared, routes)}")
    return method, path, route


def _nearest(declared: str, routes: Iterable[str]) -> str:
    return nearest(declared, list(routes))


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
    path = folder / "README.md"
    text = path.read_bytes()[:LARGEST].decode(errors="replace") if path.is_file() else ""
    files = (each.name for each in folder.glob("migrations/[0-9]*.sql"))
    return Manual(text, sorted(name for name in files if not name.endswith(".adopt.sql")))


def _home(services: Services, plugin: str) -> Path | None:
    for implementation in services.get(HOOKS).all_implementations():
        if implementation.plugin == plugin:
            module = sys.modules[implementation.function.__module__]
            return Path(module.__file__ or "").parent
    return None
