"""How many lines were written for requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from kernel.public import Reader, RequestTrace

MAX_LINES: Final = 100_000
"""Lines that are counted of a request."""

_OF_REQUESTS: Final = """
select json_build_object('request_id', r.id, 'logs', l.logs)
from unnest($1::text[]) as r (id) cross join lateral (
    select json_object_agg(n.app_id, n.count) as logs from (
        select k.app_id, count(*) as count from (
            select l.app_id from caudex_logs.lines as l where l.request_id = r.id
            limit $2::integer
        ) as k group by k.app_id
    ) as n
) as l
where l.logs is not null"""

_decode = msgspec.json.Decoder(RequestTrace).decode


async def trace_lines(reader: Reader, request_ids: Sequence[str]) -> Sequence[RequestTrace]:
    """Return the numbers of lines of those requests that have any."""
    rows = await reader.fetch_all(_OF_REQUESTS, list(request_ids), MAX_LINES)
    return [_decode(row) for row in rows]
