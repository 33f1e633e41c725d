"""Open connections, bounded in all and for each address: descriptors are left for others."""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Iterator
from typing import Final, Protocol

import structlog

RESERVED: Final = 256
"""Descriptors for the database, workers, files and probes; a quarter of all where these are few."""
UNLIMITED: Final = 2**20
"""Connections where the system has no limit."""

log = structlog.get_logger("caudex.http")


class Connection(Protocol):
    """What is known of a connection."""

    @property
    def is_silent(self) -> bool:
        """Whether no request is under way on it."""
        ...

    def end(self) -> None:
        """Close it at once."""
        ...


class Connections:
    """Every open connection of this process, the oldest first.

    Beyond the limit the oldest silent connection is closed: one of the address that has more than
    half of all, or of any address. Without a silent one the new connection is closed.
    """

    def __init__(self) -> None:
        self._open: dict[Connection, str] = {}
        self._counts = Counter[str]()
        self._limit = 0
        self._is_full = False

    def settle(self) -> None:
        """Raise the soft limit of open files to the hard one, and derive the limit from it."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        if hard == resource.RLIM_INFINITY:
            self._limit = UNLIMITED
        else:
            self._limit = hard - min(RESERVED, hard // 4)

    def add(self, connection: Connection, address: str) -> None:
        """Count a new connection, and close another one, or this one, where there are too many."""
        self._open[connection] = address
        self._counts[address] += 1
        if not self._limit:
            return
        has_too_many = self._counts[address] > max(1, self._limit // 2)
        if not has_too_many and len(self._open) <= self._limit:
            self._is_full = self._is_full and len(self._open) > self._limit * 3 // 4
            return
        if not self._is_full:
            self._is_full = True
            log.warning("too many connections: the oldest silent ones are closed",
                        connections=len(self._open), limit=self._limit)  # fmt: skip
        silent = self._find_silent(address if has_too_many else None)
        victim = next(silent, connection)
        self.remove(victim)
        victim.end()

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        address = self._open.pop(connection, None)
        if address is None:
            return
        self._counts[address] -= 1
        if not self._counts[address]:
            del self._counts[address]

    def _find_silent(self, address: str | None) -> Iterator[Connection]:
        """Find the silent connections of an address, or of any, the oldest first."""
        for connection, its_address in self._open.items():
            if connection.is_silent and (address is None or its_address == address):
                yield connection


CONNECTIONS: Final = Connections()
