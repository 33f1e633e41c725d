"""The call or job that a handler serves."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Protocol

from .handlers import Handler
from .log import Log
from .records import Collection, Connection, send_statement


class WorkerConnection(Connection, Protocol):
    """What a context asks of the worker."""

    app_id: str
    runtime_url: str
    database_url: str | None
    credentials: dict[str, str]

    def log_of(self, call_id: str | None) -> Log:
        """Return the log of a call or job."""
        ...

    def say(self, message: dict[str, Any]) -> None:
        """Send a message to the server."""
        ...

    def emit(self, name: str, data: object = None) -> None:
        """Report an event."""
        ...


class Context:
    """The call or job that a handler serves."""

    # Most handlers read few of these, so each is made when it is read for the first time.

    cancelled = False
    """Whether the job was cancelled; a long job should check it now and then."""
    blocking = False

    def __init__(
        self,
        worker: WorkerConnection,
        call_id: str | None,
        caller: dict[str, Any] | None,
        request_id: str | None = None,
    ) -> None:
        self._worker = worker
        self.call_id = call_id
        self.caller = caller
        """`{"userId", "username", "email", "authToken"}`, or None for a job without a caller."""
        self.request_id = request_id or call_id
        """The id of the request or job; rows of the audit trail and links of the log name it."""

    @cached_property
    def app_id(self) -> str:
        """The id of the app."""
        return self._worker.app_id

    @cached_property
    def runtime_url(self) -> str:
        """Where the server's API answers."""
        return self._worker.runtime_url

    @cached_property
    def database_url(self) -> str | None:
        """A login for the app's own tables, where the server gives one."""
        return self._worker.database_url

    @cached_property
    def credentials(self) -> dict[str, str]:
        """The secrets of the platform and the app."""
        return self._worker.credentials

    @cached_property
    def log(self) -> Log:
        """The app's log; its lines are found by the request or job."""
        return self._worker.log_of(self.call_id)

    @cached_property
    def user_id(self) -> str | None:
        """The id of the caller."""
        return self._read_caller("userId")

    @cached_property
    def username(self) -> str | None:
        """The name of the caller."""
        return self._read_caller("username")

    @cached_property
    def email(self) -> str | None:
        """The address of the caller."""
        return self._read_caller("email")

    @cached_property
    def auth_token(self) -> str | None:
        """A bearer token that is valid for as long as the call or job may run; empty in a job that
        runs over a week after the user's last action."""
        return self._read_caller("authToken")

    def _read_caller(self, name: str) -> str | None:
        return None if self.caller is None else self.caller.get(name)

    def progress(self, value: object) -> None:
        """Report the progress of a job: 0.4, or any JSON."""
        self._worker.say({"type": "job_progress", "id": self.call_id, "value": value})

    def emit(self, name: str, data: object = None) -> None:
        """Report an event."""
        self._worker.emit(name, data)

    def collection(self, entity: str) -> Collection:
        """Records, with the rights of the caller."""
        return Collection(self._worker, entity, self.call_id, blocking=self.blocking)

    def sql(self, query: str, values: list[Any] | None = None) -> Any:
        """Run one statement with the rights of the caller, and return its rows as dictionaries.
        Awaited in an `async def`.

            rows = ctx.sql("select stage, sum(value) from deals where value > $1 group by 1", [100])

        Each entity is a table of its name, with the records and fields that the caller may read.
        `values` are those of `$1`, `$2` ...: a list becomes an array, a dictionary JSON. At most
        10,000 rows and 8 MB. `insert`, `update` and `delete` return what they wrote, as
        `Collection.batch` does it: 1000 records at most. Raises CollectionError.
        """
        return send_statement(self._worker, query, values, self.call_id, blocking=self.blocking)


Work = tuple[str, Handler, tuple[Any, ...], Context]
"""The type of an outcome, and what makes it: a handler, its arguments, and its context."""
