"""Limits on guesses of passwords and on registrations, counted in the database."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from kernel.public import Actor, Statements, Throttled, Transaction

from .attempts import AttemptStore


class LoginLimiter:
    """Counts failures by keys and blocks the keys that have too many; see the README.

    The first key names an account, the others name client networks. With `enabled=False` nothing
    is counted and nothing is blocked.
    """

    def __init__(self, statements: Statements, *, enabled: bool) -> None:
        self._statements = statements
        self._store = AttemptStore(statements)
        self._enabled = enabled

    async def check(self, keys: list[str], tx: Transaction | None = None) -> None:
        """Raise Throttled while one of the keys is blocked."""
        if self._enabled and keys:
            self.refuse(await self._store.blocked_for(tx, keys))

    def select_counted(self, keys: list[str]) -> list[str]:
        """Return the keys that can be blocked: all or none."""
        if self._enabled:
            return keys
        return []

    def refuse(self, seconds: int) -> None:
        """Raise Throttled where a key is blocked for more than 0 seconds."""
        if self._enabled and seconds:
            raise throttled(seconds)

    async def count_failure(self, tx: Transaction, keys: list[str]) -> int:
        """Count a failure of an account, and of a network.

        Returns the seconds for which failures that were counted before this one block the keys: the
        caller then answers neither right nor wrong, so parallel guesses gain nothing.
        """
        if not self._enabled:
            return 0
        blocked_for = await self._store.blocked_for(tx, keys)
        are_counted = await self._store.fail_account(tx, keys[0])
        for key in keys[1:]:
            is_counted = await self._store.fail_network(tx, key)
            are_counted = are_counted and is_counted
        if not are_counted and not blocked_for:
            # This failure waited for a concurrent one, which blocked the key.
            blocked_for = await self._store.blocked_for(tx, keys)
            blocked_for = max(1, blocked_for)
        return blocked_for

    async def check_guesses(self, caller: Actor) -> None:
        """Raise Throttled for a network that sent too many wrong tokens of invites."""
        if self._enabled and caller.address:
            seconds = await self._store.blocked_for(None, [_name_guesses(caller)])
            if seconds:
                raise throttled(seconds, "wrong invites")

    async def count_guess(self, caller: Actor) -> None:
        """Count a wrong token of an invite from a network."""
        if self._enabled and caller.address:
            key = _name_guesses(caller)
            await self._statements.run(caller, lambda tx: self._store.fail_network(tx, key))

    async def count_registration(self, caller: Actor) -> None:
        """Raise Throttled for too many registrations from a network; each costs a hash."""
        if not self._enabled or not caller.address:
            return
        key = f"register:{network_of(caller.address)}"
        seconds = await self._store.blocked_for(None, [key])
        if not seconds:
            seconds = await self._statements.run(
                caller, lambda tx: self._store.count_address(tx, key)
            )
        if seconds:
            raise throttled(seconds, "registrations")


def _name_guesses(caller: Actor) -> str:
    return f"invite:{network_of(caller.address)}"


def network_of(address: str) -> str:
    """Return the network of a client: the /24 of an IPv4 address, the /64 of an IPv6 address."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    plain = getattr(parsed, "ipv4_mapped", None) or parsed
    prefix_length = 64
    if plain.version == 4:
        prefix_length = 24
    return str(ip_network((plain, prefix_length), strict=False))


def throttled(seconds: int, attempts: str = "failed logins") -> Throttled:
    """Make the error of too many attempts."""
    return Throttled(f"too many {attempts}; try again in {seconds} s", seconds)
