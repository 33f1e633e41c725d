"""Rows of the tables, and bodies of requests."""

from __future__ import annotations

import msgspec

from kernel.public import WorkerState


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """A version of an app's code.

    The account of the app follows from its `number`. `key` is the app's key (see `App`).
    """

    app_id: str
    number: int
    key: int = 0
    version: int
    digest: str

    @property
    def folder(self) -> str:
        """Name of its folder, which no other code has."""
        return f"{self.version}-{self.digest[:12]}"


class DesiredState(msgspec.Struct, frozen=True, kw_only=True):
    """The row of an app. A higher `attempt` clears earlier crashes."""

    app_id: str
    number: int
    key: int = 0
    version: int | None
    digest: str | None
    wanted: bool
    attempt: int

    @property
    def release(self) -> Release | None:
        """The version that should run, or None."""
        if not self.wanted or self.version is None or self.digest is None:
            return None
        return Release(
            app_id=self.app_id,
            number=self.number,
            key=self.key,
            version=self.version,
            digest=self.digest,
        )


class ReplicaRow(msgspec.Struct, frozen=True, kw_only=True):
    """The state of an app's worker in one server process."""

    server_id: str
    app_id: str
    state: WorkerState
    version: int | None


class RpcBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of POST …/rpc; `params` is passed on as it is."""

    method: str
    params: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"{}"))
