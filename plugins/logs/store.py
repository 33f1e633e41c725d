"""Every statement of the plugin."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

import msgspec

from kernel.public import LogLine, Reader, Transaction

from .models import NewLine

# Lines of an app that has been removed since are left out: they must not fail those of others.
_INSERT: Final = """
with installed as materialized (
    select app_id from caudex_kernel.apps
    where app_id in (select r ->> 'app_id' from jsonb_array_elements($1::jsonb) as r)
    for key share
)
insert into caudex_logs.lines (app_id, level, message, ts, request_id)
select n.app_id, n.level, n.message, n.ts, n.request_id from jsonb_to_recordset($1::jsonb)
    as n (app_id text, level text, message text, ts timestamptz, request_id text)
where n.app_id = any(array(select app_id from installed))"""
# Lines up to the one that fills `$3` bytes. The length of a long message is known without reading
# it: what does not fit is never fetched.
_TAIL: Final = """
select json_build_object('id', l.id, 'level', l.level, 'message', l.message,
    'ts', to_char(l.ts at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
from (
    select n.*, octet_length(n.message) as size,
        sum(octet_length(n.message)) over (order by id desc) as upto
    from (
        select id, level, message, ts from caudex_logs.lines
        where app_id = $1::text order by id desc limit $2::int
    ) n
) l where l.upto - l.size < $3::bigint order by l.id"""
_BETWEEN: Final = """
select json_build_object('id', l.id, 'level', l.level, 'message', l.message,
    'ts', to_char(l.ts at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
from (
    select n.*, octet_length(n.message) as size,
        sum(octet_length(n.message)) over (order by id) as upto
    from (
        select id, level, message, ts from caudex_logs.lines
        where app_id = $1::text and id > $4::bigint and id <= $5::bigint order by id limit $2::int
    ) n
) l where l.upto - l.size < $3::bigint order by l.id"""
_COUNT_BEFORE: Final = """
select count(*) from (
    select from caudex_logs.lines where app_id = $1::text and id < $2::bigint limit $3::int
) l"""
_LAST: Final = "select coalesce(max(id), 0) from caudex_logs.lines where app_id = $1::text"
# Times are those of writing, and grow with the ids of an app but for a few milliseconds.
_BEFORE: Final = """
select coalesce(
    (select id - 1 from caudex_logs.lines
        where app_id = $1::text and ts >= $2::timestamptz order by id limit 1),
    (select max(id) from caudex_logs.lines where app_id = $1::text), 0)"""
_SWEEP_ALONE: Final = "logs.sweep"
# From one app to the next by the index: a `distinct` would read every line.
_APPS: Final = """
with recursive apps as (
    (select app_id from caudex_logs.lines order by app_id limit 1)
    union all
    select (
        select l.app_id from caudex_logs.lines l where l.app_id > apps.app_id
        order by l.app_id limit 1
    ) from apps where apps.app_id is not null
) select app_id from apps where app_id is not null"""
# A portion is bounded by the room that it takes on disk, which is known without reading it, as well
# as by number: the first line is always in it.
_SWEEP_OLD: Final = """
with portion as materialized (
    select id from (
        select id, size, sum(size) over (order by id) as upto from (
            select id, pg_column_size(message) as size from caudex_logs.lines
            where $3::int > 0 and ts < now() - make_interval(days => $3::int)
            order by ts limit $1::int
        ) n
    ) s where s.upto - s.size < $2::bigint
),
gone as (delete from caudex_logs.lines where id = any(array(select id from portion)))
select count(*) from portion"""
# No app takes more room than all of them: only then is anything added up, from the newest line on.
_SWEEP_MANY: Final = """
with portion as materialized (
    select id from (
        select id, size, sum(size) over (order by id) as upto from (
            select id, pg_column_size(message) as size from caudex_logs.lines
            where app_id = $3::text and id <= (select greatest(
                case when $4::int > 0 then (
                    select id from caudex_logs.lines where app_id = $3::text
                    order by id desc offset $4::int limit 1
                ) end,
                case when $5::bigint > 0
                    and pg_total_relation_size('caudex_logs.lines') > $5::bigint then (
                    select id from (
                        select id, sum(pg_column_size(message)) over (order by id desc) as upto
                        from caudex_logs.lines where app_id = $3::text
                    ) k where k.upto > $5::bigint order by id desc limit 1
                ) end
            )) order by id limit $1::int
        ) n
    ) s where s.upto - s.size < $2::bigint
),
gone as (delete from caudex_logs.lines where id = any(array(select id from portion)))
select count(*) from portion"""
_FORGET: Final = """
with portion as materialized (
    select id from (
        select id, size, sum(size) over (order by id) as upto from (
            select id, pg_column_size(message) as size from caudex_logs.lines
            where app_id = $3::text and id > $4::bigint order by id limit $1::int
        ) n
    ) s where s.upto - s.size < $2::bigint
),
gone as (delete from caudex_logs.lines where id = any(array(select id from portion)))
select max(id) from portion"""

_line = msgspec.json.Decoder(LogLine).decode
_encode = msgspec.json.Encoder().encode
TAIL_SIZE: Final = 4_000_000
"""Bytes of messages that fill a tail: the line with which they come to that is its first one."""
PORTION_SIZE: Final = 64_000_000
"""Bytes on disk of the lines that one statement deletes."""
PAGE: Final = 500
PAGE_SIZE: Final = 1_000_000
"""Bytes of messages that fill a page: the line with which they come to that is its last one."""


async def insert(tx: Transaction, lines: Sequence[NewLine]) -> None:
    """Add lines; those of one app become visible in the order of their ids."""
    # Readers go on from the last id, so ids must grow in the order in which lines become visible.
    await tx.lock(*{f"logs.lines:{line.app_id}" for line in lines})
    await tx.execute(_INSERT, _encode(lines))


async def read_tail(reader: Reader, app_id: str, count: int) -> list[LogLine]:
    """The last lines of an app, oldest first, as far as they fit into a tail."""
    return [_line(raw) for raw in await reader.fetch_all(_TAIL, app_id, count, TAIL_SIZE)]


async def count_left_out(reader: Reader, app_id: str, tail: Sequence[LogLine], count: int) -> int:
    """How many of the last `count` lines did not fit into a tail."""
    if len(tail) == count or _size(tail) < TAIL_SIZE:
        return 0
    return int(await reader.fetch(_COUNT_BEFORE, app_id, tail[0].id, count - len(tail)) or 0)


async def read_page(
    reader: Reader, app_id: str, after: int, until: int = sys.maxsize
) -> tuple[list[LogLine], bool]:
    """A page of lines with after < id <= until, oldest first, and whether there may be more."""
    rows = await reader.fetch_all(_BETWEEN, app_id, PAGE, PAGE_SIZE, after, until)
    page = [_line(row) for row in rows]
    is_full = len(page) == PAGE or _size(page) >= PAGE_SIZE
    return page, is_full


async def find_last_id(reader: Reader, app_id: str) -> int:
    """Id of an app's newest line, 0 when it has none."""
    return int(await reader.fetch(_LAST, app_id) or 0)


async def find_id_before(reader: Reader, app_id: str, since: str) -> int:
    """Id of the newest line before the first one of a time or later."""
    return int(await reader.fetch(_BEFORE, app_id, since) or 0)


async def list_apps(reader: Reader) -> list[str]:
    """Every app that has lines."""
    return [raw.decode() for raw in await reader.fetch_all(_APPS)]


async def sweep_old(tx: Transaction, keep_days: int, halvings: int = 0) -> int:
    """Delete a portion of what is too old, and return how many lines that were; 0 days are for
    ever."""
    if not await tx.lock(_SWEEP_ALONE, skip=True):
        return 0
    count = await tx.execute(_SWEEP_OLD, *_portion(halvings), keep_days)
    return int(count or 0)


async def sweep_many(
    tx: Transaction, app_id: str, keep_lines: int, keep_bytes: int = 0, halvings: int = 0
) -> int:
    """Delete a portion of what an app has too much of, and return how many lines that were; of 0
    lines, or bytes on disk, none is too many."""
    if not await tx.lock(_SWEEP_ALONE, skip=True):
        return 0
    count = await tx.execute(_SWEEP_MANY, *_portion(halvings), app_id, keep_lines, keep_bytes)
    return int(count or 0)


async def forget_app(tx: Transaction, app_id: str) -> None:
    """Delete the lines of an app, portion by portion."""
    last_id: bytes | None = b"0"
    while last_id is not None:
        last_id = await tx.execute(_FORGET, *_portion(), app_id, int(last_id))


def _portion(halvings: int = 0) -> tuple[int, int]:
    """How many lines, of how many bytes, one statement deletes."""
    return max(1, 5000 >> halvings), max(1, PORTION_SIZE >> halvings)


def _size(lines: Sequence[LogLine]) -> int:
    return sum(len(line.message.encode()) for line in lines)
