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
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import cached_property
from typing import Any

MAX_FRAME = 10 * 1024 * 1024
MAX_TEXT = MAX_FRAME // 16
SHUTDOWN_SECONDS = 9.0

Handler = Callable[..., Any]
_Work = tuple[str, Handler, tuple[Any, ...], "Context"]
"""The type of an outcome, and what makes it: a handler, its arguments, and its context."""
_READS = ("find", "findOne", "query", "export", "changes")

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


class ChangesLost(CollectionError):
    """Changes since the position of a reader are not available. Read the records, and then go on
    behind them: `changes(name, since=error.position)`."""

    def __init__(self, reason: str, position: str) -> None:
        """`reason` is such as "too old"; from `position` on changes are available."""
        super().__init__(f"changes are lost: {reason}")
        self.reason = reason
        self.position = position


class Log:
    """Writes lines to the app's log; that of a context names its call or job."""

    def __init__(self, wire: _Wire, call_id: str | None = None) -> None:
        self._wire = wire
        self._call_id = call_id

    def debug(self, *parts: object) -> None:
        """Log a message for debugging."""
        self._wire.log("debug", parts, self._call_id)

    def info(self, *parts: object) -> None:
        """Log a message."""
        self._wire.log("info", parts, self._call_id)

    def warn(self, *parts: object) -> None:
        """Log a warning."""
        self._wire.log("warn", parts, self._call_id)

    warning = warn

    def error(self, *parts: object) -> None:
        """Log an error."""
        self._wire.log("error", parts, self._call_id)


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
        """The app's log; its lines are found by the request or job."""
        return self._worker.log_of(self.call_id)

    @cached_property
    def user_id(self) -> str | None:
        """The id of the caller."""
        return self._read_caller("userId")

    @cached_property
    def username(self) -> str | None:
        """The name of the caller."""
        return self._read_caller("username")

    @cached_property
    def email(self) -> str | None:
        """The address of the caller."""
        return self._read_caller("email")

    @cached_property
    def auth_token(self) -> str | None:
        """A bearer token that is valid for as long as the call or job may run; empty in a job that
        runs over a week after the user's last action."""
        return self._read_caller("authToken")

    def _read_caller(self, name: str) -> str | None:
        return None if self.caller is None else self.caller.get(name)

    def progress(self, value: object) -> None:
        """Report the progress of a job: 0.4, or any JSON."""
        self._worker.say({"type": "job_progress", "id": self.call_id, "value": value})

    def emit(self, name: str, data: object = None) -> None:
        """Report an event."""
        self._worker.emit(name, data)

    def collection(self, entity: str) -> Collection:
        """Records, with the rights of the caller."""
        return Collection(self._worker, entity, self.call_id, blocking=self.blocking)

    def sql(self, query: str, values: list[Any] | None = None) -> Any:
        """Run one statement with the rights of the caller, and return its rows as dictionaries.
        Awaited in an `async def`.

            rows = ctx.sql("select stage, sum(value) from deals where value > $1 group by 1", [100])

        Each entity is a table of its name, with the records and fields that the caller may read.
        `values` are those of `$1`, `$2` ...: a list becomes an array, a dictionary JSON. At most
        10,000 rows and 8 MB. `insert`, `update` and `delete` return what they wrote, as
        `Collection.batch` does it: 1000 records at most. Raises CollectionError.
        """
        return _query(self._worker, query, values, self.call_id, blocking=self.blocking)


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
        return self._copy_with(key=key)

    def if_match(self, etag: str) -> Collection:
        """The same records; an update or a delete is refused with the status 412 where the record
        has changed since it had this `_etag`."""
        return self._copy_with(if_match=etag)

    def _copy_with(self, **marks: str) -> Collection:
        return Collection(
            self._worker,
            self._entity,
            self._call_id,
            blocking=self._blocking,
            marks={**self._marks, **marks},
        )

    def insert(self, data: dict[str, Any]) -> Any:
        """Create a record and return it."""
        return self._do("insert", data)

    def update(self, record: str | dict[str, Any], **values: Any) -> Any:
        """Change a record by its id, or the one that `id` in the data names, and return it."""
        return self._do("update", {**_name_record(record), **values})

    def delete(self, record: str | dict[str, Any]) -> Any:
        """Delete a record, by its id."""
        return self._do("delete", _name_record(record))

    def find(self, where: dict[str, Any] | None = None) -> Any:
        """Return the records with these values, 1000 at most; all of them without any."""
        return self._do("find", where or {})

    def find_one(self, where: dict[str, Any] | None = None) -> Any:
        """Return the first record with these values, or None."""
        return self._do("findOne", where or {})

    def query(self, where: dict[str, Any] | None = None, **options: Any) -> Any:
        """Return `{"data": [...], "total": n}`: a page of records, or groups of them.

        Options are the members of POST .../query, in either spelling: `fields`, `expand`, `search`,
        `etag`, `order_by`, `order`, `then_by`, `limit`, `offset`, `after`, `total`, `group_by`,
        `aggregate`, `having`, `timezone`.
        """
        return self._do("query", {"where": where, **_to_camel(options)})

    def export(self, where: dict[str, Any] | None = None, **options: Any) -> Any:
        """Return records as the text of a file: options as of `query`, `format` "csv" (default) or
        "ndjson", `raw`; without `limit` all of them, 10 MB at most."""
        return self._do("export", {"where": where, **_to_camel(options)})

    def import_file(self, text: str, **options: Any) -> Any:
        """Import the text of a file and return a report: options `format` "csv" (default) or
        "ndjson", `on`, `mode` "all" (default) or "valid", `dry_run`, `preview`, `raw`, and those
        of the route that say how the file is written: `create`, `delimiter`, `decimal`, `dates`,
        `null`."""
        return self._do("import", {"text": text, **_to_camel(options)})

    def changes(self, name: str | None = None, **options: Any) -> Changes:
        """Iterate over what happened to the records since the last time, in order: `for` in a
        `def`, `async for` in an `async def`.

            async for change in ctx.collection("deals").changes("mirror"):
                await copy(change["event"], change["record"])

        A change is `{"change", "event", "id", "record", "old", "at", "actor", "request",
        "position"}`. `change` is its number, the same each time. The event is enter, change or
        leave; `record` is None for leave, and `old` has the former values of the fields that
        changed. The loop ends where nothing more has been committed.

        The server keeps the position of a `name`, one for each app and entity. Changes count as
        handled when the loop asks for more behind them, or ends. After a failure they come again,
        so each comes at least once. A new name begins now. Options: `since` (a position), `where`,
        `fields`, `limit` (at most so many at once). Raises ChangesLost.
        """
        return Changes(self._do, name, options)

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
        marks: dict[str, str | None] = {"call": self._call_id}
        if op not in _READS:
            marks.update(self._marks)
        operation = self._worker.operate(op, self._entity, data, marks)
        if not self._blocking:
            return operation
        return asyncio.run_coroutine_threadsafe(operation, self._worker.loop).result()


def _query(
    worker: Worker, query: str, values: list[Any] | None, call_id: str | None, *, blocking: bool
) -> Any:
    data = {"query": query, "values": values or []}
    operation = worker.operate("sql", "", data, {"call": call_id})
    if not blocking:
        return operation
    return asyncio.run_coroutine_threadsafe(operation, worker.loop).result()


class Changes:
    """What happened to the records of a collection; see `Collection.changes`."""

    def __init__(self, ask: Callable[..., Any], name: str | None, options: dict[str, Any]) -> None:
        """`ask` is that of the collection: awaited in an `async def`."""
        self._ask = ask
        self._request = {**options, "name": name}

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        """Yield changes until there are no more."""
        is_complete = False
        while not is_complete:
            page = await self._ask("changes", self._request)
            is_complete = self._take(page)
            for change in page["changes"]:
                yield change
        await self._ask("changes", self._end())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield changes until there are no more; for a `def`."""
        is_complete = False
        while not is_complete:
            page = self._ask("changes", self._request)
            is_complete = self._take(page)
            yield from page["changes"]
        self._ask("changes", self._end())

    def _end(self) -> dict[str, Any]:
        """Return the request that reads nothing: it has what was handled last kept."""
        return {**self._request, "limit": 0}

    def _take(self, page: dict[str, Any]) -> bool:
        """Go on behind a page with the next request; return whether there is no more to come."""
        if page["lost"]:
            raise ChangesLost(page["lost"], page["position"])
        self._request.pop("since", None)
        self._request["done"] = page["position"]
        return bool(page["complete"])


def _name_record(record: str | dict[str, Any]) -> dict[str, Any]:
    return record if isinstance(record, dict) else {"id": record}


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
        self._handlers = _Handlers()
        self._operations = _Operations(self._wire)
        self._runner = _Runner(self._wire, self.log, self._handlers, self._end)
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
        return _query(self, query, values, None, blocking=False)

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
        for message in _parse_lines(lines):
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
        is_safe = op in _READS or bool(marks.get("key"))
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


class _Handlers:
    """The functions that a worker declares."""

    def __init__(self) -> None:
        self.methods: dict[str, Handler] = {}
        self.jobs: dict[str, Handler] = {}
        """By the type of their jobs; the one without a type takes the rest."""
        self.on_start: list[Handler] = []
        self.on_shutdown: list[Handler] = []
        self._params: dict[tuple[str, str], dict[str, Any]] = {}
        """JSON Schemas by kind and name."""
        self._signatures: dict[int, tuple[int, bool]] = {}

    def make_registrar(
        self, kind: str, name: str | None, params: dict[str, Any] | None
    ) -> Callable[[Handler], Handler]:
        """Return a decorator; without a name the handler has that of its function."""

        def register(handler: Handler) -> Handler:
            self.add(kind, handler.__name__ if name is None else name, handler, params)
            return handler

        return register

    def add(
        self, kind: str, name: str, handler: Handler, params: dict[str, Any] | None = None
    ) -> None:
        """Add a handler of calls ("rpc") or of jobs ("job")."""
        registry = self.methods if kind == "rpc" else self.jobs
        registry[name] = handler
        self._params.pop((kind, name), None)
        if params is not None:
            json.dumps(params)  # here, where the traceback names the declaration
            self._params[kind, name] = params

    def describe(self) -> list[dict[str, Any]]:
        """Return what the server shows of the handlers: the first line of each docstring."""
        registries = (("rpc", self.methods), ("job", self.jobs))
        return [
            {
                "kind": kind,
                "name": name,
                "text": (inspect.getdoc(registry[name]) or "").partition("\n")[0][:500],
                "params": self._params.get((kind, name)),
            }
            for kind, registry in registries
            for name in sorted(registry)
        ]

    def inspect(self, handler: Handler) -> tuple[int, bool]:
        """Return how many arguments a handler takes, and whether it is an `async def`.

        That is found out once, because it takes longer than most calls.
        """
        signature = self._signatures.get(id(handler))
        if signature is None:
            signature = (_count_arguments(handler), inspect.iscoroutinefunction(handler))
            self._signatures[id(handler)] = signature
        return signature


class _Jobs:
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


class _Runner:
    """Runs handlers of calls and jobs, and sends their outcomes.

    `end` ends the process for an exit of a handler.
    """

    def __init__(
        self, wire: _Wire, log: Log, handlers: _Handlers, end: Callable[[BaseException], None]
    ) -> None:
        self._wire = wire
        self._log = log
        self._handlers = handlers
        self._end = end
        self.jobs = _Jobs()
        self.coroutines = _Coroutines(wire, self._answer)
        self.threads = _Threads(self._answer_on_thread)

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
        is_unavailable = _is_unavailable(error)
        trace = "".join(traceback.format_exception(None, error, error.__traceback__))
        message: dict[str, Any] = {
            "type": kind,
            "id": context.call_id,
            "error": _find_message(error),
        }
        if is_unavailable:
            context.log.warning(trace)
            message["unavailable"] = True
        else:
            context.log.error(trace)
        self._wire.send(message)


class _Coroutines:
    """Runs handlers on the event loop, those of one turn in one task."""

    loop: asyncio.AbstractEventLoop

    def __init__(self, wire: _Wire, answer: Callable[..., Coroutine[Any, Any, None]]) -> None:
        self._wire = wire
        self._answer = answer
        self._ready: deque[_Work] = deque()
        """What begins in the next turn of the event loop."""
        self.tasks: set[asyncio.Task[None]] = set()

    def add(self, work: _Work) -> None:
        """Run a handler in the next turn."""
        if not self._ready:
            self.begin(self._run_ready())
        self._ready.append(work)

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine in a task."""
        self.tasks.add(self.loop.create_task(self._run(work)))

    async def _run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run the coroutine of a task. A callback at its end would take a turn of the loop."""
        try:
            await work
        finally:
            task: Any = asyncio.current_task()
            self.tasks.discard(task)

    async def _run_ready(self) -> None:
        """Run coroutines one after the other in one task, until one of them waits for something.
        That one keeps the task, and another task runs the rest. Outcomes are written then."""
        if len(self.tasks) == 1:  # else another task may have an outcome in this turn as well
            self._wire.hold()
        while self._ready:
            await _inline(self._answer(*self._ready.popleft()), self._go_on)
        self._wire.release()

    def _go_on(self) -> None:
        self._wire.release()
        if self._ready:
            self.begin(self._run_ready())


class _Threads:
    """Runs handlers on threads. Quick ones share a thread, and those that block have one each."""

    loop: asyncio.AbstractEventLoop

    def __init__(self, answer: Callable[..., None]) -> None:
        self._answer = answer
        self._pool = ThreadPoolExecutor(64, thread_name_prefix="handler")
        self._due: deque[_Work] = deque()
        """Handlers that wait for a thread."""
        self._is_called = False
        """Whether a thread is woken in this turn."""
        self._is_waking = False
        """Whether a thread was woken that has not begun."""
        self._futures: set[Future[None]] = set()

    def check(self) -> None:
        """Start the first thread. Raises where the account has no room for it."""
        self._pool.submit(int)

    def add(self, work: _Work) -> None:
        """Run a handler in the next turn."""
        if not self._is_called:
            self._is_called = True
            self.loop.call_soon(self.call)
        self._due.append(work)

    def call(self) -> None:
        """Have a thread run what is due."""
        self._is_called = False
        if not self._is_waking:  # else that one sees what was added
            self._wake()

    async def run(self, work: Callable[[], None]) -> None:
        """Run what may block, and wait for it."""
        await self.loop.run_in_executor(self._pool, work)

    def list_futures(self) -> list[asyncio.Future[None]]:
        """Return what to wait for until no thread runs a handler."""
        return [asyncio.wrap_future(future) for future in list(self._futures)]

    def _wake(self) -> None:
        """Have a thread run what waits for one. It wakes another thread where more than one handler
        waits."""
        self._is_waking = True
        try:
            future = self._pool.submit(self._run_due)
        except RuntimeError:  # no further thread can start; one of those that run takes it
            return
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)

    def _run_due(self) -> None:
        self._is_waking = False
        while self._due:
            try:
                work = self._due.popleft()
            except IndexError:  # another thread has it
                return
            if self._due and not self._is_waking:
                self._wake()
            self._answer(*work)


class _Operations:
    """Operations on records that the server has not answered yet."""

    loop: asyncio.AbstractEventLoop

    def __init__(self, wire: _Wire) -> None:
        self._wire = wire
        self._futures: dict[str, asyncio.Future[Any]] = {}
        self._count = 0

    async def ask(
        self, op: str, entity: str, data: dict[str, Any], marks: dict[str, str | None]
    ) -> Any:
        """Send an operation and wait for its result. Raises CollectionError."""
        self._count += 1
        op_id = f"op{self._count}"
        message = {"type": "collection_op", "id": op_id, "op": op, "entity": entity, "data": data}
        message.update({name: value for name, value in marks.items() if value is not None})
        future = self.loop.create_future()
        self._futures[op_id] = future
        try:
            self._wire.send(message, soon=True)
            return await future
        finally:
            self._futures.pop(op_id, None)

    def settle(self, op_id: str, message: dict[str, Any]) -> None:
        """Take the answer to an operation, if a handler waits for it."""
        future = self._futures.pop(op_id, None)
        if future is None or future.done():
            return
        if message.get("error") is None:
            future.set_result(message.get("result"))
            return
        text = str(message["error"])
        effect = message.get("unavailable")
        if effect is None:
            error = CollectionError(text)
        else:
            error = Unavailable(text)
            error.unchanged = effect == "unchanged"
        error.status = message.get("status")
        error.current = message.get("current")
        future.set_exception(error)


@types.coroutine
def _inline(
    work: Coroutine[Any, Any, None], waits: Callable[[], None]
) -> Generator[Any, Any, None]:
    """Run a coroutine in a context of its own, and call `waits` when it waits for the first time.
    A task for each call took a seventh of its time."""
    run = copy_context().run
    resume: Callable[[Any], Any] = work.send
    value: Any = None
    is_first = True
    while True:
        try:
            awaited = run(resume, value)
        except StopIteration:
            return
        if is_first:
            is_first = False
            waits()
        try:
            value = yield awaited
            resume = work.send
        except BaseException as error:
            value = error
            resume = work.throw


class _Wire:
    """Standard input and output, reserved for messages."""

    def __init__(self) -> None:
        self._out = 1
        self._in = 0
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._home = 0
        """The thread of the event loop."""
        self._take_lines: Callable[[bytes | None], None] = lambda lines: None
        self._parts: list[bytes] = []
        """The pieces of an unfinished line."""
        self._held: list[bytes] = []
        """Lines of this turn of the event loop, which are written together."""
        self._size = 0
        self._holding = False
        """Whether `release` writes what is held, so that no callback need do it."""

    def take_over(self) -> None:
        """Reserve the pipes to the server for messages; printed text goes to the log."""
        self._in = os.dup(0)
        self._out = os.dup(1)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        os.dup2(2, 1)
        sys.stdout = _Printed(self)

    def listen(
        self, loop: asyncio.AbstractEventLoop, take_lines: Callable[[bytes | None], None]
    ) -> None:
        """Pass on the lines that the server sends, and None at the end."""
        self._loop = loop
        self._home = threading.get_ident()
        self._take_lines = take_lines
        try:
            loop.add_reader(self._in, self._read)
        except (NotImplementedError, OSError):  # a file, which no event loop waits for
            threading.Thread(target=self._read_file, daemon=True).start()

    def _read(self) -> None:
        data = os.read(self._in, 1 << 16)  # what a pipe holds: room for more is made for nothing
        if not data:
            self._take_lines(None)
            return
        lines, end, rest = data.rpartition(b"\n")
        if not end:
            self._parts.append(rest)
            return
        self._parts.append(lines)
        lines = b"".join(self._parts)
        self._parts = [rest]
        self._take_lines(lines)

    def _read_file(self) -> None:
        loop = self._loop
        assert loop is not None
        with os.fdopen(self._in, "rb", closefd=False) as file:
            for line in file:
                loop.call_soon_threadsafe(self._take_lines, line.rstrip())
        loop.call_soon_threadsafe(self._take_lines, None)

    def log(self, level: str, parts: tuple[object, ...], call_id: str | None = None) -> None:
        """Send a line for the log."""
        text = " ".join(map(_show, parts))
        message: dict[str, Any] = {"type": "log", "level": level, "message": text[:MAX_TEXT]}
        if call_id is not None:
            message["call"] = call_id
        self.send(message)

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
        self._held = []
        self._size = 0
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
            if len(self._text) > MAX_TEXT:
                lines.append(self._text)
                self._text = ""
        for line in lines:
            self._wire.log("stdout", (line,))
        return len(text)

    def flush(self) -> None:
        with self._lock:
            text = self._text
            self._text = ""
        if text:
            self._wire.log("stdout", (text,))


def _parse_lines(lines: bytes, parse_int: Any = None) -> list[dict[str, Any]]:
    """Read lines as one array, which takes less time than one after the other."""
    try:
        messages = json.loads("[" + lines.decode().replace("\n", ",") + "]", parse_int=parse_int)
    except ValueError:
        pass  # one of them is no JSON, or has a number that `int` refuses
    else:
        return [message for message in messages if isinstance(message, dict)]
    single = lines.split(b"\n")
    if len(single) > 1:
        return [message for line in single for message in _parse_lines(line)]
    if parse_int is None:
        return _parse_lines(lines, _parse_long)
    return []


def _parse_long(digits: str) -> float:
    """Read a number that is too long for `int` as 1e999 is read. It must not lose other jobs."""
    return int(digits) if len(digits) < 4300 else float(digits)


def _count_arguments(handler: Handler) -> int:
    """Return how many positional arguments a handler takes; two where that is unknown."""
    try:
        parameters = inspect.signature(handler).parameters.values()
    except (TypeError, ValueError):
        return 2
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return 2
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(parameter.kind in kinds for parameter in parameters)


def _to_json(value: object) -> object:
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


def _make_encoder() -> Callable[[object], str]:
    """Return what writes JSON. `JSONEncoder` makes an encoder in C for each message."""
    make_c_encoder: Any = getattr(json.encoder, "c_make_encoder", None)
    if make_c_encoder is None:
        return json.JSONEncoder(
            default=_to_json, allow_nan=False, ensure_ascii=False, separators=(",", ":")
        ).encode
    write_text = json.encoder.encode_basestring
    # No markers of circles, which end as a RecursionError; no indent; keys neither sorted nor
    # skipped; no NaN.
    encode = make_c_encoder(None, _to_json, write_text, None, ":", ",", False, False, False)
    return lambda message: "".join(encode(message, 0))


_encode = _make_encoder()


def _is_unavailable(error: BaseException) -> bool:
    """Whether it is an Unavailable, or a group of nothing else."""
    group: tuple[BaseException, ...] = getattr(error, "exceptions", ())
    return isinstance(error, Unavailable) or (bool(group) and all(map(_is_unavailable, group)))


def _to_camel(options: dict[str, Any]) -> dict[str, Any]:
    """Spell names of options as JSON has them: `order_by` is `orderBy`."""
    spelled: dict[str, Any] = {}
    for name, value in options.items():
        first, *rest = name.split("_")
        spelled[first + "".join(part.capitalize() for part in rest)] = value
    return spelled


def _find_message(error: BaseException) -> str:
    """Return the message of an error, cut, because a reply that is too large is not sent."""
    try:
        message = str(error)
    except Exception:  # its __str__ is the app's
        message = ""
    return message[:MAX_TEXT] or type(error).__name__


def _show(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, default=str, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return repr(value)
