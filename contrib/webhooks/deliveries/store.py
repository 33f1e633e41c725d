"""Statements about deliveries: the queue of each webhook, and what has ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from contrib.webhooks.models import Due, NewDelivery, Outcome, Outdated, Settled
from kernel.public import Reader, Transaction, Writer

MAX_ERROR: Final = 500
"""Characters of an error that are kept."""
MAX_PART: Final = 500
MAX_PART_BYTES: Final = 2_000_000
"""Deliveries that one statement adds, and their bytes."""

# A delivery whose record has another one waiting gets no time: the end of that one sets it.
_QUEUE: Final = """
with new as (
    select n.*, row_number() over (partition by n.hook_id, n.entity, n.record order by n.place)
        as turn
    from json_to_recordset($1::json) as n (id text, hook_id uuid, place bigint, event text,
    entity text, record text, body text, basis text, at timestamptz)
    where not exists (select from caudex_webhooks.deliveries as d where d.id = n.id)
)
insert into caudex_webhooks.deliveries
    (id, hook_id, place, event, entity, record, body, basis, at, next_at)
select n.id, n.hook_id, n.place, n.event, n.entity, n.record, n.body, n.basis, n.at,
    case when n.turn = 1 and not exists (
        select from caudex_webhooks.deliveries as d
        where d.hook_id = n.hook_id and d.entity = n.entity and d.record = n.record
        and d.state = 'pending'
    ) then now() end
from new as n"""

# An event that is listed keeps its id, however ids were made when it was queued.
_REQUEUE: Final = """
insert into caudex_webhooks.deliveries as d
    (id, hook_id, place, event, entity, record, body, basis, at)
select coalesce(e.id, n.id), n.hook_id, n.place, n.event, n.entity, n.record, n.body, n.basis, n.at
from json_to_recordset($1::json) as n (id text, hook_id uuid, place bigint, event text,
    entity text, record text, body text, basis text, at timestamptz)
left join lateral (
    select d.id from caudex_webhooks.deliveries as d
    where d.hook_id = n.hook_id and d.place = n.place and d.at = n.at limit 1
) as e on true
on conflict (id) do update set state = 'pending', run = d.run + 1, attempts = 0, status = null,
    error = null, next_at = null, ended_at = null, body = excluded.body,
    basis = excluded.basis, event = excluded.event"""

# The first delivery of each record is due; the others wait for it.
_WAKE: Final = """
with turns as (
    select id, row_number() over (partition by entity, record order by place) = 1 as is_first
    from caudex_webhooks.deliveries where hook_id = $1::uuid and state = 'pending'
)
update caudex_webhooks.deliveries as d set next_at = case when t.is_first then now() end
from turns as t where t.id = d.id
and case when t.is_first
    then d.next_at is null or d.next_at > now()
    else d.next_at is not null end"""

_WAITING: Final = """
select count(*)::text from (
    select from caudex_webhooks.deliveries
    where hook_id = $1::uuid and state = 'pending' limit $2::integer
) as waiting"""

# The first one of its record: a scalar, as a join would look at all that wait for each attempt.
_DUE: Final = """
select row_to_json(c) from (
    select d.id, d.entity || ' ' || d.record as record, d.run, d.attempts, d.body,
        d.basis
    from caudex_webhooks.deliveries as d
    where d.hook_id = $1::uuid and d.state = 'pending' and d.next_at <= now()
    and d.entity || ' ' || d.record <> all($2::text[])
    and d.place = (
        select e.place from caudex_webhooks.deliveries as e
        where e.hook_id = d.hook_id and e.entity = d.entity and e.record = d.record
        and e.state = 'pending' order by e.place limit 1
    )
    order by d.next_at, d.place limit 1
) as c"""

# The conditions are those above: one that waits for another has a time that has passed, perhaps.
_NEXT: Final = """
select extract(epoch from d.next_at - clock_timestamp())::text
from caudex_webhooks.deliveries as d
where d.hook_id = $1::uuid and d.state = 'pending' and d.next_at is not null
and d.entity || ' ' || d.record <> all($2::text[])
and d.place = (
    select e.place from caudex_webhooks.deliveries as e
    where e.hook_id = d.hook_id and e.entity = d.entity and e.record = d.record
    and e.state = 'pending' order by e.place limit 1
)
order by d.next_at, d.place limit 1"""

_OUTDATED: Final = """
select json_build_object('since', min(o.at), 'ids', coalesce(json_object_agg(o.place, o.id), '{}'))
from (
    select d.place, d.id, d.at from caudex_webhooks.deliveries as d
    where d.hook_id = $1::uuid and d.state = 'pending' and d.basis is distinct from $2::text
    order by d.place limit $3::integer
) as o"""

_RENEW: Final = """
update caudex_webhooks.deliveries as d
set event = n.event, entity = n.entity, body = n.body, basis = n.basis
from json_to_recordset($1::json) as n (id text, hook_id uuid, event text, entity text, body text,
    basis text)
where d.id = n.id and d.hook_id = n.hook_id and d.state = 'pending'"""

_DROP: Final = """
update caudex_webhooks.deliveries
set state = 'failed', error = $3::text, status = null, next_at = null, ended_at = now()
where hook_id = $1::uuid and id = any($2::text[]) and state = 'pending'"""

# What waited for one that has ended goes on.
_LET_GO: Final = """
update caudex_webhooks.deliveries as d set next_at = now()
where d.hook_id = $1::uuid and d.state = 'pending' and d.next_at is null and d.place = (
    select e.place from caudex_webhooks.deliveries as e
    where e.hook_id = d.hook_id and e.entity = d.entity and e.record = d.record
    and e.state = 'pending' order by e.place limit 1
)"""

# One that was retried or replayed while it was on its way is in another run: it is sent again.
_SETTLE: Final = """
select caudex_webhooks.settle($1::uuid, $2::text, $3::integer, $4::text, $5::integer, $6::text,
    $7::float8)"""

_DELIVERIES: Final = """
select coalesce(json_agg(caudex_webhooks.shown_delivery(d) order by d.place desc), '[]') from (
    select d.* from caudex_webhooks.deliveries as d
    where d.hook_id = $1::uuid and ($2::text is null or d.state = $2::text)
    and ($3::text is null or d.place < (
        select b.place from caudex_webhooks.deliveries as b
        where b.hook_id = $1::uuid and b.id = $3::text))
    order by d.place desc limit $4::integer
) as d"""

_ONE_DELIVERY: Final = """
select caudex_webhooks.shown_delivery(d) from caudex_webhooks.deliveries as d
where d.hook_id = $1::uuid and d.id = $2::text"""

_AGAIN: Final = """
update caudex_webhooks.deliveries
set state = 'pending', run = run + 1, attempts = 0, next_at = now(), ended_at = null
where hook_id = $1::uuid and id = $2::text and state <> 'pending'"""

# What waits for the one before it goes on waiting.
_NOW: Final = """
update caudex_webhooks.deliveries set next_at = now()
where hook_id = $1::uuid and id = $2::text and next_at > now()"""

_SWEEP: Final = """
delete from caudex_webhooks.deliveries where id in (
    select id from caudex_webhooks.deliveries
    where ended_at < now() - make_interval(days => $1::integer)
    order by ended_at limit 1000
) returning 'true'"""

_encode = msgspec.json.encode
_due = msgspec.json.Decoder(Due).decode
_outdated = msgspec.json.Decoder(Outdated).decode


async def queue(tx: Transaction, deliveries: Sequence[NewDelivery]) -> None:
    """Add deliveries of a locked webhook, in their order; those that are there stay as they are."""
    for part in _divide(deliveries):
        await tx.execute(_QUEUE, _encode(part))


async def requeue(tx: Transaction, deliveries: Sequence[NewDelivery]) -> None:
    """Add deliveries of a locked webhook; those that are there wait again. `wake` is next."""
    for part in _divide(deliveries):
        await tx.execute(_REQUEUE, _encode(part))


async def wake(tx: Transaction, hook_id: str) -> None:
    """Let the first delivery of each record of a locked webhook be due now."""
    await tx.execute(_WAKE, hook_id)


async def count_waiting(reader: Reader, hook_id: str, limit: int) -> int:
    """Count the deliveries of a webhook that wait, up to a limit."""
    return int(await reader.fetch(_WAITING, hook_id, limit) or 0)


async def find_due(reader: Reader, hook_id: str, busy: Sequence[str]) -> Due | None:
    """Return a delivery whose time has come, of a record that is not among the busy ones."""
    row = await reader.fetch(_DUE, hook_id, busy)
    return None if row is None else _due(row)


async def seconds_to_next(reader: Reader, hook_id: str, busy: Sequence[str]) -> float | None:
    """Return the seconds until `find_due` has a delivery to return; None where none waits.

    One that was retried may come before others of its record, whose own time has passed: they wait.
    """
    row = await reader.fetch(_NEXT, hook_id, busy)
    return None if row is None else float(row)


async def settle(
    writer: Writer, hook_id: str, due: Due, outcome: Outcome, settled: Settled
) -> None:
    """Store the end of an attempt, and let what follows for its record go.

    Nothing changes for a delivery that has begun again meanwhile.
    """
    error = None if outcome.error is None else outcome.error[:MAX_ERROR]
    values = (settled.state, outcome.status, error, settled.wait)
    await writer.execute(_SETTLE, hook_id, due.id, due.run, *values)


async def find_outdated(reader: Reader, hook_id: str, basis: str, limit: int) -> Outdated:
    """Return the first deliveries that wait with bodies of another basis."""
    row = await reader.fetch(_OUTDATED, hook_id, basis, limit)
    return _outdated(row or b"")


async def renew(tx: Transaction, deliveries: Sequence[NewDelivery]) -> None:
    """Replace the bodies of deliveries of a locked webhook that wait."""
    for part in _divide(deliveries):
        await tx.execute(_RENEW, _encode(part))


async def drop(tx: Transaction, hook_id: str, ids: Sequence[str], reason: str) -> None:
    """Fail deliveries of a locked webhook that wait; a retry makes their bodies again."""
    await tx.execute(_DROP, hook_id, ids, reason)
    await tx.execute(_LET_GO, hook_id)


async def list_deliveries(
    reader: Reader, hook_id: str, state: str | None, before: str | None, limit: int
) -> bytes:
    """Return a page of deliveries as JSON, the newest change first."""
    return await reader.fetch(_DELIVERIES, hook_id, state, before, limit) or b"[]"


async def show_delivery(reader: Reader, hook_id: str, delivery_id: str) -> bytes | None:
    """Return a delivery as REST shows it."""
    return await reader.fetch(_ONE_DELIVERY, hook_id, delivery_id)


async def retry(tx: Transaction, hook_id: str, delivery_id: str) -> None:
    """Send a delivery of a locked webhook now: again, if it has ended."""
    await tx.execute(_AGAIN, hook_id, delivery_id)
    await tx.execute(_NOW, hook_id, delivery_id)


async def sweep(writer: Writer, days: int) -> int:
    """Delete some deliveries that ended so many days ago, and return their number."""
    return len(await writer.execute_all(_SWEEP, days))


def _divide(deliveries: Sequence[NewDelivery]) -> Iterator[Sequence[NewDelivery]]:
    """Divide deliveries into parts of a statement's size."""
    part: list[NewDelivery] = []
    size = 0
    for delivery in deliveries:
        part.append(delivery)
        size += len(delivery.body)
        if len(part) == MAX_PART or size > MAX_PART_BYTES:
            yield part
            part = []
            size = 0
    if part:
        yield part
