"""What the tables hold, and what comes over HTTP."""

from __future__ import annotations

import msgspec

from kernel.public import WorkerState


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """Code that was deployed. `number` is the app's: its uid and its database login follow. `key`
    is the app's as well (see `App`): a later app of the same name has another one."""

    app_id: str
    number: int
    key: int = 0
    version: int
    digest: str

    @property
    def folder(self) -> str:
        """Name of its folder: never that of other code, even after an uninstall."""
        return f"{self.version}-{self.digest[:12]}"


class DesiredState(msgspec.Struct, frozen=True, kw_only=True):
    """The row of an app. A higher `attempt` clears what is known of earlier crashes."""

    app_id: str
    number: int
    key: int = 0
    version: int | None
    digest: str | None
    wanted: bool
    attempt: int

    @property
    def release(self) -> Release | None:
        """What should run, or None."""
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


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """An app's row, if it was ever deployed, and its replicas that gave a sign of life."""

    app: DesiredState | None
    replicas: list[ReplicaRow]


class RpcBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of POST …/rpc; `params` is handed on as it stands."""

    method: str
    params: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"{}"))
