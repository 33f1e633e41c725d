"""Statements about webhooks, their secrets and the sections of manifests."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from kernel.public import Reader, Transaction, Writer

from .models import Hook

MAX_REASON: Final = 500
"""Characters of an error or a reason that are kept."""

_LIST: Final = """
select caudex_webhooks.shown(h) from caudex_webhooks.hooks as h
where h.app_id = $1::text order by h.name"""

_ONE: Final = """
select caudex_webhooks.shown(h) from caudex_webhooks.hooks as h
where h.app_id = $1::text and h.id = $2::uuid"""

_HOOK: Final = """
select row_to_json(k) from (
    select h.id, h.app_id, h.name, h.url, h.entity, h.events as on, h.conditions as where,
        h.fields, h.role, h.enabled, h.declared, h.failing_since is not null as is_failing,
        h.position, h.begins
    from caudex_webhooks.hooks as h"""

_FIND: Final = _HOOK + " where h.app_id = $1::text and h.id = $2::uuid) as k"
_LOCK: Final = _HOOK + " where h.app_id = $1::text and h.id = $2::uuid for no key update) as k"
_ENABLED: Final = _HOOK + " where h.enabled order by h.id) as k"
_OF_APP: Final = _HOOK + " where h.app_id = $1::text order by h.name) as k"
_LOCK_ALL: Final = _HOOK + " where h.app_id = $1::text order by h.name for no key update) as k"

_COUNT: Final = "select count(*)::text from caudex_webhooks.hooks where app_id = $1::text"

# The lock of the app's row keeps two requests from passing the limit together.
_LOCK_APP: Final = """
select 'true' from caudex_kernel.apps where app_id = $1::text for no key update"""

_INSERT: Final = """
insert into caudex_webhooks.hooks (id, app_id, name, url, entity, events, conditions, fields, role,
    enabled, declared, position, begins)
select $1::uuid, $2::text, n.name, n.url, n.entity, n.events, n.conditions, n.fields, n.role,
    n.enabled, $4::boolean, $5::text, $5::text
from json_to_record($3::json) as n (name text, url text, entity text, events text[],
    conditions jsonb, fields text[], role text, enabled boolean)
on conflict (app_id, name) do nothing returning 'true'"""

_UPDATE: Final = """
update caudex_webhooks.hooks as h
set name = n.name, url = n.url, entity = n.entity, events = n.events,
    conditions = nullif(n.conditions, 'null'), fields = n.fields, role = n.role,
    enabled = n.enabled, position = $3::text, updated_at = now(),
    reason = case when n.enabled then null else h.reason end,
    failing_since = case when n.enabled and not h.enabled then null else h.failing_since end
from json_to_record($2::json) as n (name text, url text, entity text, events text[],
    conditions jsonb, fields text[], role text, enabled boolean)
where h.id = $1::uuid"""

_RENAME_DELIVERIES: Final = """
update caudex_webhooks.deliveries set entity = $3::text
where hook_id = $1::uuid and entity = $2::text and state = 'pending'"""

_NAME_TAKEN: Final = """
select 'true' from caudex_webhooks.hooks
where app_id = $1::text and name = $2::text and id <> $3::uuid"""

_DELETE: Final = "delete from caudex_webhooks.hooks where id = $1::uuid"

_DISABLE: Final = """
update caudex_webhooks.hooks set enabled = false, reason = $2::text, updated_at = now()
where id = $1::uuid and enabled returning 'true'"""

_NOTE: Final = """
update caudex_webhooks.hooks set reason = $2::text where id = $1::uuid returning 'true'"""

_MOVE: Final = """
update caudex_webhooks.hooks set position = $3::text
where id = $1::uuid and enabled and position is not distinct from $2::text returning 'true'"""

_BEGIN: Final = """
update caudex_webhooks.hooks
set position = $2::text, begins = coalesce(begins, $2::text) where id = $1::uuid"""

_STAMP: Final = """
insert into caudex_webhooks.sections as s (app_id, stamp)
select app_id, $2::bigint from caudex_kernel.apps where app_id = $1::text for key share
on conflict (app_id) do update set stamp = excluded.stamp where s.stamp < excluded.stamp
returning 'true'"""

_STAMPS: Final = """
select coalesce(json_object_agg(app_id, stamp), '{}') from caudex_webhooks.sections"""

_FAILING: Final = """
select coalesce(json_agg(app_id || '/' || name order by app_id, name), '[]') from (
    select app_id, name from caudex_webhooks.hooks
    where enabled and failing_since < now() - make_interval(secs => $1::float8)
    order by app_id, name limit 100
) as failing"""

# Keys of signatures

_ADD_KEY: Final = """
insert into caudex_webhooks.signing_keys (app_id, key, hook_id, state, until)
select app_id, $2::text, $3::uuid, 'new', now() + interval '1 hour'
from caudex_kernel.apps where app_id = $1::text returning 'true'"""

_RETIRE_KEYS: Final = """
update caudex_webhooks.signing_keys
set state = 'old', until = least(until, now() + make_interval(secs => $2::float8))
where hook_id = $1::uuid and key <> $3::text and state <> 'new'"""

_USE_KEY: Final = """
update caudex_webhooks.signing_keys set state = 'current', until = null
where app_id = $1::text and key = $2::text returning 'true'"""

_END_KEYS: Final = """
update caudex_webhooks.signing_keys set state = 'old', until = now() where hook_id = $1::uuid"""

_KEYS: Final = """
select to_json(key) from caudex_webhooks.signing_keys
where hook_id = $1::uuid and state <> 'new' and (until is null or until > now())
order by until desc nulls first limit 3"""

_ENDED_KEYS: Final = """
select json_build_array(app_id, key) from caudex_webhooks.signing_keys
where until <= now() order by until limit 100"""

_FORGET_KEY: Final = """
delete from caudex_webhooks.signing_keys where app_id = $1::text and key = $2::text"""

_COUNTS: Final = """
select json_build_object(
    'enabled', (select count(*) from caudex_webhooks.hooks where enabled),
    'disabled', (select count(*) from caudex_webhooks.hooks where not enabled),
    'failing', (select count(*) from caudex_webhooks.hooks
        where enabled and failing_since is not null),
    'pending', (select count(*) from (
        select from caudex_webhooks.deliveries where state = 'pending' limit 100000) as waiting))"""

_encode = msgspec.json.encode
_hook = msgspec.json.Decoder(Hook).decode
_text = msgspec.json.Decoder(str).decode
_pair = msgspec.json.Decoder(tuple[str, str]).decode
_counts = msgspec.json.Decoder(dict[str, int]).decode
_names = msgspec.json.Decoder(list[str]).decode


# Webhooks


async def list_shown(reader: Reader, app_id: str) -> bytes:
    """Return the webhooks of an app as a JSON array, by name."""
    rows = await reader.fetch_all(_LIST, app_id)
    return b"[%b]" % b",".join(rows)


async def show(reader: Reader, app_id: str, hook_id: str) -> bytes | None:
    """Return a webhook as REST shows it."""
    return await reader.fetch(_ONE, app_id, hook_id)


async def find(reader: Reader, app_id: str, hook_id: str) -> Hook | None:
    """Return a webhook."""
    row = await reader.fetch(_FIND, app_id, hook_id)
    return None if row is None else _hook(row)


async def lock(tx: Transaction, app_id: str, hook_id: str) -> Hook | None:
    """Lock a webhook, and with it the queue of its deliveries."""
    row = await tx.execute(_LOCK, app_id, hook_id)
    return None if row is None else _hook(row)


async def list_of_app(reader: Reader, app_id: str) -> list[Hook]:
    """Return the webhooks of an app, by name."""
    return [_hook(row) for row in await reader.fetch_all(_OF_APP, app_id)]


async def lock_all(tx: Transaction, app_id: str) -> list[Hook]:
    """Lock the webhooks of an app, by name."""
    return [_hook(row) for row in await tx.execute_all(_LOCK_ALL, app_id)]


async def list_enabled(reader: Reader) -> list[Hook]:
    """Return the webhooks that are enabled, of all apps."""
    return [_hook(row) for row in await reader.fetch_all(_ENABLED, quick=False)]


async def lock_app(tx: Transaction, app_id: str) -> bool:
    """Keep other requests from adding webhooks to an app; False where the app is gone."""
    return await tx.execute(_LOCK_APP, app_id) is not None


async def count(tx: Transaction, app_id: str) -> int:
    """Count the webhooks of an app."""
    return int(await tx.fetch(_COUNT, app_id) or 0)


async def insert(tx: Transaction, hook: Hook) -> bool:
    """Add a webhook; False where its name is taken."""
    row = _encode(_row_of(hook))
    place = (hook.id, hook.app_id, row, hook.declared, hook.position)
    return await tx.execute(_INSERT, *place) is not None


async def is_name_taken(tx: Transaction, hook: Hook) -> bool:
    """Whether another webhook of the app has the name."""
    return await tx.fetch(_NAME_TAKEN, hook.app_id, hook.name, hook.id) is not None


async def update(tx: Transaction, hook: Hook) -> None:
    """Store a changed webhook; one that is enabled forgets why it was disabled."""
    await tx.execute(_UPDATE, hook.id, _encode(_row_of(hook)), hook.position)


async def rename_deliveries(tx: Transaction, hook_id: str, former: str, entity: str) -> None:
    """Rename the entity of deliveries that wait: with the id it says which are of one record."""
    await tx.execute(_RENAME_DELIVERIES, hook_id, former, entity)


async def delete(tx: Transaction, hook_id: str) -> None:
    """Delete a webhook with its deliveries, and end its secrets."""
    await tx.execute(_END_KEYS, hook_id)
    await tx.execute(_DELETE, hook_id)


async def disable(tx: Transaction, hook_id: str, reason: str) -> bool:
    """Disable a webhook and say why; False where it is disabled already."""
    return await tx.execute(_DISABLE, hook_id, reason[:MAX_REASON]) is not None


async def note(tx: Transaction, hook_id: str, reason: str) -> None:
    """Say what is wrong with a webhook that goes on."""
    await tx.execute(_NOTE, hook_id, reason[:MAX_REASON])


async def move(tx: Transaction, hook_id: str, before: str | None, position: str) -> bool:
    """Move the position of an enabled webhook, and lock it; False where it is another one."""
    return await tx.execute(_MOVE, hook_id, before, position) is not None


async def begin(writer: Writer, hook_id: str, position: str) -> None:
    """Begin at a position, where the one before leads to nothing."""
    await writer.execute(_BEGIN, hook_id, position)


async def store_stamp(tx: Transaction, app_id: str, stamp: int) -> bool:
    """Store the stamp of an app's section; False when a later one is stored or the app is gone."""
    return await tx.execute(_STAMP, app_id, stamp) is not None


async def list_stamps(reader: Reader) -> dict[str, int]:
    """Return the stamp of each app's stored section."""
    return _counts(await reader.fetch(_STAMPS) or b"{}")


async def list_failing(reader: Reader, seconds: float) -> list[str]:
    """Return the first webhooks that have failed for so long, as `<app>/<name>`."""
    return _names(await reader.fetch(_FAILING, seconds) or b"[]")


async def read_counts(reader: Reader) -> dict[str, int]:
    """Count webhooks by their state, and deliveries that wait, up to 100,000."""
    return _counts(await reader.fetch(_COUNTS) or b"{}")


def _row_of(hook: Hook) -> dict[str, Any]:
    return {
        "name": hook.name,
        "url": hook.url,
        "entity": hook.entity,
        "events": hook.on,
        "conditions": hook.where,
        "fields": hook.fields,
        "role": hook.role,
        "enabled": hook.enabled,
    }


# Keys of signatures


async def add_key(writer: Writer, app_id: str, key: str, hook_id: str) -> bool:
    """Name a secret that is about to be put into the vault; False where the app is gone."""
    return await writer.execute(_ADD_KEY, app_id, key, hook_id) is not None


async def retire_keys(tx: Transaction, hook_id: str, but: str, seconds: float) -> None:
    """Let the keys of a webhook sign for so long, all but one."""
    await tx.execute(_RETIRE_KEYS, hook_id, seconds, but)


async def use_key(tx: Transaction, app_id: str, key: str) -> bool:
    """Sign with a key from now on; False where it is gone."""
    return await tx.execute(_USE_KEY, app_id, key) is not None


async def list_keys(reader: Reader, hook_id: str) -> list[str]:
    """Return the names of the secrets that sign now, the current one first."""
    return [_text(row) for row in await reader.fetch_all(_KEYS, hook_id)]


async def list_ended_keys(reader: Reader) -> list[tuple[str, str]]:
    """Return apps and names of secrets whose time is over."""
    return [_pair(row) for row in await reader.fetch_all(_ENDED_KEYS)]


async def forget_key(writer: Writer, app_id: str, key: str) -> None:
    """Forget a secret that the vault has lost."""
    await writer.execute(_FORGET_KEY, app_id, key)
