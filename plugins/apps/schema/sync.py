"""Applies a plan in a transaction: checks the rows first, then changes the schema."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import anyio
import msgspec
import psycopg
from anyio import to_thread
from psycopg import sql

from kernel.public import BadRequest, Reader, SchemaChanged, Transaction, Unavailable
from plugins.apps import store
from plugins.apps.errors import RowsInTheWay, RowsOfField
from plugins.apps.manifest.problems import MAX_PROBLEMS
from plugins.apps.models import Manifest
from plugins.apps.renaming.history import read_former_names
from plugins.apps.renaming.plan import compare

from . import ddl
from .checks import Check, Counted
from .steps import Phase, Plan, Step
from .tables import Relation, Table, add_trigrams, tables_of

_decode_counted = msgspec.json.Decoder(Counted).decode
_decode_ids = msgspec.json.Decoder(list[str]).decode

FOREIGN: Final = (Phase.JOIN, Phase.PART)
"""Phases that lock tables of other schemas."""

_MADE_BY_HAND: Final = ("0A", "2B", "42", "55000", "55006")
"""SQLSTATE classes of a change that PostgreSQL refuses because of an object made by hand: a view on
a column, a foreign key, an object of the same name."""


async def make_plan(reader: Reader, manifest: Manifest, users: Relation) -> Plan:
    """Compare a manifest with the schema. Raises BadRequest where a sync is not possible."""
    schema = await store.read_schema(reader, manifest.app_id)
    tables = await declared_tables(reader, manifest, users, schema.trigrams)
    installed: Mapping[str, Sequence[str]] = {}
    if schema.installed and manifest.was:
        stored = await store.read_manifest(reader, manifest.app_id)
        installed = read_former_names(stored or b"{}")
    plan = await to_thread.run_sync(compare, tables, schema, manifest, users, installed)
    if plan.refusals:
        raise BadRequest("; ".join(plan.refusals[:MAX_PROBLEMS]))
    return plan


async def declared_tables(
    reader: Reader, manifest: Manifest, users: Relation, trigrams: str | None = None
) -> dict[str, Table]:
    """Return the tables of a manifest, with defaults as PostgreSQL prints them.

    `trigrams` is the schema of the extension pg_trgm.
    """
    tables = {
        name: add_trigrams(table, trigrams) for name, table in tables_of(manifest, users).items()
    }
    return await store.add_expressions(reader, tables)


async def apply(tx: Transaction, app_id: str, plan: Plan) -> None:
    """Apply a plan except for links to tables of other schemas, which are only checked.

    Raises BadRequest that describes the rows of all tables that prevent it.
    """
    tables = plan.tables()
    if tables:
        await run_ddl(tx, [ddl.lock_tables(app_id, tables)])
    for phase in Phase:
        steps = plan.steps_of(phase)
        await check_steps(tx, steps)
        if phase not in FOREIGN:
            await run_ddl(tx, _compose_statements(app_id, steps))


async def apply_foreign(tx: Transaction, app_id: str, plan: Plan, timeout: float) -> None:
    """Apply the rest of a plan, last in the transaction: other requests wait from here on."""
    for phase in FOREIGN:
        await run_foreign_ddl(tx, _compose_statements(app_id, plan.steps_of(phase)), timeout)


async def run_foreign_ddl(
    tx: Transaction, statements: Sequence[sql.Composable], timeout: float
) -> None:
    """Run DDL that locks tables of other schemas, such as the accounts, within `timeout` seconds.

    A transaction that waits for such a lock blocks all later ones, and the database login of an app
    can hold a lock for any time. So each attempt is short, and attempts are repeated. Raises
    Unavailable; BadRequest as `run_ddl`.
    """
    if not statements:
        return
    deadline = anyio.current_time() + timeout
    await store.limit(tx, "lock_timeout", 0.2)  # seconds; other users of the table wait meanwhile
    while True:
        try:
            async with tx.savepoint():
                return await run_ddl(tx, statements)
        except SchemaChanged:
            raise
        except Unavailable:
            if anyio.current_time() > deadline:
                raise
        await anyio.sleep(0.3)


async def write_ledger(tx: Transaction, manifest: Manifest) -> None:
    """Store which entities and columns are in use; others that installs made are retired."""
    tables = {entity.name: [field.name for field in entity.fields] for entity in manifest.entities}
    await store.write_ledger(tx, manifest.app_id, tables)


async def check_steps(
    reader: Reader, steps: Iterable[Step], *, in_brief: bool = False
) -> list[str]:
    """Refuse steps that rows prevent. Raises RowsInTheWay that describes all of these rows.

    What takes long leaves rows out where it is done `in_brief`. The fields of which rows were left
    out are returned.
    """
    refusals: list[str] = []
    rows_in_the_way: list[RowsOfField] = []
    unfinished: list[str] = []
    for step in steps:
        check = step.check
        if check is None:
            continue
        query = check.query
        if in_brief and check.glance is not None:
            query = check.glance
        answer = await reader.fetch(query.as_bytes(None), quick=False)
        rows = _decode_counted(answer or b'{"count":0,"samples":[]}')
        if rows.count:
            refusals.append(check.describe(rows))
            rows_in_the_way.append(await _name_rows(reader, check, rows))
        elif rows.is_partial:
            unfinished.append(f"{check.table}.{check.column}")
    if refusals:
        sentence = "; ".join(refusals[:MAX_PROBLEMS])
        raise RowsInTheWay(sentence, rows_in_the_way[:MAX_PROBLEMS])
    return unfinished


async def _name_rows(reader: Reader, check: Check, rows: Counted) -> RowsOfField:
    ids = rows.ids
    if check.ids is not None:
        ids = _decode_ids(await reader.fetch(check.ids.as_bytes(None), quick=False) or b"[]")
    return RowsOfField(entity=check.table, field=check.column, count=rows.count, ids=ids)


def _compose_statements(app_id: str, steps: Sequence[Step]) -> list[sql.Composable]:
    """Put all clauses of a table into one ALTER TABLE, so that it is rewritten once, then the rest.

    Tables that lose a link to another schema come last, as they lock its table.
    """
    clauses: dict[str, list[ddl.Clause]] = {}
    parting_tables = {step.table for step in steps if step.parts}
    for step in sorted(steps, key=lambda step: step.table in parting_tables):
        if step.clause is not None:
            clauses.setdefault(step.table, []).append(step.clause)

    statements: list[sql.Composable] = []
    for table, clauses_of_table in clauses.items():
        statements.append(ddl.alter(app_id, table, clauses_of_table))
    statements += [step.statement for step in steps if step.statement is not None]
    return statements


async def run_ddl(tx: Transaction, statements: Sequence[sql.Composable]) -> None:
    """Run DDL. Raises BadRequest where an object made by hand prevents it."""
    if not statements:
        return
    script = b";\n".join(statement.as_bytes(None) for statement in statements)
    try:
        await tx.script(script)
    except (psycopg.Error, SchemaChanged) as error:
        cause: BaseException | None = error
        if isinstance(error, SchemaChanged):
            cause = error.__cause__
        if isinstance(cause, psycopg.Error) and (cause.sqlstate or "").startswith(_MADE_BY_HAND):
            reason = cause.diag.message_primary or "it is not possible"
            raise BadRequest(f"PostgreSQL refuses a change: {reason}") from error
        raise
