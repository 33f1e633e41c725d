"""Every statement of the plugin."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from kernel.public import Event, NotFound, Statements, Transaction, Unavailable, server_actor

from .models import DesiredState, Release, ReplicaRow

TOPIC: Final = "workers"
PORTS_TOPIC: Final = "workers_ports"
"""Notifications of apps whose ports changed."""
CRASHED: Final = """
select string_agg(distinct app_id, ', ' order by app_id) from caudex_workers.replicas
where state = 'crashed' and heartbeat > now() - interval '1 minute'"""
"""Apps whose worker crashed too often on a server that runs."""
KEPT: Final = 5
"""Versions of an app that are kept."""
ALIVE_SECONDS: Final = 15
"""A server process whose last report is older counts as dead."""

_DESIRED: Final = """
select json_build_object('app_id', a.app_id, 'number', a.number, 'key', a.key,
    'version', a.version, 'attempt', a.attempt, 'release', case when v.version is not null then
        json_build_object('app_id', a.app_id, 'number', a.number, 'key', a.key,
            'version', v.version, 'digest', v.digest) end)
from caudex_workers.apps as a left join caudex_workers.versions as v
    on (v.app_id, v.version) = (a.app_id, a.version) and a.wanted
where $1::text[] is null or a.app_id = any($1::text[])"""

_REPLICAS: Final = """
select row_to_json(r) from (
    select server_id, app_id, state, version from caudex_workers.replicas
    where app_id = $1::text and heartbeat > now() - make_interval(secs => $2::double precision)
) as r"""

_BEGIN: Final = """
update caudex_workers.apps set next_version = next_version + 1
where app_id = $1::text and key = $2::bigint
returning json_build_object('app_id', app_id, 'number', number, 'key', key,
    'version', next_version - 1, 'digest', $3::text)"""

_NUMBER: Final = """
with next as materialized (select nextval('caudex_workers.numbers') as number)
select setval('caudex_workers.numbers', min(free.number))
from next, generate_series(next.number, next.number + $1::bigint - 1) as free (number)
where not exists (
    select from caudex_workers.apps as a where a.number % $1::bigint = free.number % $1::bigint)"""

_ADD: Final = """
insert into caudex_workers.apps (app_id, key, number)
select app_id, key, $3::bigint from caudex_kernel.apps where app_id = $1::text and key = $2::bigint
returning 'true'"""

_SAVE: Final = """
insert into caudex_workers.versions (app_id, version, digest, size, created_by)
select app_id, $2::integer, $3::text, $4::bigint, $5::uuid
from caudex_workers.apps where app_id = $1::text and number = $6::bigint for update
returning version"""

_ADD_CHUNK: Final = """
insert into caudex_workers.chunks (app_id, version, position, data)
values ($1::text, $2::integer, $3::integer, decode($4::text, 'base64'))"""

_PROMOTE: Final = """
update caudex_workers.apps set version = $2::integer, wanted = true, attempt = attempt + 1
where app_id = $1::text and coalesce(version, 0) < $2::integer returning attempt"""

_PRUNE: Final = """
delete from caudex_workers.versions where app_id = $1::text and version not in (
    select version from caudex_workers.versions where app_id = $1::text
    order by version desc limit $2::integer)
and version is distinct from (select version from caudex_workers.apps where app_id = $1::text)"""

_SET_DESIRED: Final = """
update caudex_workers.apps set wanted = $2::boolean, attempt = attempt + 1
where app_id = $1::text and version is not null returning attempt"""

_VERSIONS: Final = """
select coalesce(json_agg(v), '[]') from (
    select v.version, v.size, v.digest as sha256, v.created_by as by,
        to_char(v.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at,
        v.version = a.version as in_service
    from caudex_workers.versions as v join caudex_workers.apps as a on a.app_id = v.app_id
    where v.app_id = $1::text order by v.version desc
) as v"""

_PUT_BACK: Final = """
update caudex_workers.apps as a set version = v.version, wanted = true, attempt = attempt + 1
from caudex_workers.versions as v
where a.app_id = $1::text and (v.app_id, v.version) = (a.app_id, $2::integer)
returning attempt"""

_READ_CHUNK: Final = """
select encode(data, 'base64') from caudex_workers.chunks
where app_id = $1::text and version = $2::integer and position = $3::integer"""

_FOLDERS: Final = """
select json_build_object('app_id', v.app_id, 'number', a.number, 'key', a.key,
    'version', v.version, 'digest', v.digest)
from caudex_workers.versions as v join caudex_workers.apps as a on a.app_id = v.app_id
where v.app_id = $1::text"""

_BEAT: Final = """
with reported as (
    select * from jsonb_to_recordset($2::jsonb) as t (app_id text, state text, version integer)
),
deleted as (
    delete from caudex_workers.replicas as r
    where (r.server_id = $1::uuid and not exists (
            select from reported as t where t.app_id = r.app_id))
        or r.heartbeat < now() - interval '1 hour'
)
insert into caudex_workers.replicas (server_id, app_id, state, version)
select $1::uuid, app_id, state, version from reported
on conflict (server_id, app_id) do update
set state = excluded.state, version = excluded.version, heartbeat = now()"""

_PORTS: Final = "select to_json(ports) from caudex_workers.ports where app_id = $1::text"
_PUT_PORTS: Final = """
insert into caudex_workers.ports (app_id, ports) values ($1::text, $2::integer[])
on conflict (app_id) do update set ports = excluded.ports"""

_DATABASE: Final = """
select format('%s-%s', s.system_identifier, d.oid)
from pg_database as d, pg_control_system() as s where d.datname = current_database()"""

_decode_desired = msgspec.json.Decoder(DesiredState).decode
_decode_replica = msgspec.json.Decoder(ReplicaRow).decode
_decode_release = msgspec.json.Decoder(Release).decode


class WorkersStore:
    """Versions, desired states and replicas."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def read_database(self) -> str:
        """Return a name that no other database has. Raises where the login may not ask."""
        return (await self._statements.fetch(_DATABASE) or b"").decode()

    async def read_desired(self, app_ids: Sequence[str] | None) -> list[DesiredState]:
        """Read what should run, for some apps or for all."""
        rows = await self._statements.fetch_all(_DESIRED, app_ids)
        return [_decode_desired(row) for row in rows]

    async def read_replicas(self, app_id: str) -> list[ReplicaRow]:
        """Read the replicas of an app in server processes that are alive."""
        rows = await self._statements.fetch_all(_REPLICAS, app_id, ALIVE_SECONDS)
        return [_decode_replica(row) for row in rows]

    async def begin(self, app_id: str, key: int, digest: str, accounts: int) -> Release:
        """Take the next version number of the app with this key.

        With its first version an app gets a number whose account, one of `accounts`, no other app
        has. Raises Unavailable when none is left, NotFound when the app is gone.
        """
        row = await self._statements.execute(_BEGIN, app_id, key, digest)
        if row is None:
            row = await self._statements.run(
                server_actor(), lambda tx: _add(tx, app_id, key, digest, accounts)
            )
        return _decode_release(row)

    async def read_releases(self, app_id: str) -> list[Release]:
        """Read the versions of an app that are kept."""
        rows = await self._statements.fetch_all(_FOLDERS, app_id)
        return [_decode_release(row) for row in rows]

    async def read_versions(self, app_id: str) -> bytes:
        """Return a JSON array of the versions that are kept, the newest first."""
        return await self._statements.fetch(_VERSIONS, app_id) or b"[]"

    async def read_chunk(self, release: Release, position: int) -> bytes | None:
        """Read one chunk of an archive; None after the last."""
        text = await self._statements.fetch(_READ_CHUNK, release.app_id, release.version, position)
        return None if text is None else base64.b64decode(text)

    async def read_ports(self, app_id: str) -> list[int]:
        """Read the ports that a core admin allowed an app."""
        row = await self._statements.fetch(_PORTS, app_id)
        return [] if row is None else msgspec.json.decode(row, type=list[int])

    async def beat(self, server_id: str, replicas: Iterable[ReplicaRow]) -> None:
        """Write the states of this server process, and its heartbeat."""
        await self._statements.execute(_BEAT, server_id, msgspec.json.encode(list(replicas)))


async def _add(tx: Transaction, app_id: str, key: int, digest: str, accounts: int) -> bytes:
    await tx.lock("workers.numbers")
    row = await tx.execute(_BEGIN, app_id, key, digest)
    if row is None:  # else another deploy of the app was first
        number = await tx.execute(_NUMBER, accounts)
        if number is None:
            raise Unavailable("there is no account left for another app: uid_count is too small")
        await tx.execute(_ADD, app_id, key, number)
        row = await tx.execute(_BEGIN, app_id, key, digest)
    if row is None:
        raise NotFound(f"app '{app_id}' not found")
    return row


async def save(tx: Transaction, release: Release, size: int) -> bool:
    """Store a version, without its chunks. Returns False when its app is gone."""
    row = await tx.execute(
        _SAVE, release.app_id, release.version, release.digest, size, tx.actor.user_id,
        release.number,
    )  # fmt: skip
    return row is not None


async def add_chunk(tx: Transaction, release: Release, position: int, data: bytes) -> None:
    """Store one chunk of an archive."""
    text = base64.b64encode(data)
    await tx.execute(_ADD_CHUNK, release.app_id, release.version, position, text)


async def promote(tx: Transaction, release: Release) -> int | None:
    """Put a version into service, delete the oldest, and return the revision of the desired state.

    Returns None where a later version is in service, which another process deployed.
    """
    revision = await tx.execute(_PROMOTE, release.app_id, release.version)
    await tx.execute(_PRUNE, release.app_id, KEPT)
    return None if revision is None else int(revision)


async def put_back(tx: Transaction, app_id: str, version: int) -> int | None:
    """Put a version that is kept into service. Returns the revision, None without that version."""
    revision = await tx.execute(_PUT_BACK, app_id, version)
    return None if revision is None else int(revision)


async def set_desired(tx: Transaction, app_id: str, should_run: bool) -> int | None:
    """Store whether an app's worker should run. Returns the revision, None without a version."""
    revision = await tx.execute(_SET_DESIRED, app_id, should_run)
    return None if revision is None else int(revision)


async def put_ports(tx: Transaction, app_id: str, ports: Sequence[int]) -> None:
    """Store the ports that an app may serve at."""
    await tx.execute(_PUT_PORTS, app_id, ports)


async def record(
    tx: Transaction, operation: str, app_id: str, details: Mapping[str, object]
) -> None:
    """Record what was done to a worker in the audit trail, and notify every server process."""
    new = {"app_id": app_id, **details}
    await tx.record(Event.core("workers", operation, tx.actor, app_id, new=new))
    await tx.publish(TOPIC, app_id)
