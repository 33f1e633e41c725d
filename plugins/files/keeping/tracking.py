"""Follows the fields of managed files of an app: the triggers of their tables know them."""

from __future__ import annotations

import structlog

from kernel.public import App, BadRequest, Transaction
from plugins.files import store
from plugins.files.models import ManagedField

log = structlog.get_logger("caudex.files")


def fields_of(app: App) -> dict[tuple[str, str], ManagedField]:
    """Return the fields of managed files that an app declares, by entity and field."""
    fields: dict[tuple[str, str], ManagedField] = {}
    for entity in app.entities.values():
        for field in entity.fields:
            if field.file is not None:
                fields[entity.name, field.name] = ManagedField(
                    entity=entity.name,
                    field=field.name,
                    is_list=field.type == "[file]",
                    max_size=field.file.max_size,
                    types=field.file.types,
                )
    return fields


async def follow(tx: Transaction, app: App, *, strict: bool) -> None:
    """Make the triggers of an app's tables know its fields; nothing is done where they do.

    A field that becomes managed holds its values from then on. Values that are no files of the app
    are refused if it is `strict`, and logged otherwise. Raises BadRequest.
    """
    declared = fields_of(app)
    tracked_fields = await store.read_fields(tx, app.id)
    if not declared and not tracked_fields:
        return
    await store.forget_fields(
        tx, app.id, _list_unmanaged(app, tracked_fields.keys() - declared.keys())
    )
    for key, field in declared.items():
        if tracked_fields.get(key) == field:
            continue
        await store.save_field(tx, app.id, field)
        before = tracked_fields.get(key)
        if before is None or before.is_list != field.is_list:
            await _adopt(tx, app, field, strict=strict)
    await store.track(tx, app.id, sorted({entity for entity, _ in declared}))


def _list_unmanaged(app: App, keys: set[tuple[str, str]]) -> list[str]:
    """Return those of some fields that the app declares as something else, as `entity.field`.

    A field that it does not declare is retired: it holds its files until it is pruned.
    """
    names: list[str] = []
    for entity_name, field_name in keys:
        entity = app.entities.get(entity_name)
        if entity is not None and any(field.name == field_name for field in entity.fields):
            names.append(f"{entity_name}.{field_name}")
    return names


async def _adopt(tx: Transaction, app: App, field: ManagedField, *, strict: bool) -> None:
    unknown = await store.count_unknown(tx, app.id, field)
    name = f"{field.entity}.{field.field}"
    if unknown and strict:
        raise BadRequest(f"{name}: {unknown} values are no files of the app")
    if unknown:
        log.warning("values are no files", app_id=app.id, field=name, count=unknown)
    await store.adopt(tx, app.id, field)
