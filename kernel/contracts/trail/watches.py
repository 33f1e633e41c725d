"""Watches: what changes of records mean for one caller, judged by the conditions of a list."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

from kernel.contracts.base import Actor, ServiceKey
from kernel.contracts.trail.changes import CommittedChange

__all__ = ["WATCHES", "Verdict", "Watch", "WatchEnd", "Watched", "Watches"]

WatchEnd = Literal["role", "entity changed", "app removed"]
"""Why a watch is out of date: what its caller may read is another thing, or the entity is."""


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller watches: the records of an entity that match `where`, a tree as in a query.

    `fields` are shown of each; None shows all that the caller may read. With `former` a verdict
    has the former values, too.
    """

    app_id: str
    entity: str
    where: Mapping[str, Any] | None = None
    fields: Sequence[str] | None = None
    former: bool = False


class Verdict(msgspec.Struct, frozen=True):
    """What a change is for the caller of a watch.

    *enter*: the record is in scope after the change and was not before. *change*: it is in scope
    before and after, and a shown field differs. *leave*: it was in scope, and is no more.
    *unknown*: a value that nothing holds any more would decide.

    `record` is what a GET shows the caller, as JSON; None for *leave*. `former` has the former
    values of the shown fields that changed, all of them after a delete, where the watch asked for
    it. `truncated` names the fields that show `length` and `sha256` instead of a value over 1 MB.
    """

    event: Literal["enter", "change", "leave", "unknown"]
    record: bytes | None = None
    former: bytes | None = None
    truncated: tuple[str, ...] = ()


class Watch(Protocol):
    """The compiled conditions of one caller: grant, `record_scope`, `where`."""

    @property
    def watched(self) -> Watched:
        """What is watched."""
        ...

    @property
    def app_key(self) -> int:
        """The installation of the app (`App.key`)."""
        ...

    @property
    def key(self) -> Hashable:
        """Equal for watches whose verdicts are equal, also of different callers."""
        ...

    async def judge(self, changes: Sequence[CommittedChange]) -> list[Verdict | None]:
        """Judge changes of the entity, one verdict for each; None where it means nothing.

        One statement judges them all, in parts of bounded size. A value that a change has replaced
        is not looked for here: see `Changes.fill`. Raises Unavailable.
        """
        ...

    async def find_end(self, actor: Actor | None = None) -> WatchEnd | None:
        """Return why the watch is out of date, None where it would be compiled again as it is.

        `actor` is the caller as it was authenticated last. It is decided from memory.
        """
        ...


class Watches(Protocol):
    """Compiles watches. Both methods raise what a list would: Forbidden, NotFound, BadRequest.

    `$has`, `$some`, `$none` and paths to linked records are no conditions of a watch: changes of
    other records are no event of it.
    """

    async def open(self, actor: Actor, watched: Watched) -> Watch:
        """Watch as a caller; the permission to read is asked for here."""
        ...

    async def open_as_role(self, role: str, watched: Watched) -> Watch:
        """Watch as one who has a role of the app, and created no record.

        Hooks get an actor that is no account: its id is made from the app and the role.
        """
        ...


WATCHES = ServiceKey[Watches]("watches")
