"""Remembers calls for the trace of their requests."""

from __future__ import annotations

import time

from kernel.public import EndedCall, Traces

from .replica import find_request_id


class CallTrace:
    """A call that begins now."""

    __slots__ = ("_app_id", "_began", "_method", "_traces")

    def __init__(self, traces: Traces | None, app_id: str, method: str) -> None:
        self._traces = traces
        self._app_id = app_id
        self._method = method
        self._began = time.time()

    def end(self, error: str | None) -> None:
        """Note the end of the call, and what it failed with."""
        if self._traces is None:
            return
        request_id = find_request_id()
        if not request_id:
            return
        milliseconds = max(0.0, (time.time() - self._began) * 1000)
        self._traces.note_call(
            EndedCall(
                request_id=request_id,
                app_id=self._app_id,
                method=self._method,
                at=self._began,
                ms=milliseconds,
                error=None if error is None else error[:1000],
            )
        )
