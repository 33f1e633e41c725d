"""Errors of hooks: what is raised in their place, and which code is to be blamed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import structlog

from kernel import errors
from kernel.errors import FIX_PLUGIN
from kernel.errors.source_lines import source_line, steps_of
from kernel.hooks.fault_finder import is_within

log = structlog.get_logger("caudex.hooks")


class HookBlame:
    """Names the plugin, the hook and the place of an error of one implementation."""

    __slots__ = ("_function", "hook", "plugin")

    def __init__(self, plugin: str, hook: str, function: Callable[..., Any]) -> None:
        self.plugin = plugin
        self.hook = hook
        self._function = function

    def locate(self, error: BaseException) -> str:
        """Return the source location of an error within the plugin, or of the implementation."""
        if isinstance(error, errors.HookTimeout):
            error = error.__context__ or error  # where it waited
        home = self._find_home()
        places = [step.at for step in steps_of(error) if is_within(step.module, home)]
        return places[-1] if places else source_line(self._function)

    def note_wait(self, error: BaseException) -> None:
        """Note where a call waited that is cancelled, unless a hook that it led to has done so."""
        if not hasattr(error, "waited_in"):
            error.waited_in = self, self.locate(error)  # type: ignore[attr-defined]

    def find_responsible(self, error: Exception) -> tuple[HookBlame, str]:
        """Return the implementation at fault and its line.

        After a timeout that is the innermost hook that waited.
        """
        waited_in = getattr(error.__context__, "waited_in", None)
        if isinstance(error, errors.HookTimeout) and waited_in is not None:
            return waited_in
        return self, self.locate(error)

    def mark(self, error: Exception, place: str, limit: float) -> None:
        """Note on an error that this implementation raised it. `limit` is in seconds of a call."""
        if not hasattr(error, "raised_by"):  # else a hook that this one led to raised it
            error.raised_by = self.plugin  # type: ignore[attr-defined]
            if isinstance(error, errors.HookTimeout):
                fields = self.log_fields(error.remedy)
                log.error("a hook took too long", seconds=limit, at=place, **fields)
        error.add_note(f"plugin {self.plugin}, hook {self.hook}, {place}")

    def report(self, error: Exception) -> None:
        """Log the error of an observer."""
        problem = f"{type(error).__name__}: {error}"
        fields = self.log_fields(errors.remedy_of(error))
        at = self.locate(error)
        log.error("an observer failed", error=problem, at=at, exc_info=error, **fields)

    def log_fields(self, remedy: str = FIX_PLUGIN) -> dict[str, Any]:
        """Return the fields of the log that name the plugin and the remedy."""
        return {"plugin": self.plugin, "hook": self.hook, "remedy": remedy}

    def _find_home(self) -> str:
        """Return the package of the plugin, or its module."""
        owner = getattr(self._function, "__self__", self._function)
        module = sys.modules.get(type(owner).__module__)
        if module is None:
            return ""
        return module.__package__ or module.__name__


def translate(error: BaseException) -> Exception:
    """Return the error that says what happened: a 500 for what is no refusal of the caller."""
    is_refusal = isinstance(error, errors.BadRequest | errors.SchemaChanged)
    if is_refusal and errors.is_of_statement(error):
        failed = errors.HookFailed(f"a statement failed: {error}")
        return failed.with_traceback(error.__traceback__)
    if isinstance(error, Exception):
        return error
    failed = errors.HookFailed(f"it raised {type(error).__name__}", errors.remedy_of(error))
    return failed.with_traceback(error.__traceback__)
