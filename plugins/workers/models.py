"""Rows of the tables, and bodies of requests."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from kernel.public import WorkerState


class Installation(msgspec.Struct, frozen=True):
    """One installation of an app; a later one of the same name has another key (see `App`)."""

    app_id: str
    key: int

    def __str__(self) -> str:
        """Name its folder and its cgroup."""
        return f"{self.app_id}.{self.key}"


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """A version of an app's code. The account of the app follows from its `number`."""

    app_id: str
    number: int
    key: int
    version: int
    digest: str

    @property
    def app(self) -> Installation:
        """The installation that it is of."""
        return Installation(self.app_id, self.key)


class DesiredState(msgspec.Struct, frozen=True, kw_only=True, rename={"revision": "attempt"}):
    """The row of an app, with the release that should run.

    `revision` numbers the requests of its admins to start, stop or deploy. A higher one clears
    crashes.
    """

    app_id: str
    number: int
    key: int
    version: int | None
    revision: int
    release: Release | None

    @property
    def app(self) -> Installation:
        """The installation that it is of."""
        return Installation(self.app_id, self.key)


class ReplicaRow(msgspec.Struct, frozen=True, kw_only=True):
    """The state of an app's worker in one server process."""

    server_id: str
    app_id: str
    state: WorkerState
    version: int | None


class ShownReplica(msgspec.Struct, frozen=True, kw_only=True):
    """A replica of the worker; `server_id` is the server process that it belongs to."""

    server_id: str
    state: WorkerState
    version: int | None


class ShownVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version that is kept: its archive's bytes and SHA-256, and who deployed it when."""

    version: int
    size: int
    sha256: str
    by: str | None
    at: str
    in_service: bool


class PutBack(msgspec.Struct, frozen=True, kw_only=True):
    """The version to put into service."""

    version: int


class RpcBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of POST …/rpc; `params` is passed on as it is."""

    method: Annotated[str, Meta(extra_json_schema={"minLength": 1, "maxLength": 200})]
    params: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"{}"))
