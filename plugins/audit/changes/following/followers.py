"""Who follows which subjects, and who has yet to take what came."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import anyio

from .alarms import Alarms


class Follower:
    """A reader that follows subjects, and is woken when something has come for it."""

    def __init__(
        self, subjects: Collection[str], followers: Followers, *, reshapes: bool = False
    ) -> None:
        self.subjects = frozenset(subjects)
        self.reshapes = reshapes
        """Whether a change of fields is no loss: older records get the fields of today."""
        self._followers = followers
        self._turn: asyncio.Future[None] | None = None
        self.until = 0.0
        """When it wants to be woken at the latest, by the clock of the event loop."""
        self.heartbeat_at = 0.0
        """When its next heartbeat is due, by the same clock."""

    def wake(self) -> bool:
        """End the wait; return whether the follower was waiting."""
        turn = self._turn
        if turn is None or turn.done():
            return False
        turn.set_result(None)
        return True

    async def wait(self, until: float) -> None:
        """Wait until the follower is woken, until a time of the event loop at the latest.

        It may end earlier. The alarm of the last wait is used again, as most waits are short.
        """
        self._turn = asyncio.get_running_loop().create_future()
        self.until = until
        self._followers.alarms.set(self)
        self._followers.note_taken(self)
        try:
            await self._turn
        finally:
            self._turn = None

    def ring(self) -> None:
        """End the wait, as its time has come."""
        self.wake()


class Followers:
    """The followers of a process, by their subjects."""

    def __init__(self) -> None:
        self.alarms = Alarms()
        self._all = set[Follower]()
        self._by_subject = dict[str, set[Follower]]()
        self._taking = set[Follower]()
        """Those that were woken, and do not wait again."""
        self._taken = anyio.Event()
        self.subjects = frozenset[str]()
        """What any of them follows."""

    def __len__(self) -> int:
        return len(self._all)

    def add(self, follower: Follower) -> None:
        """Add a follower."""
        self._all.add(follower)
        for subject in follower.subjects:
            self._by_subject.setdefault(subject, set()).add(follower)
        self._note_subjects()

    def remove(self, follower: Follower) -> None:
        """Remove a follower that reads no more."""
        self.alarms.remove(follower)
        self._all.discard(follower)
        for subject in follower.subjects:
            followers = self._by_subject[subject]
            followers.discard(follower)
            if not followers:
                del self._by_subject[subject]
        self._note_subjects()
        self.note_taken(follower)

    def wake(self, subjects: Collection[str]) -> None:
        """Wake the followers of some subjects. A follower that does not wait looks by itself."""
        for subject in subjects:
            for follower in self._by_subject.get(subject, ()):
                if follower.wake():
                    self._taking.add(follower)

    def wake_all(self) -> None:
        """Wake every follower."""
        for follower in self._all:
            follower.wake()

    def note_taken(self, follower: Follower) -> None:
        """Note that a follower has taken what it was woken for."""
        self._taking.discard(follower)
        if not self._taking:
            self._taken.set()

    async def wait_until_taken(self, seconds: float) -> None:
        """Wait until those that were woken wait again, for so many seconds at most.

        A client that does not read holds its follower up. It is woken no more until then, so
        others wait for it once.
        """
        if not self._taking:
            return
        self._taken = anyio.Event()
        with anyio.move_on_after(seconds):
            await self._taken.wait()
        self._taking.clear()

    def _note_subjects(self) -> None:
        if len(self.subjects) != len(self._by_subject):
            self.subjects = frozenset(self._by_subject)
