"""What becomes of the messages of a worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import anyio

from kernel.public import LogLevel
from plugins.workers.child.listener import Listener
from plugins.workers.child.protocol import (
    EDGE,
    NOTHING,
    AppEvent,
    CollectionOp,
    Discovered,
    InvalidOp,
    JobProgress,
    JobResult,
    Log,
    NoOutcome,
    Settled,
    decode_message,
    find_ids,
    to_text,
)
from plugins.workers.host import Background

from .attempt import Attempt
from .calls import Call, Calls, Progress
from .handlers import NOT_RUNNING, read_handlers
from .operations import OperationQueue
from .output import Output

LEVELS: Final[Mapping[str, LogLevel]] = {
    "debug": "debug", "info": "info", "warn": "warn", "warning": "warn", "error": "error",
    "stdout": "stdout", "stderr": "stderr",
}  # fmt: skip


class Inbox(Listener):
    """Takes the lines of one attempt: outcomes, operations on records, lines of the log."""

    def __init__(
        self,
        attempt: Attempt,
        calls: Calls,
        operations: OperationQueue,
        output: Output,
        background: Background,
    ) -> None:
        self._attempt = attempt
        self._calls = calls
        self._operations = operations
        self._output = output
        self._background = background
        self.reads_batches = False
        """Whether the worker reads many jobs in one message."""
        self.handlers = NOT_RUNNING
        """What the worker declares of its handlers."""

    # Lines

    def on_line(self, line: bytes) -> None:
        """See `Listener`."""
        message = decode_message(line)
        if isinstance(message, Settled):
            self._settle(message)
        elif message is not None:
            self._handle(message)
        else:
            if line.startswith(b"{"):
                edges = line[:EDGE] + b"\n" + line[-EDGE:]
                self.on_unreadable(find_ids(edges), "the reply is not valid JSON")
            super().on_line(line)

    def on_noise(self, level: LogLevel, text: str) -> None:
        """See `Listener`."""
        self._output.write(level, text)

    def on_unreadable(self, ids: list[str], why: str) -> None:
        """See `Listener`."""
        for call_id in ids:
            call = self._calls.find(call_id)
            if call is not None:
                call.fail(why)

    def on_gone(self, ending: str) -> None:
        """See `Listener`."""
        why = f"the worker ended ({ending}) before it answered"
        self._calls.lose_all(why, on_purpose=self._attempt.state == "stopping")
        self._attempt.become("ended")

    # Messages

    def _handle(self, message: NoOutcome) -> None:
        """Handle any message but an outcome."""
        match message:
            case CollectionOp() | InvalidOp():
                self._operations.add(message)
            case Log():
                level = LEVELS.get(message.level, "info")
                text = self._output.describe(message.message).encode("utf-8", "replace")
                self._output.write(level, to_text(text), self._find_request(message.call))
            case AppEvent():
                self._output.write_event(message)
            case JobProgress():
                self._note_progress(message)
            case Discovered():
                self.reads_batches = message.batches is True
                self.handlers = read_handlers(bytes(message.handlers), bytes(message.methods))
                self._attempt.become("up")

    def _find_request(self, call_id: str | None) -> str:
        """Return the id of the request or job that a call serves; empty where it has ended."""
        call = None if call_id is None else self._calls.find(call_id)
        return "" if call is None else call.request_id

    def _settle(self, outcome: Settled) -> None:
        """Settle the call that waits for an outcome."""
        call = self._calls.find(outcome.id)
        if call is None or call.is_job != isinstance(outcome, JobResult):
            return
        if outcome.error is NOTHING or not outcome.has_failed:
            call.succeed(bytes(outcome.result))
            return
        message = self._output.describe_error(outcome.error) or "the handler failed"
        is_unavailable = bytes(outcome.unavailable) == b"true"
        call.fail(message, unavailable=is_unavailable)

    def _note_progress(self, message: JobProgress) -> None:
        call = self._calls.find(message.id)
        if call is None or call.progress is None:
            return
        is_idle = call.latest is None
        call.latest = bytes(message.value)
        if is_idle:
            self._background.spawn(_report_progress, call, call.progress)


async def _report_progress(call: Call, progress: Progress) -> None:
    """Pass on the latest progress of a job, five times a second at most."""
    while call.latest is not None and not call.future.done():
        value = call.latest
        await progress(value)
        await anyio.sleep(0.2)
        if call.latest is value:
            call.latest = None
