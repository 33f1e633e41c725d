"""Checks the rights of the operations of a batch, before the first of them is carried out."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from kernel.public import Action, Actor, Apps, KernelError, Operation, Target
from plugins.data.execution.statement_or_transaction import WriteExecution
from plugins.data.execution.tags import NO_IF_MATCH
from plugins.data.rights.links import LinkLimitFinder
from plugins.data.rights.permissions import Permissions
from plugins.data.rights.row_scope import RowScope
from plugins.data.rights.scopes import RowScopes
from plugins.data.upserts.plan import UpsertPlan, UpsertPlanner
from plugins.data.values.rows import add_place
from plugins.data.writes.replies import Replies

from .operations import (
    NEEDED,
    OperationRights,
    PreparedOperation,
    can_be_grouped,
    check_members,
    referenced_names,
)


class OperationChecks:
    """Finds what a caller may do by each operation; once for operations that are alike."""

    def __init__(
        self,
        apps: Apps,
        permissions: Permissions,
        scopes: RowScopes,
        links: LinkLimitFinder,
        execution: WriteExecution,
        planner: UpsertPlanner,
    ) -> None:
        self._apps = apps
        self._permissions = permissions
        self._scopes = scopes
        self._links = links
        self._execution = execution
        self._planner = planner

    async def find_rights(self, actor: Actor, app_id: str, operation: Operation) -> OperationRights:
        """Check an operation. Raises Forbidden, NotFound, BadRequest."""
        action = NEEDED[operation.op][0]
        entity = operation.entity
        grant = await self._permissions.require(actor, app_id, entity, action)
        check_members(operation)
        target = Target(actor, grant, app_id, entity)
        upsert = None
        if operation.op == "upsert":
            upsert = await self._planner.plan(target, operation.on or "", operation.then)
        scope = await self._find_scope(target, action, upsert)
        app = await self._apps.app(app_id)
        grouped = can_be_grouped(operation.op, app, scope, upsert)
        # In one statement, upserts keep one order of their new keys; an update has its hooks alone.
        changes_records = operation.op in ("update", "delete")
        if changes_records and not self._execution.can_group(scope.table):
            grouped = False
        return OperationRights(grant, scope, upsert, grouped)

    async def _find_scope(
        self, target: Target, action: Action, upsert: UpsertPlan | None
    ) -> RowScope:
        """Return the records that an operation may reach, and what it may link them to."""
        if upsert is not None:
            return upsert.scope
        if action == "create":
            scope = await self._scopes.find_unnarrowed(target)
        else:
            scope = await self._scopes.resolve(target, action)
        if action == "delete":
            return scope
        return await self._links.limit_changes(target.actor, scope, scope.table.limited.names)


class BatchPreparation:
    """Prepares the operations of a batch. An error names the place of its operation."""

    def __init__(self, checks: OperationChecks, replies: Replies) -> None:
        self._checks = checks
        self._replies = replies

    async def prepare(
        self, actor: Actor, app_id: str, operations: Sequence[Operation]
    ) -> list[PreparedOperation]:
        """Check the rights of the operations, and what can be said of each at once."""
        rights_by_kind: dict[Hashable, OperationRights] = {}
        prepared = list[PreparedOperation]()
        for place, operation in enumerate(operations):
            try:
                kind = _kind_of(operation)
                rights = rights_by_kind.get(kind)
                if rights is None:
                    rights = await self._checks.find_rights(actor, app_id, operation)
                    rights_by_kind[kind] = rights
                condition = NO_IF_MATCH
                if operation.if_match is not None:
                    condition = await self._replies.read_condition(
                        actor, app_id, operation.entity, operation.if_match
                    )
                names = referenced_names(operation)
            except KernelError as error:
                raise add_place(error, place) from None
            prepared.append(PreparedOperation(place, operation, rights, condition, names))
        return prepared


def _kind_of(operation: Operation) -> Hashable:
    """Return what the rights of an operation depend on: operations that are alike share them."""
    return (
        operation.entity,
        operation.op,
        operation.on,
        operation.then,
        operation.id is None,
        operation.data is None,
        operation.if_match is None,
    )
