"""What a database consists of, as text that can be compared."""

from tests.kernel.databases import sql

_OURS = "n.nspname ~ '^caudex_' and %s !~ '^log_[0-9]{4}_[0-9]{2}'"
"""Not the months of the trail: they depend on when a server ran."""
_RIGHTS = """(
    select string_agg(a.grantee::regrole || ' ' || a.privilege_type, ', ' order by 1)
    from aclexplode(coalesce({acl}, acldefault('{kind}', {owner}))) as a)"""
_QUERIES = {
    "columns": """
        select n.nspname, c.relname, row_number() over (partition by c.oid order by a.attnum),
            a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
            a.attgenerated, a.attstorage, a.attcollation::regcollation,
            pg_get_expr(d.adbin, d.adrelid)
        from pg_attribute as a join pg_class as c on c.oid = a.attrelid
        join pg_namespace as n on n.oid = c.relnamespace
        left join pg_attrdef as d on (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
        where a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'p') and {ours}""",
    "relations": """
        select n.nspname, c.relname, c.relkind, c.reloptions, pg_get_indexdef(c.oid),
            case when c.relkind in ('r', 'p') then {rights} end
        from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
        where {ours}""".replace(
        "{rights}", _RIGHTS.format(acl="c.relacl", kind="r", owner="c.relowner")
    ),
    "constraints": """
        select n.nspname, c.relname, k.conname, pg_get_constraintdef(k.oid)
        from pg_constraint as k join pg_class as c on c.oid = k.conrelid
        join pg_namespace as n on n.oid = c.relnamespace where k.contype <> 'n' and {ours}""",
    "triggers": """
        select n.nspname, c.relname, pg_get_triggerdef(t.oid), t.tgenabled
        from pg_trigger as t join pg_class as c on c.oid = t.tgrelid
        join pg_namespace as n on n.oid = c.relnamespace where not t.tgisinternal and {ours}""",
    "functions": """
        select pg_get_functiondef(p.oid), {rights}
        from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace
        where n.nspname ~ '^caudex_'""".replace(
        "{rights}", _RIGHTS.format(acl="p.proacl", kind="f", owner="p.proowner")
    ),
}


def catalog(dsn: str) -> dict[str, list[str]]:
    """Describe the tables, constraints, indexes, triggers, functions and rights of our schemas."""
    return {
        kind: sorted(repr(row) for row in sql(dsn, query.replace("{ours}", _OURS % "c.relname")))
        for kind, query in _QUERIES.items()
    }
