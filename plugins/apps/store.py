"""Every fixed statement of the plugin; DDL with names of manifests is in `schema/ddl.py`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from kernel.public import App, InstalledSection, Reader, Renamed, Transaction, register_app

from .editing.models import Step, StoredManifest
from .models import Change
from .schema.current import Schema
from .schema.tables import Column, Table

_LIMIT: Final = "select set_config($1::text, $2::text, true)"

_CATALOG: Final = """
select json_build_object('stamp', stamp, 'key', key, 'managed_by', managed_by, 'model', model)
from caudex_apps.apps join caudex_kernel.apps on app_id = id
where $1::text[] is null or id = any($1::text[])"""

_SECTIONS: Final = """
select json_build_object('app_id', id, 'version_stamp', stamp, 'key', key,
    'value', manifest -> $1::text)
from caudex_apps.apps join caudex_kernel.apps on app_id = id
where json_typeof(manifest -> $1::text) <> 'null' order by id"""

_INSTALLED: Final = "select to_json(id) from caudex_apps.apps where id = $1::text"
_MANIFEST: Final = "select manifest from caudex_apps.apps where id = $1::text"
_STAMP: Final = "select nextval('caudex_apps.stamps')"

_SAVE: Final = """
insert into caudex_apps.apps (id, name, version, manifest, model, stamp, installed_by)
values ($1::text, $2::text, $3::text, $4::json, $5::json, $6::bigint, $7::uuid)
on conflict (id) do update set name = excluded.name, version = excluded.version,
    manifest = excluded.manifest, model = excluded.model, stamp = excluded.stamp,
    updated_at = now()"""

# The newest 50 of an app are kept.
_REMEMBER: Final = """
with old as (
    delete from caudex_apps.manifests where app_id = $1::text and stamp <= (
        select stamp from caudex_apps.manifests where app_id = $1::text
        order by stamp desc offset 49 limit 1)
)
insert into caudex_apps.manifests (app_id, stamp, version, manifest, installed_by, via, changes)
values ($1::text, $2::bigint, $3::text, $4::json, $5::uuid, $6::text, $7::json)"""
_MANAGE: Final = "update caudex_apps.apps set managed_by = $2::text where id = $1::text"
_STORED: Final = """
select json_build_object('stamp', stamp, 'managed_by', managed_by, 'manifest', manifest)
from caudex_apps.apps where id = $1::text"""
_STEPS: Final = """
select coalesce(json_agg(m), '[]') from (
    select stamp, version, installed_by as by, via, changes,
        to_char(installed_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at
    from caudex_apps.manifests where app_id = $1::text order by stamp desc
) as m"""
_REMEMBERED: Final = """
select coalesce(json_agg(m), '[]') from (
    select stamp, version, installed_by as by,
        to_char(installed_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at
    from caudex_apps.manifests where app_id = $1::text order by stamp desc
) as m"""
_FORMER: Final = """
select manifest from caudex_apps.manifests where app_id = $1::text and stamp = $2::bigint"""

# The ledger lists what the manifest names; what only earlier ones named is retired.
_KEEP_ENTITIES: Final = """
with wanted as (select jsonb_object_keys($2::jsonb) as name),
retired as (
    update caudex_apps.entities as e set retired_at = now()
    where app_id = $1::text and retired_at is null
        and not exists (select from wanted as w where w.name = e.name)
)
insert into caudex_apps.entities (app_id, name) select $1::text, name from wanted
on conflict (app_id, name) do update set retired_at = null"""

_KEEP_COLUMNS: Final = """
with wanted as (
    select e.key as entity, c.value as name
    from jsonb_each($2::jsonb) as e, jsonb_array_elements_text(e.value) as c
),
retired as (
    update caudex_apps.columns as k set retired_at = now()
    where app_id = $1::text and retired_at is null
        and not exists (select from wanted as w where (w.entity, w.name) = (k.entity, k.name))
)
insert into caudex_apps.columns (app_id, entity, name) select $1::text, entity, name from wanted
on conflict (app_id, entity, name) do update set retired_at = null"""

# Columns refer to their entity, so its row is made before that of the former name goes.
_COPY_ENTITY: Final = """
insert into caudex_apps.entities (app_id, name, retired_at)
select app_id, $3::text, retired_at from caudex_apps.entities
where app_id = $1::text and name = $2::text"""
_MOVE_COLUMNS: Final = """
update caudex_apps.columns set entity = $3::text where app_id = $1::text and entity = $2::text"""
_RENAME_COLUMN: Final = """
update caudex_apps.columns set name = $4::text
where app_id = $1::text and entity = $2::text and name = $3::text"""

_DROP_ENTITY: Final = "delete from caudex_apps.entities where app_id = $1::text and name = $2::text"
_DROP_COLUMN: Final = """
delete from caudex_apps.columns
where app_id = $1::text and entity = $2::text and name = $3::text"""

_VECTORS: Final = """
from caudex_apps.entities as e
join pg_class as t on t.oid = to_regclass(format('%I.%I', e.app_id, e.name))
join pg_attribute as a on a.attrelid = t.oid and a.attgenerated = 's'
    and a.atttypid = 'tsvector'::regtype and not a.attisdropped
where e.retired_at is null"""
SEARCHED: Final = "select string_agg(distinct e.app_id, ', ' order by e.app_id)" + _VECTORS
"""Apps with a full-text search."""
_WITHOUT_INDEX: Final = """
and not exists (
    select from pg_index as i
    where i.indrelid = t.oid and i.indisvalid and a.attnum = any(i.indkey))"""
UNINDEXED: Final = (
    "select string_agg(distinct e.app_id || '.' || e.name, ', ')" + _VECTORS + _WITHOUT_INDEX
)
"""Entities whose words have no index."""
HAS_EXTENSION: Final = "select extname from pg_extension where extname = $1::text"

_SCHEMA: Final = """
select json_build_object(
    'installed', exists (select from caudex_apps.apps where id = $1::text),
    'exists', exists (select from pg_namespace where nspname = $1::text),
    'trigrams', (select extnamespace::regnamespace from pg_extension where extname = 'pg_trgm'),
    'entities', (
        select coalesce(json_object_agg(name, retired_at is not null), '{}')
        from caudex_apps.entities where app_id = $1::text),
    'columns', (
        select coalesce(json_object_agg(entity, columns), '{}') from (
            select entity, json_object_agg(name, retired_at is not null) as columns
            from caudex_apps.columns where app_id = $1::text group by entity) as k),
    'tables', (
        select coalesce(json_object_agg(t.relname, json_build_object(
            'kind', t.relkind,
            'primary_key', (
                select coalesce(max(c.conname), '') from pg_constraint as c
                where c.conrelid = t.oid and c.contype = 'p'),
            'columns', (
                select coalesce(json_agg(json_build_object(
                    'name', a.attname,
                    'type', format_type(a.atttypid, a.atttypmod),
                    'not_null', a.attnotnull,
                    'default', pg_get_expr(d.adbin, d.adrelid),
                    'generated', a.attgenerated <> '' or a.attidentity <> '',
                    'comment', col_description(t.oid, a.attnum)
                ) order by a.attnum), '[]')
                from pg_attribute as a
                left join pg_attrdef as d on (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
                where a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped),
            'indexes', (
                select coalesce(json_agg(json_build_object(
                    'name', c.relname,
                    'columns', (
                        select json_agg(a.attname order by k.place)
                        from unnest(i.indkey::int2[]) with ordinality as k(attnum, place)
                        join pg_attribute as a on (a.attrelid, a.attnum) = (t.oid, k.attnum)),
                    'unique', i.indisunique,
                    'valid', i.indisvalid and i.indpred is null
                )), '[]')
                from pg_index as i join pg_class as c on c.oid = i.indexrelid
                where i.indrelid = t.oid and not i.indisprimary),
            'checks', (
                select coalesce(json_agg(json_build_object(
                    'name', c.conname,
                    'definition', pg_get_constraintdef(c.oid),
                    'valid', c.convalidated
                )), '[]')
                from pg_constraint as c where c.conrelid = t.oid and c.contype = 'c'),
            'links', (
                select coalesce(json_agg(json_build_object(
                    'name', c.conname,
                    'columns', (
                        select json_agg(a.attname) from pg_attribute as a
                        where a.attrelid = t.oid and a.attnum = any(c.conkey)),
                    'target', json_build_array(n.nspname, f.relname),
                    'on_delete', c.confdeltype,
                    'valid', c.convalidated
                )), '[]')
                from pg_constraint as c
                join pg_class as f on f.oid = c.confrelid
                join pg_namespace as n on n.oid = f.relnamespace
                where c.conrelid = t.oid and c.contype = 'f'),
            'triggers', (
                select coalesce(json_agg(g.tgname), '[]') from pg_trigger as g
                where g.tgrelid = t.oid and not g.tgisinternal and g.tgenabled <> 'D')
        )), '{}')
        from pg_class as t join pg_namespace as n on n.oid = t.relnamespace
        where n.nspname = $1::text and t.relkind in ('r', 'p', 'v', 'm', 'f'))
)"""

# Defaults as PostgreSQL prints them, so that the present and the declared ones are comparable.
_DEFAULTS: Final = """
select coalesce(json_agg(case d.type
        when 'boolean' then d.text::boolean::text
        when 'text' then quoted.text || '::text'
        else quoted.text || '::' || d.type
    end order by d.place), '[]')
from rows from (jsonb_to_recordset($1::jsonb) as (type text, text text))
    with ordinality as d(type, text, place)
cross join lateral (
    select '''' || replace(case d.type
        when 'double precision' then d.text::double precision::text
        when 'date' then d.text::date::text
        when 'timestamp with time zone' then d.text::timestamptz::text
        when 'jsonb' then d.text::jsonb::text
        when 'uuid' then d.text::uuid::text
        when 'text[]' then d.text::text[]::text
        when 'double precision[]' then d.text::double precision[]::text
        else d.text
    end, '''', '''''') || '''' as text
) as quoted"""


class _Row(msgspec.Struct):
    stamp: int
    key: int
    managed_by: str | None
    model: App


class _Default(msgspec.Struct):
    type: str
    text: str


_decode_row = msgspec.json.Decoder(_Row).decode
_decode_section = msgspec.json.Decoder(InstalledSection).decode
_decode_schema = msgspec.json.Decoder(Schema).decode
_decode_stored = msgspec.json.Decoder(StoredManifest).decode
_decode_steps = msgspec.json.Decoder(list[Step]).decode
_decode_texts = msgspec.json.Decoder(list[str]).decode

_GENERATED: Final = {
    ("uuid", "uuid"): "gen_random_uuid()",
    ("uuid", "text"): "(gen_random_uuid())::text",
    ("now", "timestamptz"): "now()",
}


async def lock(tx: Transaction, app_id: str, seconds: float) -> None:
    """Lock an app against changes by any server process; waits up to `seconds`."""
    await limit(tx, "lock_timeout", seconds)
    await tx.lock(f"apps.{app_id}")


async def limit(tx: Transaction, setting: str, seconds: float) -> None:
    """Set `lock_timeout` or `statement_timeout` for the rest of a transaction."""
    await tx.execute(_LIMIT, setting, str(int(seconds * 1000)))


async def read_apps(reader: Reader, ids: list[str] | None) -> list[App]:
    """Read all apps, or those of `ids` that exist."""
    rows = [_decode_row(raw) for raw in await reader.fetch_all(_CATALOG, ids)]
    return [
        msgspec.structs.replace(
            row.model, version_stamp=row.stamp, key=row.key, managed_by=row.managed_by
        )
        for row in rows
    ]


async def read_sections(reader: Reader, key: str) -> list[InstalledSection]:
    """Read a top-level key of every stored manifest that has it."""
    return [_decode_section(raw) for raw in await reader.fetch_all(_SECTIONS, key)]


async def is_installed(reader: Reader, app_id: str) -> bool:
    """Whether an app is installed."""
    return await reader.fetch(_INSTALLED, app_id) is not None


async def read_manifest(reader: Reader, app_id: str) -> bytes | None:
    """Read the manifest of an app as it was installed."""
    return await reader.fetch(_MANIFEST, app_id)


async def list_installs(reader: Reader, app_id: str) -> bytes:
    """List the installs of an app, the newest first."""
    return await reader.fetch(_REMEMBERED, app_id) or b"[]"


async def read_former_manifest(reader: Reader, app_id: str, stamp: int) -> bytes | None:
    """Read the manifest of one install."""
    return await reader.fetch(_FORMER, app_id, stamp)


async def next_stamp(tx: Transaction) -> int:
    """Return a stamp that no app ever had."""
    return int(await tx.execute(_STAMP) or 0)


async def read_stored(reader: Reader, app_id: str) -> StoredManifest | None:
    """Read the manifest of an app with its stamp."""
    row = await reader.fetch(_STORED, app_id)
    return None if row is None else _decode_stored(row)


async def list_steps(reader: Reader, app_id: str) -> bytes:
    """List the installs of an app with their changes, the newest first."""
    return await reader.fetch(_STEPS, app_id) or b"[]"


async def read_steps(reader: Reader, app_id: str) -> list[Step]:
    """Read the installs of an app with their changes, the newest first."""
    return _decode_steps(await list_steps(reader, app_id))


async def set_managed_by(tx: Transaction, app_id: str, managed_by: str | None) -> None:
    """Note where the manifest of an app is changed."""
    await tx.execute(_MANAGE, app_id, managed_by)


async def save(tx: Transaction, app: App, manifest: bytes, via: str, changes: list[Change]) -> App:
    """Store an app and return it with its key; `manifest` is JSON, `via` what installs it."""
    app = msgspec.structs.replace(app, key=await register_app(tx, app.id))
    model = msgspec.json.encode(app)
    user_id = tx.actor.user_id
    stamp = app.version_stamp
    await tx.execute(_SAVE, app.id, app.name, app.version, manifest, model, stamp, user_id)
    steps = (via, msgspec.json.encode(changes))
    await tx.execute(_REMEMBER, app.id, stamp, app.version, manifest, user_id, *steps)
    return app


async def write_ledger(tx: Transaction, app_id: str, tables: dict[str, list[str]]) -> None:
    """Write the ledger: `tables` are the live entities with their columns, the rest retires."""
    document = msgspec.json.encode(tables)
    await tx.execute(_KEEP_ENTITIES, app_id, document)
    await tx.execute(_KEEP_COLUMNS, app_id, document)


async def rename_in_ledger(tx: Transaction, app_id: str, renamed: Iterable[Renamed]) -> None:
    """Rename entities and columns in the ledger."""
    for name in renamed:
        if name.field is not None:
            await tx.execute(_RENAME_COLUMN, app_id, name.entity, name.former, name.field)
        else:
            await tx.execute(_COPY_ENTITY, app_id, name.former, name.entity)
            await tx.execute(_MOVE_COLUMNS, app_id, name.former, name.entity)
            await tx.execute(_DROP_ENTITY, app_id, name.former)


async def delete_from_ledger(tx: Transaction, app_id: str, entity: str, column: str | None) -> None:
    """Delete a dropped entity or column from the ledger."""
    if column is None:
        await tx.execute(_DROP_ENTITY, app_id, entity)
    else:
        await tx.execute(_DROP_COLUMN, app_id, entity, column)


async def read_schema(reader: Reader, app_id: str) -> Schema:
    """Read the schema of an app as it is, and the ledger."""
    raw = await reader.fetch(_SCHEMA, app_id)
    assert raw is not None
    return _decode_schema(raw)


async def add_expressions(reader: Reader, tables: dict[str, Table]) -> dict[str, Table]:
    """Fill in how PostgreSQL prints the defaults of the columns."""
    columns = [column for table in tables.values() for column in table.columns.values()]
    defaults = [
        _Default(_LONG.get(column.type, column.type), column.default)
        for column in columns
        if column.default is not None
    ]
    expressions: Iterator[str] = iter(())
    if defaults:
        answer = await reader.fetch(_DEFAULTS, msgspec.json.encode(defaults))
        expressions = iter(_decode_texts(answer or b"[]"))

    # The expressions come in the order of the columns that have a default.
    filled_tables: dict[str, Table] = {}
    for name, table in tables.items():
        filled_columns: dict[str, Column] = {}
        for column in table.columns.values():
            if column.default is not None:
                expression = next(expressions)
            else:
                expression = _GENERATED.get((column.generator, column.type))
            filled = msgspec.structs.replace(column, expression=expression)
            filled_columns[column.name] = filled
        filled_tables[name] = msgspec.structs.replace(table, columns=filled_columns)
    return filled_tables


_LONG: Final[dict[str, Any]] = {"timestamptz": "timestamp with time zone"}
