"""Runs handlers of calls and jobs, and sends their outcomes."""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import Callable
from typing import Any

from .context import Context
from .coroutines import Coroutines
from .errors import is_unavailable
from .handlers import Handler, Handlers
from .log import Log
from .messages import MAX_TEXT
from .threads import Threads
from .wire import Wire


class Jobs:
    """The contexts of jobs under way, which may be cancelled."""

    def __init__(self) -> None:
        self._contexts: dict[str | None, Context] = {}
        self._lock = threading.Lock()

    def find(self, job_id: str | None) -> Context | None:
        return self._contexts.get(job_id)

    def add(self, context: Context) -> None:
        with self._lock:
            self._contexts[context.call_id] = context

    def cancel(self, job_id: str) -> None:
        context = self._contexts.get(job_id)
        if context is not None:
            context.cancelled = True

    def remove(self, context: Context) -> None:
        with self._lock:
            if self._contexts.get(context.call_id) is context:  # else it runs again already
                del self._contexts[context.call_id]


class Runner:
    """Runs handlers of calls and jobs, and sends their outcomes.

    `end` ends the process for an exit of a handler.
    """

    def __init__(
        self, wire: Wire, log: Log, handlers: Handlers, end: Callable[[BaseException], None]
    ) -> None:
        self._wire = wire
        self._log = log
        self._handlers = handlers
        self._end = end
        self.jobs = Jobs()
        self.coroutines = Coroutines(wire, self._answer)
        self.threads = Threads(self._answer_on_thread)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run on this event loop, and beside it."""
        self.coroutines.loop = loop
        self.threads.loop = loop

    def start(self, kind: str, handler: Handler, data: object, context: Context) -> None:
        """Run a handler in the next turn of the event loop, because other messages of this turn may
        cancel it: a coroutine on the loop, another on a thread."""
        count, is_async = self._handlers.inspect(handler)
        work = (kind, handler, (data, context)[:count], context)
        if is_async:
            self.coroutines.add(work)
        else:
            context.blocking = True
            self.threads.add(work)

    async def run_hook(self, handler: Handler, *arguments: Any) -> None:
        """Run a start or shutdown handler, with as many of the arguments as it takes."""
        count, is_async = self._handlers.inspect(handler)
        arguments = arguments[:count]
        if is_async:
            await handler(*arguments)
            return
        for argument in arguments:
            argument.blocking = True

        def run() -> None:
            try:
                handler(*arguments)
            except (SystemExit, KeyboardInterrupt) as error:
                self._end(error)  # from here: the event loop may be held up
            except StopIteration as error:  # no future carries it
                raise RuntimeError("handler raised StopIteration") from error

        await self.threads.run(run)

    async def finish(self, seconds: float) -> None:
        """Wait for what is under way, for a bounded time."""
        self.threads.call()
        loop = self.coroutines.loop
        deadline = loop.time() + seconds
        while True:
            running = {*self.coroutines.tasks, *self.threads.list_futures()}
            if not running:
                return
            await asyncio.wait(running, timeout=max(0.0, deadline - loop.time()))
            if loop.time() >= deadline:
                return

    async def _answer(
        self, kind: str, handler: Handler, arguments: tuple[Any, ...], context: Context
    ) -> None:
        try:
            self._send_result(kind, context, await handler(*arguments))
        except (SystemExit, KeyboardInterrupt):
            raise  # to `Worker.run`, before anything else happens
        except BaseException as error:
            self._send_error(kind, context, error)

    def _answer_on_thread(
        self, kind: str, handler: Handler, arguments: tuple[Any, ...], context: Context
    ) -> None:
        try:
            self._send_result(kind, context, handler(*arguments))
        except (SystemExit, KeyboardInterrupt) as error:
            self._end(error)  # from here: the event loop may be held up
        except StopIteration:
            self._send_error(kind, context, RuntimeError("handler raised StopIteration"))
        except BaseException as error:
            self._send_error(kind, context, error)

    def _send_result(self, kind: str, context: Context, result: object) -> None:
        """Send a result, where the handler ran. That of a job is written before any other handler
        runs, because that one may end the process, and lose what is held."""
        message = {"type": kind, "id": context.call_id, "result": result}
        self._wire.send(message, soon=kind == "rpc_response")
        if kind == "job_result":
            self.jobs.remove(context)

    def _send_error(self, kind: str, context: Context, error: BaseException) -> None:
        """Send an error as the outcome, and its trace to the log."""
        self.jobs.remove(context)
        trace = "".join(traceback.format_exception(None, error, error.__traceback__))
        message: dict[str, Any] = {
            "type": kind,
            "id": context.call_id,
            "error": _find_message(error),
        }
        if is_unavailable(error):
            context.log.warning(trace)
            message["unavailable"] = True
        else:
            context.log.error(trace)
        self._wire.send(message)


def _find_message(error: BaseException) -> str:
    """Return the message of an error, cut, because a reply that is too large is not sent."""
    try:
        message = str(error)
    except Exception:  # its __str__ is the app's
        message = ""
    return message[:MAX_TEXT] or type(error).__name__
