"""Checks that views and tiles fit the entity whose records they show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from kernel.public import Entity, Field, nearest

from .shapes import COUNT, Layout, Selection, Tile, TileKind

Problem = tuple[str, str]
"""The member that is wrong, and a sentence."""
Form = Layout | TileKind

TIMES: Final = ("date", "timestamp")
UNGROUPED: Final = ("json", "file", "[file]", "[text]", "[number]")
"""Types whose values make no groups."""
ADDED: Final = ("$sum", "$avg")
"""Figures that numbers only have."""
NEEDED: Final[Mapping[Form, str]] = {
    "board": "the choice or the link whose values are its columns",
    "calendar": "the date or the time that puts a record on a day",
    "gallery": "the field of files whose pictures are shown",
    "chart": "the field that makes the groups",
    "bar": "the field that makes the groups",
    "line": "the field that makes the groups",
}
"""What `by` is for."""
SYSTEM_FIELDS: Final = (
    Field(name="created_at", type="timestamp", sql_type="timestamptz"),
    Field(name="updated_at", type="timestamp", sql_type="timestamptz"),
)


def check_selection(entity: Entity, form: Form, selection: Selection) -> Iterator[Problem]:
    """Yield what does not fit the entity."""
    fields = {field.name: field for field in (*entity.fields, *SYSTEM_FIELDS)}
    fields["id"] = Field(name="id", type=entity.id_type, sql_type=entity.id_type)
    for index, name in enumerate(selection.columns):
        if name not in fields:
            yield f"columns[{index}]", _say_missing(entity, name, fields)
    if selection.order_by is not None and selection.order_by not in fields:
        yield "orderBy", _say_missing(entity, selection.order_by, fields)
    yield from _check_by(entity, form, selection, fields)
    yield from _check_figure(entity, selection, fields)


def check_tile(entities: Mapping[str, Entity], tile: Tile) -> Iterator[Problem]:
    """Yield what of a tile does not fit the entities of its app."""
    if tile.kind == "view":
        if tile.view is None:
            yield "view", "is needed: the id of a view, or the name of a declared one"
        return
    if tile.kind == "plugin":
        if tile.plugin is None:
            yield "plugin", "is needed: a plugin and the id of a page with the slot 'tile'"
        return
    if tile.entity is None:
        yield "entity", "is needed"
        return
    entity = entities.get(tile.entity)
    if entity is None:
        yield "entity", f"the app has no entity {tile.entity!r}"
        return
    yield from check_selection(entity, tile.kind, tile)


def _check_by(
    entity: Entity, form: Form, selection: Selection, fields: Mapping[str, Field]
) -> Iterator[Problem]:
    by = selection.by
    if form not in NEEDED:
        return
    if by is None:
        yield "by", f"is needed: {NEEDED[form]}"
        return
    field = fields.get(by)
    if field is None:
        yield "by", _say_missing(entity, by, fields)
        return
    if not _fits(form, field):
        yield "by", f"{by!r} is {_name_type(field)}; wanted is {NEEDED[form]}"
    if selection.period is not None and field.type not in TIMES:
        yield "period", f"{by!r} is {_name_type(field)}, which has no periods"


def _fits(form: Form, field: Field) -> bool:
    """Whether records can be laid out by a field."""
    if form == "board":
        is_choice = field.type == "text" and bool(field.enum_values)
        return is_choice or field.references is not None
    if form == "calendar":
        return field.type in TIMES
    if form == "gallery":
        return field.file is not None
    return field.type not in UNGROUPED


def _check_figure(
    entity: Entity, selection: Selection, fields: Mapping[str, Field]
) -> Iterator[Problem]:
    for operator, name in (selection.figure or {}).items():
        if operator == COUNT and name == "*":
            continue
        field = fields.get(name)
        if field is None:
            yield f"figure.{operator}", _say_missing(entity, name, fields)
        elif operator in ADDED and field.type != "number":
            yield f"figure.{operator}", f"{name!r} is {_name_type(field)}, and no number"


def _name_type(field: Field) -> str:
    if field.file is not None:
        return f"{field.type} (a managed file)"
    return field.type


def _say_missing(entity: Entity, name: str, fields: Mapping[str, Field]) -> str:
    return f"{entity.name} has no field {name!r}; {nearest(name, fields)}"
