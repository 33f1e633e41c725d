"""Views and dashboards that manifests declare. They are stored at each install."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from kernel.public import (
    Access,
    App,
    Apps,
    BadRequest,
    InstallPlan,
    PresentNames,
    Reader,
    Renamed,
    Statements,
    Transaction,
    nearest,
    server_actor,
)
from plugins.console import store
from plugins.console.models import DeclaredRow

from .checks import check_selection, check_tile
from .renames import rename_selection, rename_tile
from .shapes import Dashboard, DeclaredDashboard, DeclaredView
from .states import write_state

VIEWS: Final = "views"
DASHBOARDS: Final = "dashboards"
MAX_SENTENCES: Final = 10
"""Problems of a manifest that one reply names."""


def read_views(value: Any) -> list[DeclaredView]:
    """Read a section `views` that fits its schema."""
    return msgspec.convert(value or [], list[DeclaredView])


def read_dashboards(value: Any) -> list[DeclaredDashboard]:
    """Read a section `dashboards` that fits its schema."""
    return msgspec.convert(value or [], list[DeclaredDashboard])


def check(plan: InstallPlan) -> None:
    """Compare what a manifest declares with its entities.

    Raises BadRequest with the place of each problem.
    """
    views, dashboards = _read_declared(plan)
    problems = [*_check_views(plan.app, views), *_check_dashboards(plan.app, views, dashboards)]
    if problems:
        raise BadRequest("; ".join(problems[:MAX_SENTENCES]))


async def check_roles(access: Access, reader: Reader, plan: InstallPlan) -> None:
    """Refuse what looks like a slip in the name of a role. Raises BadRequest with its place.

    Roles are made beside a manifest, and mostly after it, so another unknown name is one to come:
    so is every name in a new app, and what the app has declared before.
    """
    if plan.first:
        return
    declared = _list_role_names(plan)
    if not declared:
        return
    existing = [role.name for role in await access.roles(plan.app.id)]
    before = await store.read_declared_roles(reader, plan.app.id)
    known_roles = {*existing, *before, *_list_roles_of_fields(plan.app)}
    problems: list[str] = []
    for path, name in declared:
        hint = "" if name in known_roles else nearest(name, existing)
        if hint.startswith("did you mean"):
            problems.append(
                f"{path}.role: the app has no role {name!r}; {hint} "
                "A new role is made before a view is for it"
            )
    if problems:
        raise BadRequest("; ".join(problems[:MAX_SENTENCES]))


async def declare(tx: Transaction, plan: InstallPlan) -> None:
    """Store what a manifest declares, once it was checked."""
    views, dashboards = _read_declared(plan)
    rows = _list_rows(views, dashboards)
    await store.declare_views(tx, plan.app.id, plan.app.version_stamp, rows)


def _read_declared(plan: InstallPlan) -> tuple[list[DeclaredView], list[DeclaredDashboard]]:
    """Return what a manifest declares, with present names."""
    names = PresentNames(msgspec.structs.replace(plan, renamed=_list_former(plan)))
    views = [_rename_view(view, names) for view in read_views(plan.section(VIEWS))]
    dashboards = [
        _rename_dashboard(dashboard, names)
        for dashboard in read_dashboards(plan.section(DASHBOARDS))
    ]
    return views, dashboards


async def catch_up(statements: Statements, apps: Apps) -> None:
    """Store what apps declare that were installed while this plugin was off, or older."""
    values: dict[str, dict[str, Any]] = {}
    for key in (VIEWS, DASHBOARDS):
        for section in await apps.sections(key):
            values.setdefault(section.app_id, {})[key] = section.value
    stored_stamps = await store.read_install_stamps(statements)
    for app in await apps.all():
        stored_stamp = stored_stamps.get(app.id)
        sections = values.get(app.id, {})
        is_new = stored_stamp is None and bool(sections)
        is_older = stored_stamp is not None and stored_stamp < app.version_stamp
        if is_new or is_older:
            await _store(statements, app, sections)


async def _store(statements: Statements, app: App, sections: Mapping[str, Any]) -> None:
    views = read_views(sections.get(VIEWS))
    dashboards = read_dashboards(sections.get(DASHBOARDS))
    rows = _list_rows(views, dashboards)

    async def work(tx: Transaction) -> None:
        await store.declare_views(tx, app.id, app.version_stamp, rows)

    await statements.run(server_actor("console"), work)


def _list_rows(
    views: Sequence[DeclaredView], dashboards: Sequence[DeclaredDashboard]
) -> list[DeclaredRow]:
    rows = [
        DeclaredRow(name=view.name, entity=view.entity, role=view.role, state=write_state(view))
        for view in views
    ]
    for dashboard in dashboards:
        state = msgspec.to_builtins(Dashboard(dashboard.tiles))
        rows.append(DeclaredRow(name=dashboard.name, role=dashboard.role, state=state))
    return rows


# --- names


def _list_former(plan: InstallPlan) -> tuple[Renamed, ...]:
    """Return every `was` of the manifest that nothing is called now.

    So a section may go on naming what was renamed.
    """
    former: list[Renamed] = []
    for declared in _list_members(plan.manifest, "dataContract", "data_contract"):
        entity_name = str(declared.get("entityName", declared.get("entity_name")))
        entity = plan.app.entities.get(entity_name)
        if entity is None:
            continue
        former.extend(
            Renamed(entity=entity_name, former=name)
            for name in _list_names(declared)
            if name not in plan.app.entities
        )
        present = {field.name for field in entity.fields}
        for field in _list_members(declared, "fields"):
            former.extend(
                Renamed(entity=entity_name, field=str(field.get("name")), former=name)
                for name in _list_names(field)
                if name not in present
            )
    return tuple(former)


def _list_members(owner: Mapping[str, Any], *keys: str) -> Iterator[Mapping[str, Any]]:
    for key in keys:
        value = owner.get(key)
        if isinstance(value, list):
            for member in cast("list[Any]", value):
                if isinstance(member, dict):
                    yield cast("dict[str, Any]", member)


def _list_names(owner: Mapping[str, Any]) -> list[str]:
    """Return the former names of an entity or a field: `was` is a name or a list of names."""
    was = owner.get("was")
    if isinstance(was, str):
        return [was]
    return [str(name) for name in cast("list[Any]", was or [])]


def _rename_view(view: DeclaredView, names: PresentNames) -> DeclaredView:
    entity = names.entity(view.entity)
    renamed = rename_selection(view, entity, names)
    return msgspec.structs.replace(renamed, entity=entity)


def _rename_dashboard(dashboard: DeclaredDashboard, names: PresentNames) -> DeclaredDashboard:
    tiles = tuple(rename_tile(tile, names) for tile in dashboard.tiles)
    return msgspec.structs.replace(dashboard, tiles=tiles)


# --- checks


def _list_role_names(plan: InstallPlan) -> list[tuple[str, str]]:
    """Return the roles that views and dashboards are for, with the place of each."""
    views, dashboards = _read_declared(plan)
    members = [(f"{VIEWS}[{index}]", view.role) for index, view in enumerate(views)]
    members += [
        (f"{DASHBOARDS}[{index}]", dashboard.role) for index, dashboard in enumerate(dashboards)
    ]
    return [(path, role) for path, role in members if role is not None]


def _list_roles_of_fields(app: App) -> set[str]:
    """Return the roles that hold permissions on fields, which they do from when they exist."""
    names = set[str]()
    for entity in app.entities.values():
        for field in entity.fields:
            if field.access is not None:
                names.update(field.access.read or ())
                names.update(field.access.write or ())
    return names


def _check_views(app: App, views: Sequence[DeclaredView]) -> Iterator[str]:
    for index, view in enumerate(views):
        path = f"{VIEWS}[{index}]"
        entity = app.entities.get(view.entity)
        if entity is None:
            yield f"{path}.entity: the app has no entity {view.entity!r}"
            continue
        for member, sentence in check_selection(entity, view.layout, view):
            yield f"{path}.{member}: {sentence}"


def _check_dashboards(
    app: App, views: Sequence[DeclaredView], dashboards: Sequence[DeclaredDashboard]
) -> Iterator[str]:
    view_names = {view.name for view in views}
    for number, dashboard in enumerate(dashboards):
        for index, tile in enumerate(dashboard.tiles):
            path = f"{DASHBOARDS}[{number}].tiles[{index}]"
            if tile.kind == "view" and tile.view not in view_names:
                yield f"{path}.view: the manifest declares no view {tile.view!r}"
            for member, sentence in check_tile(app.entities, tile):
                yield f"{path}.{member}: {sentence}"
