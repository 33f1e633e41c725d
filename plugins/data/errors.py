"""Errors of the plugin."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from kernel.public import KernelError


class PreconditionFailed(KernelError):
    """A record has changed since the caller read it; the reply shows the `current` record.

    Without `current` where the caller may not read it.
    """

    status: ClassVar[int] = 412

    def __init__(self, record_id: str, current: bytes | None) -> None:
        super().__init__(f"record '{record_id}' has changed since it was read")
        self.members = {} if current is None else {"current": msgspec.Raw(current)}


class KeysTaken(Exception):
    """Others created records with the keys of an upsert after it had looked for them.

    Raised to roll it back: from the start it meets them, in the order that all writes keep.
    """
