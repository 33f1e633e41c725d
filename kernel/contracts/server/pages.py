"""Pages that plugins add to the console."""

from __future__ import annotations

from typing import Literal

import msgspec

from kernel.contracts.access import ANY_USER, Needs

__all__ = ["ColumnKind", "ConsolePage", "PageAction", "PageColumn", "PageSlot", "PageTable"]

PageSlot = Literal["page", "tile", "record", "field", "action", "palette"]
"""Where a page is shown: in the navigation, on the start page, on records, in place of a field's
values, in a dialog for chosen records, or in a dialog from the palette."""

ColumnKind = Literal["text", "number", "time", "code", "state", "json"]
"""How the console draws the values of a column."""


class PageColumn(msgspec.Struct, frozen=True):
    """A column of a table: the member of each row, its heading, and how it is drawn."""

    name: str
    title: str = ""
    kind: ColumnKind = "text"


class PageTable(msgspec.Struct, frozen=True):
    """A table that shows the array which a route returns: `PageTable("GET /api/v1/guests")`.

    `rows` names the member of the reply that holds the array, where the reply is an object. Without
    `columns` the members of the first row are shown.
    """

    route: str
    columns: tuple[PageColumn | str, ...] = ()
    rows: str = ""


class PageAction(msgspec.Struct, frozen=True):
    """A button. The form is made from the body of the route; `confirm` is asked first.

    In the path of `route`, `{id}` is replaced by that member of a row: such an action is shown on
    each row.
    """

    title: str
    route: str
    confirm: str = ""


class ConsolePage(msgspec.Struct, frozen=True):
    """A page of a plugin. `needs` is what a caller must hold to see it in the navigation.
    With APP_ADMIN it is shown to the admins of any app.

    `module` is a JavaScript module in the folder `console` beside the plugin's Python module. Its
    export `default` is a component. Without `module` the page shows `text`, `table` and `actions`.
    The slots `record`, `action` and `field` are for what `on` names: `crm.deals`, `*.*.colour`.
    """

    title: str
    icon: str = "plug"
    needs: Needs = ANY_USER
    text: str = ""
    table: PageTable | None = None
    actions: tuple[PageAction, ...] = ()
    module: str = ""
    slot: PageSlot = "page"
    on: tuple[str, ...] = ()
