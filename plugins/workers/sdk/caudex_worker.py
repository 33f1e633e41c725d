"""The SDK of workers in Python: one file, the standard library only, Python 3.9 or newer.

    from caudex_worker import Worker

    worker = Worker()

    @worker.rpc
    def greet(params, ctx):
        return {"hello": ctx.username}

    @worker.job("send_report")
    async def send_report(payload, ctx):
        contacts = await ctx.collection("contacts").find({"vip": True})
        ctx.progress(0.5)
        return {"sent": len(contacts)}

    worker.run()

Handlers are `def` (run on threads) or `async def` (run on the event loop). `print` goes to the
app's log. `@worker.on_start` and `@worker.on_shutdown` mark functions that run before the first
call and after the last.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime
import inspect
import io
import json
import os
import random
import sys
import threading
import traceback
import types
import uuid
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import cached_property
from typing import Any

MAX_FRAME = 10 * 1024 * 1024
SHUTDOWN_SECONDS = 9.0

Handler = Callable[..., Any]
_Work = tuple[str, Handler, tuple[Any, ...], "Context"]
_READS = ("find", "findOne", "query", "export")

if sys.version_info >= (3, 14):
    import multiprocessing

    # The default since 3.14 is a server that listens at a socket, which a worker may not. Code that
    # chose a method before this line keeps it.
    with contextlib.suppress(RuntimeError):
        multiprocessing.set_start_method("spawn")


class CollectionError(Exception):
    """The server refused an operation on records; the message is its own."""

    status: int | None = None
    """The status that a route would have answered with: 400, 403, 404, 412 ..."""
    current: dict[str, Any] | None = None
    """With the status 412: the record as it is now, where the caller may read it."""


class Unavailable(CollectionError):
    """The database was away. A job whose handler ends with it is run again later, which is no
    failure; a call is answered by 503. Handlers may raise it themselves."""

    unchanged = False
    """Whether the operation certainly had no effect."""


class Log:
    """Writes lines to the app's log."""

    def __init__(self, wire: _Wire) -> None:
        self._wire = wire

    def debug(self, *parts: object) -> None:
        """Log a message for debugging."""
        self._wire.log("debug", parts)

    def info(self, *parts: object) -> None:
        """Log a message."""
        self._wire.log("info", parts)

    def warn(self, *parts: object) -> None:
        """Log a warning."""
        self._wire.log("warn", parts)

    warning = warn

    def error(self, *parts: object) -> None:
        """Log an error."""
        self._wire.log("error", parts)


class Context:
    """The call or job that a handler serves."""

    # Most handlers read few of these, so each is made when it is read for the first time.

    cancelled = False
    """Whether the job was cancelled; a long job should check it now and then."""
    blocking = False

    def __init__(
        self,
        worker: Worker,
        call_id: str | None,
        caller: dict[str, Any] | None,
        request_id: str | None = None,
    ) -> None:
        self._worker = worker
        self.call_id = call_id
        self.caller = caller
        """`{"userId", "username", "email", "authToken"}`, or None for a job without a caller."""
        self.request_id = request_id or call_id
        """The id of the request or job; rows of the audit trail and links of the log name it."""

    @cached_property
    def app_id(self) -> str:
        """The id of the app."""
        return self._worker.app_id

    @cached_property
    def runtime_url(self) -> str:
        """Where the server's API answers."""
        return self._worker.runtime_url

    @cached_property
    def database_url(self) -> str | None:
        """A login for the app's own tables, where the server gives one."""
        return self._worker.database_url

    @cached_property
    def credentials(self) -> dict[str, str]:
        """The secrets of the platform and the app."""
        return self._worker.credentials

    @cached_property
    def log(self) -> Log:
        """The app's log."""
        return self._worker.log

    @cached_property
    def user_id(self) -> str | None:
        """The id of the caller."""
        return self._known("userId")

    @cached_property
    def username(self) -> str | None:
        """The name of the caller."""
        return self._known("username")

    @cached_property
    def email(self) -> str | None:
        """The address of the caller."""
        return self._known("email")

    @cached_property
    def auth_token(self) -> str | None:
        """A bearer token that is valid for as long as the call or job may run; empty in a job that
        runs over a week after the user's last action."""
        return self._known("authToken")

    def _known(self, name: str) -> str | None:
        return (self.caller or {}).get(name)

    def progress(self, value: object) -> None:
        """Report the progress of a job: 0.4, or any JSON."""
        self._worker.say({"type": "job_progress", "id": self.call_id, "value": value})

    def emit(self, name: str, data: object = None) -> None:
        """Report an event."""
        self._worker.emit(name, data)

    def collection(self, entity: str) -> Collection:
        """Records, with the rights of the caller."""
        return Collection(self._worker, entity, self.call_id, blocking=self.blocking)


class Collection:
    """Records of one entity. In an `async def` the methods are awaited, in a `def` they block."""

    def __init__(
        self,
        worker: Worker,
        entity: str,
        call_id: str | None,
        *,
        blocking: bool,
        marks: dict[str, str] | None = None,
    ) -> None:
        self._worker = worker
        self._entity = entity
        self._call_id = call_id
        self._blocking = blocking
        self._marks = marks or {}

    def once(self, key: str) -> Collection:
        """The same records; a write with this key acts once within 24 hours, and returns the same
        result each time: `ctx.collection("invoices").once(payload["order"]).insert({...})`."""
        return self._marked(key=key)

    def if_match(self, etag: str) -> Collection:
        """The same records; an update or a delete is refused with the status 412 where the record
        has changed since it had this `_etag`."""
        return self._marked(if_match=etag)

    def _marked(self, **marks: str) -> Collection:
        marks = {**self._marks, **marks}
        return Collection(
            self._worker, self._entity, self._call_id, blocking=self._blocking, marks=marks
        )

    def insert(self, data: dict[str, Any]) -> Any:
        """Create a record and return it."""
        return self._do("insert", data)

    def update(self, record: str | dict[str, Any], **more: Any) -> Any:
        """Change a record by its id, or the one that `id` in the data names, and return it."""
        data = record if isinstance(record, dict) else {"id": record}
        return self._do("update", {**data, **more})

    def delete(self, record: str | dict[str, Any]) -> Any:
        """Delete a record, by its id."""
        return self._do("delete", record if isinstance(record, dict) else {"id": record})

    def find(self, where: dict[str, Any] | None = None) -> Any:
        """Return the records with these values, 1000 at most; all of them without any."""
        return self._do("find", where or {})

    def find_one(self, where: dict[str, Any] | None = None) -> Any:
        """Return the first record with these values, or None."""
        return self._do("findOne", where or {})

    def query(self, where: dict[str, Any] | None = None, **options: Any) -> Any:
        """Return `{"data": [...], "total": n}`: a page of records, or groups of them.

        Options are the members of POST .../query, in either spelling: `fields`, `expand`, `search`,
        `etag`, `order_by`, `order`, `limit`, `offset`, `after`, `total`, `group_by`, `aggregate`,
        `having`, `timezone`.
        """
        return self._do("query", {"where": where, **_camel(options)})

    def export(self, where: dict[str, Any] | None = None, **options: Any) -> Any:
        """Return records as the text of a file: options as of `query`, `format` "csv" (default) or
        "ndjson", `raw`; without `limit` all of them, 10 MB at most."""
        return self._do("export", {"where": where, **_camel(options)})

    def import_file(self, text: str, **options: Any) -> Any:
        """Import the text of a file and return a report: options `format` "csv" (default) or
        "ndjson", `on`, `mode` "all" (default) or "valid", `dry_run`, `preview`, `raw`."""
        return self._do("import", {"text": text, **_camel(options)})

    def insert_many(self, rows: list[dict[str, Any]]) -> Any:
        """Create 1 to 1000 records, all or none, and return them."""
        return self._do("insertMany", {"rows": rows})

    def upsert(self, rows: list[dict[str, Any]], on: str, then: str = "update") -> Any:
        """Create records, or change those whose unique fields `on` a row has; return
        `[{"result": "created" | "updated" | "ignored", "record": {...}}]`."""
        return self._do("upsert", {"rows": rows, "on": on, "then": then})

    def update_where(self, where: dict[str, Any], values: dict[str, Any], **bounds: int) -> Any:
        """Change the records that match, where they are `expect` or at most `max` many; return
        `{"updated": n}`."""
        return self._do("updateWhere", {"where": where, "set": values, **bounds})

    def delete_where(self, where: dict[str, Any], **bounds: int) -> Any:
        """Delete the records that match; return `{"deleted": n}`. See `update_where`."""
        return self._do("deleteWhere", {"where": where, **bounds})

    def batch(self, operations: list[dict[str, Any]], *, dry_run: bool = False) -> Any:
        """Run up to 1000 writes of any entities in one transaction, as POST .../batch does; return
        `{"results": [...]}`."""
        return self._do("batch", {"operations": operations, "dryRun": dry_run})

    def _do(self, op: str, data: dict[str, Any]) -> Any:
        marks = {} if op in _READS else self._marks
        asked = self._worker.operate(op, self._entity, data, {"call": self._call_id, **marks})
        if not self._blocking:
            return asked
        return asyncio.run_coroutine_threadsafe(asked, self._worker.loop).result()


class Worker:
    """A worker: its handlers, and the connection to the server over standard input and output."""

    loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        self.app_id = os.environ.get("CAUDEX_APP_ID", "")
        self.runtime_url = os.environ.get("CAUDEX_RUNTIME_URL", "")
        self.database_url: str | None = None
        self.credentials: dict[str, str] = {}
        self._wire = _Wire()
        self.log = Log(self._wire)
        self._methods: dict[str, Handler] = {}
        self._jobs: dict[str, Handler] = {}
        self._on_start: list[Handler] = []
        self._on_shutdown: list[Handler] = []
        self._contexts: dict[str | None, Context] = {}
        self._operations: dict[str, asyncio.Future[Any]] = {}
        self._count = 0
        self._lock = threading.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready: deque[_Work] = deque()
        """Coroutines that begin in the next turn of the event loop."""
        self._due: deque[_Work] = deque()
        """Handlers that wait for a thread."""
        self._called = self._waking = False
        """Whether a thread is woken in this turn, and whether one was that has not begun."""
        self._blocking: set[Future[None]] = set()
        self._last: asyncio.Task[None] | None = None
        self._known: dict[int, tuple[int, bool]] = {}
        self._threads = ThreadPoolExecutor(64, thread_name_prefix="handler")

    # Declaring

    def rpc(self, handler: Any) -> Any:
        """Mark a handler of calls: `@worker.rpc`, or `@worker.rpc("name")` for another name."""
        if isinstance(handler, str):
            return _registrar(self._methods, handler)
        self._methods[handler.__name__] = handler
        return handler

    def job(self, handler: Any) -> Any:
        """Mark a handler of jobs: `@worker.job("type")` takes those whose `payload.type` is that,
        `@worker.job` the rest."""
        if isinstance(handler, str):
            return _registrar(self._jobs, handler)
        self._jobs[""] = handler
        return handler

    def on_start(self, handler: Handler) -> Handler:
        """Mark what runs before the first call: `def` or `async def`, without arguments or with
        the context. When it raises, the worker does not come up."""
        self._on_start.append(handler)
        return handler

    def on_shutdown(self, handler: Handler) -> Handler:
        """Mark what runs after the last call."""
        self._on_shutdown.append(handler)
        return handler

    def emit(self, name: str, data: object = None) -> None:
        """Report an event."""
        self.say({"type": "event", "name": name, "data": data})

    def collection(self, entity: str) -> Collection:
        """Records with the app's own rights, for use outside of handlers in `async def`."""
        return Collection(self, entity, None, blocking=False)

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
        self._wire.listen(self.loop, self._hear)
        await self.loop.create_future()  # until `_leave`

    def _hear(self, lines: bytes | None) -> None:
        """Take lines of the server, or its end."""
        if lines is None:
            self._leave(0)
        for message in _messages(lines or b""):
            self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        kind, call_id = message.get("type"), str(message.get("id", ""))
        if kind == "rpc":
            self._call(call_id, message)
        elif kind == "job":  # its context is there at once: a cancel may come right behind
            self._work(call_id, message)
        elif kind == "jobs":
            for job in message["jobs"]:
                self._work(job["id"], job)
        elif kind == "collection_op_result" and call_id in self._operations:
            self._settle(self._operations.pop(call_id), message)
        elif kind == "job_cancel" and call_id in self._contexts:
            self._contexts[call_id].cancelled = True
        elif kind == "discover":
            self._begin(self._start(message))
        elif kind == "shutdown" and self._last is None:
            self._last = self.loop.create_task(self._shut_down())

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _start(self, message: dict[str, Any]) -> None:
        self.app_id = message.get("app_id", self.app_id)
        self.runtime_url = message.get("runtime_url", self.runtime_url)
        self.database_url = message.get("database_url")
        self.credentials = message.get("credentials") or {}
        try:
            self._threads.submit(int)  # the first thread, or no start: the account may have no room
            for handler in self._on_start:
                await self._run(handler, Context(self, None, None))
        except BaseException as error:
            self._end(error)
        self.say({"type": "discover", "methods": sorted(self._methods), "batches": True})

    def _call(self, call_id: str, message: dict[str, Any]) -> None:
        method = message.get("method", "")
        handler = self._methods.get(method)
        if handler is None:
            error = f"unknown method: {method}"
            self.say({"type": "rpc_response", "id": call_id, "error": error})
        else:
            context = Context(self, call_id, message.get("caller"), message.get("request_id"))
            self._handle("rpc_response", handler, message.get("params"), context)

    def _work(self, call_id: str, message: dict[str, Any]) -> None:
        payload: Any = message.get("payload")
        try:
            kind = str(payload["type"])
        except (TypeError, KeyError, IndexError):
            kind = ""
        handler = self._jobs.get(kind) or self._jobs.get("")
        if handler is None:
            error = "no handler takes this job" + (f": {kind}" if kind else "")
            self.say({"type": "job_result", "id": call_id, "error": error})
        else:
            context = Context(self, call_id, message.get("caller"))
            with self._lock:
                self._contexts[call_id] = context
            self._handle("job_result", handler, payload, context)

    def _handle(self, kind: str, handler: Handler, data: object, context: Context) -> None:
        """Run a handler in the next turn of the event loop, because other messages of this turn may
        cancel it: a coroutine on the loop, another on a thread."""
        takes, is_async = self._known.get(id(handler)) or self._know(handler)
        work = kind, handler, (data, context)[:takes], context
        if is_async:
            if not self._ready:
                self._begin(self._run_ready())
            self._ready.append(work)
            return
        context.blocking = True
        if not self._called:
            self._called = True
            self.loop.call_soon(self._call_thread)
        self._due.append(work)

    async def _run_ready(self) -> None:
        """Run coroutines one after the other in one task, until one of them waits for something.
        That one keeps the task, and another task runs the rest. Outcomes are written then."""
        if len(self._tasks) == 1:  # else another task may have an outcome in this turn as well
            self._wire.hold()
        while self._ready:
            await _inline(self._answer(*self._ready.popleft()), self._go_on)
        self._wire.release()

    def _go_on(self) -> None:
        self._wire.release()
        if self._ready:
            self._begin(self._run_ready())

    def _call_thread(self) -> None:
        self._called = False
        if not self._waking:  # else that one sees what was added
            self._wake()

    def _wake(self) -> None:
        """Have a thread run what waits for one. It wakes another thread where more than one handler
        waits, so quick handlers share a thread, and those that block have one each."""
        self._waking = True
        try:
            future = self._threads.submit(self._run_due)
        except RuntimeError:  # no further thread can start; one of those that run takes it
            return
        self._blocking.add(future)
        future.add_done_callback(self._blocking.discard)

    def _run_due(self) -> None:
        self._waking = False
        while self._due:
            try:
                work = self._due.popleft()
            except IndexError:  # another thread has it
                return
            if self._due and not self._waking:
                self._wake()
            self._answer_blocking(*work)

    async def _answer(
        self, kind: str, handler: Handler, arguments: tuple[Any, ...], context: Context
    ) -> None:
        try:
            self._send_outcome(kind, context, await handler(*arguments))
        except (SystemExit, KeyboardInterrupt):
            raise  # to `run`, before anything else happens
        except BaseException as error:
            self._fail(kind, context, error)

    def _answer_blocking(
        self, kind: str, handler: Handler, arguments: tuple[Any, ...], context: Context
    ) -> None:
        try:
            self._send_outcome(kind, context, handler(*arguments))
        except (SystemExit, KeyboardInterrupt) as error:
            self._end(error)  # from here: the event loop may be held up
        except StopIteration:
            self._fail(kind, context, RuntimeError("handler raised StopIteration"))
        except BaseException as error:
            self._fail(kind, context, error)

    def _fail(self, kind: str, context: Context, error: BaseException) -> None:
        """Send an error as the outcome, and its trace to the log."""
        self._forget(context)
        away = _is_unavailable(error)
        write = self.log.warn if away else self.log.error
        write("".join(traceback.format_exception(None, error, error.__traceback__)))
        message = {"type": kind, "id": context.call_id, "error": _message_of(error)}
        self.say({**message, **({"unavailable": True} if away else {})})

    def _forget(self, context: Context) -> None:
        with self._lock:
            if self._contexts.get(context.call_id) is context:  # else it runs again already
                del self._contexts[context.call_id]

    def _send_outcome(self, kind: str, context: Context, result: object) -> None:
        """Send an outcome, where the handler ran. The outcome of a job is written before any other
        handler runs, because that one may end the process, and lose what is held."""
        message = {"type": kind, "id": context.call_id, "result": result}
        self._wire.send(message, soon=kind == "rpc_response")
        if kind == "job_result":
            self._forget(context)

    async def _run(self, handler: Handler, *arguments: Any) -> None:
        """Run a start or shutdown handler, with as many of the arguments as it takes."""
        takes, is_async = self._know(handler)
        arguments = arguments[:takes]
        if is_async:
            await handler(*arguments)
            return
        for argument in arguments:
            argument.blocking = True
        await self._on_thread(lambda: handler(*arguments))

    async def _on_thread(self, work: Callable[[], object]) -> None:
        """Run what may block."""

        def run() -> None:
            try:
                work()
            except (SystemExit, KeyboardInterrupt) as error:
                self._end(error)  # from here: the event loop may be held up
            except StopIteration as error:  # no future carries it
                raise RuntimeError("handler raised StopIteration") from error

        await self.loop.run_in_executor(self._threads, run)

    def _know(self, handler: Handler) -> tuple[int, bool]:
        """Inspect a handler once, because that takes longer than most calls."""
        found = _takes(handler), inspect.iscoroutinefunction(handler)
        return self._known.setdefault(id(handler), found)

    async def _shut_down(self) -> None:
        """Finish what is under way, for a bounded time."""
        self._call_thread()
        late = self.loop.time() + SHUTDOWN_SECONDS
        while running := {*self._tasks, *map(asyncio.wrap_future, list(self._blocking))}:
            await asyncio.wait(running, timeout=max(0.0, late - self.loop.time()))
            if self.loop.time() >= late:
                break
        for handler in self._on_shutdown:
            try:
                await asyncio.wait_for(self._run(handler), SHUTDOWN_SECONDS)
            except Exception:
                sys.stderr.write(traceback.format_exc())
        self._leave(0)

    def _end(self, error: BaseException) -> None:
        """End the process for an exit or an uncaught exception, on any thread. Nothing is sent
        about what is under way, so that the server counts it as lost, and not as failed."""
        status, quiet = 1, isinstance(error, KeyboardInterrupt)
        if quiet:
            status = 0
        elif isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
            status = (error.code or 0) & 0xFF
            quiet = status == 0 and self._last is not None
        try:
            if not quiet:
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
        self, op: str, entity: str, data: dict[str, Any], more: dict[str, str | None]
    ) -> Any:
        """Have the server carry out an operation on records. Raises CollectionError.

        While the database is away, a job repeats reads, writes with a key, and writes that had no
        effect, for as long as it may run.
        """
        pause, safe = 0.1, op in _READS or bool(more.get("key"))
        while True:
            try:
                return await self._ask(op, entity, data, more)
            except Unavailable as error:
                if not (safe or error.unchanged) or not self._may_wait(more.get("call")):
                    raise
            await asyncio.sleep(pause * random.uniform(0.5, 1))
            pause = min(2 * pause, 5.0)

    def _may_wait(self, call: str | None) -> bool:
        context = self._contexts.get(call)
        return context is not None and not context.cancelled and self._last is None

    async def _ask(
        self, op: str, entity: str, data: dict[str, Any], more: dict[str, str | None]
    ) -> Any:
        self._count += 1
        op_id = f"op{self._count}"
        future = self._operations[op_id] = self.loop.create_future()
        message = {"type": "collection_op", "id": op_id, "op": op, "entity": entity, "data": data}
        try:
            given = {name: value for name, value in more.items() if value is not None}
            self._wire.send({**message, **given}, soon=True)
            return await future
        finally:
            self._operations.pop(op_id, None)

    def _settle(self, future: asyncio.Future[Any], message: dict[str, Any]) -> None:
        if future.done():
            return
        if message.get("error") is None:
            future.set_result(message.get("result"))
            return
        effect = message.get("unavailable")
        error = CollectionError(str(message["error"]))
        if effect is not None:
            error = Unavailable(str(message["error"]))
            error.unchanged = effect == "unchanged"
        error.status, error.current = message.get("status"), message.get("current")
        future.set_exception(error)

    def say(self, message: dict[str, Any]) -> None:
        """Send a message. Raises TypeError, ValueError for what is not JSON or too large."""
        self._wire.send(message)


@types.coroutine
def _inline(
    work: Coroutine[Any, Any, None], waits: Callable[[], None]
) -> Generator[Any, Any, None]:
    """Run a coroutine in a context of its own, and call `waits` when it waits for the first time.
    A task for each call took a seventh of its time."""
    run, resume, given = copy_context().run, work.send, None
    first = True
    while True:
        try:
            waits_for = run(resume, given)
        except StopIteration:
            return
        if first:
            first = False
            waits()
        try:
            resume, given = work.send, (yield waits_for)
        except BaseException as error:
            resume, given = work.throw, error


class _Wire:
    """Standard input and output, reserved for messages."""

    def __init__(self) -> None:
        self._out = 1
        self._in = 0
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._home = 0
        """The thread of the event loop."""
        self._take: Callable[[bytes | None], None] = lambda lines: None
        self._parts: list[bytes] = []
        """The pieces of an unfinished line."""
        self._held: list[bytes] = []
        """Lines of this turn of the event loop, which are written together."""
        self._size = 0
        self._holding = False
        """Whether `release` writes what is held, so that no callback need do it."""

    def take_over(self) -> None:
        """Reserve the pipes to the server for messages; printed text goes to the log."""
        self._in, self._out = os.dup(0), os.dup(1)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        os.dup2(2, 1)
        sys.stdout = _Printed(self)

    def listen(self, loop: asyncio.AbstractEventLoop, take: Callable[[bytes | None], None]) -> None:
        """Pass on the lines that the server sends, and None at the end."""
        self._loop, self._home, self._take = loop, threading.get_ident(), take
        try:
            loop.add_reader(self._in, self._read)
        except (NotImplementedError, OSError):  # a file, which no event loop waits for
            threading.Thread(target=self._read_file, daemon=True).start()

    def _read(self) -> None:
        data = os.read(self._in, 1 << 16)  # what a pipe holds: room for more is made for nothing
        lines, ended, rest = data.rpartition(b"\n")
        self._parts.append(lines if ended else rest)
        if ended:
            lines, self._parts = b"".join(self._parts), [rest]
            self._take(lines)
        if not data:
            self._take(None)

    def _read_file(self) -> None:
        loop = self._loop
        assert loop is not None
        with os.fdopen(self._in, "rb", closefd=False) as file:
            for line in file:
                loop.call_soon_threadsafe(self._take, line.rstrip())
        loop.call_soon_threadsafe(self._take, None)

    def log(self, level: str, parts: tuple[object, ...]) -> None:
        """Send a line for the log."""
        message = " ".join(part if isinstance(part, str) else _shown(part) for part in parts)
        self.send({"type": "log", "level": level, "message": message[: MAX_FRAME // 16]})

    def send(self, message: dict[str, Any], *, soon: bool = False) -> None:
        """Send a message in one piece: at once, or `soon`, with the others of this turn of the
        event loop."""
        line = _encode(message).encode("utf-8", "replace") + b"\n"
        if len(line) > MAX_FRAME:
            raise ValueError(f"the {message['type']} is over {MAX_FRAME // 2**20} MB")
        with self._lock:
            if soon and not self._held:
                soon = threading.get_ident() == self._home
                if soon and not self._holding and self._loop:
                    self._loop.call_soon(self.flush)
            self._held.append(line)
            self._size += len(line)
            if not soon or self._size > 64 * 1024:
                self._write()

    def hold(self) -> None:
        """Announce that `release` is called before the event loop runs anything else."""
        self._holding = True

    def release(self) -> None:
        """Write what was held since `hold`, if that was called."""
        if self._holding:
            self._holding = False
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        with self._lock:
            if self._held:
                self._write()

    def _write(self) -> None:
        left = memoryview(b"".join(self._held))
        self._held, self._size = [], 0
        while left:
            try:
                left = left[os.write(self._out, left) :]
            except BrokenPipeError:
                os._exit(0)


class _Printed(io.TextIOBase):
    """Standard output after `run`: whole lines become lines of the log."""

    encoding = "utf-8"

    def __init__(self, wire: _Wire) -> None:
        self._wire = wire
        self._text = ""
        self._lock = threading.RLock()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 1

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._text = (self._text + text).split("\n")
            if len(self._text) > MAX_FRAME // 16:
                lines, self._text = [*lines, self._text], ""
        for line in lines:
            self._wire.log("stdout", (line,))
        return len(text)

    def flush(self) -> None:
        with self._lock:
            text, self._text = self._text, ""
        if text:
            self._wire.log("stdout", (text,))


def _messages(lines: bytes, parse_int: Any = None) -> list[dict[str, Any]]:
    """Read lines as one array, which takes less time than one after the other."""
    try:
        found = json.loads("[" + lines.decode().replace("\n", ",") + "]", parse_int=parse_int)
        return [message for message in found if isinstance(message, dict)]
    except ValueError:
        apart = lines.split(b"\n")
        if apart[1:]:
            return [message for line in apart for message in _messages(line)]
        return [] if parse_int else _messages(lines, _whole)


def _whole(digits: str) -> float:
    """Read a number that is too long for `int` as 1e999 is read. It must not lose other jobs."""
    return int(digits) if len(digits) < 4300 else float(digits)


def _registrar(registry: Any, name: str) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        registry[name] = handler
        return handler

    return register


def _takes(handler: Handler) -> int:
    """Return how many positional arguments a handler takes; two where that is unknown."""
    try:
        parameters = inspect.signature(handler).parameters.values()
    except (TypeError, ValueError):
        return 2
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return 2
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(parameter.kind in kinds for parameter in parameters)


def _plain(value: object) -> object:
    """Write the usual types of a database as JSON has them."""
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, (set, frozenset)):
        return list(value)  # type: ignore[reportUnknownArgumentType,reportUnknownVariableType]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


# Made once: `json.dumps` makes another for each message that is not written its default way.
_encode = json.JSONEncoder(
    default=_plain, allow_nan=False, ensure_ascii=False, separators=(",", ":")
).encode


def _is_unavailable(error: BaseException) -> bool:
    """Whether it is an Unavailable, or a group of nothing else."""
    group: tuple[BaseException, ...] = getattr(error, "exceptions", ())
    return isinstance(error, Unavailable) or (bool(group) and all(map(_is_unavailable, group)))


def _camel(options: dict[str, Any]) -> dict[str, Any]:
    """Spell names of options as JSON has them: `order_by` is `orderBy`."""
    spelled: dict[str, Any] = {}
    for name, value in options.items():
        first, *rest = name.split("_")
        spelled[first + "".join(part.capitalize() for part in rest)] = value
    return spelled


def _message_of(error: BaseException) -> str:
    """Return the message of an error, cut, because a reply that is too large is not sent."""
    try:
        said = str(error)
    except Exception:  # its __str__ is the app's
        said = ""
    return said[: MAX_FRAME // 16] or type(error).__name__


def _shown(value: object) -> str:
    try:
        return json.dumps(value, default=str, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return repr(value)
