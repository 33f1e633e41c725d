"""Names the plugin that keeps a start waiting, with the line that it is at."""

from __future__ import annotations

import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from time import monotonic, perf_counter, sleep
from typing import Final, NamedTuple

import structlog

from kernel.errors.source_lines import Step, find_frames, steps_to
from kernel.toolkit.backoff import Backoff

BEAT: Final = 1.0
"""Seconds between two looks."""
PAUSES: Final = Backoff(first=10.0, longest=300.0)
"""Seconds until a plugin is named, and between two lines about it."""
LIBRARIES: Final = ("anyio", "uvloop", "click")
REMEDY: Final = "start long work by self.tasks: the server waits for a start"

log = structlog.get_logger("caudex.boot")


class Part(NamedTuple):
    """A part of a start: which plugin takes it, since when, on which thread."""

    plugin: str
    place: str
    began: float
    thread: int


class StartWatch:
    """Times the parts of a start, and watches them from a thread, which ends soon after the last
    one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        """What importing, creating and starting each plugin took."""
        self._part: Part | None = None
        self._thread: threading.Thread | None = None

    @contextmanager
    def timing(self, plugin: str, place: str = "") -> Generator[None]:
        """Add the time of the block to that of a plugin; a long one is logged.

        `place` is where its code is defined, if that is known.
        """
        began = perf_counter()
        try:
            with self._watching(plugin, place):
                yield
        finally:
            self.seconds[plugin] = self.seconds.get(plugin, 0.0) + perf_counter() - began

    @contextmanager
    def _watching(self, plugin: str, place: str) -> Generator[None]:
        outer = self._part
        self._part = Part(plugin, place, monotonic(), threading.get_ident())
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(
                target=self._watch, name="caudex-start-watch", daemon=True
            )
            self._thread.start()
        try:
            yield
        finally:
            self._part = outer

    def _watch(self) -> None:
        watched = self._part
        lines = 0
        while True:
            sleep(BEAT)
            part = self._part
            if part is None:
                return
            if part is not watched:
                watched = part
                lines = 0
                continue
            patience = sum(PAUSES.pause(number) for number in range(1, lines + 2))
            if monotonic() - part.began > patience:
                lines += 1
                self._report(part)

    def _report(self, part: Part) -> None:
        frame = find_frames().get(part.thread)
        steps = [step for step in steps_to(frame) if _may_be_of_plugin(step)]
        at = steps[-1].at if steps else part.place
        log.warning("a plugin takes long to start", plugin=part.plugin, at=at,
                    seconds=round(monotonic() - part.began), remedy=REMEDY)  # fmt: skip


def _may_be_of_plugin(step: Step) -> bool:
    """Whether a step is no code of Python itself, nor of the kernel and what runs it."""
    package = step.module.partition(".")[0]
    if package in sys.stdlib_module_names or package in LIBRARIES:
        return False
    return package not in ("kernel", "__main__", "")
