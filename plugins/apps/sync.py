"""Carry out a plan in a transaction: ask the rows first, then change the schema."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import anyio
import msgspec
import psycopg
from anyio import to_thread
from psycopg import sql

from kernel.public import BadRequest, Reader, SchemaChanged, Transaction, Unavailable

from . import ddl, store
from .checks import Answer
from .diff import diff
from .model import Relation, Table, tables_of
from .models import Manifest
from .problems import MOST
from .steps import Phase, Plan, Step

_decode_answer = msgspec.json.Decoder(Answer).decode

ABROAD: Final = (Phase.JOIN, Phase.PART)
"""Phases that take hold of tables which are not the app's."""

MOMENT: Final = 0.2
"""Seconds that others may have to wait because a table that is theirs too is waited for."""
PAUSE: Final = 0.3
"""Seconds between two tries."""

_NOT_OURS: Final = ("0A", "2B", "42", "55000", "55006")
"""Classes of SQLSTATE of a change that PostgreSQL refuses because of what was made by hand: a view
on a column, a foreign key, an object of the same name."""


async def plan_for(reader: Reader, manifest: Manifest, users: Relation) -> Plan:
    """Compare a manifest with what stands. Raises BadRequest where it can never be reached."""
    schema = await store.schema(reader, manifest.app_id)
    tables = await wanted_tables(reader, manifest, users)
    plan = await to_thread.run_sync(diff, tables, schema, manifest.app_id)
    if plan.refusals:
        raise BadRequest("; ".join(plan.refusals[:MOST]))
    return plan


async def wanted_tables(reader: Reader, manifest: Manifest, users: Relation) -> dict[str, Table]:
    """The tables of a manifest, defaults as PostgreSQL prints them."""
    return await store.with_expressions(reader, tables_of(manifest, users))


async def carry_out(tx: Transaction, app_id: str, plan: Plan) -> None:
    """Run a plan, all but the links to tables of others: they are only asked for.

    Raises BadRequest that says which rows stand in the way, in all tables.
    """
    if tables := plan.tables():
        await run_ddl(tx, [ddl.lock_tables(app_id, tables)])
    for phase in Phase:
        steps = plan.steps_of(phase)
        await _ask(tx, steps)
        if phase not in ABROAD:
            await run_ddl(tx, _statements(app_id, steps))


async def carry_out_abroad(tx: Transaction, app_id: str, plan: Plan, patience: float) -> None:
    """Run the rest of a plan, at the end of the transaction: from here on others have to wait."""
    for phase in ABROAD:
        await run_ddl_abroad(tx, _statements(app_id, plan.steps_of(phase)), patience)


async def run_ddl_abroad(
    tx: Transaction, statements: Sequence[sql.Composable], patience: float
) -> None:
    """Run DDL that takes tables of others, accounts above all, for `patience` seconds.

    Who waits for such a table keeps all that come later from it, and a login of an app can make
    everybody wait for as long as it likes. So it is asked for a moment only, again and again.
    Raises Unavailable; BadRequest as `run_ddl`.
    """
    if not statements:
        return
    until = anyio.current_time() + patience
    await store.limit(tx, "lock_timeout", MOMENT)
    while True:
        try:
            async with tx.savepoint():
                return await run_ddl(tx, statements)
        except SchemaChanged:
            raise
        except Unavailable:
            if anyio.current_time() > until:
                raise
        await anyio.sleep(PAUSE)


async def keep_ledger(tx: Transaction, manifest: Manifest) -> None:
    """Note what is live now; the rest of what installs made is retired."""
    tables = {entity.name: [field.name for field in entity.fields] for entity in manifest.entities}
    await store.keep(tx, manifest.app_id, tables)


async def _ask(tx: Transaction, steps: Iterable[Step]) -> None:
    refusals: list[str] = []
    for step in steps:
        if step.check is not None:
            raw = await tx.fetch(step.check.query.as_bytes(None))
            answer = _decode_answer(raw or b'{"count":0,"samples":[]}')
            if answer.count:
                refusals.append(step.check.refusal(answer))
    if refusals:
        raise BadRequest("; ".join(refusals[:MOST]))


def _statements(app_id: str, steps: Sequence[Step]) -> list[sql.Composable]:
    """All clauses of a table in one ALTER TABLE, so that it is rewritten once, then the rest.

    Tables that part from one of others come last: those wait from then on.
    """
    clauses: dict[str, list[ddl.Clause]] = {}
    parting = {step.table for step in steps if step.parts}
    for step in sorted(steps, key=lambda step: step.table in parting):
        if step.clause is not None:
            clauses.setdefault(step.table, []).append(step.clause)
    altered = [ddl.alter(app_id, table, found) for table, found in clauses.items()]
    return [*altered, *(step.statement for step in steps if step.statement is not None)]


async def run_ddl(tx: Transaction, statements: Sequence[sql.Composable]) -> None:
    """Run DDL. Raises BadRequest where something made by hand stands in the way."""
    if not statements:
        return
    script = b";\n".join(statement.as_bytes(None) for statement in statements)
    try:
        await tx.script(script)
    except (psycopg.Error, SchemaChanged) as error:
        cause = error.__cause__ if isinstance(error, SchemaChanged) else error
        if isinstance(cause, psycopg.Error) and (cause.sqlstate or "").startswith(_NOT_OURS):
            said = cause.diag.message_primary or "it is not possible"
            raise BadRequest(f"PostgreSQL refuses a change: {said}") from error
        raise
