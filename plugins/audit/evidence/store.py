"""Every statement of the evidence."""

from __future__ import annotations

from binascii import unhexlify
from datetime import datetime
from typing import Final

import msgspec

from kernel.public import MAX_PAGE_BYTES, Reader, Statements, Transaction

from .entries import Entries
from .seals import Seal, SignedSeal

LOCK: Final = "audit.seals"
"""Who adds to the chain holds this lock."""
CLEANED: Final = 200
"""Seals whose entries one statement removes, at most."""
MAX_PENDING: Final = 1_000_000

# The rows between two ids as what a seal keeps of them; see `caudex_audit.seal_entries`. The array
# is the canonical JSON of a row, form 1 (see `seals.FORM`): every column of the trail, in this
# order. It depends neither on settings nor on the version of PostgreSQL, and takes half the time of
# an object.
ENTRIES: Final = """
select encode(string_agg(int8send(id) || timestamptz_send(changed_at)
    || sha256('\\x00'::bytea || convert_to(json_build_array(
        id, table_schema, table_name, record_id, operation, old_record, new_record,
        changed_at at time zone 'UTC', actor_id, request_id, key_id, via, xid, app_key, owner_id,
        former_owner_id, follows)::text, 'UTF8')), ''), 'hex')
from (
    select * from caudex_audit.log where id > $1::bigint and id <= $2::bigint
    order by id limit $3::int
) as r"""

# The rows between two ids that a filter lets pass, with every column (see `files.MEMBERS`): the
# first of them up to a number of bytes; one at least.
LINES: Final = """
with page as materialized (
    select id, row_to_json(l)::text as line
    from (
        select
            id, table_schema, table_name, record_id, operation, old_record, new_record,
            to_char(changed_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as changed_at,
            actor_id, request_id, key_id as key, via, xid, app_key, owner_id, former_owner_id,
            follows
        from caudex_audit.log where id > $1::bigint and id <= $2::bigint
        and ($5::text is null or table_schema = $5::text)
        and ($6::timestamptz is null or changed_at >= $6::timestamptz)
        and ($7::timestamptz is null or changed_at < $7::timestamptz)
        order by id limit $3::int
    ) as l
)
select line from (
    select id, line, sum(octet_length(line)) over (order by id) as upto from page
) as sized
where upto <= $4::bigint or upto = octet_length(line)
order by id"""

# The same as `GET /api/v1/audit` shows rows: without what only the server needs.
PLAIN_LINES: Final = """
with page as materialized (
    select r.id, left(row_to_json(l)::text, -1)
        || coalesce(',"key":"' || key_id || '"', '')
        || coalesce(',"via":' || to_json(split_part(via, ' ', 1))
            || ',"client":' || to_json(substr(via, length(split_part(via, ' ', 1)) + 2)), '')
        || '}' as line
    from (
        select * from caudex_audit.log where id > $1::bigint and id <= $2::bigint
        and ($5::text is null or table_schema = $5::text)
        and ($6::timestamptz is null or changed_at >= $6::timestamptz)
        and ($7::timestamptz is null or changed_at < $7::timestamptz)
        order by id limit $3::int
    ) as r cross join lateral (
        select
            r.id, table_schema, table_name, record_id, operation, old_record, new_record,
            to_char(changed_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as changed_at,
            actor_id, request_id
    ) as l
)
select line from (
    select id, line, sum(octet_length(line)) over (order by id) as upto from page
) as sized
where upto <= $4::bigint or upto = octet_length(line)
order by id"""

# An id is taken after the trail is locked, and the lock is held to the end of the transaction. So
# once those are gone that hold it after this was read, no row with an id up to it can follow.
LAST_ID: Final = """
select case when is_called then last_value else last_value - 1 end from caudex_audit.log_id"""

WRITERS: Final = """
select distinct virtualtransaction || ' ' || coalesce(pid, 0) from pg_locks
where locktype = 'relation' and granted
and mode in ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
and database = (select oid from pg_database where datname = current_database())
and relation = 'caudex_audit.log'::regclass"""

GREATEST_ID: Final = """
select coalesce(max(id), 0) from caudex_audit.log"""

NEXT_ID: Final = """
select min(id) from caudex_audit.log where id > $1::bigint"""

TIP: Final = """
select json_build_object('statement', statement, 'signature', encode(signature, 'hex'))
from caudex_audit.seals order by number desc limit 1"""

SEALS_BACKWARD: Final = """
select json_build_object('statement', statement, 'signature', encode(signature, 'hex'),
    'number', number, 'last_id', last_id)
from caudex_audit.seals where number < $1::bigint order by number desc limit $2::int"""

SEALS_FORWARD: Final = """
select json_build_object('statement', statement, 'signature', encode(signature, 'hex'))
from caudex_audit.seals where number >= $1::bigint order by number limit $2::int"""

SEAL_OF: Final = """
select json_build_object('statement', statement, 'signature', encode(signature, 'hex'))
from caudex_audit.seals where last_id >= $1::bigint order by last_id, number limit 1"""

FIRST_SINCE: Final = """
select min(number) from caudex_audit.seals where until >= $1::timestamptz"""

KEPT: Final = """
select encode(entries, 'hex') from caudex_audit.seal_entries where seal = $1::bigint"""

PENDING: Final = """
select count(*) from (
    select from caudex_audit.log where id > $1::bigint limit $2::int
) as unsealed"""

OLDEST_PENDING: Final = """
select extract(epoch from now() - changed_at)::bigint from caudex_audit.log
where id > coalesce((select max(last_id) from caudex_audit.seals), 0) order by id limit 1"""

ADD: Final = """
with kept as (
    insert into caudex_audit.seal_entries (seal, entries)
    select $1::bigint, decode($6::text, 'hex') where $6::text <> ''
)
insert into caudex_audit.seals (number, statement, signature, last_id, until)
values ($1::bigint, $2::text, decode($3::text, 'hex'), $4::bigint, $5::timestamptz)"""

# Only whole months are dropped, so most of these seals have no row left. Rows of a time without a
# partition stay, and so do the entries of their seals: else a row that is added could pass for one.
CLEAN: Final = """
with oldest as (
    select e.seal, s.last_id, coalesce(former.last_id, 0) as after
    from (
        select seal from caudex_audit.seal_entries where seal > $3::bigint
        order by seal limit $2::int
    ) as e
    join caudex_audit.seals as s on s.number = e.seal
    left join caudex_audit.seals as former on former.number = e.seal - 1
    where s.until < $1::timestamptz
), cleaned as (
    delete from caudex_audit.seal_entries where seal in (
        select seal from oldest where not exists (
            select from caudex_audit.log where id > oldest.after and id <= oldest.last_id))
    returning seal
)
select json_build_object(
    'removed', (select count(*) from cleaned), 'last', (select max(seal) from oldest))"""

# The sequence begins with 1, so no seal has such a row: only who owns the database can add one.
LEAST_FORGED_ID: Final = """
select min(id) from caudex_audit.log where id <= 0"""

UNSEALED: Final = """
select 1 from caudex_audit.log
where id > coalesce((select max(last_id) from caudex_audit.seals), 0)
and changed_at < $1::timestamptz limit 1"""

WITNESSED: Final = "select seal from caudex_audit.witnessed"

NOTE_WITNESSED: Final = """
insert into caudex_audit.witnessed (seal) values ($1::bigint)
on conflict (single) do update set seal = excluded.seal"""


class StoredSeal(SignedSeal, frozen=True):
    """A seal as the chain has it; the numbers are those of the columns."""

    number: int
    last_id: int


class Cleaned(msgspec.Struct, frozen=True):
    """How many entries were removed, and the last seal that was looked at; None without one."""

    removed: int = 0
    last: int | None = None


_CLEANED: Final = msgspec.json.Decoder(Cleaned)
_SIGNED: Final = msgspec.json.Decoder(SignedSeal)
_STORED: Final = msgspec.json.Decoder(StoredSeal)


class RowFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows an export has: those of an app, and of times from `since` and before `until`."""

    app_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


async def read_last_id(reader: Reader) -> int:
    """Return the last id of the trail that was taken."""
    return int(await reader.fetch(LAST_ID) or 0)


async def read_greatest_id(reader: Reader) -> int:
    """Return the greatest id of a row."""
    return int(await reader.fetch(GREATEST_ID, quick=False) or 0)


async def read_writers(reader: Reader) -> set[bytes]:
    """Name the transactions that may have written to the trail, and have not ended."""
    return set(await reader.fetch_all(WRITERS))


async def read_next_id(reader: Reader, after: int) -> int | None:
    """Return the next id that has a row."""
    row_id = await reader.fetch(NEXT_ID, after, quick=False)
    return None if row_id is None else int(row_id)


async def read_entries(reader: Reader, after: int, last: int, limit: int) -> Entries:
    """Return the entries of rows between two ids; `limit` at most."""
    return _decode_entries(await reader.fetch(ENTRIES, after, last, limit, quick=False) or b"")


async def read_lines(
    reader: Reader, after: int, last: int, limit: int, rows: RowFilter, *, plain: bool = False
) -> list[bytes]:
    """Return rows between two ids as JSON: the first `limit` that fit, and no more than a page."""
    statement = PLAIN_LINES if plain else LINES
    criteria = (rows.app_id, rows.since, rows.until)
    bounds = (after, last, limit, MAX_PAGE_BYTES)
    return await reader.fetch_all(statement, *bounds, *criteria, custom_plan=True)


async def read_tip(reader: Reader) -> SignedSeal | None:
    """Return the last seal."""
    seal = await reader.fetch(TIP)
    return None if seal is None else _SIGNED.decode(seal)


async def read_seals_before(reader: Reader, number: int, limit: int) -> list[StoredSeal]:
    """Return seals before a number, the newest first."""
    seals = await reader.fetch_all(SEALS_BACKWARD, number, limit, quick=False)
    return [_STORED.decode(seal) for seal in seals]


async def read_seals_from(reader: Reader, number: int, limit: int) -> list[SignedSeal]:
    """Return seals from a number on."""
    seals = await reader.fetch_all(SEALS_FORWARD, number, limit, quick=False)
    return [_SIGNED.decode(seal) for seal in seals]


async def read_seal_of(reader: Reader, row_id: int) -> SignedSeal | None:
    """Return the first seal whose range ends at an id or above; None where that is not sealed."""
    seal = await reader.fetch(SEAL_OF, row_id)
    return None if seal is None else _SIGNED.decode(seal)


async def read_first_since(reader: Reader, since: datetime) -> int | None:
    """Return the number of the first seal with a row of a time or later."""
    number = await reader.fetch(FIRST_SINCE, since, quick=False)
    return None if number is None else int(number)


async def read_kept(reader: Reader, number: int) -> Entries | None:
    """Return the entries that were kept for a seal."""
    entries = await reader.fetch(KEPT, number, quick=False)
    return None if entries is None else _decode_entries(entries)


async def count_pending(reader: Reader, after: int) -> int:
    """Count the rows above an id; beyond a million it says a million."""
    return int(await reader.fetch(PENDING, after, MAX_PENDING, quick=False) or 0)


async def has_unsealed(reader: Reader, before: datetime) -> bool:
    """Whether rows of a time before are not sealed yet."""
    return await reader.fetch(UNSEALED, before, quick=False) is not None


async def add(tx: Transaction, seal: Seal, signed: SignedSeal, entries: Entries) -> None:
    """Add a seal to the chain, whose lock the caller holds."""
    identity = (seal.seal, signed.statement, signed.signature)
    await tx.execute(ADD, *identity, seal.last, seal.end, entries.content.hex())


async def clean(statements: Statements, kept_from: datetime, after: int) -> Cleaned:
    """Remove entries of rows that retention has dropped, of some seals behind a number."""
    cleaned = await statements.execute(CLEAN, kept_from, CLEANED, after)
    return Cleaned() if cleaned is None else _CLEANED.decode(cleaned)


async def read_least_forged_id(reader: Reader) -> int | None:
    """Return the least id that no seal can have; None without one."""
    row_id = await reader.fetch(LEAST_FORGED_ID, quick=False)
    return None if row_id is None else int(row_id)


async def read_witnessed(reader: Reader) -> int:
    """Return the number of the last seal that the witness has."""
    return int(await reader.fetch(WITNESSED) or 0)


async def note_witnessed(statements: Statements, number: int) -> None:
    """Note the number of the last seal that the witness has."""
    await statements.execute(NOTE_WITNESSED, number)


def _decode_entries(text: bytes) -> Entries:
    return Entries(unhexlify(text))
