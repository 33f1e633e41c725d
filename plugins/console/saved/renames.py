"""Follows the names of tables and fields in saved views, and in the columns that users chose."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, TypeVar

import msgspec

from kernel.public import InstallPlan, PresentNames, Transaction, rename_where
from plugins.console import store

from .shapes import Dashboard, Selection, Tile

_decode_exactly: Final = msgspec.json.Decoder(float_hook=Decimal).decode
_encode_exactly: Final = msgspec.json.Encoder(decimal_format="number").encode
OF_PAIRS: Final = ("figure", "figures", "widths")
"""Members with pairs, as `price.sum,due.max`."""
OF_FIELDS: Final = ("columns", "sort", "by", "group")
"""Members with a name, or several with commas between them."""

SomeSelection = TypeVar("SomeSelection", bound=Selection)


def rename_state(state: Mapping[str, Any], entity: str, names: PresentNames) -> dict[str, Any]:
    """Return the state of a view with present names; `entity` is the present name of its table."""
    renamed = dict(state)
    for member in OF_FIELDS:
        if isinstance(state.get(member), str):
            fields = [names.field(entity, name) for name in state[member].split(",")]
            renamed[member] = ",".join(fields)
    for member in OF_PAIRS:
        if isinstance(state.get(member), str):
            pairs = [pair.partition(".") for pair in state[member].split(",")]
            renamed[member] = ",".join(
                names.field(entity, name) + dot + rest for name, dot, rest in pairs
            )
    if isinstance(state.get("where"), str):
        renamed["where"] = _rename_text(state["where"], entity, names)
    return renamed


def rename_selection(selection: SomeSelection, entity: str, names: PresentNames) -> SomeSelection:
    """Return a selection with present names; `entity` is the present name of its table."""
    changes: dict[str, Any] = {
        "columns": tuple(names.field(entity, name) for name in selection.columns)
    }
    for member in ("by", "order_by"):
        name = getattr(selection, member)
        if name is not None:
            changes[member] = names.field(entity, name)
    if selection.figure is not None:
        changes["figure"] = {
            operator: names.field(entity, name) for operator, name in selection.figure.items()
        }
    if selection.where is not None:
        changes["where"] = rename_where(selection.where, entity, names)
    return msgspec.structs.replace(selection, **changes)


def rename_tile(tile: Tile, names: PresentNames) -> Tile:
    """Return a tile with present names."""
    if tile.entity is None:
        return tile
    entity = names.entity(tile.entity)
    return msgspec.structs.replace(rename_selection(tile, entity, names), entity=entity)


def _rename_dashboard(state: Mapping[str, Any], names: PresentNames) -> dict[str, Any]:
    dashboard = msgspec.convert(state, Dashboard)
    tiles = tuple(rename_tile(tile, names) for tile in dashboard.tiles)
    return msgspec.to_builtins(Dashboard(tiles))


def _rename_text(text: str, entity: str, names: PresentNames) -> str:
    """Return a filter, which a view has as text, with present names; digits stay exact."""
    try:
        tree = _decode_exactly(text)
    except msgspec.DecodeError:
        return text
    renamed = rename_where(tree, entity, names)
    if renamed == tree:
        return text
    return _encode_exactly(renamed).decode()


async def follow(tx: Transaction, plan: InstallPlan) -> None:
    """Rename what an install renames in everything that users saved."""
    names = PresentNames(plan)
    for view in await store.read_views_of_app(tx, plan.app.id):
        if view.entity is None:
            entity = None
            state = _rename_dashboard(view.state, names)
        else:
            entity = names.entity(view.entity)
            state = rename_state(view.state, entity, names)
        if (entity, state) != (view.entity, view.state):
            await store.change_state(tx, view.id, entity, state)
    for name in plan.renamed:
        await store.rename_columns(tx, plan.app.id, name)
