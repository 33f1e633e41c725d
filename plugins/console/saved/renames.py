"""Follows the names of tables and fields in saved views, and in the columns that users chose."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from kernel.public import InstallPlan, PresentNames, Transaction, rename_where
from plugins.console import store

_decode_exactly: Final = msgspec.json.Decoder(float_hook=Decimal).decode
_encode_exactly: Final = msgspec.json.Encoder(decimal_format="number").encode


def rename_state(state: Mapping[str, Any], entity: str, names: PresentNames) -> dict[str, Any]:
    """Return the state of a view with present names; `entity` is the present name of its table."""
    renamed = dict(state)
    if isinstance(state.get("sort"), str):
        renamed["sort"] = names.field(entity, state["sort"])
    if isinstance(state.get("columns"), str):
        columns = [names.field(entity, name) for name in state["columns"].split(",")]
        renamed["columns"] = ",".join(columns)
    if isinstance(state.get("figures"), str):
        figures = [figure.partition(".") for figure in state["figures"].split(",")]
        renamed["figures"] = ",".join(
            names.field(entity, name) + dot + kind for name, dot, kind in figures
        )
    if isinstance(state.get("where"), str):
        renamed["where"] = _rename_text(state["where"], entity, names)
    return renamed


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
        entity = names.entity(view.entity)
        state = rename_state(view.state, entity, names)
        if (entity, state) != (view.entity, view.state):
            await store.change_view(tx, view.id, entity, state)
    for name in plan.renamed:
        await store.rename_columns(tx, plan.app.id, name)
