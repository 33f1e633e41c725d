"""The SQL of what processes counted."""

from __future__ import annotations

from typing import Final

import msgspec

from kernel.public import Statements, TrafficMinute

from .models import StoredMinute

MAX_ROWS: Final = 2000
"""Minutes that are read: an hour of 33 processes."""

_WRITE: Final = """
with gone as (delete from caudex_system.traffic where minute < now() - interval '61 minutes')
insert into caudex_system.traffic (process, minute, content)
select $1::text, to_timestamp((m->>'at')::bigint), m from jsonb_array_elements($2::jsonb) as m
on conflict (process, minute) do nothing"""
_READ: Final = """
select json_build_object('process', process, 'content', content) from caudex_system.traffic
where minute > now() - interval '60 minutes' order by minute desc limit $1::int"""

_encode: Final = msgspec.json.Encoder().encode
_stored: Final = msgspec.json.Decoder(StoredMinute).decode


async def write(statements: Statements, process: str, minutes: list[TrafficMinute]) -> None:
    """Add minutes of a process, and delete those that are older than an hour."""
    await statements.execute(_WRITE, process, _encode(minutes).decode())


async def read(statements: Statements) -> list[StoredMinute]:
    """Read the minutes of the last hour."""
    return [_stored(row) for row in await statements.fetch_all(_READ, MAX_ROWS)]
