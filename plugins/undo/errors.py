"""Errors of the plugin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from kernel.public import KernelError

from .models import Conflict, Undone


class UndoRefused(KernelError):
    """Some records cannot be put back, so none was."""

    status: ClassVar[int] = 412

    def __init__(self, conflicts: Sequence[Conflict]) -> None:
        count = len(conflicts)
        records = "record" if count == 1 else "records"
        super().__init__(f"{count} {records} cannot be put back: nothing was undone")
        self.members = {"conflicts": conflicts}


class DryRun(Exception):
    """Everything was tried. Raised to roll it back."""

    def __init__(self, undone: Undone) -> None:
        super().__init__()
        self.undone = undone
