"""The SQL of sessions and delegations, and of the networks in which accounts sign in."""

from __future__ import annotations

from typing import Final

import msgspec

from kernel.public import Reader, Statements, Transaction
from plugins.auth.accounts.store import NETWORK_SECONDS
from plugins.auth.models import (
    Account,
    Begun,
    Client,
    Delegator,
    Family,
    Identified,
    Limits,
    NewSession,
    SessionView,
)  # fmt: skip

MAX_SESSIONS: Final = 1000
"""Active sessions of one account; a new one ends the oldest. A script that logs in every second has
fewer access tokens that are still valid."""
MAX_NETWORKS: Final = 50
"""Networks that are remembered for one account."""

# A session, unless one of the keys is blocked. The last two answers are of before it began.
_BEGIN_SESSION: Final = """
with throttled as materialized (
    select ceil(extract(epoch from max(blocked_until) - clock_timestamp()))::int as seconds
    from caudex_auth.throttle where key = any ($10::text[]) and blocked_until > clock_timestamp()
),
begun as (
    insert into caudex_auth.sessions
        (id, user_id, expires_at, address, user_agent, current_hash, external, installation)
    select $1::uuid, id, now() + make_interval(secs => $4::int), $5::text, $6::text, $7::text,
        $8::boolean, door.key
    from caudex_auth.users u cross join throttled
    left join caudex_kernel.apps door on door.app_id = $13::text
    where throttled.seconds is null and id = $2::uuid and password_hash = $3::text and not disabled
    and ($13::text is null or door.key is not null)
    and ($8::boolean or $9::boolean = exists (
        select from caudex_auth.totp t where t.user_id = u.id and t.confirmed_at is not null
    ))
    for share of u returning id
),
signed_in as (
    insert into caudex_auth.sign_ins (user_id)
    select $2::uuid from begun where not exists (
        select from caudex_auth.sign_ins
        where user_id = $2::uuid and at > now() - interval '1 minute'
    )
    on conflict (user_id) do update set at = now()
),
forgiven as (
    delete from caudex_auth.throttle where key = ($10::text[])[1] and exists (select from begun)
)
select json_build_object(
    'begun', exists (select from begun),
    'blocked', (select coalesce(seconds, 0) from throttled),
    'full', exists (
        select from caudex_auth.sessions where user_id = $2::uuid and revoked_at is null
        order by created_at desc offset $11::int
    ),
    'noted', exists (
        select from caudex_auth.networks
        where user_id = $2::uuid and network = $12::text and seen_at > now() - interval '1 hour'
    )
)"""
_EXCESS: Final = """
select id::text from caudex_auth.sessions where user_id = $1::uuid and revoked_at is null
order by created_at desc offset $2::int limit 10"""
_IDENTIFY: Final = """
select row_to_json(r) from (
    select u.username,
        u.password_temporary and not coalesce(s.external, true) as password_temporary,
        coalesce(s.external, true) or exists (
            select from caudex_auth.totp t where t.user_id = u.id and t.confirmed_at is not null
        ) as factor
    from caudex_auth.users u left join caudex_auth.sessions s
        on s.id = nullif($2::text, '')::uuid and s.user_id = u.id and s.revoked_at is null
        and case when $4::text = '' then s.installation is null else s.installation = (
            select key from caudex_kernel.apps where app_id = $4::text
        ) end
    where u.id = $1::uuid and not u.disabled
    and (s.id is not null or ($2::text = '' and $3::text in (u.withdrawals::text,
        concat(u.withdrawals, '.', (select key from caudex_kernel.apps where app_id = $4::text)))))
) r"""
_DELEGATOR: Final = """
select row_to_json(r) from (
    select id, username, withdrawals::text,
        concat(withdrawals, '.', (select key from caudex_kernel.apps where app_id = $2::text))
            as epoch
    from caudex_auth.users where id = $1::uuid and not disabled
) r"""
_REVOKE_DELEGATIONS: Final = """
update caudex_auth.users set withdrawals = withdrawals + 1 where id = $1::uuid"""
_SESSIONS: Final = """
select row_to_json(r) from (
    select id, created_at, last_used_at, address, user_agent, door.app_id as app
    from caudex_auth.sessions s left join caudex_kernel.apps door on door.key = s.installation
    where user_id = $1::uuid and revoked_at is null and expires_at > now()
    and (s.installation is null or door.app_id is not null)
    order by created_at desc, id limit 1000
) r"""
# The predecessor of the current token is valid for 30 s after the first use of its successor.
_LOCK_FAMILY: Final = """
select row_to_json(r) from (
    select u.username, s.revoked_at is not null or u.disabled
        or case when $5::text is null then s.installation is not null else
            s.installation is distinct from (
                select key from caudex_kernel.apps where app_id = $5::text
            ) or s.installation is null
        end as revoked,
        least(s.expires_at, s.last_used_at + make_interval(secs => $3::int),
            s.created_at + make_interval(secs => $4::int)) <= now() as expired,
        coalesce(s.advanced_at > now() - interval '30 seconds', false) as in_grace,
        s.parent_hash, s.current_hash, s.next_hash
    from caudex_auth.sessions s join caudex_auth.users u on u.id = s.user_id
    where s.id = $1::uuid and s.user_id = $2::uuid for update of s
) r"""
_IS_EXTERNAL: Final = """
select to_json(external) from caudex_auth.sessions
where id = $1::uuid and user_id = $2::uuid and revoked_at is null and expires_at > now()
and installation is null"""
_TOUCH_SESSION: Final = """
update caudex_auth.sessions set next_hash = $2::text, address = $3::text, last_used_at = now(),
    expires_at = least(now() + make_interval(secs => $4::int),
        created_at + make_interval(secs => $5::int))
where id = $1::uuid returning ceil(extract(epoch from expires_at - now()))::int"""
_ADVANCE_SESSION: Final = """
update caudex_auth.sessions
set parent_hash = current_hash, current_hash = next_hash, next_hash = null, advanced_at = now()
where id = $1::uuid"""
_REVOKE_SESSION: Final = """
update caudex_auth.sessions set revoked_at = now()
where id = $1::uuid and user_id = $2::uuid and revoked_at is null returning id"""
_REVOKE_SESSIONS: Final = """
update caudex_auth.sessions set revoked_at = now()
where user_id = $1::uuid and revoked_at is null and id is distinct from $2::uuid"""
_NOTE_NETWORK: Final = """
with seen as (
    insert into caudex_auth.networks (user_id, network)
    select $1::uuid, $2::text where not exists (
        select from caudex_auth.networks
        where user_id = $1::uuid and network = $2::text and seen_at > now() - interval '1 hour'
    )
    on conflict (user_id, network) do update set seen_at = now() returning user_id
)
delete from caudex_auth.networks where user_id = (select user_id from seen)
and network in (
    select network from caudex_auth.networks where user_id = $1::uuid and network <> $2::text
    order by seen_at desc offset $3::int
)"""
_REMOVE_SESSIONS: Final = """
delete from caudex_auth.sessions where id in (
    select id from caudex_auth.sessions
    where expires_at < now() or revoked_at < now() - interval '1 day'
    limit $1::int for update skip locked
)"""
_REMOVE_NETWORKS: Final = """
delete from caudex_auth.networks where ctid = any (array(
    select ctid from caudex_auth.networks
    where seen_at < now() - make_interval(secs => $2::int) limit $1::int for update skip locked
))"""

_begun = msgspec.json.Decoder(Begun).decode
_identified = msgspec.json.Decoder(Identified).decode
_family = msgspec.json.Decoder(Family).decode
_delegator = msgspec.json.Decoder(Delegator).decode
_session = msgspec.json.Decoder(SessionView).decode


class SessionStore:
    """Reads and writes sessions and delegations; writes take their transaction."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    @property
    def reader(self) -> Statements:
        """What reads outside of a transaction."""
        return self._statements

    async def begin_session(
        self, tx: Transaction, session: NewSession, account: Account, client: Client, network: str
    ) -> Begun:
        """Add a session, and forgive the failures of its first key.

        Not where a key is blocked, or the account was disabled, or its hash or second factor
        changed, since it was read.
        """
        row = await tx.execute(
            _BEGIN_SESSION,
            session.id,
            account.id,
            account.password_hash,
            session.seconds,
            client.address,
            client.user_agent,
            session.first_hash,
            session.external,
            account.factor,
            session.keys,
            MAX_SESSIONS - 1,
            network,
            session.door,
        )
        return _begun(row or b"")

    async def list_excess(self, reader: Reader, user_id: str) -> list[str]:
        """Return up to ten sessions of a user beyond the newest MAX_SESSIONS."""
        return [raw.decode() for raw in await reader.fetch_all(_EXCESS, user_id, MAX_SESSIONS)]

    async def identify(
        self, user_id: str, session_id: str, epoch: str, app_id: str
    ) -> Identified | None:
        """Return the user whose session or, where that is `''`, delegation to an app is valid.

        For a session `app_id` is its door, `''` for the host of the server. An external session,
        and a delegation, need neither a second factor nor a password.
        """
        row = await self._statements.fetch(_IDENTIFY, user_id, session_id, epoch, app_id)
        return None if row is None else _identified(row)

    async def delegator(self, user_id: str, app_id: str) -> Delegator | None:
        """Read an account that the workers of an app may act for; None for a disabled or unknown
        one."""
        row = await self._statements.fetch(_DELEGATOR, user_id, app_id)
        return None if row is None else _delegator(row)

    async def revoke_delegations(self, tx: Transaction, user_id: str) -> None:
        """Revoke the delegations of a user."""
        await tx.execute(_REVOKE_DELEGATIONS, user_id)

    async def sessions(self, user_id: str) -> list[SessionView]:
        """Read the active sessions of a user, the newest first, 1000 at most."""
        return [_session(row) for row in await self._statements.fetch_all(_SESSIONS, user_id)]

    async def is_external(self, session_id: str, user_id: str) -> bool | None:
        """Whether a session on the server's own host began without a password; None where there
        is no such session."""
        row = await self._statements.fetch(_IS_EXTERNAL, session_id, user_id)
        return None if row is None else row == b"true"

    async def lock_family(
        self, tx: Transaction, session_id: str, user_id: str, door: str | None, limits: Limits
    ) -> Family | None:
        """Read and lock a session whose refresh token is used.

        The session of an app's host has ended where the app was removed, or installed again.
        """
        row = await tx.execute(_LOCK_FAMILY, session_id, user_id, *limits, door)
        return None if row is None else _family(row)

    async def touch_session(
        self, tx: Transaction, session_id: str, next_hash: str | None, address: str, limits: Limits
    ) -> int:
        """Note the use of a session, and the successor that was issued.

        Returns the seconds after which the session ends unless it is used.
        """
        seconds = await tx.execute(_TOUCH_SESSION, session_id, next_hash, address, *limits)
        return int(seconds or 0)

    async def advance_session(self, tx: Transaction, session_id: str) -> None:
        """Make the successor the current token, at its first use."""
        await tx.execute(_ADVANCE_SESSION, session_id)

    async def revoke_session(self, tx: Transaction, session_id: str, user_id: str) -> bool:
        """End a session of a user; return False when there is no active one."""
        return await tx.execute(_REVOKE_SESSION, session_id, user_id) is not None

    async def revoke_sessions(self, tx: Transaction, user_id: str, except_id: str | None) -> None:
        """End every session of a user except `except_id`."""
        await tx.execute(_REVOKE_SESSIONS, user_id, except_id)

    async def note_network(self, tx: Transaction, user_id: str, network: str) -> None:
        """Note a login or refresh of an account from a network; a new one replaces the oldest.

        Writes nothing within an hour of the last time, so concurrent logins do not wait.
        """
        await tx.execute(_NOTE_NETWORK, user_id, network, MAX_NETWORKS - 1)


async def remove_ended(statements: Statements, limit: int) -> None:
    """Delete ended sessions and forgotten networks, at most `limit` rows of each."""
    await statements.execute(_REMOVE_SESSIONS, limit)
    await statements.execute(_REMOVE_NETWORKS, limit, NETWORK_SECONDS)
