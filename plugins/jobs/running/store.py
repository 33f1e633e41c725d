"""Jobs as servers run them: the statements that claim, settle and clear up.

The frequent ones are functions that the migrations create.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, LiteralString

import anyio
import msgspec

from kernel.public import Param, Statements, Transaction
from plugins.jobs.models import Claimed, ClaimRequest, Outcome, Progress, Promoted, Renewed

BATCH_ROWS: Final = 1000
"""Rows that one statement of the maintenance touches at most."""

BATCH_BYTES: Final = 64_000_000
"""Bytes on disk that one statement of the maintenance deletes, one job more at most."""

# A quarantined job waits five seconds for an idle worker; from then on busy workers make room.
_CLAIM: Final = """
select caudex_jobs.claim($1::jsonb, $2::uuid, make_interval(secs => $3::double precision),
    interval '5 s')"""
_SETTLE: Final = "select caudex_jobs.settle($1::json)"
_REPORT: Final = "select caudex_jobs.report($1::json)"
_RENEW: Final = """
select caudex_jobs.renew($1::uuid[], $2::uuid[], make_interval(secs => $3::double precision))"""
_RELEASE: Final = "select caudex_jobs.release($1::uuid[])"
# Servers are killed for many reasons, seldom by a job: hence 20, where a worker may crash 3 times.
_EXPIRE: Final = """
select caudex_jobs.expire($1::integer, 20, 'the server was lost 20 times while this job ran')"""
_PROMOTE_DUE: Final = "select caudex_jobs.promote_due($1::integer)"

# A portion is bounded by bytes as well as by rows; it holds at least one job. The bytes that a job
# takes on disk are known without reading its values.
_PRUNE: Final = """
with portion as materialized (
    select id from (
        select id, size, sum(size) over (order by ended_at, id) as upto from (
            select id, ended_at,
                pg_column_size(payload) + coalesce(pg_column_size(result), 0)
                    + coalesce(pg_column_size(progress), 0)
                    + coalesce(pg_column_size(error), 0) as size
            from caudex_jobs.jobs
            where ended_at < now() - make_interval(days => $1::integer)
            order by ended_at limit $2::integer
        ) as o
    ) as s where s.upto - s.size < $3::bigint
),
old as (delete from caudex_jobs.jobs where id = any(array(select id from portion)))
select count(*) from portion"""

_FORGET: Final = """
with portion as materialized (
    select id from (
        select id, size, sum(size) over (order by id) as upto from (
            select id,
                pg_column_size(payload) + coalesce(pg_column_size(result), 0)
                    + coalesce(pg_column_size(progress), 0)
                    + coalesce(pg_column_size(error), 0) as size
            from caudex_jobs.jobs
            where app_id = $1::text and ($3::boolean or status <> 'running') limit $2::integer
        ) as o
    ) as s where s.upto - s.size < $4::bigint
),
gone as (delete from caudex_jobs.jobs where id = any(array(select id from portion)))
select count(*) from portion"""

_encode = msgspec.json.Encoder().encode
_claimed = msgspec.json.Decoder(Claimed).decode
_renewed = msgspec.json.Decoder(Renewed).decode
_promoted = msgspec.json.Decoder(Promoted).decode


class RunsStore:
    """Gives jobs to servers, and takes outcomes and leases back."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def claim(
        self, requests: Iterable[ClaimRequest], token: str, lease: float
    ) -> list[Claimed]:
        """Claim jobs under a token, the most urgent first."""
        rows = await self._finish(_CLAIM, _encode(list(requests)), token, lease)
        jobs = [_claimed(row) for row in rows]
        return sorted(jobs, key=lambda job: (-job.priority, job.run_at, job.id))

    async def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Store outcomes; a job whose lease has passed to another server is left unchanged."""
        await self._finish(_SETTLE, _encode(outcomes))

    async def report(self, reports: Sequence[Progress]) -> None:
        """Store the progress of jobs."""
        await self._finish(_REPORT, _encode(reports))

    async def renew(self, held: Mapping[str, str], lease: float) -> list[Renewed]:
        """Renew leases (job id to token) and return those that still hold."""
        rows = await self._finish(_RENEW, [*held], [*held.values()], lease)
        return [_renewed(row) for row in rows]

    async def release(self, tokens: Sequence[str]) -> None:
        """Release the jobs that were claimed under these tokens."""
        await self._finish(_RELEASE, tokens)

    async def expire(self) -> list[str]:
        """Take back a portion of the jobs whose lease has expired; return the app of each."""
        rows = await self._finish(_EXPIRE, BATCH_ROWS)
        return [row.decode() for row in rows]

    async def promote_due(self) -> Promoted:
        """Make a portion of the scheduled jobs due whose time has come."""
        [row] = await self._finish(_PROMOTE_DUE, BATCH_ROWS)
        return _promoted(row)

    async def prune(self, keep_days: int, halvings: int = 0) -> int:
        """Delete a portion of the jobs that ended `keep_days` ago; return how many."""
        max_rows = max(1, BATCH_ROWS >> halvings)
        max_bytes = max(1, BATCH_BYTES >> halvings)
        [count] = await self._finish(_PRUNE, keep_days, max_rows, max_bytes)
        return int(count)

    async def _finish(self, query: LiteralString, *params: Param) -> list[bytes]:
        """Run a statement to its end, also while the server stops: an interrupted one loses its
        connection, and its effect is unknown."""
        rows: list[bytes] = []
        with anyio.CancelScope(shield=True):
            rows = await self._statements.execute_all(query, *params)
        return rows


async def forget_app(tx: Transaction, app_id: str) -> None:
    """Delete the jobs of an app in portions, running ones last: from then on their servers wait
    for the end of the transaction."""
    for running in (False, True):
        while int(
            await tx.execute(_FORGET, app_id, 10 * BATCH_ROWS, running, 16 * BATCH_BYTES) or 0
        ):
            continue
