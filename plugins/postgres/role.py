"""The ordinary role that serves: it owns the database and is not a superuser.

A mistake in a statement can then reach neither files nor programs of the machine, and no setting of
the cluster. The superuser creates this role, and makes base backups.
"""

import hashlib
import hmac
from typing import LiteralString

import psycopg
from psycopg import sql

from .config import EmbeddedPostgresError

ROLE = "caudex"
# It sees the sessions of apps, and ends them.
_CREATE = sql.SQL("""
do $$ begin
    if not exists (select from pg_roles where rolname = {name}) then
        create role {role};
    end if;
end $$;
alter role {role} login createrole createdb nosuperuser nobypassrls noreplication
    password {password};
grant pg_monitor, pg_signal_backend to {role};
alter database {database} owner to {role};
""")

# What a dependency or an extension brings goes with that; so does what belongs to a table.
_OWN: LiteralString = """
do $$
declare
    wanted constant regrole := 'caudex';
    of_extensions constant oid[] := array(select objid from pg_depend where deptype = 'e');
    spaces constant oid[] := array(select oid from pg_namespace
        where nspname !~ '^pg_' and nspname <> 'information_schema');
    change text;
begin
    for change in
        select format('schema %I', nspname) from pg_namespace
        where oid = any(spaces) and nspname <> 'public'
            and nspowner <> wanted and oid <> all(of_extensions)
        union all
        select case relkind when 'v' then 'view ' when 'm' then 'materialized view '
            when 'S' then 'sequence ' when 'f' then 'foreign table ' else 'table '
            end || c.oid::regclass::text
        from pg_class as c
        where relnamespace = any(spaces) and relkind in ('r', 'p', 'v', 'm', 'S', 'f')
            and relowner <> wanted and c.oid <> all(of_extensions)
            and not exists (select from pg_depend as d
                where d.objid = c.oid and d.classid = 'pg_class'::regclass
                    and d.deptype in ('a', 'i') and c.relkind = 'S')
        union all
        select format('routine %s', oid::regprocedure) from pg_proc
        where pronamespace = any(spaces) and proowner <> wanted and oid <> all(of_extensions)
        union all
        select format('type %s', t.oid::regtype) from pg_type as t
        left join pg_class as c on c.oid = t.typrelid
        where typnamespace = any(spaces) and typowner <> wanted and t.oid <> all(of_extensions)
            and (typtype in ('d', 'e', 'r') or c.relkind = 'c')
        union all
        select format('text search configuration %s', oid::regconfig) from pg_ts_config
        where cfgnamespace = any(spaces) and cfgowner <> wanted and oid <> all(of_extensions)
        union all
        select format('text search dictionary %s', oid::regdictionary) from pg_ts_dict
        where dictnamespace = any(spaces) and dictowner <> wanted and oid <> all(of_extensions)
        union all
        select format('statistics %I.%I', n.nspname, stxname)
        from pg_statistic_ext as s join pg_namespace as n on n.oid = stxnamespace
        where stxnamespace = any(spaces) and stxowner <> wanted
    loop
        execute format('alter %s owner to %s', change, wanted);
    end loop;
    -- Logins of apps that the superuser made.
    for change in
        select r.rolname from pg_roles as r
        where r.rolname ~ '^caudex_[0-9]+_w[0-9]+$' and not exists (
            select from pg_auth_members as m
            where m.roleid = r.oid and m.member = wanted and m.admin_option)
    loop
        execute format('grant %I to %s with admin option', change, wanted);
    end loop;
end $$"""

# Any login may call these functions: what they write has no bound and no owner that an app's
# uninstall would find. The parameter bounds temporary files; only a superuser hands it on.
_TAKE_BACK: LiteralString = """
do $$
declare
    routine regprocedure;
begin
    for routine in
        select oid from pg_proc where pronamespace = 'pg_catalog'::regnamespace
            and (proname ~ '^(lo_|loread$|lowrite$)' or proname = 'pg_logical_emit_message')
    loop
        execute format('revoke execute on function %s from public', routine);
        execute format('grant execute on function %s to caudex', routine);
    end loop;
    grant set on parameter temp_file_limit to caudex;
end $$"""


def role_password(password: str) -> str:
    """Derive the role's password from the superuser's, which it does not reveal."""
    return hmac.digest(password.encode(), b"caudex role", hashlib.sha256).hex()


def prepare_role(dsn: str, password: str) -> None:
    """Create the role as the superuser, and give it what it does not own yet.

    A cluster of an earlier version belongs to the superuser; so does what an operator added. One
    transaction. Raises EmbeddedPostgresError.
    """
    try:
        with psycopg.connect(dsn) as connection:
            statement = _CREATE.format(
                name=sql.Literal(ROLE),
                role=sql.Identifier(ROLE),
                password=sql.Literal(password),
                database=sql.Identifier(connection.info.dbname),
            )
            connection.execute(statement)
            connection.execute(_OWN)
            connection.execute(_TAKE_BACK)
    except psycopg.Error as error:
        reason = error.diag.message_primary or str(error)
        raise EmbeddedPostgresError(
            f"the role {ROLE} of the embedded PostgreSQL cannot be made: {reason}"
        ) from None
