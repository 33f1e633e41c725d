"""Every statement of the plugin."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Final

import msgspec

from kernel.public import Event, Statements, Transaction

from .models import Release, Service

TOPIC: Final = "frontends"
"""Notifications of what is in service; the payload is the id of the app."""
KEPT: Final = 5
"""Versions of an app that are kept."""
CHUNK: Final = 1_000_000
"""Bytes of a row of a bundle."""

_SERVICES: Final = """
select json_build_object('app_id', a.app_id, 'key', a.key, 'version', v.version,
    'bundle', v.bundle, 'former', coalesce((
        select json_agg(json_build_object('bundle', f.bundle,
            'until', extract(epoch from f.replaced_at + interval '24 hours'))
            order by f.replaced_at desc)
        from caudex_frontends.versions as f
        where f.app_id = a.app_id and f.replaced_at > now() - interval '24 hours'), '[]'))
from caudex_frontends.apps as a
join caudex_frontends.versions as v on (v.app_id, v.version) = (a.app_id, a.version)"""

_BEGIN: Final = """
insert into caudex_frontends.apps as a (app_id, key)
select app_id, key from caudex_kernel.apps where app_id = $1::text and key = $2::bigint
on conflict (app_id) do update set last_version = a.last_version + 1
where a.key = excluded.key
returning last_version"""

_SAVE: Final = """
insert into caudex_frontends.versions (app_id, version, digest, size, bundle, created_by)
select app_id, $3::integer, $4::text, $5::bigint, $6::text, $7::uuid
from caudex_frontends.apps where app_id = $1::text and key = $2::bigint for key share
returning version"""

_ADD_CHUNK: Final = """
insert into caudex_frontends.chunks (app_id, version, position, data)
values ($1::text, $2::integer, $3::integer, decode($4::text, 'base64'))"""

_READ_CHUNK: Final = """
select encode(c.data, 'base64')
from caudex_frontends.chunks as c
join caudex_frontends.versions as v on (v.app_id, v.version) = (c.app_id, c.version)
where v.bundle = $1::text and c.position = $2::integer limit 1"""

_LOCK: Final = """
select json_build_object('version', version, 'key', key)
from caudex_frontends.apps where app_id = $1::text for no key update"""

_REPLACE: Final = """
update caudex_frontends.versions
set replaced_at = case when version <> $2::integer then now() end
where app_id = $1::text and version in ($2::integer, $3::integer)"""

_PUT_IN_SERVICE: Final = """
update caudex_frontends.apps set version = $2::integer where app_id = $1::text"""

_PRUNE: Final = """
delete from caudex_frontends.versions where app_id = $1::text and version <> $2::integer
    and version not in (
        select version from caudex_frontends.versions where app_id = $1::text
        order by version desc limit $3::integer)"""

_FIND: Final = """
select max(version) from caudex_frontends.versions
where app_id = $1::text and ($2::integer is null or version = $2::integer)
    and ($2::integer is not null or version < $3::integer)"""

_REMOVE: Final = """
with removed as (delete from caudex_frontends.versions where app_id = $1::text)
update caudex_frontends.apps set version = null where app_id = $1::text"""

_VERSIONS: Final = """
select coalesce(json_agg(v), '[]') from (
    select v.version,
        to_char(v.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as created_at,
        v.created_by as by, v.size, v.version is not distinct from a.version as current
    from caudex_frontends.versions as v join caudex_frontends.apps as a on a.app_id = v.app_id
    where v.app_id = $1::text order by v.version desc
) as v"""

_INSTALLATION: Final = "select id from caudex_frontends.installation"
HOSTLESS: Final = """
select string_agg(app_id, ', ' order by app_id)
from caudex_frontends.apps where version is not null"""
"""Apps with a frontend."""


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    version: int | None
    key: int


_decode_service = msgspec.json.Decoder(Service).decode
_decode_row = msgspec.json.Decoder(_Row).decode


class FrontendsStore:
    """What is read and written outside of a transaction."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def read_services(self) -> list[Service]:
        """Read what is in service, for all apps."""
        rows = await self._statements.fetch_all(_SERVICES)
        return [_decode_service(row) for row in rows]

    async def read_chunk(self, bundle: str, position: int) -> bytes | None:
        """Read one chunk of a bundle; None after the last."""
        text = await self._statements.fetch(_READ_CHUNK, bundle, position, quick=False)
        return None if text is None else base64.b64decode(text)

    async def read_versions(self, app_id: str) -> bytes:
        """Return a JSON array of the versions that are kept, the newest first."""
        return await self._statements.fetch(_VERSIONS, app_id) or b"[]"

    async def begin(self, app_id: str, key: int) -> int | None:
        """Take the number of the next version; None where the installed app is gone."""
        version = await self._statements.execute(_BEGIN, app_id, key)
        return None if version is None else int(version)

    async def read_installation(self) -> str:
        """Return the id of this deployment."""
        return (await self._statements.fetch(_INSTALLATION) or b"").decode()


async def save(tx: Transaction, release: Release, key: int) -> bool:
    """Store a version, without its chunks. Returns False when its app is gone."""
    row = await tx.execute(
        _SAVE, release.app_id, key, release.version, release.digest, release.size,
        release.bundle, tx.actor.user_id,
    )  # fmt: skip
    return row is not None


async def add_chunk(tx: Transaction, release: Release, position: int, data: bytes) -> None:
    """Store one chunk of a bundle."""
    text = base64.b64encode(data)
    await tx.execute(_ADD_CHUNK, release.app_id, release.version, position, text)


async def lock_service(tx: Transaction, app_id: str) -> int | None:
    """Lock what is in service until the commit, and return its version; None without one."""
    row = await tx.fetch(_LOCK, app_id)
    return None if row is None else _decode_row(row).version


async def put_in_service(tx: Transaction, app_id: str, version: int, former: int | None) -> None:
    """Put a version into service in place of the `former` one."""
    await tx.execute(_REPLACE, app_id, version, former)
    await tx.execute(_PUT_IN_SERVICE, app_id, version)


async def prune(tx: Transaction, app_id: str, current: int) -> None:
    """Delete the oldest versions, and never the `current` one."""
    await tx.execute(_PRUNE, app_id, current, KEPT)


async def find_version(
    tx: Transaction, app_id: str, version: int | None, current: int
) -> int | None:
    """Return a version that is kept: this one, or the one before the current; None without one."""
    row = await tx.fetch(_FIND, app_id, version, current)
    return None if row is None else int(row)


async def remove(tx: Transaction, app_id: str) -> None:
    """Delete all versions of an app."""
    await tx.execute(_REMOVE, app_id)


async def record(
    tx: Transaction, operation: str, app_id: str, details: Mapping[str, object]
) -> None:
    """Record what was done to a frontend in the audit trail, and notify every server process."""
    new = {"app_id": app_id, **details}
    await tx.record(Event.core("frontends", operation, tx.actor, app_id, new=new))
    await tx.publish(TOPIC, app_id)
