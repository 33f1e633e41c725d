"""Drops retired tables and columns permanently."""

from __future__ import annotations

from psycopg import sql

from kernel.public import BadRequest, Transaction
from plugins.apps import store
from plugins.apps.models import Dropped, Pruned, Pruning

from . import ddl
from .current import Schema
from .sync import run_ddl


async def prune(tx: Transaction, app_id: str, wanted: Pruning) -> Pruned:
    """Drop the retired tables and columns that `wanted` names, with their data."""
    schema = await store.schema(tx, app_id)
    chosen = _choose(schema, wanted)
    dropped = [await _count(tx, app_id, schema, *item) for item in chosen]
    if not wanted.dry_run:
        for entity, column in chosen:
            await _drop(tx, app_id, schema, entity, column)
    return Pruned(dropped=dropped, dry_run=wanted.dry_run)


def _choose(schema: Schema, wanted: Pruning) -> list[tuple[str, str | None]]:
    entity, column = wanted.entity, wanted.column
    retired = schema.retired()
    if entity is None:
        if column is not None:
            raise BadRequest("column: the entity it belongs to is needed as well")
        return retired
    if entity not in schema.entities:
        raise BadRequest(f"entity: the app has no entity {entity!r}, retired or not")
    if column is None:
        chosen = [item for item in retired if item[0] == entity]
        if not chosen:
            raise BadRequest(f"entity: {entity!r} is not retired, nor is a column of it")
        return chosen
    state = schema.columns.get(entity, {}).get(column)
    if state is None:
        raise BadRequest(f"column: {entity!r} has no column {column!r}, retired or not")
    if not state:
        raise BadRequest(f"column: {entity}.{column} is not retired")
    return [(entity, column)]


async def _count(
    tx: Transaction, app_id: str, schema: Schema, entity: str, column: str | None
) -> Dropped:
    if not _exists(schema, entity, column):
        return Dropped(entity=entity, column=column, rows=0)
    query = sql.SQL("select count({}) from {}").format(
        sql.Identifier(column) if column else sql.SQL("*"), ddl.relation(app_id, entity)
    )
    return Dropped(
        entity=entity, column=column, rows=int(await tx.fetch(query.as_bytes(None)) or 0)
    )


async def _drop(
    tx: Transaction, app_id: str, schema: Schema, entity: str, column: str | None
) -> None:
    if _exists(schema, entity, column):
        statement = (
            ddl.drop_table(app_id, entity)
            if column is None
            else ddl.alter(app_id, entity, [ddl.drop_column(column)])
        )
        await run_ddl(tx, [statement])
    await store.strike(tx, app_id, entity, column)


def _exists(schema: Schema, entity: str, column: str | None) -> bool:
    """Whether it still exists; one dropped by hand is only deleted from the ledger."""
    table = schema.tables.get(entity)
    return table is not None and (column is None or table.column(column) is not None)
