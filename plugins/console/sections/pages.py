"""The section `consolePages` of manifests: pages for the RPCs of an app's worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, get_args

import msgspec

from kernel.public import ColumnKind, PageColumn
from plugins.console.models import ShownAction, ShownColumn, ShownPage, ShownTable, page_id

KEY: Final = "consolePages"
_TEXT: Final = {"type": "string", "maxLength": 200}
_METHOD: Final = {"type": "string", "minLength": 1, "maxLength": 200, "description": "An RPC."}
_COLUMN: Final = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {
        "name": _TEXT,
        "title": _TEXT,
        "kind": {"enum": list(get_args(ColumnKind)), "default": "text"},
    },
}
_TABLE: Final = {
    "type": "object",
    "required": ["rpc"],
    "additionalProperties": False,
    "properties": {
        "rpc": _METHOD,
        "rows": {**_TEXT, "description": "Member of the result that holds the rows."},
        "columns": {"type": "array", "maxItems": 50, "items": _COLUMN},
    },
}
_ACTION: Final = {
    "type": "object",
    "required": ["title", "rpc"],
    "additionalProperties": False,
    "properties": {
        "title": {**_TEXT, "minLength": 1},
        "rpc": _METHOD,
        "confirm": {**_TEXT, "description": "Asked first."},
        "row": {"type": "boolean", "description": "On each row; `id` of the row is a parameter."},
        "body": {"type": "object", "description": "A JSON Schema, from which the form is made."},
    },
}
SCHEMA: Final[dict[str, Any]] = {
    "title": "Console pages",
    "description": "Pages of the console for RPCs of the app's worker.",
    "type": "array",
    "maxItems": 30,
    "items": {
        "type": "object",
        "required": ["title"],
        "additionalProperties": False,
        "properties": {
            "title": {**_TEXT, "minLength": 1},
            "icon": _TEXT,
            "text": {"type": "string", "maxLength": 5000, "description": "Markdown."},
            "table": _TABLE,
            "actions": {"type": "array", "maxItems": 20, "items": _ACTION},
        },
    },
}


class _Table(msgspec.Struct, frozen=True):
    rpc: str
    rows: str = ""
    columns: tuple[PageColumn, ...] = ()


class _Action(msgspec.Struct, frozen=True):
    title: str
    rpc: str
    confirm: str = ""
    row: bool = False
    body: dict[str, Any] | None = None


class _Page(msgspec.Struct, frozen=True):
    title: str
    icon: str = "app"
    text: str = ""
    table: _Table | None = None
    actions: tuple[_Action, ...] = ()


def describe_pages(app_id: str, value: Any) -> Sequence[ShownPage]:
    """Describe the pages of an app to the browser; the section was checked at the install."""
    return [_describe_page(app_id, page) for page in msgspec.convert(value, list[_Page])]


def _describe_page(app_id: str, page: _Page) -> ShownPage:
    path = f"/api/v1/apps/{app_id}/rpc"
    return ShownPage(
        plugin=app_id,
        id=page_id(page.title),
        title=page.title,
        icon=page.icon,
        text=page.text,
        table=page.table and _describe_table(path, page.table),
        actions=[
            ShownAction(
                title=action.title,
                method="POST",
                path=path,
                confirm=action.confirm,
                body=action.body,
                rpc=action.rpc,
                row=action.row,
            )
            for action in page.actions
        ],
        module=None,
        slot="page",
    )


def _describe_table(path: str, table: _Table) -> ShownTable:
    columns = [
        ShownColumn(name=column.name, title=column.title or column.name, kind=column.kind)
        for column in table.columns
    ]
    return ShownTable(path=path, rows=table.rows, columns=columns, rpc=table.rpc)
