"""Every statement about readers, and what a reader may see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from psycopg import sql

from kernel.public import App, Entity, Statements, Transaction
from plugins.app_logins.roles import attempt, drop, exists, join, name_role, run_script

from .models import Bounds, ReaderRole, ReaderRow

_ADD: Final = """
insert into caudex_app_logins.readers (name, app_id, views, number) values ($1::text, $2::text,
    $3::boolean, nextval(pg_get_serial_sequence('caudex_app_logins.logins', 'number')))
on conflict (name) do nothing
returning json_build_object('name', name, 'number', number, 'app_id', app_id, 'views', views)"""
"""All logins take their numbers from one sequence."""

_FIND: Final = """
select json_build_object('name', name, 'number', number, 'app_id', app_id, 'views', views)
from caudex_app_logins.readers where name = $1::text"""
_LOCK: Final = _FIND + " for update"

_REMOVE: Final = "delete from caudex_app_logins.readers where name = $1::text"

_OF_APP: Final = """
select json_build_object('name', name, 'number', number, 'app_id', app_id, 'views', views)
from caudex_app_logins.readers where app_id = $1::text order by number for update"""

_APPS: Final = "select distinct app_id from caudex_app_logins.readers order by app_id"

_LIST: Final = """
select json_build_object('name', l.name, 'app_id', l.app_id, 'role', l.role, 'views', l.views,
    'created_at', to_char(l.created_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI'),
    'can_login', r.rolcanlogin, 'connections', r.rolconnlimit,
    'note', shobj_description(r.oid, 'pg_authid'))
from (
    select name, app_id, views, created_at, format('caudex_%s_r%s', d.oid, number) as role
    from caudex_app_logins.readers cross join pg_database as d
    where d.datname = current_database()
) as l
left join pg_roles as r on r.rolname = l.role
order by l.name"""

_VIEWS: Final = """
select coalesce(json_object_agg(v.name, v.columns), '{}') from (
    select c.relname as name, json_agg(a.attname order by a.attnum) as columns
    from pg_class as c join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0
    where c.relnamespace = to_regnamespace(quote_ident($1::text)) and c.relkind = 'v'
    group by c.relname
) as v"""

_MAY_CREATE: Final = "select has_schema_privilege($1::name, 'public', 'create')"

_MAY_WRITE_LARGE_OBJECTS: Final = (
    "select has_function_privilege($1::name, 'lo_create(oid)', 'execute')"
)


class ReaderKey(msgspec.Struct, frozen=True):
    """A reader as its row has it. `number` is part of the name of its role."""

    name: str
    number: int
    app_id: str
    views: bool

    @property
    def schema(self) -> str | None:
        """The schema of its views; no app has such a name."""
        return f"caudex_read_{self.name}" if self.views else None


_key = msgspec.json.Decoder(ReaderKey).decode
_decode_columns = msgspec.json.Decoder(dict[str, list[str]]).decode
_row = msgspec.json.Decoder(ReaderRow).decode


async def add(tx: Transaction, name: str, app_id: str, *, views: bool) -> ReaderKey | None:
    """Add a reader, or return None where there is one of this name."""
    row = await tx.execute(_ADD, name, app_id, views)
    return None if row is None else _key(row)


async def find(statements: Statements, name: str) -> ReaderKey | None:
    """Return a reader, if there is one of this name."""
    row = await statements.fetch(_FIND, name)
    return None if row is None else _key(row)


async def lock(tx: Transaction, name: str) -> ReaderKey | None:
    """Return a reader that nothing else changes until the transaction ends."""
    row = await tx.fetch(_LOCK, name)
    return None if row is None else _key(row)


async def list_readers(statements: Statements) -> Sequence[ReaderRow]:
    """Return all readers by name."""
    return [_row(row) for row in await statements.fetch_all(_LIST)]


async def list_apps(statements: Statements) -> Sequence[str]:
    """Return the apps that have readers."""
    return [app_id.decode() for app_id in await statements.fetch_all(_APPS)]


async def open_role(
    tx: Transaction, reader: ReaderRole, app: App, verifier: str, bounds: Bounds
) -> None:
    """Make the role of a reader, or give it a new password; it may connect from now on.

    Its sessions may change the timeouts. The watchdog ends long transactions whatever they set, and
    nothing but its rights prevents writes.
    """
    role = reader.role
    # A new role has no powers by itself, and only a superuser may repeat that later.
    verb = sql.SQL("create")
    if await exists(tx, role):
        verb = sql.SQL("alter")
    script = sql.SQL(
        " role {0} login connection limit {1} password {2};"
        "comment on role {0} is null;"
        "alter role {0} set statement_timeout = {3};"
        "alter role {0} set idle_in_transaction_session_timeout = '60s';"
        "alter role {0} set default_transaction_read_only = on;"
        "alter role {0} set search_path = {4}"
    ).format(
        sql.Identifier(role),
        sql.Literal(bounds.connections),
        sql.Literal(verifier),
        sql.Literal(f"{bounds.timeout}s"),
        sql.Identifier(reader.schema or app.id),
    )
    await run_script(tx, verb + script)
    await join(tx, role)


async def find_role(tx: Transaction, key: ReaderKey) -> ReaderRole:
    """Return what PostgreSQL has of a reader."""
    return ReaderRole(role=await name_role(tx, key.number, "r"), schema=key.schema)


async def grant(tx: Transaction, app: App, reader: ReaderRole) -> None:
    """Let a reader see the columns that every user sees who may read an entity, and no others."""
    script = sql.SQL("revoke all on all tables in schema {0} from {1}").format(
        sql.Identifier(app.id), sql.Identifier(reader.role)
    )
    if reader.schema is None:
        script += _grant_columns(app, reader.role)
    else:
        if not await _has_views(tx, app, reader.schema):
            script += _make_views(app, reader.schema)
        script += _grant_views(reader.role, reader.schema)
    await run_script(tx, script)


def _grant_columns(app: App, role: str) -> sql.Composed:
    name = sql.Identifier(role)
    script = sql.SQL("; grant usage on schema {} to {}").format(sql.Identifier(app.id), name)
    for entity in app.entities.values():
        table = sql.Identifier(app.id, entity.name)
        script += sql.SQL("; grant select ({}) on {} to {}").format(_columns(entity), table, name)
    return script


async def _has_views(tx: Transaction, app: App, schema: str) -> bool:
    """Whether the views are as they should be: to make them again waits for those who read them.

    Their columns have the types of the tables, as no column can get another one under a view.
    """
    columns = _decode_columns(await tx.fetch(_VIEWS, schema) or b"{}")
    return columns == {entity.name: list_columns(entity) for entity in app.entities.values()}


def _make_views(app: App, schema: str) -> sql.Composed:
    """Return the statements that make views in place of those of before.

    They read the tables with the rights of the server, so their reader needs none.
    """
    script = sql.SQL("; drop schema if exists {0} cascade; create schema {0}").format(
        sql.Identifier(schema)
    )
    for entity in app.entities.values():
        script += sql.SQL("; create view {} as select {} from {}").format(
            sql.Identifier(schema, entity.name),
            _columns(entity),
            sql.Identifier(app.id, entity.name),
        )
    return script


def _grant_views(role: str, schema: str) -> sql.Composed:
    rights = sql.SQL(
        "; grant usage on schema {0} to {1}; grant select on all tables in schema {0} to {1}"
    )
    return rights.format(sql.Identifier(schema), sql.Identifier(role))


async def renew(tx: Transaction, app: App) -> None:
    """Grant the readers of an app what they may see of it now."""
    for row in await tx.fetch_all(_OF_APP, app.id):
        reader = await find_role(tx, _key(row))
        if await exists(tx, reader.role):
            await grant(tx, app, reader)


async def drop_views(tx: Transaction, app_id: str) -> None:
    """Drop the views of an app's readers: a table cannot change its columns under one."""
    for row in await tx.fetch_all(_OF_APP, app_id):
        await _drop_schema(tx, _key(row).schema)


async def remove(tx: Transaction, key: ReaderKey) -> None:
    """Drop a reader with its sessions."""
    await tx.execute(_REMOVE, key.name)
    await _drop_schema(tx, key.schema)
    await drop(tx, await name_role(tx, key.number, "r"))


async def remove_of_app(tx: Transaction, app_id: str) -> None:
    """Drop the readers of an app that is uninstalled."""
    for row in await tx.fetch_all(_OF_APP, app_id):
        await remove(tx, _key(row))


async def _drop_schema(tx: Transaction, schema: str | None) -> None:
    if schema is not None:
        drop_all = sql.SQL("drop schema if exists {} cascade")
        await run_script(tx, drop_all.format(sql.Identifier(schema)))


async def end_sessions(tx: Transaction, role: str) -> None:
    """End the sessions that a reader opened with its former password."""
    end = "select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = {}"
    await attempt(tx, sql.SQL(end).format(sql.Literal(role)))


async def may_create_tables(tx: Transaction, role: str) -> bool:
    """Return whether every login may make tables in the schema `public`."""
    return await tx.fetch(_MAY_CREATE, role) == b"t"


async def may_write_large_objects(tx: Transaction, role: str) -> bool:
    """Return whether every login may make large objects."""
    return await tx.fetch(_MAY_WRITE_LARGE_OBJECTS, role) == b"t"


def _columns(entity: Entity) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, list_columns(entity)))


def list_columns(entity: Entity) -> list[str]:
    """Return the columns that a reader sees.

    It holds no role, so a field with a permission to read it is hidden, and so is what is generated
    from one. Columns of the server and retired ones are no fields.
    """
    guarded = {
        field.name
        for field in entity.fields
        if field.access is not None and field.access.read is not None
    }
    visible = [
        field.name
        for field in entity.fields
        if field.name not in guarded and guarded.isdisjoint(field.sources)
    ]
    return ["id", *visible, "created_at", "updated_at"]
