"""Lines of code: where something is defined, where it was raised, and what led there.

Frames are looked at once and never kept: they hold what they worked with, such as a body.
"""

from __future__ import annotations

import gc
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final, NamedTuple, cast

NOT_OWN = (
    str(Path(__file__).parents[1]),
    "importlib",
    "contextlib.py",
    "functools.py",
    "/anyio/",
    "uvloop/",
)
"""Files between the kernel and the code of a plugin in a traceback."""
MAX_STEPS: Final = 40
"""How many steps `own_steps_here` returns at most."""


class Step(NamedTuple):
    """A line of code that ran: its module, and `file:line`."""

    module: str
    at: str


def find_frames() -> Mapping[int, FrameType]:
    """Return the innermost frame of each thread, by the thread's number.

    The interpreter holds a lock meanwhile, which a thread that begins or ends needs too. Garbage
    that is collected within runs other code, and that lets such a thread go first: both would wait
    for ever (Python 3.11).
    """
    is_collecting = gc.isenabled()
    gc.disable()
    try:
        return sys._current_frames()  # pyright: ignore[reportPrivateUsage]
    finally:
        if is_collecting:
            gc.enable()


def source_line(function: Callable[..., Any]) -> str:
    """Return where a function, or what is called in its place, is defined: `file:line`."""
    code = code_of(function)
    if code is None:
        return getattr(function, "__qualname__", repr(function))
    return f"{code.co_filename}:{code.co_firstlineno}"


def code_of(function: Any) -> CodeType | None:
    """Return the code of a function, a partial one or an object that can be called."""
    called = function
    while isinstance(called, partial):
        called = cast("Any", called).func
    # No source is read: starts are frequent.
    code = getattr(inspect.unwrap(cast("Callable[..., Any]", called)), "__code__", None)
    kind = cast("type[Any]", type(called))
    by_type = vars(kind).get("__call__")
    return code or getattr(by_type, "__code__", None)


def declared_at(plugin: type[object], attribute: str) -> str:
    """Return where a class assigns an attribute, or the class begins: `file:line`."""
    with suppress(OSError):  # without its source
        lines, first = inspect.getsourcelines(plugin)
        pattern = re.compile(rf"\s+{attribute}\b")
        offsets = (offset for offset, line in enumerate(lines) if pattern.match(line))
        return f"{inspect.getsourcefile(plugin)}:{first + next(offsets, 0)}"
    return plugin.__module__


def raised_at(error: BaseException) -> str:
    """Return where a plugin's own code raised, as `file:line`, or ''.

    This is the last frame in the folder of the first frame outside of the kernel: neither the
    kernel's call nor the inside of a library that the plugin uses.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = traceback.walk_tb(error.__traceback__)
    lines = [(frame.f_code.co_filename, line) for frame, line in frames]
    own_lines = [(file, line) for file, line in lines if not any(part in file for part in NOT_OWN)]
    if not own_lines:
        return ""
    first_file = own_lines[0][0]
    home = first_file.rpartition("/")[0]  # empty for a relative path
    places = [f"{file}:{line}" for file, line in own_lines if file.startswith(home)]
    return places[-1]


def steps_of(error: BaseException) -> Sequence[Step]:
    """Return the steps that led to an error, the outermost first."""
    steps: Sequence[Step] | None = getattr(error, "steps", None)
    if steps is not None:
        return steps
    return [_step(frame, line) for frame, line in traceback.walk_tb(error.__traceback__)]


def steps_here() -> list[Step]:
    """Return the steps that led to the caller, the outermost first."""
    return steps_to(sys._getframe(1))  # pyright: ignore[reportPrivateUsage]


def steps_to(frame: FrameType | None) -> list[Step]:
    """Return the steps that led to a frame that runs, the outermost first."""
    steps = list[Step]()
    while frame is not None:
        steps.append(_step(frame, frame.f_lineno))
        frame = frame.f_back
    return steps[::-1]


def steps_waiting(work: object) -> list[Step]:
    """Return the steps that led to where a coroutine waits, the outermost first."""
    steps = list[Step]()
    awaited: Any = work
    frame = _first_of(awaited, "cr_frame", "gi_frame", "ag_frame")
    while frame is not None:
        steps.append(_step(frame, frame.f_lineno))
        awaited = _first_of(awaited, "cr_await", "gi_yieldfrom", "ag_await")
        frame = _first_of(awaited, "cr_frame", "gi_frame", "ag_frame")
    return steps


def _first_of(value: Any, *attributes: str) -> Any:
    """Return the first of these attributes that a value has and that is not None."""
    for attribute in attributes:
        content = getattr(value, attribute, None)
        if content is not None:
            return content
    return None


def _step(frame: FrameType, line: int | None) -> Step:
    module = str(frame.f_globals.get("__name__", ""))
    return Step(module, f"{frame.f_code.co_filename}:{line}")


def own_steps_here() -> list[Step]:
    """Return the steps outside of the kernel that led to the caller, the innermost first."""
    steps = list[Step]()
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame is not None and len(steps) < MAX_STEPS:
        file = frame.f_code.co_filename
        if not any(part in file for part in NOT_OWN):
            module = str(frame.f_globals.get("__name__", ""))
            steps.append(Step(module, f"{file}:{frame.f_lineno}"))
        frame = frame.f_back
    return steps
