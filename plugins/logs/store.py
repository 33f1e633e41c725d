"""Every statement of the plugin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from kernel.public import LogLine, Reader, Transaction

from .models import NewLine

_LOCK: Final = """
select pg_advisory_xact_lock(hashtextextended('caudex_logs/' || a, 0))::text
from unnest($1::text[]) as a order by a"""
_INSERT: Final = """
insert into caudex_logs.lines (app_id, level, message, ts)
select n.app_id, n.level, n.message, n.ts from jsonb_to_recordset($1::jsonb)
    as n (app_id text, level text, message text, ts timestamptz)"""
_TAIL: Final = """
select json_build_object('id', l.id, 'level', l.level, 'message', l.message,
    'ts', to_char(l.ts at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
from (
    select id, level, message, ts from caudex_logs.lines
    where app_id = $1::text order by id desc limit $2::int
) l order by l.id"""
_BETWEEN: Final = """
select json_build_object('id', l.id, 'level', l.level, 'message', l.message,
    'ts', to_char(l.ts at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
from caudex_logs.lines l
where l.app_id = $1::text and l.id > $2::bigint and l.id <= $3::bigint
order by l.id limit $4::int"""
_LAST: Final = "select coalesce(max(id), 0) from caudex_logs.lines where app_id = $1::text"
_SWEEP_ALONE: Final = (
    "select pg_try_advisory_xact_lock(hashtextextended('caudex_logs sweep', 0))::text"
)
_SWEEP_OLD: Final = """
with old as (
    delete from caudex_logs.lines where id in (
        select id from caudex_logs.lines
        where ts < now() - make_interval(days => $1::int) limit 5000
    ) returning 1
) select count(*) from old"""
_SWEEP_MANY: Final = """
with apps as (select distinct app_id from caudex_logs.lines),
bounds as (
    select a.app_id, (
        select l.id from caudex_logs.lines l where l.app_id = a.app_id
        order by l.id desc offset $1::int limit 1
    ) as last_gone from apps a
), old as (
    delete from caudex_logs.lines where id in (
        select l.id from bounds b
        join caudex_logs.lines l on l.app_id = b.app_id and l.id <= b.last_gone limit 5000
    ) returning 1
) select count(*) from old"""
_FORGET: Final = "delete from caudex_logs.lines where app_id = $1::text"

_line = msgspec.json.Decoder(LogLine).decode
_encode = msgspec.json.Encoder().encode
NEWEST: Final = 2**63 - 1


async def insert(tx: Transaction, lines: Sequence[NewLine]) -> None:
    """Add lines; those of one app become visible in the order of their ids."""
    await tx.execute(_LOCK, sorted({line.app_id for line in lines}))
    await tx.execute(_INSERT, _encode(lines))


async def tail(reader: Reader, app_id: str, count: int) -> list[LogLine]:
    """The last lines of an app, oldest first."""
    return [_line(raw) for raw in await reader.fetch_all(_TAIL, app_id, count)]


async def between(reader: Reader, app_id: str, after: int, until: int, count: int) -> list[LogLine]:
    """Lines with after < id <= until, at most `count`, oldest first."""
    return [_line(raw) for raw in await reader.fetch_all(_BETWEEN, app_id, after, until, count)]


async def last_id(reader: Reader, app_id: str) -> int:
    """Id of an app's newest line, 0 when it has none."""
    return int(await reader.fetch(_LAST, app_id) or 0)


async def sweep(tx: Transaction, keep_days: int, keep_lines: int) -> int:
    """Delete a portion of what is too old or too much, and return how many lines that were."""
    if await tx.execute(_SWEEP_ALONE) != b"true":
        return 0
    gone = int(await tx.execute(_SWEEP_OLD, keep_days) or 0)
    return gone + int(await tx.execute(_SWEEP_MANY, keep_lines) or 0)


async def forget_app(tx: Transaction, app_id: str) -> None:
    """Delete the lines of an app."""
    await tx.execute(_FORGET, app_id)
