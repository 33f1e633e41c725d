"""Every statement about plugins that are on or off."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec
from psycopg import sql

from kernel.public import Reader, Transaction, Writer

_SWITCHES: Final = """
select json_build_object('plugin', n.plugin, 'enabled', coalesce(s.enabled, true),
    'since', s.since, 'known', s.plugin is not null)
from (
    select substr(nspname, 8) as plugin from pg_proc as p
    join pg_namespace as n on n.oid = p.pronamespace
    where p.proname = 'switched' and starts_with(nspname, 'caudex_')
) as n left join caudex_system.switches as s on s.plugin = n.plugin order by n.plugin"""

_NOTE: Final = """
insert into caudex_system.switches (plugin, enabled) values ($1::text, $2::boolean)
on conflict (plugin) do update set enabled = excluded.enabled, since = now()"""

_OTHERS: Final = """
select count(*) from caudex_system.processes
where expires > clock_timestamp() and id <> $1::text
    and ($2::text is null or $2::text = any(plugins))"""

_RUN: Final = """
with gone as (delete from caudex_system.processes where expires < clock_timestamp())
insert into caudex_system.processes as p (id, plugins, expires)
values ($1::text, $2::text[], clock_timestamp() + interval '30 seconds')
on conflict (id) do update set expires = excluded.expires"""

_END: Final = "delete from caudex_system.processes where id = $1::text"

_LEFT: Final = """
with ours as (select oid from pg_namespace where nspname = $1::text)
select format('table %s (%s)', c.oid::regclass, pg_size_pretty(pg_total_relation_size(c.oid)))
from pg_class as c where c.relnamespace in (select oid from ours)
    and c.relkind in ('r', 'p') and not c.relispartition
union all
select format('trigger %s on %s', t.tgname, t.tgrelid::regclass)
from pg_trigger as t join pg_proc as p on p.oid = t.tgfoid join pg_class as c on c.oid = t.tgrelid
where p.pronamespace in (select oid from ours) and c.relnamespace not in (select oid from ours)
    and not t.tgisinternal
union all
select format('constraint %s of %s', k.conname, k.conrelid::regclass)
from pg_constraint as k join pg_class as c on c.oid = k.confrelid
join pg_class as own on own.oid = k.conrelid
where c.relnamespace in (select oid from ours) and own.relnamespace not in (select oid from ours)
    and k.conparentid = 0
union all
select format('jobs of %s', app_id) from caudex_kernel.apps where app_id = 'plugin:' || $2::text
union all
select format('migration %s', name) from caudex_kernel.migrations where plugin = $2::text"""

_HAS_PURGED: Final = "select to_regprocedure($1::text || '.purged()') is not null"

_FORGET: Final = """
with a as (delete from caudex_kernel.migrations where plugin = $1::text),
b as (delete from caudex_kernel.keys where name = $1::text),
c as (delete from caudex_kernel.leases where starts_with(name, $1::text || '.')),
d as (delete from caudex_kernel.apps where app_id = 'plugin:' || $1::text)
delete from caudex_system.switches where plugin = $1::text"""


class Switch(msgspec.Struct, frozen=True):
    """What the database knows of a plugin whose switch it records."""

    plugin: str
    enabled: bool
    since: datetime | None
    is_recorded: bool = msgspec.field(name="known")


_switch = msgspec.json.Decoder(Switch).decode


async def read_switches(reader: Reader) -> list[Switch]:
    """Return the plugins whose schema has the function `switched`."""
    return [_switch(raw) for raw in await reader.fetch_all(_SWITCHES)]


async def record_state(tx: Transaction, plugin: str, *, enabled: bool) -> None:
    """Store a state."""
    await tx.execute(_NOTE, plugin, enabled)


async def call_switched(tx: Transaction, switch: Switch, *, enabled: bool) -> None:
    """Call the plugin's function."""
    function = sql.Identifier(f"caudex_{switch.plugin}", "switched")
    statement = sql.SQL("select {}($1::boolean, $2::timestamptz)").format(function)
    await tx.execute(statement.as_bytes(None), enabled, switch.since)


async def count_others(reader: Reader, process_id: str, plugin: str | None = None) -> int:
    """Count the other server processes that run, with the plugin if one is named."""
    return int(await reader.fetch(_OTHERS, process_id, plugin) or 0)


async def renew_process(writer: Writer, process_id: str, plugins: Sequence[str]) -> None:
    """Say for half a minute that this process runs."""
    await writer.execute(_RUN, process_id, plugins)


async def end_process(writer: Writer, process_id: str) -> None:
    """Say that this process ended."""
    await writer.execute(_END, process_id)


async def list_remains(reader: Reader, plugin: str) -> list[str]:
    """Name what a plugin left in the database."""
    return [raw.decode() for raw in await reader.fetch_all(_LEFT, f"caudex_{plugin}", plugin)]


async def purge(tx: Transaction, plugin: str) -> None:
    """Drop all of it."""
    schema = f"caudex_{plugin}"
    if await tx.fetch(_HAS_PURGED, schema) == b"t":
        function = sql.Identifier(schema, "purged")
        await tx.execute(sql.SQL("select {}()").format(function).as_bytes(None))
    drop = sql.SQL("drop schema if exists {} cascade").format(sql.Identifier(schema))
    await tx.script(drop.as_bytes(None))
    await tx.execute(_FORGET, plugin)
