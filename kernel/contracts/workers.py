"""Worker processes of apps: code that an app brings, supervised."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from kernel.contracts.apps import App
from kernel.contracts.base import Actor, Limits, ServiceKey
from kernel.contracts.statements import Transaction
from kernel.errors import KernelError, Unavailable

__all__ = [
    "APP_LOGINS", "CALLER_SQL", "WORKERS", "AppLogins", "Caller", "CallerSql", "HandlerFailed",
    "HandlerUnavailable", "LaunchSpec", "Runtime", "WorkerLost", "WorkerState", "WorkerStatus",
    "WorkerStopped", "Workers",
]  # fmt: skip

WorkerState = Literal["starting", "running", "stopping", "stopped", "crashed"]
"""The state of a worker or of one replica."""


class WorkerLost(Exception):
    """The worker crashed or was stopped before it answered: the outcome is unknown."""


class WorkerStopped(WorkerLost):
    """It was stopped or replaced on purpose, so its work is not the cause."""


class HandlerFailed(KernelError):
    """A handler of an app raised; the message is the app's own, secrets masked."""

    status = 500


class HandlerUnavailable(Unavailable):
    """A handler ended because something that it needs was unavailable, such as the database.

    It may have changed something before.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message, retry_after=None)


class Caller(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The user for whom a worker is called. The token is valid as long as the call may run, and
    empty if the delegation has ended (see `kernel.contracts.base.Delegation`). Workers do not get
    to know the `limits` of what the user's request came with; their operations have them."""

    user_id: str
    username: str
    email: str | None = None
    auth_token: str = ""
    limits: Limits | msgspec.UnsetType = msgspec.UNSET


class WorkerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The worst of the replicas' states, with the limits that apply.

    `replicas` is the number of processes that run, `version` the number of the deploy.
    """

    app_id: str
    status: WorkerState
    replicas: int = 0
    version: int | None = None
    sandbox: dict[str, Any] = {}


class LaunchSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How to start a worker: an argument list, and environment variables beside the usual ones."""

    argv: tuple[str, ...]
    environment: Mapping[str, str] = {}


class Runtime(Protocol):
    """A language that workers are written in; plugins register more (`register_runtimes`)."""

    @property
    def name(self) -> str:
        """Shown in the status: `python`, `javascript`."""
        ...

    def entry(self, folder: Path) -> Path | None:
        """The entry file of unpacked code that is this runtime's, or None."""
        ...

    def installs(self, folder: Path) -> Sequence[Sequence[str]]:
        """Alternative commands that install the dependencies, run inside the folder.

        If one fails, the next one is run. Without a command there is nothing to install.
        """
        ...

    def launch(self, folder: Path, entry: Path) -> LaunchSpec:
        """How to start it. Raises BadRequest if this machine cannot."""
        ...


class Workers(Protocol):
    """Deploys, supervises and calls workers. Raises NotFound for an unknown app."""

    async def deploy(self, actor: Actor, app_id: str, archive: Path) -> int:
        """Put new code into service and return its version; on failure the old one stays.

        Raises BadRequest with the last lines of the tool or of the worker.
        """
        ...

    async def start(self, actor: Actor, app_id: str) -> None:
        """Start on every server process. Raises NotFound when nothing was ever deployed."""
        ...

    async def stop(self, actor: Actor, app_id: str) -> None:
        """Stop on every server process."""
        ...

    async def status(self, app_id: str) -> WorkerStatus:
        """The state over all server processes."""
        ...

    async def rpc(self, app_id: str, method: str, params: bytes, caller: Caller) -> bytes:
        """Call a method of the replica of this process; params and result are JSON.

        Raises HandlerFailed, HandlerUnavailable, NotFound (unknown method), Unavailable (not
        running).
        """
        ...

    async def run_job(
        self,
        app_id: str,
        job_id: str,
        payload: bytes,
        caller: Caller | None,
        progress: Callable[[bytes], Awaitable[None]],
    ) -> bytes:
        """Run a job on the replica of this process and return its JSON result.

        Raises HandlerFailed (a failure of the job), HandlerUnavailable (no failure: run it again
        later), WorkerLost (a lost delivery), WorkerStopped (a delivery lost on purpose),
        Unavailable (not started).
        """
        ...

    async def cancel_job(self, app_id: str, job_id: str) -> None:
        """Notify the worker that a job is cancelled."""
        ...

    async def restart(self, app_id: str) -> None:
        """Replace the process of a running worker on this server.

        It is for a job that does not end, and for what a failover has cut off.
        """
        ...

    async def refresh(self, app_id: str) -> None:
        """Restart a running worker of this server if its environment (`worker_environment`) has
        changed. Raises KernelError."""
        ...

    def running(self) -> Sequence[str]:
        """Apps with a worker that runs in this server process."""
        ...

    def on_change(self, callback: Callable[[str, WorkerState], Awaitable[None]]) -> None:
        """Call `callback(app, state)` when a worker of this server process changes state."""
        ...


WORKERS = ServiceKey[Workers]("workers")


class AppLogins(Protocol):
    """Makes a database login for each app that has a worker, limited to the app's tables.

    Ends sessions that hold too much.
    """

    async def url(self, app: App) -> str | None:
        """Return the connection string of an app's login; None without a login, or while it is
        shut.

        Raises Unavailable when an install of the app takes long.
        """
        ...

    async def reopen(self, tx: Transaction, app_id: str) -> None:
        """Let the login of an app in again, if it was shut."""
        ...

    async def notes(self, app_id: str) -> Sequence[str]:
        """Return why the worker of an app cannot use the database, for its status."""
        ...

    def on_exhausted(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Call `callback` when the database has no room for locks, so that workers must end."""
        ...


APP_LOGINS = ServiceKey[AppLogins]("app_logins")


class CallerSql(Protocol):
    """Runs SQL of an app's worker, with the rights of a caller and no others."""

    async def query(self, actor: Actor, app: App, statement: str, values: Sequence[Any]) -> bytes:
        """Return the rows of one statement as a JSON array of objects.

        `values` are those of `$1`, `$2` ...: JSON, where an array becomes one of PostgreSQL. Each
        entity that the caller may read is a table of its name. What the statement writes is written
        by RECORDS, and returned. Raises what RECORDS does, BadRequest, Unavailable.
        """
        ...


CALLER_SQL = ServiceKey[CallerSql]("caller_sql")
