"""Which jobs requests enqueued, and which request a job came from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from kernel.public import Reader, RequestTrace

MAX_JOBS: Final = 1001
"""Jobs that are listed of a request."""
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

# One by one: PostgreSQL looks into the index for one value at a time.
_OF_REQUESTS: Final = """
select json_build_object('request_id', r.id, 'jobs', j.jobs)
from unnest($1::text[]) as r (id)
cross join lateral (select caudex_jobs.of_request(r.id, $2::integer) as jobs offset 0) as j
where j.jobs is not null"""

_PARENTS: Final = """
select json_build_object('request_id', j.id, 'parent', j.request_id, 'app', j.app_id)
from caudex_jobs.jobs as j where j.id = any($1::uuid[]) and j.request_id is not null"""

_decode = msgspec.json.Decoder(RequestTrace).decode


async def trace_jobs(reader: Reader, request_ids: Sequence[str]) -> Sequence[RequestTrace]:
    """Return the jobs of requests, and for those that are jobs what enqueued them."""
    rows = await reader.fetch_all(_OF_REQUESTS, list(request_ids), MAX_JOBS)
    job_ids = [request_id for request_id in request_ids if _UUID.fullmatch(request_id)]
    if job_ids:
        rows += await reader.fetch_all(_PARENTS, job_ids)
    return [_decode(row) for row in rows]
