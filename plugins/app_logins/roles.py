"""What all logins have in common: roles of PostgreSQL, made and dropped within a transaction.

Roles belong to the whole cluster, so the name of one carries the object id of the database.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec
import structlog
from psycopg import sql

from kernel.public import Transaction

_NAME: Final = """
select format('caudex_%s_%s%s', d.oid, $2::text, $1::bigint) from pg_database as d
where d.datname = current_database()"""

_WORKER_ROLES: Final = """
select r.rolname from pg_database as d
join pg_roles as r on r.rolname ~ format('^caudex_%s_w[0-9]+$', d.oid)
where d.datname = current_database()"""

_INNER_ROLES: Final = """
select r.rolname from pg_database as d
join pg_roles as r on r.rolname ~ format('^caudex_%s_[qw][0-9]+$', d.oid)
where d.datname = current_database()"""

_STRANGERS: Final = """
select distinct r.rolname from pg_database as d
join pg_shdepend as s on s.dbid = d.oid and s.refclassid = 'pg_authid'::regclass and s.deptype = 'a'
join pg_roles as r on r.oid = s.refobjid and r.rolname ~ '^caudex_[0-9]+_[qrw][0-9]+$'
where d.datname = current_database() and not starts_with(r.rolname, format('caudex_%s_', d.oid))
order by r.rolname"""

_SCHEMAS: Final = """
select nspname from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'
order by nspname"""

_SHUT_OUT: Final = """
revoke all on all tables in schema {schema} from {role};
revoke all on all sequences in schema {schema} from {role};
revoke all on all routines in schema {schema} from {role};
revoke all on schema {schema} from {role}"""

_MAY_USE_TEMPORARY: Final = """
select has_database_privilege($1::name, current_database(), 'temporary')"""

_DATABASE: Final = "select current_database()"

_EXISTS: Final = "select 1 from pg_roles where rolname = $1::text"

_WHERE: Final = """
select json_build_object('role', $1::text, 'number', $2::bigint, 'password', $3::text,
    'database', current_database(), 'address', host(inet_server_addr()),
    'port', current_setting('port')::integer, 'listens', current_setting('listen_addresses'),
    'socket_folder', case when pg_has_role('pg_read_all_settings', 'usage')
        then split_part(current_setting('unix_socket_directories'), ',', 1) else '' end)"""

_INHERITS: Final = "select pg_has_role($1::name, 'usage')"

_END: Final = "select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = {}"

TEMPORARY: Final = "temporary tables of app logins"
"""The lock of those that change who may make temporary tables: two cannot do so at once."""

Kind = Literal["w", "r", "q"]
"""What a login is for: a worker, a reader from outside, or SQL that a server runs for a worker."""


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """A database login of an app, and where the database server answers."""

    role: str
    number: int
    password: str
    database: str
    address: str | None
    port: int
    listens: str
    socket_folder: str


_login = msgspec.json.Decoder(Login).decode

log = structlog.get_logger("caudex.app_logins")


async def name_role(tx: Transaction, number: int, kind: Kind = "w") -> str:
    """Return the name of a role, which is unique in the whole cluster."""
    return (await tx.fetch(_NAME, number, kind) or b"").decode()


async def find_workers(tx: Transaction) -> list[str]:
    """Return the roles of workers in this database."""
    return [role.decode() for role in await tx.fetch_all(_WORKER_ROLES)]


async def find_inner_roles(tx: Transaction) -> list[str]:
    """Return the roles whose passwords the server makes at each start."""
    return [role.decode() for role in await tx.fetch_all(_INNER_ROLES)]


async def shut_out_strangers(tx: Transaction) -> list[str]:
    """Take the rights that logins of other databases have here, and return these logins.

    A backup that was restored beside its database brings the rights of the logins there.
    """
    strangers = [role.decode() for role in await tx.fetch_all(_STRANGERS)]
    schemas = [schema.decode() for schema in await tx.fetch_all(_SCHEMAS)] if strangers else []
    for role in strangers:
        for schema in schemas:
            statement = sql.SQL(_SHUT_OUT).format(
                schema=sql.Identifier(schema), role=sql.Identifier(role)
            )
            await attempt(tx, statement)
    return strangers


async def describe_login(tx: Transaction, role: str, number: int, password: str) -> Login:
    """Return a login and where the database server answers."""
    return _login(await tx.fetch(_WHERE, role, number, password) or b"")


async def exists(tx: Transaction, role: str) -> bool:
    """Return whether there is a role."""
    return await tx.fetch(_EXISTS, role) is not None


async def bound_temporary_files(tx: Transaction, role: str, megabytes: int) -> None:
    """Bound the temporary files of a login.

    It is refused where the server's login may not set the bound: `diagnose` says so.
    """
    limit = sql.SQL("alter role {} set temp_file_limit = {}")
    bound = sql.Literal(f"{megabytes}MB")
    await attempt(tx, limit.format(sql.Identifier(role), bound))


async def may_use_temporary_tables(tx: Transaction, role: str) -> bool:
    """Return whether a login may make temporary tables."""
    return await tx.fetch(_MAY_USE_TEMPORARY, role) == b"t"


async def allow_temporary_tables(tx: Transaction, role: str) -> None:
    """Let the login of a worker make temporary tables, which not everyone may any more."""
    if await may_use_temporary_tables(tx, role):
        return
    await tx.lock(TEMPORARY)
    grant = sql.SQL("grant temporary on database {} to {}")
    database = sql.Identifier((await tx.fetch(_DATABASE) or b"").decode())
    await attempt(tx, grant.format(database, sql.Identifier(role)))


async def forbid_temporary_tables(tx: Transaction, role: str) -> bool:
    """Let workers make temporary tables, and a login of another kind not: PUBLIC loses that right.

    No setting bounds their size. Returns False where the server does not own the database.
    """
    if not await may_use_temporary_tables(tx, role):
        return True
    await tx.lock(TEMPORARY)
    database = sql.Identifier((await tx.fetch(_DATABASE) or b"").decode())
    revoke = sql.SQL("revoke temporary on database {} from public").format(database)
    grants = [
        sql.SQL("; grant temporary on database {} to {}").format(database, sql.Identifier(worker))
        for worker in await find_workers(tx)
    ]
    await attempt(tx, sql.Composed([revoke, *grants]))
    return not await may_use_temporary_tables(tx, role)


async def join(tx: Transaction, role: str) -> bool:
    """Become a member of a login, without which its sessions cannot be ended.

    The login that made a role may do that. Returns False where it is refused.
    """
    if await tx.fetch(_INHERITS, role) == b"t":
        return True
    grant = sql.SQL("grant {} to current_user").format(sql.Identifier(role))
    refusal = await attempt(tx, grant + sql.SQL(" with inherit true"))
    if refusal is not None:  # PostgreSQL 15 does not know the option
        refusal = await attempt(tx, grant)
    return refusal is None


async def drop(tx: Transaction, role: str) -> None:
    """Drop a login, and end its sessions.

    Objects of it in another database keep it, and so may much else that its worker did. It is shut
    then and remains, because the app must be removable.
    """
    if not await exists(tx, role):
        return
    name = sql.Identifier(role)
    await join(tx, role)
    error: Exception | None = None
    for _ in range(2):  # its worker may have connected again, and made something more
        await attempt(tx, sql.SQL(_END).format(sql.Literal(role)))
        await attempt(tx, sql.SQL("drop owned by {}").format(name))
        error = await attempt(tx, sql.SQL("drop role {}").format(name))
        if error is None:
            return
    await attempt(tx, sql.SQL("alter role {} nologin").format(name))
    log.warning("the database login of an uninstalled app remains", role=role, error=str(error))


async def attempt(tx: Transaction, statement: sql.Composed) -> Exception | None:
    """Run a statement that may be refused, and return the refusal."""
    try:
        async with tx.savepoint():
            await run_script(tx, statement)
    except Exception as error:
        return error
    return None


async def run_script(tx: Transaction, script: sql.Composed) -> None:
    """Run statements with names."""
    await tx.script(script.as_bytes(None))
