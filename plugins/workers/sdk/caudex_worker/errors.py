"""What goes wrong with records."""

from __future__ import annotations

from typing import Any


class CollectionError(Exception):
    """The server refused an operation on records; the message is its own."""

    status: int | None = None
    """The status that a route would have answered with: 400, 403, 404, 412 ..."""
    current: dict[str, Any] | None = None
    """With the status 412: the record as it is now, where the caller may read it."""


class Unavailable(CollectionError):
    """The database was away. A job whose handler ends with it is run again later, which is no
    failure; a call is answered by 503. Handlers may raise it themselves."""

    unchanged = False
    """Whether the operation certainly had no effect."""


class ChangesLost(CollectionError):
    """Changes since the position of a reader are not available. Read the records, and then go on
    behind them: `changes(name, since=error.position)`."""

    def __init__(self, reason: str, position: str) -> None:
        """`reason` is such as "too old"; from `position` on changes are available."""
        super().__init__(f"changes are lost: {reason}")
        self.reason = reason
        self.position = position


def is_unavailable(error: BaseException) -> bool:
    """Whether it is an Unavailable, or a group of nothing else."""
    group: tuple[BaseException, ...] = getattr(error, "exceptions", ())
    return isinstance(error, Unavailable) or (bool(group) and all(map(is_unavailable, group)))
