"""Follows the names of tables and fields in saved views, and in the columns that users chose."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, cast

import msgspec

from kernel.public import InstallPlan, Transaction
from plugins.console import store

GROUPS: Final = ("$and", "$or")
REVERSE: Final = "_via_"

_decode_exactly: Final = msgspec.json.Decoder(float_hook=Decimal).decode
_encode_exactly: Final = msgspec.json.Encoder(decimal_format="number").encode


class Names:
    """The names of an app before and after an install."""

    def __init__(self, plan: InstallPlan) -> None:
        self._app = plan.app
        self._entities = {name.former: name.entity for name in plan.renamed if name.field is None}
        self._fields = {
            (name.entity, name.former): name.field
            for name in plan.renamed
            if name.field is not None
        }

    def entity(self, former: str) -> str:
        """Return what an entity is called now."""
        return self._entities.get(former, former)

    def field(self, entity: str, former: str) -> str:
        """Return what a field is called now; `entity` is the present name."""
        return self._fields.get((entity, former), former)

    def target(self, entity: str, field: str) -> str:
        """Return the entity that a link leads to, empty for another field; names are present."""
        described = self._app.entities.get(entity)
        for candidate in () if described is None else described.fields:
            if candidate.name == field and candidate.references is not None:
                return candidate.references.entity
        return ""


def rename_state(state: Mapping[str, Any], entity: str, names: Names) -> dict[str, Any]:
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


def _rename_text(text: str, entity: str, names: Names) -> str:
    """Return a filter, which a view has as text, with present names; digits stay exact."""
    try:
        tree = _decode_exactly(text)
    except msgspec.DecodeError:
        return text
    renamed = rename_where(tree, entity, names)
    if renamed == tree:
        return text
    return _encode_exactly(renamed).decode()


def rename_where(tree: Any, entity: str, names: Names) -> Any:
    """Return a where-tree with present names, those of linked records as well."""
    if not isinstance(tree, dict):
        return tree
    renamed: dict[str, Any] = {}
    for key, condition in cast("dict[str, Any]", tree).items():
        if key in GROUPS and isinstance(condition, list):
            branches = cast("list[Any]", condition)
            renamed[key] = [rename_where(branch, entity, names) for branch in branches]
        elif key == "$not":
            renamed[key] = rename_where(condition, entity, names)
        elif REVERSE in key and not names.target(entity, names.field(entity, key)):
            former_source, _, link = key.partition(REVERSE)
            source = names.entity(former_source)
            present_key = f"{source}{REVERSE}{names.field(source, link)}"
            renamed[present_key] = _rename_linked(condition, source, names)
        else:
            field = names.field(entity, key)
            renamed[field] = _rename_linked(condition, names.target(entity, field), names)
    return renamed


def _rename_linked(condition: Any, entity: str, names: Names) -> Any:
    """Return a condition whose trees of linked records have present names."""
    if not isinstance(condition, dict) or not entity:
        return condition
    return {
        operator: rename_where(tree, entity, names) if operator.startswith("$") else tree
        for operator, tree in cast("dict[str, Any]", condition).items()
    }


async def follow(tx: Transaction, plan: InstallPlan) -> None:
    """Rename what an install renames in everything that users saved."""
    names = Names(plan)
    for view in await store.read_views_of_app(tx, plan.app.id):
        entity = names.entity(view.entity)
        state = rename_state(view.state, entity, names)
        if (entity, state) != (view.entity, view.state):
            await store.change_view(tx, view.id, entity, state)
    for name in plan.renamed:
        await store.rename_columns(tx, plan.app.id, name)
