"""Every statement of the plugin."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

import msgspec
from psycopg import sql

from kernel.public import Reader, Renamed, Statements, Transaction, Writer

from .models import HeldFile, ManagedField, NewFile, Pending, StoredFile

SCHEMA: Final = "caudex_files"


FIND: Final = """
select json_build_object('file', json_build_object('id', f.id, 'sha256', f.sha256, 'name', f.name,
    'type', f.type, 'size', f.size, 'uploader_id', f.uploader_id, 'of_app', f.of_app,
    'held', f.held,
    'created_at', to_char(f.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')),
    'holdings', coalesce((select json_agg(json_build_array(h.entity, h.field, h.record_id)) from (
        select entity, field, record_id from caudex_files.holdings
        where file_id = f.id and ended_at is null limit $3::int) as h), '[]'))
from caudex_files.files as f where f.id = $2::uuid and f.app_id = $1::text"""

# Without an app: the operator names a file alone.
FIND_ANY: Final = """
select json_build_object('id', f.id, 'sha256', f.sha256, 'name', f.name, 'type', f.type,
    'size', f.size, 'uploader_id', f.uploader_id, 'of_app', f.of_app, 'held', f.held,
    'created_at', to_char(f.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
from caudex_files.files as f where f.id = $1::uuid"""

PENDING: Final = """
select json_build_object('files', count(*), 'size', coalesce(sum(size), 0),
    'oldest', coalesce(extract(epoch from now() - min(created_at)), 0))
from caudex_files.files where uploader_id = $1::uuid and not held and not of_app"""

CLAIM_BLOB: Final = """
insert into caudex_files.blobs as b (sha256, size) values ($1::text, $2::bigint)
on conflict (sha256) do update set unused_since = null"""

ADD: Final = """
insert into caudex_files.files as f (id, app_id, sha256, name, type, size, uploader_id, of_app)
values (gen_random_uuid(), $1::text, $2::text, $3::text, $4::text, $5::bigint, $6::uuid,
    $7::boolean)
returning json_build_object('id', f.id, 'sha256', f.sha256, 'name', f.name, 'type', f.type,
    'size', f.size, 'uploader_id', f.uploader_id, 'of_app', f.of_app, 'held', f.held,
    'created_at', to_char(f.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))"""

# A file that records hold, or held, stays for them.
DROP: Final = """
with f as (
    select id from caudex_files.files where id = $1::uuid and (of_app or not held) for update
), kept as (
    update caudex_files.files as k set of_app = false, held = true from f where k.id = f.id
    and exists (select from caudex_files.holdings as h where h.file_id = f.id) returning k.id
), gone as (
    delete from caudex_files.files as d using f where d.id = f.id
    and not exists (select from caudex_files.holdings as h where h.file_id = f.id) returning d.id
)
select (select count(*) from kept) + (select count(*) from gone)"""

FIELDS: Final = """
select json_build_object('entity', entity, 'field', field, 'is_list', is_list,
    'max_size', max_size, 'types', types)
from caudex_files.fields where app_id = $1::text"""

SAVE_FIELD: Final = """
insert into caudex_files.fields (app_id, entity, field, is_list, max_size, types)
values ($1::text, $2::text, $3::text, $4::boolean, $5::bigint, $6::text[])
on conflict (app_id, entity, field) do update
set is_list = excluded.is_list, max_size = excluded.max_size, types = excluded.types"""

# The field is empty where the entity itself is renamed.
RENAME: Final = (
    """
update caudex_files.holdings as h set
    entity = case $3::text when '' then $4::text else h.entity end,
    field = case $3::text when '' then h.field else $4::text end
from caudex_files.files as f
where f.id = h.file_id and f.app_id = $1::text and h.entity = $2::text
    and $3::text in ('', h.field)""",
    """
update caudex_files.fields set
    entity = case $3::text when '' then $4::text else entity end,
    field = case $3::text when '' then field else $4::text end
where app_id = $1::text and entity = $2::text and $3::text in ('', field)""",
)

# Those that the app declares otherwise, or whose columns are gone or have another type.
FORGET_FIELDS: Final = """
with gone as (
    delete from caudex_files.fields as d where d.app_id = $1::text and (
        (d.entity || '.' || d.field) = any($2::text[])
        or not exists (
            select from pg_attribute as a
            where a.attrelid = to_regclass(format('%I.%I', d.app_id, d.entity))
            and a.attname = d.field and not a.attisdropped
            and a.atttypid = case when d.is_list then 'uuid[]' else 'uuid' end::regtype))
    returning entity, field
)
update caudex_files.holdings as h set ended_at = now() from gone, caudex_files.files as f
where f.id = h.file_id and f.app_id = $1::text and h.entity = gone.entity
and h.field = gone.field and h.ended_at is null"""

HELD_BY_FIELD: Final = "select caudex_files.select_held($1::text, $2::text, $3::boolean)"

COUNT_UNKNOWN: Final = sql.SQL("""
select count(*) from ({held}) as _v where not exists (
    select from caudex_files.files as f where f.id = _v.file_id and f.app_id = $1::text)""")

ADOPT: Final = sql.SQL("""
with held as (
    select _v.record_id, _v.file_id from ({held}) as _v
    join caudex_files.files as f on f.id = _v.file_id and f.app_id = $1::text
), noted as (
    insert into caudex_files.holdings (file_id, entity, field, record_id)
    select file_id, $2::text, $3::text, record_id from held
    on conflict (file_id, entity, field, record_id) do update set ended_at = null
)
update caudex_files.files as f set held = true from held where f.id = held.file_id""")

TRACK: Final = sql.SQL("""
create or replace trigger caudex_files_insert after insert on {table}
    referencing new table as new_rows for each statement execute function caudex_files.track();
create or replace trigger caudex_files_update after update on {table}
    referencing new table as new_rows old table as old_rows
    for each statement execute function caudex_files.track();
create or replace trigger caudex_files_delete after delete on {table}
    referencing old table as old_rows for each statement execute function caudex_files.track();
create or replace trigger caudex_files_truncate after truncate on {table}
    for each statement execute function caudex_files.track_truncate();
""")

UNTRACKED: Final = """
select c.relname from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
where n.nspname = $1::text and c.relname = any($2::text[]) and c.relkind in ('r', 'p')
and (select count(*) from pg_trigger as t where t.tgrelid = c.oid
    and starts_with(t.tgname, 'caudex_files_')) < 4
order by c.relname"""

END_HOLDINGS: Final = """
with old as (
    select ctid from caudex_files.holdings
    where ended_at < now() - make_interval(days => $1::int) limit $2::int
), gone as (
    delete from caudex_files.holdings where ctid = any(array(select ctid from old)) returning 1
)
select count(*) from gone"""

# The locks come first: what records hold is looked at in another statement, once nothing can be
# attached any more.
LOCK_UNHELD: Final = """
select f.id::text from caudex_files.files as f
where not f.of_app and (f.held or f.created_at < now() - interval '24 hours')
and not exists (select from caudex_files.holdings as h where h.file_id = f.id)
order by f.id limit $1::int for update skip locked"""

DELETE_UNHELD: Final = """
with gone as (
    delete from caudex_files.files as f where f.id = any($1::uuid[]) and not f.of_app
    and not exists (select from caudex_files.holdings as h where h.file_id = f.id) returning 1
)
select count(*) from gone"""

MARK_UNUSED: Final = """
with unused as (
    select b.sha256 from caudex_files.blobs as b where b.unused_since is null
    and not exists (select from caudex_files.files as f where f.sha256 = b.sha256)
    limit $1::int for update skip locked
), marked as (
    update caudex_files.blobs as b set unused_since = now() from unused as u
    where b.sha256 = u.sha256 returning 1
)
select count(*) from marked"""

FIND_UNUSED: Final = """
select sha256 from caudex_files.blobs
where unused_since < now() - make_interval(secs => $1::float8) order by unused_since
limit $2::int"""

LOCK_UNUSED: Final = """
select 'true' from caudex_files.blobs
where sha256 = $1::text and unused_since < now() - make_interval(secs => $2::float8)
for update skip locked"""

IS_USED: Final = "select exists (select from caudex_files.files where sha256 = $1::text)"

FORGET_BLOB: Final = "delete from caudex_files.blobs where sha256 = $1::text"

NOTE_ORPHANS: Final = """
with noted as (
    insert into caudex_files.blobs (sha256, size, unused_since)
    select sha256, size, now() from unnest($1::text[], $2::bigint[]) as o(sha256, size)
    on conflict (sha256) do nothing returning 1
)
select count(*) from noted"""

LIST_BLOBS: Final = """
select json_build_array(sha256, size) from caudex_files.blobs
where sha256 > $1::text and unused_since is null order by sha256 limit $2::int"""

LOCK_BLOB: Final = "select 'true' from caudex_files.blobs where sha256 = $1::text for update"

FILES_OF_CONTENT: Final = """
select id::text from caudex_files.files where sha256 = $1::text order by id limit $2::int"""

ERASE: Final = "update caudex_files.files set sha256 = null where sha256 = $1::text"

MAKE_KEY: Final = """
insert into caudex_files.signing as s (is_only, key) values (true, $1::text)
on conflict (is_only) do update set key = s.key returning key"""

_decode_held = msgspec.json.Decoder(HeldFile).decode
_decode_file = msgspec.json.Decoder(StoredFile).decode
_decode_pending = msgspec.json.Decoder(Pending).decode
_decode_field = msgspec.json.Decoder(ManagedField).decode
_decode_blob = msgspec.json.Decoder(tuple[str, int]).decode


async def find(reader: Reader, app_id: str, file_id: str, holdings: int) -> HeldFile | None:
    """Return a file of an app, with so many of the fields that hold it."""
    raw = await reader.fetch(FIND, app_id, file_id, holdings)
    return None if raw is None else _decode_held(raw)


async def find_any(reader: Reader, file_id: str) -> StoredFile | None:
    """Return a file of any app."""
    raw = await reader.fetch(FIND_ANY, file_id)
    return None if raw is None else _decode_file(raw)


async def count_pending(reader: Reader, user_id: str) -> Pending:
    """Count what a user uploaded and no record has held."""
    return _decode_pending(await reader.fetch(PENDING, user_id) or b"{}")


async def claim_blob(tx: Transaction, sha256: str, size: int) -> None:
    """Lock the row of a content, so that no sweep deletes it until a file has it."""
    await tx.execute(CLAIM_BLOB, sha256, size)


async def add(tx: Transaction, file: NewFile, uploader_id: str | None) -> StoredFile:
    """Add a file whose content was claimed."""
    described = (file.name, file.type, file.size)
    raw = await tx.execute(ADD, file.app_id, file.sha256, *described, uploader_id, file.of_app)
    return _decode_file(raw or b"")


async def drop(writer: Writer, file_id: str) -> bool:
    """End the app's own hold of a file, or delete a pending one; return whether it was either."""
    return int(await writer.execute(DROP, file_id) or 0) > 0


async def read_fields(reader: Reader, app_id: str) -> dict[tuple[str, str], ManagedField]:
    """Return the fields of an app that the triggers know, by entity and field."""
    fields = [_decode_field(raw) for raw in await reader.fetch_all(FIELDS, app_id)]
    return {(field.entity, field.field): field for field in fields}


async def save_field(tx: Transaction, app_id: str, field: ManagedField) -> None:
    """Note a field for the triggers."""
    key = (app_id, field.entity, field.field)
    await tx.execute(SAVE_FIELD, *key, field.is_list, field.max_size, field.types)


async def rename(tx: Transaction, app_id: str, renamed: Sequence[Renamed]) -> None:
    """Rename entities and fields that hold files."""
    for name in renamed:
        place = (name.former, "", name.entity)
        if name.field is not None:
            place = (name.entity, name.former, name.field)
        for statement in RENAME:
            await tx.execute(statement, app_id, *place)


async def forget_fields(tx: Transaction, app_id: str, names: Sequence[str]) -> None:
    """Forget fields, as `entity.field`, and those whose columns are gone; they hold no file."""
    await tx.execute(FORGET_FIELDS, app_id, names)


async def count_unknown(tx: Transaction, app_id: str, field: ManagedField) -> int:
    """Count the values of a field that are no files of the app."""
    held = await _select_held(tx, app_id, field)
    return int(await tx.fetch(COUNT_UNKNOWN.format(held=held).as_bytes(None), app_id) or 0)


async def adopt(tx: Transaction, app_id: str, field: ManagedField) -> None:
    """Note what a field holds already."""
    held = await _select_held(tx, app_id, field)
    query = ADOPT.format(held=held).as_bytes(None)
    await tx.execute(query, app_id, field.entity, field.field)


async def _select_held(tx: Transaction, app_id: str, field: ManagedField) -> sql.Composable:
    table = sql.Identifier(app_id, field.entity).as_string(None)
    raw = await tx.fetch(HELD_BY_FIELD, table, field.field, field.is_list)
    statement = (raw or b"").decode()
    return sql.SQL(statement)  # type: ignore[arg-type]  # of our own function, names quoted


async def track(tx: Transaction, app_id: str, entities: Sequence[str]) -> None:
    """Attach the triggers to the tables that lack them."""
    names = await tx.fetch_all(UNTRACKED, app_id, entities)
    triggers = [TRACK.format(table=sql.Identifier(app_id, name.decode())) for name in names]
    if triggers:
        await tx.script(sql.Composed(triggers).as_bytes(None))


async def end_holdings(statements: Statements, days: int, limit: int) -> int:
    """Delete what held files so long ago that no undo needs it; return how many there were."""
    return int(await statements.execute(END_HOLDINGS, days, limit) or 0)


async def lock_unheld(tx: Transaction, limit: int) -> list[str]:
    """Lock files that no record holds, and none that an undo needs."""
    return [raw.decode() for raw in await tx.execute_all(LOCK_UNHELD, limit)]


async def delete_unheld(tx: Transaction, ids: Sequence[str]) -> int:
    """Delete those of some locked files that no record holds by now."""
    return int(await tx.execute(DELETE_UNHELD, ids) or 0)


async def mark_unused(statements: Statements, limit: int) -> int:
    """Mark contents that no file has; return how many were new."""
    return int(await statements.execute(MARK_UNUSED, limit) or 0)


async def find_unused(reader: Reader, seconds: float, limit: int) -> list[str]:
    """Return contents that no file has had for so long."""
    return [raw.decode() for raw in await reader.fetch_all(FIND_UNUSED, seconds, limit)]


async def lock_unused(tx: Transaction, sha256: str, seconds: float) -> bool:
    """Lock a content that no file has; False where it has a file by now, or another sweep."""
    if await tx.execute(LOCK_UNUSED, sha256, seconds) is None:
        return False
    return await tx.fetch(IS_USED, sha256) == b"f"


async def forget_blob(tx: Transaction, sha256: str) -> None:
    """Forget a content that the store has no more."""
    await tx.execute(FORGET_BLOB, sha256)


async def note_orphans(writer: Writer, hashes: Sequence[str], sizes: Sequence[int]) -> int:
    """Note contents of the store that nothing refers to; return how many were new."""
    return int(await writer.execute(NOTE_ORPHANS, hashes, sizes) or 0)


async def list_blobs(reader: Reader, after: str, limit: int) -> list[tuple[str, int]]:
    """Return contents by their hashes, with their sizes."""
    return [_decode_blob(raw) for raw in await reader.fetch_all(LIST_BLOBS, after, limit)]


async def find_files_of(reader: Reader, sha256: str, limit: int) -> list[str]:
    """Return the ids of files that have a content."""
    return [raw.decode() for raw in await reader.fetch_all(FILES_OF_CONTENT, sha256, limit)]


async def erase(tx: Transaction, sha256: str) -> None:
    """Take a content from all its files, under the lock that an upload takes."""
    await tx.execute(LOCK_BLOB, sha256)
    await tx.execute(ERASE, sha256)
    await tx.execute(FORGET_BLOB, sha256)


async def read_key(writer: Writer) -> bytes:
    """Return the key of links; the first server makes it."""
    raw = await writer.execute(MAKE_KEY, secrets.token_hex(32))
    return bytes.fromhex((raw or b"").decode())
