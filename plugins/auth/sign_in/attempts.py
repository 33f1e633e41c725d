"""The SQL of the limits: failed logins and registrations, by the clock of the database."""

from __future__ import annotations

from typing import Final

from kernel.public import Reader, Statements, Transaction

_BLOCKED_FOR: Final = """
select ceil(extract(epoch from max(blocked_until) - clock_timestamp()))::int
from caudex_auth.throttle where key = any ($1::text[]) and blocked_until > clock_timestamp()"""
_COUNT: Final = """
insert into caudex_auth.throttle as t (key, failures, since, failed_at)
values ($1::text, 1, clock_timestamp(), clock_timestamp())
on conflict (key) do update set"""
_UNLESS_BLOCKED: Final = """
where t.blocked_until is null or t.blocked_until <= clock_timestamp()
returning true"""
# Five failures are free, each later one doubles the delay, up to 60 s. After an hour without one
# they are forgiven.
_FAIL_ACCOUNT: Final = (
    _COUNT
    + """
    failures = case when t.failed_at < clock_timestamp() - interval '1 hour' then 1
        else t.failures + 1 end,
    failed_at = clock_timestamp(),
    blocked_until = case
        when t.failures >= 5 and t.failed_at >= clock_timestamp() - interval '1 hour'
        then clock_timestamp()
            + make_interval(secs => least(60, 2 ^ least(t.failures - 5, 30))) end"""
    + _UNLESS_BLOCKED
)
# A network has 30 failures in 300 s. Then it is blocked for 60 s, and each failure within 300 s of
# the block's end doubles that, up to 900 s.
_FAIL_NETWORK: Final = (
    _COUNT
    + """
    failures = case
        when coalesce(t.blocked_until, t.since) > clock_timestamp() - interval '300 seconds'
        then t.failures + 1 else 1 end,
    since = case
        when coalesce(t.blocked_until, t.since) > clock_timestamp() - interval '300 seconds'
        then t.since else clock_timestamp() end,
    failed_at = clock_timestamp(),
    blocked_until = case
        when t.failures + 1 >= 30
        and coalesce(t.blocked_until, t.since) > clock_timestamp() - interval '300 seconds'
        then clock_timestamp()
            + make_interval(secs => least(900, 60 * 2 ^ least(t.failures + 1 - 30, 30))) end"""
    + _UNLESS_BLOCKED
)
# A network has 30 registrations in 300 s.
_COUNT_ADDRESS: Final = (
    _COUNT
    + """
    failures = case when t.since > clock_timestamp() - interval '300 seconds'
        then t.failures + 1 else 1 end,
    since = case when t.since > clock_timestamp() - interval '300 seconds'
        then t.since else clock_timestamp() end,
    failed_at = clock_timestamp(),
    blocked_until = case
        when t.failures + 1 >= 30 and t.since > clock_timestamp() - interval '300 seconds'
        then t.since + interval '300 seconds' end
returning case when t.failures > 30
    then ceil(extract(epoch from t.blocked_until - clock_timestamp()))::int else 0 end"""
)
_REMOVE_FORGIVEN: Final = """
delete from caudex_auth.throttle where key in (
    select key from caudex_auth.throttle where failed_at < now() - interval '1 hour'
    limit $1::int for update skip locked
)"""


class AttemptStore:
    """Counts attempts by keys; writes take their transaction."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def blocked_for(self, reader: Reader | None, keys: list[str]) -> int:
        """Return the whole seconds until no key is blocked, 0 when no key is."""
        return int(await (reader or self._statements).fetch(_BLOCKED_FOR, keys) or 0)

    async def fail_account(self, tx: Transaction, key: str) -> bool:
        """Count a failed login of an account.

        Returns False, and counts nothing, when the account is blocked already.
        """
        return await tx.execute(_FAIL_ACCOUNT, key) is not None

    async def fail_network(self, tx: Transaction, key: str) -> bool:
        """Count a failed login from a network.

        Returns False, and counts nothing, when the network is blocked already.
        """
        return await tx.execute(_FAIL_NETWORK, key) is not None

    async def count_address(self, tx: Transaction, key: str) -> int:
        """Count a registration from a network; a full window blocks the network until it ends.

        Returns the seconds until then for an attempt beyond the allowed ones, else 0.
        """
        return int(await tx.execute(_COUNT_ADDRESS, key) or 0)


async def remove_forgiven(statements: Statements, limit: int) -> None:
    """Delete failures that are forgiven."""
    await statements.execute(_REMOVE_FORGIVEN, limit)
