"""One plugin's implementation of one hook, and its calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from math import inf
from time import perf_counter
from typing import Any, Final

import structlog

from kernel import errors
from kernel.hooks.breaker import Breaker
from kernel.hooks.call_errors import HookBlame, translate
from kernel.hooks.limits import run_limited
from kernel.hooks.statistics import CallStatistics
from kernel.hooks.subjects import matches_any, read_subjects

RAISED: Final = (Exception, SystemExit, KeyboardInterrupt)
"""What fails a call, unless it comes from a signal."""
REMEDIES: Final = {"lifespan": "mark it with @asynccontextmanager"}
"""Remedies for results of the wrong type."""

log = structlog.get_logger("caudex.hooks")


class HookImplementation:
    """See `kernel.contracts.server.Implementation`."""

    __slots__ = ("arguments", "blame", "breaker", "function", "hook", "limit", "plugin", "returns",
                 "statistics", "subjects")  # fmt: skip

    def __init__(
        self, plugin: str, function: Callable[..., Any], arguments: Iterable[str], hook: str = ""
    ) -> None:
        self.plugin = plugin
        self.hook = hook or function.__name__
        self.function = function
        self.arguments = tuple(arguments)
        self.subjects = read_subjects(function)
        self.limit = inf
        """Seconds that an async call may take (`[server] hook_timeout`)."""
        self.returns: Any = object
        """The type of each result that is not None."""
        self.statistics = CallStatistics()
        self.breaker = Breaker()
        self.blame = HookBlame(plugin, self.hook, function)

    @property
    def is_open(self) -> bool:
        """See `Implementation.is_open`."""
        return self.breaker.is_open

    @property
    def patterns(self) -> tuple[str, ...]:
        """See `Implementation.patterns`. Raises what the method of `@subjects_from` raises."""
        if self.subjects.find is None:
            return self.subjects.fixed
        try:
            return tuple(self.subjects.find())
        except Exception as error:
            self.note_failure(error)
            if self.hook != "event_committed":
                raise
            self.blame.report(error)  # of an observer: it never fails the request
            return ()

    def matches(self, subject: str) -> bool:
        """Whether `subject` (`crm.contacts`) matches a pattern of `@for_subjects`."""
        return matches_any(subject, self.patterns)

    def invoke(self, arguments: Mapping[str, Any]) -> Any:
        """See `Implementation.invoke`."""
        began = perf_counter()
        try:
            return self._check(self.function(*map(arguments.__getitem__, self.arguments)))
        except RAISED as error:
            if errors.ends_process(error):
                raise
            failed = self.note_failure(error)
            try:
                if failed is error:
                    raise
                raise failed from error
            finally:
                del failed  # see `errors.forget_frames`
        finally:
            self.statistics.count_call(began)

    async def call(self, arguments: Mapping[str, Any]) -> Any:
        """See `Implementation.call`."""
        began = perf_counter()
        try:
            work = self.function(*map(arguments.__getitem__, self.arguments))
            try:
                waits_for = work.send(None)
            except StopIteration as end:  # it never waits, so it needs no timer
                result = end.value
            else:
                rest = run_limited(work, waits_for, self.limit)
                del waits_for  # it may hold its error: see `errors.forget_frames`
                result = await rest
            result = self._check(result)
        except RAISED as error:
            if errors.ends_process(error):
                raise
            failed = self.note_failure(error)
            try:
                if failed is error:
                    raise
                raise failed from error.__cause__
            finally:
                del failed  # see `errors.forget_frames`
        except asyncio.CancelledError as error:
            if not errors.is_cancelled():
                raise self.note_failure(error) from error
            self.blame.note_wait(error)
            raise
        else:
            self.breaker.failures = 0
            return result
        finally:
            self.statistics.count_call(began)

    async def attempt(self, arguments: Mapping[str, Any]) -> Any:
        """See `Implementation.attempt`."""
        breaker = self.breaker
        if not breaker.lets_through():
            return None
        was_open = breaker.is_open
        breaker.begin_call()
        try:
            return await self.call(arguments)
        finally:
            breaker.end_call()
            if breaker.is_open is not was_open:
                self._report_breaker()

    def note_failure(self, error: BaseException) -> Exception:
        """See `Implementation.note_failure`."""
        translated = translate(error)
        if isinstance(translated, errors.KernelError) and translated.status < 500:
            self.statistics.refusals += 1
            return translated
        blame, place = self.blame.find_responsible(translated)
        self.statistics.count_error(translated, place)
        self.breaker.failures += 1
        blame.mark(translated, place, self.limit)
        return translated

    def locate(self, error: BaseException) -> str:
        """See `Implementation.locate`."""
        return self.blame.locate(error)

    def _report_breaker(self) -> None:
        is_open = self.breaker.is_open
        message = "an observer is skipped" if is_open else "an observer works again"
        fields = self.blame.log_fields()
        last_error = self.statistics.last_error
        log.warning(message, errors=self.breaker.failures, last=last_error, **fields)

    def _check(self, result: Any) -> Any:
        """Return a result of the right type. Raises HookFailed for another one."""
        if result is None or isinstance(result, self.returns):
            return result
        actual = type(result).__name__
        expected = self.returns.__name__
        remedy = REMEDIES.get(self.hook, f"return {expected} or None")
        raise errors.HookFailed(f"{self.hook} returned {actual}, not {expected} or None", remedy)
