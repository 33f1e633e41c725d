"""Every error that the kernel raises on purpose.

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
HookFailed             a plugin's hook is wrong: a 500, never the caller's fault
BootError              why a server does not start: where, what, and what to do
└── BootErrors         all of them at once
"""

from __future__ import annotations

import difflib
import heapq
import traceback
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import structlog

__all__ = [
    "BadRequest", "BootError", "BootErrors", "ConstraintViolation", "Forbidden", "HookFailed",
    "HookTimeout", "KernelError", "MethodNotAllowed", "NotFound", "SchemaChanged", "Throttled",
    "TooLarge", "Unauthenticated", "Unavailable", "failure", "forget_frames", "nearest",
]  # fmt: skip
"""The names that plugins may use."""

EX_CONFIG = 78
"""Exit status after a mistake in the configuration (sysexits.h)."""
NOT_OWN = (str(Path(__file__).parent), "importlib", "contextlib.py", "functools.py")
"""Files between the kernel and the code of a plugin in a traceback."""
FIX_PLUGIN = "fix the plugin, or disable it (enabled = false)"
"""The remedy where a plugin fails while the server runs."""
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

    def of(self, user: str | None, session: str | None = None) -> Self:
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


class SchemaChanged(Unavailable):
    """A compiled statement is outdated: refresh the catalog and try once more."""


class HookTimeout(Unavailable):
    """A hook took longer than `[server] hook_timeout` and was cancelled. A transaction around it is
    rolled back."""


class HookFailed(Exception):
    """A plugin's hook returned an invalid result, or its statement failed; `status` is 500."""

    status: ClassVar[int] = 500


class BootError(Exception):
    """The reason why a server does not start, in one line that says what to do about it."""

    def __init__(self, where: str, problem: str, remedy: str = "") -> None:
        self.where = where
        self.problem = problem
        self.remedy = remedy
        self.errors: Sequence[BootError] = (self,)
        """This error alone, or those that are shown together."""
        self.plugin = where.removeprefix("plugin ").split(",")[0] if where[:7] == "plugin " else ""
        """The plugin at fault, or an empty text."""
        super().__init__(f"{where}: {problem}" + (f"; {remedy}" if remedy else ""))


class BootErrors(BootError):
    """All reasons why a server does not start, shown together."""

    def __init__(self, errors: Sequence[BootError]) -> None:
        self.errors, self.plugin = list(errors), ""
        Exception.__init__(self, "\n".join(str(error) for error in errors))


def raise_all(errors: Sequence[BootError]) -> None:
    """Raise BootErrors if there are any."""
    if errors:
        raise BootErrors(errors)


def raised_at(error: BaseException) -> str:
    """Return where a plugin's own code raised, as `file:line`, or ''.

    This is the last frame in the folder of the first frame outside of the kernel: neither the
    kernel's call nor the inside of a library that the plugin uses.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    steps = [(f.f_code.co_filename, line) for f, line in traceback.walk_tb(error.__traceback__)]
    steps = [step for step in steps if not any(part in step[0] for part in NOT_OWN)]
    home = steps[0][0].rpartition("/")[0] if steps else ""  # empty for a relative path
    own = [f"{file}:{line}" for file, line in steps if file.startswith(home)]
    return own[-1] if own else ""


class NoReply(TypeError):
    """A handler returned something else than a Response, such as a dict without `reply`."""

    status: ClassVar[int] = 500

    def __init__(self, what: str, given: object, where: str) -> None:
        super().__init__(f"the handler of {what} returned {type(given).__name__}")
        self.where = where


def plugin_at_fault(
    error: BaseException, homes: Mapping[str, str], plugin: str | None = None
) -> dict[str, str]:
    """Return the log fields `plugin`, `where` and `remedy` of the plugin that raised, or {}.

    `homes` maps packages to plugins. Of several plugins in the traceback, `plugin` is named, or
    the one that was called last.
    """
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    if isinstance(error, NoReply) and plugin:  # its frame has returned
        return {"plugin": plugin, "where": error.where, "remedy": "return reply(...)"}
    met: list[tuple[str, str]] = []
    for frame, line in traceback.walk_tb(error.__traceback__):
        owner = owner_of(str(frame.f_globals.get("__name__", "")), homes)
        met += [(owner, f"{frame.f_code.co_filename}:{line}")] if owner else []
    if raised_by := getattr(error, "raised_by", ""):  # its hook failed
        met = [step for step in met if step[0] == raised_by] or [(raised_by, "")]
    own = [step for step in met if step[0] == plugin] or met
    return {"plugin": own[-1][0], "where": own[-1][1], "remedy": FIX_PLUGIN} if own else {}


def owner_of(module: str, homes: Mapping[str, str]) -> str:
    """Return the plugin of a module or of one of its packages, or ''."""
    while module and module not in homes:
        module = module.rpartition(".")[0]
    return homes.get(module, "")


@contextmanager
def starting(where: str) -> Generator[None]:
    """Raise BootError in one line for what fails inside; an unexpected error is logged too."""
    try:
        with unwrapped():
            yield
    except BootError:
        raise
    except KernelError as error:
        raise BootError(where, error.message) from error
    except Exception as error:
        log.error("the start failed", where=where, exc_info=error)
        said = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        if not where.startswith("plugin "):
            raise BootError(where, f"it failed to start: {said}", "see the log") from error
        where = f"{where}, {place}" if (place := raised_at(error)) else where
        raise BootError(where, f"it failed to start: {said}", REMEDY) from error


@contextmanager
def unwrapped() -> Generator[None]:
    """Raise an error that passed through task groups as itself, and a BootError before others."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise _innermost(group) from None


def _innermost(error: BaseException) -> BaseException:
    if not isinstance(error, BaseExceptionGroup):
        return error
    group = cast("BaseExceptionGroup[BaseException]", error)
    boot = group.subgroup(BootError)
    alone = boot is not None or len(group.exceptions) == 1
    return _innermost((boot or group).exceptions[0]) if alone else group


def failure(error: BaseException) -> dict[str, Any]:
    """Return an error as log fields, `log.warning("cannot sweep", **failure(error))`.

    The traceback is included for unexpected errors: neither KernelError nor OSError.
    """
    said = {"error": f"{type(error).__name__}: {error}"}
    return said if isinstance(error, KernelError | OSError) else {**said, "exc_info": error}


def forget_frames(error: BaseException) -> None:
    """Drop the tracebacks of a handled error, and of those that led to it.

    The frames of a traceback hold what they worked with, such as the body of a request. Where one
    of them holds the error as well, in a local variable or a future, only the garbage collector
    frees them, and that runs rarely.
    """
    left: list[BaseException | None] = [error]
    dropped = set[int]()
    while left:
        each = left.pop()
        if each is None or id(each) in dropped:
            continue
        dropped.add(id(each))
        each.__traceback__ = None
        left += [each.__cause__, each.__context__]
        if isinstance(each, BaseExceptionGroup):
            left += cast("BaseExceptionGroup[BaseException]", each).exceptions


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
