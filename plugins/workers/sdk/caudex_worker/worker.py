"""A worker: its handlers, and its connection to the server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
import traceback
from typing import Any

from .context import Context
from .errors import Unavailable
from .handlers import Handler, Handlers
from .log import Log
from .messages import parse_lines
from .operations import Operations
from .records import READS, Collection, send_statement
from .running import Runner
from .wire import Wire

SHUTDOWN_SECONDS = 9.0
"""How long what is under way may take at the end, and how long each handler of it."""


class Worker:
    """A worker: its handlers, and the connection to the server over standard input and output."""

    loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        self.app_id = os.environ.get("CAUDEX_APP_ID", "")
        self.runtime_url = os.environ.get("CAUDEX_RUNTIME_URL", "")
        self.database_url: str | None = None
        self.credentials: dict[str, str] = {}
        self._wire = Wire()
        self.log = Log(self._wire)
        self._handlers = Handlers()
        self._operations = Operations(self._wire)
        self._runner = Runner(self._wire, self.log, self._handlers, self._end)
        self._shutdown: asyncio.Task[None] | None = None
        """Set once the server has asked for the end."""

    # Declaring

    def rpc(self, handler: Any = None, *, params: dict[str, Any] | None = None) -> Any:
        """Mark a handler of calls: `@worker.rpc`, or `@worker.rpc("name")` for another name.

        `params` is a JSON Schema of an object: the console makes a form of it. Nothing checks it.
        """
        handlers = self._handlers
        if handler is None or isinstance(handler, str):
            return handlers.make_registrar("rpc", handler, params)
        handlers.add("rpc", handler.__name__, handler)
        return handler

    def job(self, handler: Any = None, *, params: dict[str, Any] | None = None) -> Any:
        """Mark a handler of jobs: `@worker.job("type")` takes those whose `payload.type` is that,
        `@worker.job` the rest. `params` is as that of `rpc`, without the type."""
        handlers = self._handlers
        if handler is None or isinstance(handler, str):
            return handlers.make_registrar("job", handler or "", params)
        handlers.add("job", "", handler)
        return handler

    def on_start(self, handler: Handler) -> Handler:
        """Mark what runs before the first call: `def` or `async def`, without arguments or with
        the context. When it raises, the worker does not come up."""
        self._handlers.on_start.append(handler)
        return handler

    def on_shutdown(self, handler: Handler) -> Handler:
        """Mark what runs after the last call."""
        self._handlers.on_shutdown.append(handler)
        return handler

    def emit(self, name: str, data: object = None) -> None:
        """Report an event."""
        self.say({"type": "event", "name": name, "data": data})

    def collection(self, entity: str) -> Collection:
        """Records with the app's own rights, for use outside of handlers in `async def`."""
        return Collection(self, entity, None, blocking=False)

    def sql(self, query: str, values: list[Any] | None = None) -> Any:
        """Run a statement with the app's own rights, for use outside of handlers in `async def`;
        see `Context.sql`."""
        return send_statement(self, query, values, None, blocking=False)

    # Running

    def run(self) -> None:
        """Serve until the server asks for the end, or is gone."""
        self._wire.take_over()
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(self._serve())  # `asyncio.run` would cancel what is under way
        except BaseException as error:
            self._end(error)

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._operations.loop = self.loop
        self._runner.attach(self.loop)
        self._wire.listen(self.loop, self._take_lines)
        await self.loop.create_future()  # until `_leave`

    def _take_lines(self, lines: bytes | None) -> None:
        """Take lines of the server, or its end."""
        if lines is None:
            self._leave(0)
            return
        for message in parse_lines(lines):
            self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        kind = message.get("type")
        message_id = str(message.get("id", ""))
        if kind == "rpc":
            self._call(message_id, message)
        elif kind == "job":  # its context is there at once: a cancel may come right behind
            self._work(message_id, message)
        elif kind == "jobs":
            for job in message["jobs"]:
                self._work(job["id"], job)
        elif kind == "collection_op_result":
            self._operations.settle(message_id, message)
        elif kind == "job_cancel":
            self._runner.jobs.cancel(message_id)
        elif kind == "discover":
            self._runner.coroutines.begin(self._start(message))
        elif kind == "shutdown" and self._shutdown is None:
            self._shutdown = self.loop.create_task(self._shut_down())

    async def _start(self, message: dict[str, Any]) -> None:
        self.app_id = message.get("app_id", self.app_id)
        self.runtime_url = message.get("runtime_url", self.runtime_url)
        self.database_url = message.get("database_url")
        self.credentials = message.get("credentials") or {}
        try:
            self._runner.threads.check()
            for handler in self._handlers.on_start:
                await self._runner.run_hook(handler, Context(self, None, None))
        except BaseException as error:
            self._end(error)
        methods = sorted(self._handlers.methods)
        handlers = self._handlers.describe()
        self.say({"type": "discover", "methods": methods, "handlers": handlers, "batches": True})

    def _call(self, call_id: str, message: dict[str, Any]) -> None:
        method = message.get("method", "")
        handler = self._handlers.methods.get(method)
        if handler is None:
            error = f"unknown method: {method}"
            self.say({"type": "rpc_response", "id": call_id, "error": error})
            return
        context = Context(self, call_id, message.get("caller"), message.get("request_id"))
        self._runner.start("rpc_response", handler, message.get("params"), context)

    def _work(self, job_id: str, message: dict[str, Any]) -> None:
        payload: Any = message.get("payload")
        try:
            kind = str(payload["type"])
        except (TypeError, KeyError, IndexError):
            kind = ""
        jobs = self._handlers.jobs
        handler = jobs.get(kind) or jobs.get("")
        if handler is None:
            error = "no handler takes this job"
            if kind:
                error += f": {kind}"
            self.say({"type": "job_result", "id": job_id, "error": error})
            return
        context = Context(self, job_id, message.get("caller"))
        self._runner.jobs.add(context)
        self._runner.start("job_result", handler, payload, context)

    async def _shut_down(self) -> None:
        """Finish what is under way, for a bounded time."""
        await self._runner.finish(SHUTDOWN_SECONDS)
        for handler in self._handlers.on_shutdown:
            try:
                await asyncio.wait_for(self._runner.run_hook(handler), SHUTDOWN_SECONDS)
            except Exception:
                sys.stderr.write(traceback.format_exc())
        self._leave(0)

    def _end(self, error: BaseException) -> None:
        """End the process for an exit or an uncaught exception, on any thread. Nothing is sent
        about what is under way, so that the server counts it as lost, and not as failed."""
        status = 1
        is_quiet = False
        if isinstance(error, KeyboardInterrupt):
            status = 0
            is_quiet = True
        elif isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
            status = (error.code or 0) & 0xFF
            is_quiet = status == 0 and self._shutdown is not None
        try:
            if not is_quiet:
                trace = traceback.format_exception(None, error, error.__traceback__)
                sys.stderr.write("".join(trace))
        finally:
            self._leave(status)

    def _leave(self, status: int) -> None:
        """Exit at once: a handler that hangs on a thread would keep the interpreter."""
        self._wire.flush()
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)

    # Speaking

    async def operate(
        self, op: str, entity: str, data: dict[str, Any], marks: dict[str, str | None]
    ) -> Any:
        """Have the server carry out an operation on records. Raises CollectionError.

        `marks` name the call that it serves, and what goes with a write. While the database is
        away, a job repeats reads, writes with a key, and writes that had no effect, for as long as
        it may run.
        """
        is_safe = op in READS or bool(marks.get("key"))
        pause = 0.1
        while True:
            try:
                return await self._operations.ask(op, entity, data, marks)
            except Unavailable as error:
                may_repeat = is_safe or error.unchanged
                if not may_repeat or not self._may_wait(marks.get("call")):
                    raise
            await asyncio.sleep(pause * random.uniform(0.5, 1))
            pause = min(2 * pause, 5.0)

    def _may_wait(self, call_id: str | None) -> bool:
        """Return whether a job is under way that may take longer."""
        context = self._runner.jobs.find(call_id)
        return context is not None and not context.cancelled and self._shutdown is None

    def log_of(self, call_id: str | None) -> Log:
        """Return a log whose lines name a call or job."""
        return Log(self._wire, call_id)

    def say(self, message: dict[str, Any]) -> None:
        """Send a message. Raises TypeError, ValueError for what is not JSON or too large."""
        self._wire.send(message)
