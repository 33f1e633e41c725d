"""One step of a deploy: what it would change, its work, and its end if a later step fails."""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

State = Literal["changed", "unchanged", "absent", "off"]


class StepPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a step would do. `note` says why there is nothing to do."""

    state: State
    changes: list[str] = msgspec.field(default_factory=list[str])
    note: str = ""


class StepReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a step did."""

    part: str
    state: State
    changes: list[str] = msgspec.field(default_factory=list[str])
    message: str = ""
    version: int | None = None
    url: str | None = None
    ignored: list[str] = msgspec.field(default_factory=list[str])


class Step(Protocol):
    """A part of the project that is sent to the server."""

    part: str
    version_before: int | None
    """The version that was in service, where there are versions; known after `plan`."""

    async def plan(self) -> StepPlan:
        """Find out what differs from the server. Raises KernelError."""
        ...

    async def apply(self, plan: StepPlan) -> StepReport:
        """Send the part. Raises KernelError; the server then keeps what it had."""
        ...

    async def undo(self) -> str:
        """Put back what the server had before, and return a sentence on that."""
        ...


UNCHANGED = StepPlan(state="unchanged")


def absent(note: str) -> StepPlan:
    """Return the plan of a part that the project does not have."""
    return StepPlan(state="absent", note=note)


def report_without_work(part: str, plan: StepPlan) -> StepReport:
    """Return the report of a step that has nothing to do."""
    return StepReport(part=part, state=plan.state, message=plan.note)
