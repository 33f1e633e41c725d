"""Drops retired tables and columns permanently."""

from __future__ import annotations

from psycopg import sql

from kernel.public import BadRequest, Transaction
from plugins.apps import store
from plugins.apps.models import Dropped, Pruned, Pruning

from . import ddl
from .current import Schema
from .sync import run_ddl


async def prune(tx: Transaction, app_id: str, pruning: Pruning) -> Pruned:
    """Drop the retired tables and columns that `pruning` names, with their data."""
    schema = await store.read_schema(tx, app_id)
    retired = _choose(schema, pruning)
    dropped = [await _count(tx, app_id, schema, entity, column) for entity, column in retired]
    if not pruning.dry_run:
        for entity, column in retired:
            await _drop(tx, app_id, schema, entity, column)
    return Pruned(dropped=dropped, dry_run=pruning.dry_run)


def _choose(schema: Schema, pruning: Pruning) -> list[tuple[str, str | None]]:
    entity = pruning.entity
    column = pruning.column
    all_retired = schema.retired()
    if entity is None:
        if column is not None:
            raise BadRequest("column: the entity it belongs to is needed as well")
        return all_retired
    if entity not in schema.entities:
        raise BadRequest(f"entity: the app has no entity {entity!r}, retired or not")

    if column is None:
        retired_of_entity = [item for item in all_retired if item[0] == entity]
        if not retired_of_entity:
            raise BadRequest(f"entity: {entity!r} is not retired, nor is a column of it")
        return retired_of_entity

    is_retired = schema.columns.get(entity, {}).get(column)
    if is_retired is None:
        raise BadRequest(f"column: {entity!r} has no column {column!r}, retired or not")
    if not is_retired:
        raise BadRequest(f"column: {entity}.{column} is not retired")
    return [(entity, column)]


async def _count(
    tx: Transaction, app_id: str, schema: Schema, entity: str, column: str | None
) -> Dropped:
    if not _exists(schema, entity, column):
        return Dropped(entity=entity, column=column, rows=0)
    counted: sql.Composable = sql.SQL("*")
    if column is not None:
        counted = sql.Identifier(column)
    query = sql.SQL("select count({}) from {}").format(counted, ddl.relation(app_id, entity))
    rows = int(await tx.fetch(query.as_bytes(None)) or 0)
    return Dropped(entity=entity, column=column, rows=rows)


async def _drop(
    tx: Transaction, app_id: str, schema: Schema, entity: str, column: str | None
) -> None:
    if _exists(schema, entity, column):
        if column is None:
            statement = ddl.drop_table(app_id, entity)
        else:
            statement = ddl.alter(app_id, entity, [ddl.drop_column(column)])
        await run_ddl(tx, [statement])
    await store.delete_from_ledger(tx, app_id, entity, column)


def _exists(schema: Schema, entity: str, column: str | None) -> bool:
    """Whether it still exists; one dropped by hand is only deleted from the ledger."""
    table = schema.tables.get(entity)
    if table is None:
        return False
    return column is None or table.column(column) is not None
