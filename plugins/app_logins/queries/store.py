"""Every statement about the logins that SQL of workers runs with, and those around that SQL."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec
from psycopg import AsyncConnection, sql

from kernel.public import App, RecordView, Transaction
from plugins.app_logins.config import AppLoginsConfig
from plugins.app_logins.roles import bound_temporary_files, exists, join, name_role, run_script
from plugins.app_logins.store import take_number

_TAKE: Final = """
insert into caudex_app_logins.query_passwords as q (number, password) values ($1::bigint, $2::text)
on conflict (number) do update set password = q.password
returning q.password"""

_BEGIN: Final = b"begin isolation level repeatable read"
"""Versions of rows, which are looked up for writes, are those that the statement sees."""

_SHOW: Final = b"""
select caudex_app_logins.show_records($1::text, $2::text, $3::text[], $4::text[], $5::bool[],
    $6::integer)"""

_READ_ONLY: Final = b"set transaction read only"
_PREPARE: Final = b"prepare caudex_query as "
_ANSWER: Final = b"select caudex_app_logins.answer_query($1::text[], $2::integer, $3::integer)"


_ROLLBACK: Final = b"rollback"
_FORGET_ALL: Final = b"discard all"
_SEED: Final = b"select setseed($1::double precision)"

_CHANGES: Final = b"select caudex_app_logins.proposed_changes($1::integer)"


class ProposedChange(msgspec.Struct, frozen=True):
    """What a statement would write: `etag` is the version of the record that it saw."""

    op: Literal["insert", "update", "delete"]
    entity: str
    id: str | None
    data: dict[str, Any] | None
    etag: str | None


_decode_changes = msgspec.json.Decoder(list[ProposedChange]).decode


class QueryLogin(msgspec.Struct, frozen=True):
    """The role that SQL of one app's worker runs with, and its password."""

    role: str
    password: str


async def make_login(tx: Transaction, app: App, config: AppLoginsConfig) -> QueryLogin | None:
    """Make the login for an app's SQL, or bring it up to date; None where the app is gone.

    It may call two functions, and has no rights on any table.
    """
    number = await take_number(tx, app)
    if number is None:
        return None
    role = await name_role(tx, number, "q")
    password = (await tx.execute(_TAKE, number, secrets.token_urlsafe(24)) or b"").decode()
    verb = sql.SQL("create")
    if await exists(tx, role):
        verb = sql.SQL("alter")
    script = sql.SQL(
        " role {0} login connection limit {1} password {2};"
        "alter role {0} set search_path = '';"
        "alter role {0} set idle_session_timeout = '60s';"
        "grant usage on schema caudex_app_logins to {0};"
        "grant execute on function caudex_app_logins.show_records, caudex_app_logins.answer_query,"
        " caudex_app_logins.proposed_changes to {0}"
    ).format(sql.Identifier(role), sql.Literal(config.connections), sql.Literal(password))
    await run_script(tx, verb + script)
    await bound_temporary_files(tx, role, config.temp_files_mb)
    await join(tx, role)
    return QueryLogin(role, password)


async def show_records(
    connection: AsyncConnection[Any],
    password: str,
    app_id: str,
    views: Sequence[RecordView],
    max_changes: int,
) -> None:
    """Begin a transaction that sees only what a caller may read, and writes nothing.

    With `max_changes` it may propose that many writes.
    """
    names = [view.entity for view in views]
    queries = [view.query.decode() for view in views]
    narrowed = [view.is_narrowed for view in views]
    params = [password, app_id, names, queries, narrowed, max_changes]
    await connection.execute(_BEGIN)
    await connection.execute(_SHOW, params)
    await connection.execute(_READ_ONLY)


async def prepare_query(connection: AsyncConnection[Any], statement: str) -> None:
    """Prepare the SQL of a worker, one query: the grammar of `prepare` has no settings.

    A binary result makes psycopg use the extended protocol, which refuses several statements.
    """
    await connection.execute(_PREPARE + statement.encode(), binary=True)


async def answer_query(
    connection: AsyncConnection[Any], values: Sequence[str | None], max_rows: int, max_bytes: int
) -> bytes:
    """Run what was prepared and return its rows as JSON."""
    answer = await _fetch(connection, _ANSWER, [list(values), max_rows, max_bytes])
    return answer or b"[]"


async def take_changes(
    connection: AsyncConnection[Any], max_bytes: int
) -> list[ProposedChange] | None:
    """Return what the statement would write, None if that is too much."""
    changes = await _fetch(connection, _CHANGES, [max_bytes])
    return None if changes is None else _decode_changes(changes)


async def reset_session(connection: AsyncConnection[Any]) -> None:
    """Undo the transaction, and forget settings, locks, plans and temporary objects.

    The seed of `random()` is the only state of a session that remains then: it is set to one that
    no statement knows.
    """
    await connection.execute(_ROLLBACK)
    await connection.execute(_FORGET_ALL)
    await connection.execute(_SEED, [secrets.randbelow(1 << 53) / (1 << 53)])


async def _fetch(
    connection: AsyncConnection[Any], query: bytes, params: Sequence[object]
) -> bytes | None:
    cursor = await connection.execute(query, params)
    result = cursor.pgresult
    assert result is not None
    return result.get_value(0, 0)
