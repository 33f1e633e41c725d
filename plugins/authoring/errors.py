"""What the commands refuse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kernel.public import BadRequest, KernelError


class ServerRefused(KernelError):
    """A server refused a request; the message and the other members are its own."""

    def __init__(self, message: str, status: int, members: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.code = status
        self.members = members


class ServerAway(KernelError):
    """No server answers, or the connection to it broke."""


class OutcomeUnknown(ServerAway):
    """The connection broke during a write, which may have happened."""


class NotSignedIn(KernelError):
    """There is no sign-in for a server, or it has ended."""


class ProjectMistake(BadRequest):
    """A file of the project is wrong."""


class DeployRefused(KernelError):
    """A step of a deploy failed, and the earlier ones were undone."""
