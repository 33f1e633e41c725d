"""The SQL of runs."""

from __future__ import annotations

from typing import Final

import msgspec

from kernel.public import Statements, Transaction

from .models import Kind, Run

ALIVE_SECONDS: Final = 60
"""A run whose last sign of life is older is lost."""
KEPT: Final = 20

_RUNS: Final = """
select row_to_json(r) from (
    select id, kind, case
            when error is not null then 'failed' when ended_at is not null then 'done'
            when heartbeat > now() - make_interval(secs => $1::double precision) then 'running'
            else 'lost' end as state,
        file, started_at, ended_at, error
    from caudex_backup.runs order by started_at desc, id limit $2::int
) r"""
_BEGIN: Final = """
with old as (
    delete from caudex_backup.runs where id in (
        select id from caudex_backup.runs order by started_at desc offset $4::int
    )
)
insert into caudex_backup.runs (kind, file, started_by)
select $1::text, $2::text, $3::uuid where not exists (
    select from caudex_backup.runs
    where ended_at is null and heartbeat > now() - make_interval(secs => $5::double precision)
) returning id::text"""
_BEAT: Final = """
update caudex_backup.runs set heartbeat = now() where id = $1::uuid and ended_at is null"""
_END: Final = """
update caudex_backup.runs set ended_at = now(), error = $2::text where id = $1::uuid"""

_run: Final = msgspec.json.Decoder(Run).decode


async def read_runs(statements: Statements) -> list[Run]:
    """Read the last runs, the newest first."""
    return [_run(row) for row in await statements.fetch_all(_RUNS, float(ALIVE_SECONDS), KEPT)]


async def begin(tx: Transaction, kind: Kind, file: str | None, user_id: str | None) -> str | None:
    """Begin a run and return its id; None while another one runs."""
    await tx.lock("backup.runs")
    row = await tx.execute(_BEGIN, kind, file, user_id, KEPT - 1, float(ALIVE_SECONDS))
    return None if row is None else row.decode()


async def beat(statements: Statements, run_id: str) -> None:
    """Say that a run goes on."""
    await statements.execute(_BEAT, run_id)


async def end(statements: Statements, run_id: str, error: str | None) -> None:
    """End a run."""
    await statements.execute(_END, run_id, error)
