"""Every statement of the plugin."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec
from msgspec.structs import asdict

from kernel.public import Reader, Transaction, Writer

from .models import Cron, Declared, NewRun, Waiting

_NOW: Final = "select extract(epoch from clock_timestamp())"

_STAMPS: Final = """
select coalesce(json_object_agg(app_id, stamp), '{}') from caudex_cron.apps"""

_TAKE: Final = """
insert into caudex_cron.apps as a (app_id, stamp)
select app_id, $2::bigint from caudex_kernel.apps where app_id = $1::text for key share
on conflict (app_id) do update set stamp = excluded.stamp where a.stamp < excluded.stamp
returning 'true'"""

_FORGET: Final = "delete from caudex_cron.apps where app_id = $1::text"

_DROP: Final = """
delete from caudex_cron.crons where app_id = $1::text and name <> all($2::text[])"""

# An enabled cron with the same schedule keeps its next due time: an update of the app fires none.
_SAVE: Final = """
insert into caudex_cron.crons as c (app_id, name, place, schedule, timezone, overlap, payload,
    enabled, declared, next_due)
select $1::text, n.name, n.place, n.schedule, n.timezone, n.overlap, n.payload, n.enabled,
    n.enabled, n.next_due
from json_to_recordset($2::json) as n (name text, place integer, schedule text, timezone text,
    overlap text, payload json, enabled boolean, next_due timestamptz)
on conflict (app_id, name) do update set
    place = excluded.place, schedule = excluded.schedule, timezone = excluded.timezone,
    overlap = excluded.overlap, payload = excluded.payload, declared = excluded.declared,
    enabled = case when c.declared = excluded.declared then c.enabled else excluded.enabled end,
    next_due = case
        when c.enabled and (c.schedule, c.timezone) = (excluded.schedule, excluded.timezone)
        then c.next_due else excluded.next_due
    end"""

_LOCKED: Final = """
select row_to_json(l) from (
    select c.id, c.app_id, c.name, c.schedule, c.timezone, c.overlap, c.payload, c.last_job,
        extract(epoch from c.next_due) as due, extract(epoch from clock_timestamp()) as now,
        (select count(*) from caudex_cron.runs as r
         where r.cron_id = c.id and r.state = 'waiting') as waiting
    from caudex_cron.crons as c"""

_CLAIM_DUE: Final = (
    _LOCKED
    + """
    where c.enabled and c.next_due <= clock_timestamp() and c.app_id <> all($1::text[])
    order by c.next_due limit 1 for update skip locked
) as l"""
)

_CLAIM: Final = _LOCKED + " where c.id = $1::uuid for update skip locked) as l"

_LOCK: Final = _LOCKED + " where c.app_id = $1::text and c.name = $2::text for update) as l"

_NEXT: Final = """
select extract(epoch from min(next_due) - clock_timestamp()) from caudex_cron.crons
where enabled and app_id <> all($1::text[])"""

_ADVANCE: Final = """
update caudex_cron.crons set next_due = to_timestamp($2::double precision) where id = $1::uuid"""

# Schedules have whole minutes: a cron that is due within one cannot be late.
_FAR: Final = """
select json_build_object('id', id, 'schedule', schedule, 'timezone', timezone,
    'due', extract(epoch from next_due), 'now', extract(epoch from clock_timestamp()))
from caudex_cron.crons
where enabled and next_due > clock_timestamp() + interval '1 minute' and id > $1::uuid
order by id limit $2::integer"""

_SET_BACK: Final = """
update caudex_cron.crons set next_due = to_timestamp($4::double precision)
where id = $1::uuid and (schedule, timezone) = ($2::text, $3::text)
    and next_due > to_timestamp($4::double precision)
returning json_build_object('app', app_id, 'cron', name)"""

_SWITCH: Final = """
update caudex_cron.crons
set enabled = $2::boolean,
    next_due = case when enabled then next_due else to_timestamp($3::double precision) end
where id = $1::uuid and enabled <> $2::boolean returning 'true'"""

_REMEMBER: Final = "update caudex_cron.crons set last_job = $2::text where id = $1::uuid"

_LOG: Final = """
insert into caudex_cron.runs as r (cron_id, due, state, job_id, missed, detail, triggered_by)
select n.cron_id, to_timestamp(n.due), n.state, n.job_id, n.missed, n.detail, n.triggered_by
from json_to_record($1::json) as n (cron_id uuid, due double precision, state text, job_id text,
    missed integer, detail text, triggered_by uuid)
on conflict (cron_id, due) where triggered_by is null do nothing
returning caudex_cron.shown(r)"""

_LOGGED: Final = """
select 'true' from caudex_cron.runs
where cron_id = $1::uuid and due = to_timestamp($2::double precision) and triggered_by is null"""

_PRUNE: Final = """
delete from caudex_cron.runs where cron_id = $1::uuid and state <> 'waiting' and id <= (
    select id from caudex_cron.runs where cron_id = $1::uuid
    order by id desc offset $2::integer limit 1)"""

_WAITERS: Final = """
select json_build_object('id', c.id, 'app_id', c.app_id, 'last_job', c.last_job)
from caudex_cron.crons as c
where c.id in (select r.cron_id from caudex_cron.runs as r where r.state = 'waiting')
order by c.id limit $1::integer"""

_FIRST_WAITING: Final = """
select json_build_object('id', id, 'due', extract(epoch from due)) from caudex_cron.runs
where cron_id = $1::uuid and state = 'waiting' order by id limit 1"""

_SETTLE: Final = """
update caudex_cron.runs
set state = $2::text, job_id = $3::text, detail = $4::text, at = now() where id = $1::bigint"""

_SHOWN: Final = """
select coalesce(json_agg((
    select row_to_json(s) from (
        select c.name, c.schedule, c.timezone, c.overlap, c.payload, c.enabled,
            case when c.enabled then
                to_char(c.next_due at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
            end as next_due,
            (select caudex_cron.shown(r) from caudex_cron.runs as r
             where r.cron_id = c.id order by r.id desc limit 1) as last_run
    ) as s) order by c.place), '[]')
from caudex_cron.crons as c
where c.app_id = $1::text and ($2::text is null or c.name = $2::text)"""

_RUNS: Final = """
select coalesce(json_agg(caudex_cron.shown(r) order by r.id desc), '[]') from (
    select r.* from caudex_cron.runs as r
    where r.cron_id = $1::uuid and r.id < $2::bigint order by r.id desc limit $3::integer
) as r"""

_ID: Final = """
select to_json(id) from caudex_cron.crons where app_id = $1::text and name = $2::text"""

PAGE: Final = 1000
"""Crons that one statement reads."""
FIRST: Final = "00000000-0000-0000-0000-000000000000"


class Waiter(msgspec.Struct, frozen=True):
    """A cron with runs that wait for its last job."""

    id: str
    app_id: str
    last_job: str | None


class Far(msgspec.Struct, frozen=True):
    """A cron that is not due within a minute; `due` and `now` as in `Cron`."""

    id: str
    schedule: str
    timezone: str
    due: float
    now: float


_encode = msgspec.json.encode
_stamps = msgspec.json.Decoder(dict[str, int]).decode
_cron = msgspec.json.Decoder(Cron).decode
_waiting = msgspec.json.Decoder(Waiting).decode
_waiter = msgspec.json.Decoder(Waiter).decode
_far = msgspec.json.Decoder(Far).decode
_corrected = msgspec.json.Decoder(dict[str, str]).decode
_text = msgspec.json.Decoder(str).decode


async def read_now(reader: Reader) -> float:
    """Return the database's time, in seconds since 1970."""
    return float(await reader.fetch(_NOW) or 0)


async def list_stamps(reader: Reader) -> dict[str, int]:
    """Return the stamp of each app's stored section."""
    return _stamps(await reader.fetch(_STAMPS) or b"{}")


async def store_stamp(tx: Transaction, app_id: str, stamp: int) -> bool:
    """Store the stamp of an app's section; False when a later one is stored or the app is gone."""
    return await tx.execute(_TAKE, app_id, stamp) is not None


async def save(
    tx: Transaction, app_id: str, crons: Sequence[Declared], due: Sequence[datetime]
) -> None:
    """Store the crons of a manifest; `due` is the next due time of each."""
    rows = [
        {**asdict(cron), "place": place, "next_due": moment}
        for place, (cron, moment) in enumerate(zip(crons, due, strict=True))
    ]
    await tx.execute(_DROP, app_id, [cron.name for cron in crons])
    if rows:
        await tx.execute(_SAVE, app_id, _encode(rows))


async def forget(tx: Transaction, app_id: str) -> None:
    """Delete the crons of an app with their log."""
    await tx.execute(_FORGET, app_id)


async def claim_due(tx: Transaction, excluded: Sequence[str]) -> Cron | None:
    """Lock the cron that has been due the longest and is unlocked, but in the apps `excluded`."""
    row = await tx.execute(_CLAIM_DUE, excluded)
    return None if row is None else _cron(row)


async def claim(tx: Transaction, cron_id: str) -> Cron | None:
    """Lock a cron unless another server holds its lock."""
    row = await tx.execute(_CLAIM, cron_id)
    return None if row is None else _cron(row)


async def lock(tx: Transaction, app_id: str, name: str) -> Cron | None:
    """Lock a cron, waiting for its lock."""
    row = await tx.execute(_LOCK, app_id, name)
    return None if row is None else _cron(row)


async def seconds_to_next(reader: Reader, excluded: Sequence[str]) -> float | None:
    """Return the seconds until a cron is due, but in the apps `excluded`.

    Negative when one is due, None when there are no crons.
    """
    row = await reader.fetch(_NEXT, excluded)
    return None if row is None else float(row)


async def advance(tx: Transaction, cron_id: str, due: float) -> None:
    """Set the next due time of a cron."""
    await tx.execute(_ADVANCE, cron_id, due)


async def list_far(reader: Reader, after: str) -> list[Far]:
    """Return a page of the crons that are not due within a minute, by id."""
    return [_far(row) for row in await reader.fetch_all(_FAR, after, PAGE)]


async def set_back(writer: Writer, cron: Far, due: float) -> dict[str, str] | None:
    """Set an earlier due time; None when it is not earlier, or the schedule has changed."""
    row = await writer.execute(_SET_BACK, cron.id, cron.schedule, cron.timezone, due)
    return None if row is None else _corrected(row)


async def switch(tx: Transaction, cron_id: str, enabled: bool, due: float) -> bool:
    """Enable or disable a cron; an enabled one is due at `due`. False when nothing changes."""
    return await tx.execute(_SWITCH, cron_id, enabled, due) is not None


async def remember(tx: Transaction, cron_id: str, job_id: str) -> None:
    """Store the job of a cron's latest run."""
    await tx.execute(_REMEMBER, cron_id, job_id)


async def is_logged(tx: Transaction, cron_id: str, due: float) -> bool:
    """Return whether the run of a due time is logged."""
    return await tx.fetch(_LOGGED, cron_id, due) is not None


async def log_run(tx: Transaction, run: NewRun, keep: int) -> bytes:
    """Add an entry to the run log, keep the latest `keep` entries, and return the new one."""
    shown = await tx.execute(_LOG, _encode(run))
    await tx.execute(_PRUNE, run.cron_id, keep)
    return shown or b"null"


async def list_waiters(reader: Reader) -> list[Waiter]:
    """Return crons with waiting runs."""
    return [_waiter(row) for row in await reader.fetch_all(_WAITERS, PAGE)]


async def find_first_waiting(tx: Transaction, cron_id: str) -> Waiting | None:
    """Return the run of a cron that has waited the longest."""
    row = await tx.execute(_FIRST_WAITING, cron_id)
    return None if row is None else _waiting(row)


async def settle(
    tx: Transaction, run_id: int, state: str, job_id: str | None, detail: str | None
) -> None:
    """Store the result of a run that waited."""
    await tx.execute(_SETTLE, run_id, state, job_id, detail)


async def list_shown(reader: Reader, app_id: str, name: str | None = None) -> bytes:
    """Return the crons of an app as a JSON array, all or one."""
    return await reader.fetch(_SHOWN, app_id, name) or b"[]"


async def find_id(reader: Reader, app_id: str, name: str) -> str | None:
    """Return the id of a cron."""
    row = await reader.fetch(_ID, app_id, name)
    return None if row is None else _text(row)


async def list_runs(reader: Reader, cron_id: str, limit: int, before: int) -> bytes:
    """Return a page of the run log, newest first."""
    return await reader.fetch(_RUNS, cron_id, before, limit) or b"[]"
