"""Transactions: their statements on one connection, and what the kernel does around them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from functools import cache, partial
from operator import itemgetter
from time import monotonic
from typing import Any, Final, NamedTuple, ParamSpec, TypeVar

import anyio
import msgspec
import psycopg
import structlog
from psycopg.pq import TransactionStatus
from psycopg.pq.abc import PGresult

from kernel.config.settings import DatabaseConfig
from kernel.contracts import hookspecs
from kernel.contracts.base import Actor, Event, Services
from kernel.contracts.server import REGISTRY, HookBus
from kernel.contracts.statements import NOTIFICATIONS, Begin, HeldConnection, Param, Query, Work
from kernel.database.dialect import (
    ConnectionLost,
    FirstColumns,
    OutcomeUnknown,
    is_repeatable,
    raise_unknown_outcome,
)
from kernel.database.open_work import OpenWork, OpenWorkRegistry
from kernel.database.session_settings import SessionSettings
from kernel.errors import (
    KernelError,
    SchemaChanged,
    TransactionFailed,
    Unavailable,
    ends_process,
    failure,
)
from kernel.errors.source_lines import Step, source_line, steps_here
from kernel.toolkit.limiter import ConcurrencyLimiter

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
TRIES: Final = 4
COMMIT_TIMEOUT: Final = 60.0
"""Seconds for a statement that must not be abandoned, such as a commit."""
CANCEL_TIMEOUT: Final = 5.0
"""Seconds for PostgreSQL to cancel or roll back what no caller waits for."""
MAX_PAYLOAD: Final = 7000
"""Bytes of a notification as JSON."""
CALLBACK_TIMEOUT: Final = 30.0
"""Seconds for a callback after a commit: the caller cannot cancel it."""
_OPEN: Final = (TransactionStatus.ACTIVE, TransactionStatus.INTRANS, TransactionStatus.INERROR)
SWALLOWED: Final = "a statement failed, and its error was swallowed"
RAISE_IT: Final = "raise the error, or use tx.savepoint around what may fail"
ENDED: Final = "a statement ended its transaction"
REMOVE_IT: Final = "remove the statement: the transaction is committed when its function returns"
_LOCK: Final = "select caudex_kernel.lock($1::text[], $2::boolean)"
_PATIENCE: Final = "select set_config('lock_timeout', $1::text, true)"
_AS_CONFIGURED: Final = """
select set_config('lock_timeout', reset_val, true) from pg_settings where name = 'lock_timeout'"""

log = structlog.get_logger("caudex.db")


_open = ContextVar["tuple[Transaction, asyncio.Task[Any] | None] | None"]("open", default=None)


def open_transaction() -> Transaction | None:
    """Return the transaction that the function of this task runs in, or None.

    A task that it starts is not in it, nor is what a callback does after the commit.
    """
    running = _open.get()
    if running is None:
        return None
    tx, task = running
    is_of_this_task = task is asyncio.current_task()
    return tx if is_of_this_task and not tx.ended else None


class _Failure(NamedTuple):
    """Why a statement failed, and the steps that led to it; the error would keep their frames."""

    error: str
    steps: Sequence[Step]


class Transaction(FirstColumns):
    """See `kernel.contracts.statements.Transaction`; one statement at a time, until its end.

    A statement that the caller left running (`gather` does, when one of its parts fails) must not
    continue in the next transaction on the connection.
    """

    def __init__(self, connection: HeldConnection, actor: Actor, bus: HookBus) -> None:
        self.actor = actor
        self.used_at = monotonic()
        self.callbacks: list[Callable[[], Awaitable[None]]] = []
        self.events: list[Event] = []
        """What observers hear of after the commit, when the callbacks have run."""
        self.publications: list[tuple[str, str | None]] = []
        self._connection = connection
        self._bus = bus
        self._lock = anyio.Lock(fast_acquire=True)
        self._savepoints = 0
        self.ended = False
        self._abandoned = False
        """Whether a cancelled statement may have been applied and no savepoint undid it."""
        self._failure: _Failure | None = None
        """The first statement that failed, where no savepoint undid it."""

    def idle_since(self) -> float | None:
        """Return when the last statement ended; None while one runs."""
        return None if self._lock.locked() else self.used_at

    async def read(
        self,
        query: Query,
        params: Sequence[Param] = (),
        custom_plan: bool = False,
        quick: bool = True,
    ) -> PGresult | None:
        """Run a statement, also one that writes, when those before it have ended."""
        return await self._run_alone(self._connection.run, query, params, prepare=not custom_plan)

    async def script(self, statements: bytes) -> None:
        """See `Transaction.script`."""
        await self._run_alone(self._connection.script, statements)

    async def _run_alone(
        self, run: Callable[P, Awaitable[R]], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        async with self._lock:
            if self.ended:
                raise RuntimeError("the transaction has ended")
            self._check_failure()
            try:
                result = await run(*args, **kwargs)
            except BaseException as error:
                self._note_failure(error)
                raise
            finally:
                self.used_at = monotonic()
            self._check_begun()
            return result

    def _note_failure(self, error: BaseException) -> None:
        if not isinstance(error, Exception):
            self._abandoned = True
        elif self._failure is None:
            self._failure = _Failure(str(error), steps_here())

    def _check_failure(self) -> None:
        """Raise where a statement failed before: PostgreSQL would refuse each further one."""
        failure = self._failure
        if failure is not None and self._connection.status == TransactionStatus.INERROR:
            problem = f"{SWALLOWED}: {failure.error}"
            raise TransactionFailed(problem, RAISE_IT, failure.steps)

    def _check_begun(self) -> None:
        """Raise where a statement, such as a commit, has ended the transaction."""
        if self._connection.status == TransactionStatus.IDLE:
            self.ended = True
            raise TransactionFailed(ENDED, REMOVE_IT, steps_here())

    @asynccontextmanager
    async def savepoint(self) -> AsyncGenerator[None]:
        """See `Transaction.savepoint`."""
        self._savepoints += 1
        name = b"part_%d" % self._savepoints
        was_abandoned = self._abandoned
        failure = self._failure
        callbacks = len(self.callbacks)
        events = len(self.events)
        publications = len(self.publications)
        await self._shielded(b"savepoint " + name)
        try:
            yield
            await self._shielded(b"release " + name)
        except BaseException:
            del self.callbacks[callbacks:]
            del self.events[events:]
            del self.publications[publications:]
            self._failure = failure
            # If the rollback fails too, the transaction has failed and the commit reports it.
            with suppress(psycopg.Error, KernelError, RuntimeError):
                await self._shielded(b"rollback to " + name)
                self._abandoned = was_abandoned
            raise

    async def _shielded(self, query: bytes) -> None:
        """Run a statement that must not be cancelled. Raises ConnectionLost after a minute."""
        with anyio.move_on_after(COMMIT_TIMEOUT, shield=True):
            await self.read(query, custom_plan=True)
            return
        raise ConnectionLost("the database is not available")

    async def commit(self) -> None:
        """Raises: RuntimeError when a statement failed or was cancelled without the caller's
        knowledge."""
        async with self._lock:
            self.ended = True
        if self._abandoned:
            raise RuntimeError("a statement was cancelled, and its caller went on")
        status = self._connection.status
        if status == TransactionStatus.IDLE:
            return  # no statement was sent
        if status == TransactionStatus.UNKNOWN:  # so nothing was committed
            raise ConnectionLost("the database is not available")
        self._check_failure()
        with raise_unknown_outcome():
            result = await self._connection.run(b"commit", prepare=True)
        if result is None or result.command_status != b"COMMIT":
            raise RuntimeError(SWALLOWED)

    async def rollback(self) -> None:
        """Cancel the statement under way and roll back; where that fails, the connection's owner
        closes it."""
        self.ended = True
        with anyio.move_on_after(CANCEL_TIMEOUT, shield=True):
            while self._lock.locked():
                await self._connection.interrupt()
                # PostgreSQL ignores a cancel request that arrives before the statement.
                with anyio.move_on_after(0.2):
                    async with self._lock:
                        pass
        with anyio.move_on_after(CANCEL_TIMEOUT, shield=True):
            if self._connection.status in _OPEN:
                with suppress(psycopg.Error, KernelError):
                    await self._connection.run(b"rollback")

    async def wait_for_locks(self, seconds: float | None = None) -> None:
        """See `Transaction.wait_for_locks`."""
        if not self._connection.patient:
            return
        if seconds is None:
            await self.execute(_AS_CONFIGURED)
        else:
            await self.execute(_PATIENCE, f"{seconds * 1000:.0f}")

    async def lock(self, *names: str, skip: bool = False) -> bool:
        """See `Transaction.lock`."""
        return await self.execute(_LOCK, names, skip) == b"t"

    async def record(self, event: Event) -> None:
        """See `Transaction.record`."""
        await self._bus.emit(hookspecs.event_recorded, tx=self, event=event)
        if self._bus.listeners(hookspecs.event_committed, event.subject):
            self.events.append(event)

    async def publish(self, topic: str, payload: str = "") -> None:
        """See `Transaction.publish`; sent last, so that its row is locked for a moment only."""
        # NOTIFY carries 8000 bytes; subscribers get None, "anything may have changed", for more.
        is_short = len(msgspec.json.encode(payload)) < MAX_PAYLOAD
        message = (topic, payload if is_short else None)
        if message not in self.publications:
            self.publications.append(message)

    def after_commit(self, callback: Callable[[], Awaitable[None]]) -> None:
        """See `Transaction.after_commit`."""
        self.callbacks.append(callback)


async def run_repeatedly(run_once: Callable[[], Awaitable[T]], connections: int) -> T:
    """Run a transaction, or a statement that is one, again where a deadlock or the like undid it.

    After a change of the schema, each of the `connections` can have a stale statement.
    """
    tries = 0
    stale_statements = 0
    while True:
        try:
            return await run_once()
        except Unavailable as error:
            if isinstance(error, SchemaChanged) and stale_statements < connections:
                stale_statements += 1
            else:
                tries += 1
            if tries == TRIES or not is_repeatable(error.__cause__):
                raise
        await anyio.sleep(random.uniform(0, 0.02 * 2**tries))


class TransactionRunner:
    """Runs transactions on connections from `begin`, and repeats those that may succeed then."""

    def __init__(
        self,
        config: DatabaseConfig,
        bus: HookBus,
        services: Services,
        open_work: OpenWorkRegistry,
        settings: SessionSettings,
        begin: Begin,
    ) -> None:
        self._config = config
        self._bus = bus
        self._services = services
        self._open_work = open_work
        self._settings = settings
        self._begin = begin
        # Kept from the first publication on. A plugin that publishes during the start requires
        # NOTIFICATIONS, so that its provider and its wrappers are built by then.
        self._notifications = cache(partial(services.get, NOTIFICATIONS))
        # Transactions in which hooks run, by subject: a slow hook leaves connections to others.
        total = round(config.pool_size * 2 / 3)
        self._hooked = ConcurrencyLimiter(
            total,
            per_key=(total + 1) // 2,
            queue=100,
            timeout=config.pool_timeout,
            message="too many writes that run hooks of plugins at the same time",
        )

    async def run(
        self, actor: Actor, fn: Work[T], begin: Begin | None = None, *, subject: str = ""
    ) -> T:
        """See `Pool.run`."""
        if subject:
            async with self._hooked.hold(subject):
                return await self.run(actor, fn, begin)
        run_once = partial(self._run_once, actor, fn, begin or self._begin)
        return await run_repeatedly(run_once, self._config.pool_size)

    async def _run_once(self, actor: Actor, fn: Work[T], begin: Begin) -> T:
        with anyio.CancelScope() as scope:
            async with begin(self._settings.collect(actor)) as connection:
                tx = Transaction(connection, actor, self._bus)
                work = self._describe(tx, fn, scope)
                self._open_work.add(work)
                token = _open.set((tx, asyncio.current_task()))
                try:
                    result = await fn(tx)
                    await self._publish(tx)
                    # A caller that is cancelled from here on waits: either the commit and all that
                    # follows it are done, or nothing. A commit without an answer is abandoned.
                    scope.shield = True
                    scope.deadline = anyio.current_time() + COMMIT_TIMEOUT
                    self._open_work.remove(work)
                    await tx.commit()
                except BaseException:
                    await tx.rollback()
                    raise
                finally:
                    _open.reset(token)
                    self._open_work.remove(work)
            with anyio.CancelScope(shield=True):  # also after the deadline
                for callback in tx.callbacks:
                    await self._run_callback(callback)
                await self._bus.notify_committed(tx.events)
            return result
        if scope.shield:
            raise OutcomeUnknown
        raise Unavailable("the transaction was open for too long, or longer than its request")

    def _describe(self, tx: Transaction, fn: Work[Any], scope: anyio.CancelScope) -> OpenWork:
        """Describe a transaction that is closed where it is left open."""

        async def cancel() -> None:
            scope.cancel()

        code = partial(_code_of, fn)
        return OpenWork("transaction", code, self._open_work, tx.idle_since, cancel)

    async def _publish(self, tx: Transaction) -> None:
        """Send what is published as the last statements, in an order without deadlocks."""
        if not tx.publications:
            return
        messages = sorted(tx.publications, key=itemgetter(0))
        notify_this_process = await self._notifications().publish(tx, messages)
        tx.callbacks.insert(0, notify_this_process)

    async def _run_callback(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Call what a plugin wants to do after the commit; nothing it raises is the caller's."""
        try:
            with anyio.fail_after(CALLBACK_TIMEOUT):
                await callback()
        except (Exception, SystemExit) as error:
            if ends_process(error):
                raise
            fields = failure(error)
            registry = self._services.find(REGISTRY)
            if registry is not None:
                fields |= registry.blame(error)
            log.error("a callback after a commit failed", **fields)


def _code_of(fn: Work[Any]) -> Sequence[Step]:
    return [Step(getattr(fn, "__module__", None) or "", source_line(fn))]
