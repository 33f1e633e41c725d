"""Jobs as their users see them: the statements that enqueue, list, cancel and repeat them.

Those by which servers run jobs are in `running/store.py`, and inserts in `inserts.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from kernel.public import MAX_PAGE_BYTES, Statements, Transaction

from .inserts import INSERT, INSERT_KEYED, INSERT_MANY, params_of
from .models import STATUSES, Cursor, NewRow, Portion, PortionDone, Status

MAX_COUNT: Final = 100_000
"""Jobs of one state that are counted."""

_ADD_OWNER: Final = """
insert into caudex_kernel.apps (app_id)
select $1::text where not exists (select from caudex_kernel.apps where app_id = $1::text)
on conflict do nothing"""

_GET: Final = """
select caudex_jobs.shown(j) from caudex_jobs.jobs as j
where j.id = $2::uuid and j.app_id = $1::text and ($3::uuid is null or j.user_id = $3::uuid)"""

# Each status has its own range of the index, newest first: the first rows of each, then of all.
# `offset 0` keeps PostgreSQL from reading the whole table to join a page to it.
_PAGE: Final = """
with page as materialized (
    select r.* from unnest($2::text[]) as s (status) cross join lateral (
        select j.id, j.created_at,
            octet_length(j.payload::text) + coalesce(octet_length(j.result::text), 0)
                + coalesce(octet_length(j.progress::text), 0)
                + coalesce(octet_length(j.error), 0) as size
        from caudex_jobs.jobs as j
        where j.app_id = $1::text and j.status = s.status
            and ($7::uuid is null or j.user_id = $7::uuid)
            and (j.created_at, j.id) < ($3::timestamptz, $4::uuid)
        order by j.created_at desc, j.id desc limit $5::integer
    ) as r
    order by r.created_at desc, r.id desc limit $5::integer
),
sized as (
    select id, created_at, count(*) over () = 1 as alone,
        sum(size) over (order by created_at desc, id desc) as upto
    from page
)
select case when count(*) = count(l.job) then
    coalesce(json_agg(l.job order by s.created_at desc, s.id desc), '[]') end
from sized as s left join lateral (
    select caudex_jobs.shown(j) as job from caudex_jobs.jobs as j
    where j.id = s.id and (s.alone or s.upto <= $6::bigint) offset 0
) as l on true"""

_CURSOR: Final = """
select json_build_object('created_at', created_at, 'id', id) from caudex_jobs.jobs
where id = $2::uuid and app_id = $1::text and ($3::uuid is null or user_id = $3::uuid)"""

_STATUS: Final = """
select status from caudex_jobs.jobs
where id = $2::uuid and app_id = $1::text and ($3::uuid is null or user_id = $3::uuid)"""


_CANCEL: Final = """
update caudex_jobs.jobs
set status = case status when 'pending' then 'cancelled' else status end,
    ended_at = case status when 'pending' then now() end, due = false,
    cancelled_at = coalesce(cancelled_at, now()), updated_at = now()
where id = $2::uuid and app_id = $1::text and ($3::uuid is null or user_id = $3::uuid)
    and status in ('pending', 'running')
returning status"""

_COUNTS: Final = """
select json_object_agg(s.status, c.count) from unnest($2::text[]) as s (status)
cross join lateral (
    select count(*) from (
        select from caudex_jobs.jobs as j
        where j.app_id = $1::text and j.status = s.status
            and ($3::uuid is null or j.user_id = $3::uuid)
        limit $4::integer
    ) as found
) as c"""

_ATTEMPTS: Final = """
select j.earlier || case when j.started_at is null or j.status = 'pending' then '[]'::jsonb
    else jsonb_build_array(jsonb_build_object(
        'started_at', caudex_jobs.shown_time(j.started_at),
        'ended_at', caudex_jobs.shown_time(j.ended_at),
        'error', case when j.status <> 'running' then left(j.error, 2000) end)) end
from caudex_jobs.jobs as j
where j.id = $2::uuid and j.app_id = $1::text and ($3::uuid is null or j.user_id = $3::uuid)"""

# `next` is the id of the last job of a full portion.
_CANCEL_MANY: Final = """
with portion as materialized (
    select j.id, j.created_at from caudex_jobs.jobs as j
    where j.app_id = $1::text and j.status = $2::text
        and ($3::uuid is null or j.user_id = $3::uuid)
        and (j.created_at, j.id) < ($4::timestamptz, $5::uuid)
    order by j.created_at desc, j.id desc limit $6::integer
),
cancelled as (
    update caudex_jobs.jobs
    set status = case status when 'pending' then 'cancelled' else status end,
        ended_at = case status when 'pending' then now() end, due = false,
        cancelled_at = coalesce(cancelled_at, now()), updated_at = now()
    where id = any(array(select id from portion)) and status in ('pending', 'running')
    returning id
)
select json_build_object('done', (select count(*) from cancelled), 'next',
    case when count(*) = $6::integer then (array_agg(id order by created_at, id))[1] end)
from portion"""

# A portion is bounded by bytes as well; it holds at least one job.
_RETRY_MANY: Final = """
with page as materialized (
    select j.id, j.created_at, j.priority, j.max_attempts, j.timeout_s, j.payload
    from caudex_jobs.jobs as j
    where j.app_id = $1::text and j.status = $2::text
        and ($3::uuid is null or j.user_id = $3::uuid)
        and (j.created_at, j.id) < ($4::timestamptz, $5::uuid)
    order by j.created_at desc, j.id desc limit $6::integer
),
portion as materialized (
    select p.* from (
        select *, row_number() over w as n, octet_length(payload::text) as size,
            sum(octet_length(payload::text)) over w as upto
        from page window w as (order by created_at desc, id desc)
    ) as p where p.upto - p.size < $7::bigint
),
made as (
    insert into caudex_jobs.jobs (id, app_id, due, priority, max_attempts, timeout_s, user_id,
        delegation_ends, delegation_epoch, limits, run_at, payload, request_id)
    select ($8::uuid[])[n], $1::text, true, priority, max_attempts, timeout_s, $9::uuid,
        to_timestamp($10::double precision), $11::text, $12::json, now(), payload, $13::text
    from portion
)
select json_build_object('done', count(*), 'next',
    case when count(*) = $6::integer or count(*) < (select count(*) from page)
        then (array_agg(id order by created_at, id))[1] end)
from portion"""

# Each count reads the index that holds only these jobs, and stops at MAX_COUNT.
_COUNT: Final = """
select json_build_object(
    'pending', (select count(*) from (
        select from caudex_jobs.jobs where status = 'pending' and due limit $1::integer) as p),
    'scheduled', (select count(*) from (
        select from caudex_jobs.jobs where status = 'pending' and not due limit $1::integer) as s),
    'running', (select count(*) from (
        select from caudex_jobs.jobs where status = 'running' limit $1::integer) as r))"""

_NEWEST: Final = Cursor("infinity", "ffffffff-ffff-ffff-ffff-ffffffffffff")

_encode = msgspec.json.Encoder().encode
_counts = msgspec.json.Decoder(dict[str, int]).decode
_cursor = msgspec.json.Decoder(Cursor).decode
_portion_done = msgspec.json.Decoder(PortionDone).decode


class JobsStore:
    """Reads, and writes outside of a caller's transaction."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def add_owner(self, app_id: str, tx: Transaction | None) -> None:
        """Add the row that jobs of a plugin reference, as those of an app do."""
        await (tx or self._statements).execute(_ADD_OWNER, app_id)

    async def insert(self, rows: Sequence[NewRow]) -> None:
        """Add jobs that have no key."""
        if len(rows) == 1:
            await self._statements.execute(INSERT, *params_of(rows[0]))
        else:
            await self._statements.execute(INSERT_MANY, _encode(rows))

    async def insert_keyed(self, row: NewRow) -> str:
        """Add a job with a key and return its id, or the id of the unfinished job with that key."""
        job_id = await self._statements.execute(INSERT_KEYED, *params_of(row))
        return (job_id or b"").decode()

    async def get(self, app_id: str, job_id: str, user_id: str | None) -> bytes | None:
        """Return one job as JSON, of this user if one is named."""
        return await self._statements.fetch(_GET, app_id, job_id, user_id, custom_plan=True)

    async def page(
        self,
        app_id: str,
        status: Status | None,
        limit: int,
        cursor: Cursor | None,
        user_id: str | None,
    ) -> bytes | None:
        """Return a JSON array of the jobs after `cursor`, newest first.

        None when they are too large together. A single job is never too large.
        """
        statuses = STATUSES if status is None else (status,)
        after = cursor or _NEWEST
        bounds = (after.created_at, after.id, limit, MAX_PAGE_BYTES, user_id)
        return await self._statements.fetch(_PAGE, app_id, statuses, *bounds, custom_plan=True)

    async def cursor(self, app_id: str, job_id: str, user_id: str | None) -> Cursor | None:
        """Return the position of a job in lists."""
        raw = await self._statements.fetch(_CURSOR, app_id, job_id, user_id, custom_plan=True)
        return None if raw is None else _cursor(raw)

    async def count(self) -> dict[str, int]:
        """Count unfinished jobs by state; `scheduled` jobs are pending and not due yet."""
        return _counts(await self._statements.fetch(_COUNT, MAX_COUNT, custom_plan=True) or b"{}")

    async def counts(self, app_id: str, user_id: str | None, limit: int) -> dict[Status, int]:
        """Count the jobs of an app by state, each up to `limit`."""
        raw = await self._statements.fetch(
            _COUNTS, app_id, STATUSES, user_id, limit, custom_plan=True
        )
        return msgspec.json.decode(raw or b"{}", type=dict[Status, int])

    async def attempts(self, app_id: str, job_id: str, user_id: str | None) -> bytes | None:
        """Return the attempts of a job as a JSON array, oldest first."""
        return await self._statements.fetch(_ATTEMPTS, app_id, job_id, user_id, custom_plan=True)


async def cancel(tx: Transaction, app_id: str, job_id: str, user_id: str | None) -> Status | None:
    """Cancel a pending job, or request the end of a running one; return its status, None when there
    is no unfinished job with this id."""
    row = await tx.execute(_CANCEL, app_id, job_id, user_id)
    return None if row is None else msgspec.convert(row.decode(), Status)


async def status(tx: Transaction, app_id: str, job_id: str, user_id: str | None) -> Status | None:
    """Return the status of a job."""
    row = await tx.fetch(_STATUS, app_id, job_id, user_id)
    return None if row is None else msgspec.convert(row.decode(), Status)


async def cancel_many(
    tx: Transaction, app_id: str, portion: Portion, cursor: Cursor | None, user_id: str | None
) -> PortionDone:
    """Cancel a portion of the jobs after `cursor`, newest first."""
    after = cursor or _NEWEST
    bounds = (user_id, after.created_at, after.id, portion.limit)
    done = await tx.execute(_CANCEL_MANY, app_id, portion.status, *bounds)
    return _portion_done(done or b"")


async def retry_many(
    tx: Transaction,
    templates: Sequence[NewRow],
    portion: Portion,
    cursor: Cursor | None,
    user_id: str | None,
) -> PortionDone:
    """Enqueue a portion of the jobs after `cursor` once more, newest first; of one user or of all.

    The new jobs have the ids of `templates`, and the app, the user, the delegation, the limits and
    the request.
    """
    after = cursor or _NEWEST
    template = templates[0]
    bounds = (user_id, after.created_at, after.id, len(templates), MAX_PAGE_BYTES)
    ids = [row.id for row in templates]
    limits = None
    if template.limits is not None:
        limits = msgspec.json.encode(template.limits).decode()
    delegation = (template.delegation_ends, template.delegation_epoch)
    owner = (template.user_id, *delegation, limits, template.request_id)
    done = await tx.execute(_RETRY_MANY, template.app_id, portion.status, *bounds, ids, *owner)
    return _portion_done(done or b"")
