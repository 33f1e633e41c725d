"""Operations of a batch, with what their caller may do by them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeGuard, cast

import msgspec

from kernel.public import Action, App, BadRequest, Grant, Operation
from plugins.data.execution.tags import IfMatch
from plugins.data.rights.row_scope import RowScope
from plugins.data.upserts.plan import UpsertPlan
from plugins.data.values.rows import Row

NEEDED: Final[Mapping[str, tuple[Action, ...]]] = {
    "create": ("create",),
    "update": ("update",),
    "delete": ("delete",),
    "upsert": ("create", "update"),
}
"""Permissions that an operation needs; the first one's grant says which records it reaches."""

_NO_NAMES: Final = frozenset[str]()


class OperationRights(msgspec.Struct, frozen=True):
    """What a caller may do by the operations of a batch that are alike.

    `grouped` says whether several of them in one statement do the same as one after the other.
    """

    grant: Grant
    scope: RowScope
    upsert: UpsertPlan | None = None
    grouped: bool = True


class PreparedOperation(msgspec.Struct, frozen=True):
    """An operation that its caller may do."""

    place: int
    operation: Operation
    rights: OperationRights
    condition: IfMatch
    refers_to: frozenset[str]
    """Names of operations before it whose values it has."""


class OperationWrite(msgspec.Struct, frozen=True):
    """An operation with the values that it refers to.

    No two writes of a group have the same `key`; None goes with every other.
    """

    prepared: PreparedOperation
    record_id: str
    row: Row
    key: str | bytes | None = None


def check_members(operation: Operation) -> None:
    """Raise BadRequest where an operation lacks a member that it needs."""
    op = operation.op
    if op in ("update", "delete") and operation.id is None:
        raise BadRequest(f"id is required for {op}")
    if op != "delete" and operation.data is None:
        raise BadRequest(f"data is required for {op}")
    if op == "upsert" and not operation.on:
        raise BadRequest("on is required for upsert")
    if operation.if_match is not None and op not in ("update", "delete"):
        raise BadRequest(f"ifMatch does not go with {op}")


def can_be_grouped(op: str, app: App, scope: RowScope, upsert: UpsertPlan | None) -> bool:
    """Whether no write of several that are alike can depend on one before it."""
    entity = scope.table.entity
    if scope.links is not None and any(rows.trees for rows in scope.links.rows_by_field.values()):
        return False
    if op == "create":
        return True
    if scope.trees:  # they may look at records that were written before
        return False
    links_here = [
        (other.name == entity.name, field.on_delete)
        for other in app.entities.values()
        for field in other.fields
        if field.references is not None and field.references.entity == entity.name
    ]
    if op == "delete":  # of a record that is gone by then, or that has changed
        return not any(
            is_own_link or on_delete == "cascade" for is_own_link, on_delete in links_here
        )
    if upsert is not None:
        has_own_link = any(is_own_link for is_own_link, _ in links_here)
        may_link_to_chosen_ids = entity.id_declared and has_own_link
        other_keys = {frozenset(key) for key in entity.unique} - {frozenset({"id"})}
        return not may_link_to_chosen_ids and other_keys <= {frozenset(upsert.on)}
    return True


def referenced_names(operation: Operation) -> frozenset[str]:
    """Return the names of operations whose values an operation has."""
    values = [*(operation.data or {}).values(), operation.id]
    if dict not in map(type, values):  # nearly always
        return _NO_NAMES
    references = [value["$ref"] for value in values if is_reference(value)]
    return frozenset(reference.partition(".")[0] for reference in references)


def is_reference(value: Any) -> TypeGuard[Mapping[str, str]]:
    """Whether a value is `{"$ref": "acme.id"}`."""
    if not isinstance(value, dict):
        return False
    members = cast("dict[str, Any]", value)
    return len(members) == 1 and isinstance(members.get("$ref"), str)
