"""Makes the proposal of an app from sheets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from kernel.public import BadRequest, Sheet, SheetColumn, clean_name
from plugins.apps.manifest.fields import SERVER_COLUMNS
from plugins.apps.manifest.reader import app_id_problem

from .links import find_links
from .models import Proposal, ProposedColumn, ProposedLink, ProposedTable

SERVER_FIELDS: Final = ("created_at", "updated_at")
IDS: Final = ("uuid", "integer", "text")
OPEN: Final = "dates: {} can be read with the day or the month first: send dates=dmy or mdy"

DayOrder = Literal["dmy", "mdy"]
Links = Mapping[tuple[str, str], ProposedLink]


def propose(
    name: str, app_id: str | None, sheets: Sequence[Sheet], dates: DayOrder | None = None
) -> Proposal:
    """Return an app with an entity for each sheet. Raises BadRequest."""
    app_id = app_id or _make_app_id(name)
    problem = app_id_problem(app_id)
    if problem:
        raise BadRequest(f"appId: {problem}")
    entities = [sheet.entity for sheet in sheets]
    for entity in entities:
        if entities.count(entity) > 1:
            raise BadRequest(f"two files give the entity {entity!r}: rename one")
    for sheet in sheets:
        _rename_taken(sheet)
        for column in sheet.columns:
            column.day_order = dates

    links = find_links(sheets)
    ordered = _order(sheets, links)
    keys = {(link.target, link.key) for link in links.values() if link.key != "id"}
    contracts = [_describe_entity(sheet, links, keys) for sheet in ordered]
    manifest = {
        "appId": app_id,
        "name": name.strip() or app_id,
        "version": "0.1.0",
        "dataContract": contracts,
    }
    tables = [_describe_table(sheet, links) for sheet in ordered]
    return Proposal(manifest=manifest, tables=tables, links=list(links.values()))


def _make_app_id(name: str) -> str:
    app_id = clean_name(name)
    if app_id and app_id_problem(app_id):
        return f"app_{app_id}"[:63]
    return app_id or "app"


def _rename_taken(sheet: Sheet) -> None:
    """Give columns another name whose own is one of the database."""
    for column in sheet.columns:
        is_taken = column.name in SERVER_COLUMNS
        is_bad_id = column.name == "id" and not _is_id(sheet, column)
        if is_taken or is_bad_id:
            column.name = f"{sheet.entity}_{column.name}"[:63]


def _is_id(sheet: Sheet, column: SheetColumn) -> bool:
    """Whether a column can be the id of the records."""
    return column.is_unique and column.filled == sheet.rows and column.kind in IDS


def _order(sheets: Sequence[Sheet], links: Links) -> list[Sheet]:
    """Return the sheets with those first that others link to, as far as there is such an order."""
    targets = {
        sheet.entity: {
            link.target for link in links.values() if link.entity == sheet.entity != link.target
        }
        for sheet in sheets
    }
    ordered: list[Sheet] = []
    waiting = list(sheets)
    while waiting:
        done = {sheet.entity for sheet in ordered}
        ready = [sheet for sheet in waiting if targets[sheet.entity] <= done]
        chosen = ready or waiting[:1]
        ordered += chosen
        waiting = [sheet for sheet in waiting if sheet not in chosen]
    return ordered


def _describe_entity(sheet: Sheet, links: Links, keys: set[tuple[str, str]]) -> dict[str, Any]:
    fields = [
        _describe_field(sheet, column, links)
        for column in sheet.columns
        if column.name not in SERVER_FIELDS
    ]
    entity: dict[str, Any] = {"entityName": sheet.entity, "fields": fields}
    indexes = [
        {"columns": [column.name], "unique": True}
        for column in sheet.columns
        if (sheet.entity, column.name) in keys
    ]
    if indexes:
        entity["indexes"] = indexes
    return entity


def _describe_field(sheet: Sheet, column: SheetColumn, links: Links) -> dict[str, Any]:
    field = column.field()
    if column.name == "id":
        return {"name": "id", "type": "uuid" if column.kind == "uuid" else "text"}
    link = links.get((sheet.entity, column.name))
    if link is not None:
        field.pop("enum_values", None)
        field["type"] = "entity_link"
        field["references"] = {"entity": link.target}
    elif column.kind == "comma" and _has_points(sheet):
        field["type"] = "text"
    return field


def _has_points(sheet: Sheet) -> bool:
    """Whether another column has numbers with a point: one import reads one way only."""
    return any(column.kind == "number" for column in sheet.columns)


def _describe_table(sheet: Sheet, links: Links) -> ProposedTable:
    columns: list[ProposedColumn] = []
    header: list[str] = []
    for column in sheet.columns:
        is_left_out = column.name in SERVER_FIELDS
        link = links.get((sheet.entity, column.name))
        field = _describe_field(sheet, column, links)
        why = column.explain() if link is None else link.why
        if is_left_out:
            why = "every record has it, set by the server"
        name = column.name
        if link is not None and link.key != "id":
            name = f"{column.name}.{link.key}"
        header.append("" if is_left_out else name)
        columns.append(
            ProposedColumn(
                heading=column.heading,
                name=None if is_left_out else column.name,
                type=field["type"],
                why=why,
            )
        )
    options, questions = _find_options(sheet)
    return ProposedTable(
        entity=sheet.entity,
        source=sheet.source,
        rows=sheet.rows,
        columns=columns,
        header=header,
        options=options,
        questions=questions,
    )


def _find_options(sheet: Sheet) -> tuple[dict[str, str], list[str]]:
    """Return how an import reads the values, and what only a person can say."""
    options: dict[str, str] = {}
    orders = {column.kind for column in sheet.columns if column.kind in ("dmy", "mdy")}
    open_columns = [
        column.heading for column in sheet.columns if column.is_open and column.day_order is None
    ]
    questions: list[str] = []
    if len(orders) == 1:
        options["dates"] = orders.pop()
    elif orders:
        questions.append("dates: columns have the day first and the month first; make them alike")
    if open_columns:
        questions.append(OPEN.format(", ".join(open_columns)))
    if any(column.kind == "comma" for column in sheet.columns) and not _has_points(sheet):
        options["decimal"] = ","
    return options, questions
