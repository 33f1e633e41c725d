"""Errors that several parts raise; an error of one part is in the module of that part.

KernelError            what a caller did or met, with an HTTP status
├── BadRequest         400
│   └── ConstraintViolation   a constraint of the database, with PostgreSQL's names for it
├── Unauthenticated    401
├── Forbidden          403
├── NotFound           404
├── MethodNotAllowed   405
├── TooLarge           413
├── Throttled          429
└── Unavailable        503
    ├── SchemaChanged  a table or column of a compiled statement is gone
    └── HookTimeout    a plugin's hook took too long
PluginFailed           a plugin is wrong: a 500, never the caller's fault
├── HookFailed         a hook returned what it must not, or its statement failed
├── NoReply            a handler returned something else than a reply
├── StatementFailed    a statement names what does not exist
└── TransactionFailed  a transaction is used after a statement of it failed
Ended                  a signal ends the process
BootError              why a server does not start: where, what, and what to do
└── BootErrors         all of them at once
"""

from __future__ import annotations

import asyncio
import difflib
import heapq
import inspect
import signal
import threading
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Self, cast

import structlog

from kernel.errors.source_lines import raised_at

__all__ = [
    "FIX_PLUGIN", "BadRequest", "BootError", "BootErrors", "ConnectionLost", "ConstraintViolation",
    "Forbidden", "HookFailed", "HookTimeout", "KernelError", "MethodNotAllowed", "NotFound",
    "OutcomeUnknown", "PluginFailed", "SchemaChanged", "StatementFailed", "Throttled", "TooLarge",
    "TransactionFailed", "Unauthenticated", "Unavailable", "failure", "forget_frames", "nearest",
    "remedy_of",
]  # fmt: skip
"""The names that plugins may use."""

EX_CONFIG = 78
"""Exit status after a mistake in the configuration (sysexits.h)."""
FIX_PLUGIN = "fix the plugin, or disable it (enabled = false)"
"""The remedy where a plugin fails while the server runs."""
NOT_TO_END = "raise an error: a plugin cannot end the server"
"""The remedy for sys.exit and the like."""
MAX_WORD = 100
MAX_COMPARED = 1000
MAX_MATCHED = 20
SIMILAR = 0.6
"""Bounds of the search for a similar word, and how similar it is: a caller may send megabytes, and
a manifest may have hundreds of fields."""
REMEDY = 'fix it, disable it (enabled = false), or start without it (on_failure = "degrade")'


log = structlog.get_logger("caudex.boot")


class KernelError(Exception):
    """A request that cannot be served; its message is one sentence for the caller.

    `status` is that of the reply.
    """

    status: ClassVar[int] = 500
    members: Mapping[str, Any] = {}
    """Members of the reply beside `error`."""

    def __init__(self, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.headers = dict(headers or {})
        self.caller: tuple[str | None, str | None] = None, None

    def with_caller(self, user: str | None, session: str | None = None) -> Self:
        """Name the caller by the ids of user and session, for the log.

        Needed where the caller is known, but the request has no actor.
        """
        self.caller = user, session
        return self


class BadRequest(KernelError):
    """The input breaks a rule."""

    status = 400


class ConstraintViolation(BadRequest):
    """A write breaks a constraint of the database; attributes are PostgreSQL's own names."""

    def __init__(
        self, message: str, *, sqlstate: str, table: str, column: str, constraint: str
    ) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.table = table
        self.column = column
        self.constraint = constraint


class Unauthenticated(KernelError):
    """The identity is missing or invalid."""

    status = 401

    def __init__(self, message: str = "a valid bearer token is required") -> None:
        super().__init__(message, headers={"www-authenticate": "Bearer"})


class Forbidden(KernelError):
    """The caller is known and may not do this."""

    status = 403


class NotFound(KernelError):
    """It does not exist, or this caller may not learn that it does."""

    status = 404


class MethodNotAllowed(KernelError):
    """The path exists, but not with this method."""

    status = 405


class TooLarge(KernelError):
    """The body is over the limit of its route."""

    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"the request body is over the limit of {limit} bytes")


class Throttled(KernelError):
    """Too many attempts; `retry_after` is in whole seconds."""

    status = 429

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message, headers={"retry-after": str(max(1, retry_after))})


class Unavailable(KernelError):
    """Something that the request needs is not available at the moment."""

    status = 503

    def __init__(self, message: str, *, retry_after: int | None = 1) -> None:
        later = {"retry-after": str(retry_after)} if retry_after else {}
        super().__init__(message, headers=later)


class ConnectionLost(Unavailable):
    """The connection broke during a statement, which changed nothing unless this is an
    `OutcomeUnknown`."""


class OutcomeUnknown(ConnectionLost):
    """The connection broke during a write or a commit that may be applied: a retry could repeat
    it."""

    def __init__(self) -> None:
        message = "the connection to the database broke: the change may have been made; "
        super().__init__(message + "look before you repeat it", retry_after=None)


class SchemaChanged(Unavailable):
    """A compiled statement is outdated: refresh the catalog and try once more."""


class HookTimeout(Unavailable):
    """A hook took longer than `[server] hook_timeout` and was cancelled. A transaction around it is
    rolled back."""

    def __init__(self, message: str, remedy: str = FIX_PLUGIN) -> None:
        super().__init__(message)
        self.remedy = remedy


class PluginFailed(Exception):
    """A plugin is wrong. The caller gets `status` 500; the log has the place and the `remedy`."""

    status: ClassVar[int] = 500
    remedy: str = FIX_PLUGIN
    where: str = ""
    """The place, `file:line`, where the traceback does not lead to it."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy or self.remedy


class HookFailed(PluginFailed):
    """A plugin's hook returned an invalid result, or its statement failed; `status` is 500."""


class StatementFailed(PluginFailed):
    """A statement of literal text is wrong: it names what does not exist, or has other parameters
    than it was given. Another try would fail as well."""

    def __init__(self, message: str, *, sqlstate: str, hint: str = "") -> None:
        super().__init__(message, f"correct the statement{f': {hint}' if hint else ''}")
        self.sqlstate = sqlstate


class TransactionFailed(PluginFailed, RuntimeError):
    """A transaction is used in a way that it cannot be; `remedy` says what to write instead.

    `steps` led to the statement that is to be changed.
    """

    def __init__(self, message: str, remedy: str, steps: Sequence[Any]) -> None:
        super().__init__(message, remedy)
        self.steps = steps


class Ended(SystemExit):
    """A signal ends the process: no plugin has called sys.exit."""


class BootError(Exception):
    """The reason why a server does not start, in one line that says what to do about it."""

    def __init__(self, where: str, problem: str, remedy: str = "") -> None:
        self.where = where
        self.problem = problem
        self.remedy = remedy
        self.errors: Sequence[BootError] = (self,)
        """This error alone, or those that are shown together."""
        self.plugin = ""
        """The plugin at fault, or an empty text."""
        if where.startswith("plugin "):
            self.plugin = where.removeprefix("plugin ").split(",")[0]
        message = f"{where}: {problem}"
        super().__init__(f"{message}; {remedy}" if remedy else message)


class BootErrors(BootError):
    """All reasons why a server does not start, shown together."""

    def __init__(self, errors: Sequence[BootError]) -> None:
        message = "\n".join(str(error) for error in errors)
        self.where = ", ".join(dict.fromkeys(error.where for error in errors))
        self.problem = message
        self.remedy = ""
        self.errors = list(errors)
        self.plugin = ""
        Exception.__init__(self, message)


def raise_all(errors: Sequence[BootError]) -> None:
    """Raise BootErrors if there are any."""
    if errors:
        raise BootErrors(errors)


class NoReply(PluginFailed):
    """A handler returned something else than a Response, such as a dict without `reply`."""

    def __init__(self, route: str, result: object, where: str) -> None:
        remedy = "await it" if inspect.iscoroutine(result) else "return reply(...)"
        super().__init__(f"the handler of {route} returned {type(result).__name__}", remedy)
        self.where = where


def is_of_statement(error: BaseException) -> bool:
    """Whether PostgreSQL refused a statement, and no code has dealt with that yet."""
    cause = error.__cause__
    return hasattr(cause, "sqlstate") and not isinstance(cause, KernelError)


def ends_process(error: BaseException) -> bool:
    """Whether an error comes from a signal: no code of a plugin has raised it.

    While it serves, a server handles Ctrl-C in its event loop, so KeyboardInterrupt is a plugin's.
    """
    is_main = threading.current_thread() is threading.main_thread()
    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    is_interrupt = isinstance(error, KeyboardInterrupt) and is_main and is_default
    return isinstance(error, Ended) or is_interrupt


def is_cancelled() -> bool:
    """Whether the task that runs is being cancelled: its CancelledError is no mistake."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def remedy_of(error: BaseException) -> str:
    """Return what the author of a plugin that raised an error should do."""
    if isinstance(error, SystemExit | KeyboardInterrupt):
        return NOT_TO_END
    if isinstance(error, asyncio.CancelledError):
        return "catch CancelledError where you await a task that you cancel"
    return getattr(error, "remedy", FIX_PLUGIN)


@contextmanager
def starting(where: str, place: str = "") -> Generator[None]:
    """Raise BootError in one line for what fails inside; an unexpected error is logged too.

    `place` is that of the plugin's code, for an error without a frame of it.
    """
    try:
        with unwrapped():
            yield
    except BootError:
        raise
    except KernelError as error:
        raise BootError(where, error.message) from error
    except (Exception, SystemExit) as error:
        if ends_process(error):
            raise
        log.error("the start failed", where=where, exc_info=error)
        problem = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        if not where.startswith("plugin "):
            raise BootError(where, f"it failed to start: {problem}", "see the log") from error
        at = raised_at(error) or place
        if at:
            where = f"{where}, {at}"
        remedy = remedy_of(error)
        if remedy == FIX_PLUGIN:
            remedy = REMEDY
        raise BootError(where, f"it failed to start: {problem}", remedy) from error


@contextmanager
def unwrapped() -> Generator[None]:
    """Raise an error that passed through task groups as itself, and a BootError before others."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise _find_innermost(group) from None


def _find_innermost(error: BaseException) -> BaseException:
    if not isinstance(error, BaseExceptionGroup):
        return error
    group = cast("BaseExceptionGroup[BaseException]", error)
    boot_errors = group.subgroup(BootError)
    if boot_errors is not None:
        return _find_innermost(boot_errors.exceptions[0])
    if len(group.exceptions) == 1:
        return _find_innermost(group.exceptions[0])
    return group


def failure(error: BaseException) -> dict[str, Any]:
    """Return an error as log fields, `log.warning("cannot sweep", **failure(error))`.

    The traceback is included for unexpected errors: neither KernelError nor OSError.
    """
    fields: dict[str, Any] = {"error": f"{type(error).__name__}: {error}"}
    if not isinstance(error, KernelError | OSError):
        fields["exc_info"] = error
    return fields


def forget_frames(error: BaseException) -> None:
    """Drop the tracebacks of a handled error, and of those that led to it.

    The frames of a traceback hold what they worked with, such as the body of a request. Where one
    of them holds the error as well, in a local variable or a future, only the garbage collector
    frees them, and that runs rarely.
    """
    stack: list[BaseException | None] = [error]
    visited = set[int]()
    while stack:
        current = stack.pop()
        if current is None or id(current) in visited:
            continue
        visited.add(id(current))
        current.__traceback__ = None
        stack += [current.__cause__, current.__context__]
        if isinstance(current, BaseExceptionGroup):
            stack += cast("BaseExceptionGroup[BaseException]", current).exceptions


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known word that was probably meant, as a clause of an error message, or ''.

    It compares the first 1000 words in their order, and 100 characters of each.
    """
    options = heapq.nsmallest(MAX_COMPARED, known)
    matcher = difflib.SequenceMatcher(b=word[:MAX_WORD])
    similar = list[tuple[float, str]]()
    for option in options:
        matcher.set_seq1(option[:MAX_WORD])
        if matcher.real_quick_ratio() >= SIMILAR and matcher.quick_ratio() >= SIMILAR:
            similar.append((matcher.quick_ratio(), option))
    best = (0.0, "")
    # The exact ratio takes a hundred times as long for words of few different letters.
    for _, option in heapq.nlargest(MAX_MATCHED, similar):
        matcher.set_seq1(option[:MAX_WORD])
        best = max(best, (matcher.ratio(), option))
    if best[0] >= SIMILAR:
        return f"did you mean {best[1]!r}?"
    return f"known: {', '.join(option[:MAX_WORD] for option in options)}" if options else ""
