"""The rules of SQL from workers: what it sees and writes, how much, and how it fails."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import anyio
import msgspec
import psycopg

from kernel.public import (
    Actor,
    App,
    Apps,
    BadRequest,
    ConcurrencyLimiter,
    KernelError,
    NotFound,
    Operation,
    Pool,
    Records,
    RecordView,
    RecordViews,
    SchemaChanged,
    ServiceKey,
    Unavailable,
    server_actor,
    supports,
)
from plugins.app_logins.config import AppLoginsConfig
from plugins.app_logins.service import AppLoginsService

from . import store
from .sessions import Session, SessionRefused, Sessions
from .store import ProposedChange, QueryLogin
from .values import write_values

_WORD: Final = re.compile(r"[a-z_][a-z0-9_]*")
_WRITES: Final = frozenset({"insert", "update", "delete", "merge"})
_SCHEMA_CHANGED: Final = ("42703", "42P01", "3F000")
_AWAY: Final = ("08", "53", "57", "58")
_CANCELLED: Final = "57014"
_READ_ONLY: Final = "25006"


class QueryBounds(msgspec.Struct, frozen=True):
    """What bounds a statement: its characters and values, rows of its result, records that it
    writes, bytes of both, and the times that it runs where others change its records meanwhile.

    `logins` is how many logins a process remembers.
    """

    characters: int = 100_000
    values: int = 500
    rows: int = 10_000
    changes: int = 1000
    bytes: int = 8_000_000
    attempts: int = 3
    logins: int = 1000


BOUNDS: Final = QueryBounds()


class Query(msgspec.Struct, frozen=True):
    """A statement with its values as texts, and the words in it."""

    statement: str
    values: Sequence[str | None]
    words: frozenset[str]

    @property
    def may_write(self) -> bool:
        """Whether it may be more than a `select`."""
        return not self.words.isdisjoint(_WRITES)


class Outcome(msgspec.Struct, frozen=True):
    """The rows that a statement returned, and what it would write."""

    rows: bytes
    changes: Sequence[ProposedChange] = ()


class WrittenRecord(msgspec.Struct, frozen=True):
    """What a batch says of one operation; `record` is absent after a delete."""

    id: str
    record: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class BatchReply(msgspec.Struct, frozen=True):
    """The reply of a batch."""

    results: list[WrittenRecord]


_decode_reply = msgspec.json.Decoder(BatchReply).decode


class CallerQueries:
    """See `kernel.contracts.workers.CallerSql`."""

    def __init__(
        self,
        pool: Pool,
        apps: Callable[[], Apps],
        records: Callable[[], Records | None],
        logins: AppLoginsService,
        config: AppLoginsConfig,
    ) -> None:
        self._pool = pool
        self._apps = apps
        self._records = records
        self._logins = logins
        self._config = config
        self.sessions = Sessions(pool, config.sql_connections)
        self._known_logins: dict[int, QueryLogin] = {}
        """By the key of the app."""
        self._turns = ConcurrencyLimiter(
            config.sql_connections,
            per_key=(config.sql_connections + 1) // 2,
            queue=16,
            timeout=10.0,
            message="too many statements of workers run at once",
        )

    async def query(self, actor: Actor, app: App, statement: str, values: Sequence[Any]) -> bytes:
        """See `CallerSql.query`."""
        query = _read_query(statement, values)
        if not await self._logins.may():
            raise BadRequest("sql: the server's login may not make roles, so there is no SQL here")
        attempt = 1
        while True:
            outcome = await self._compute(actor, app, query)
            if not outcome.changes:
                return outcome.rows
            try:
                return await self._write(actor, app, outcome)
            except KernelError as error:
                # Others have changed a record since the statement saw it.
                has_changed = error.status == HTTPStatus.PRECONDITION_FAILED
                if not has_changed or attempt == BOUNDS.attempts:
                    raise
            attempt += 1

    async def aclose(self) -> None:
        """End the sessions that are free."""
        await self.sessions.close()

    async def _write(self, actor: Actor, app: App, outcome: Outcome) -> bytes:
        """Write what a statement would write, as the caller; return the records."""
        if outcome.rows != b"[]":
            raise BadRequest(
                "sql: a statement that writes returns the records: leave out `returning`"
            )
        operations = [_describe_operation(change) for change in outcome.changes]
        reply = await self._find_records().batch(actor, app.id, operations)
        written = _decode_reply(reply).results
        return msgspec.json.encode([_show(result) for result in written])

    async def _compute(self, actor: Actor, app: App, query: Query) -> Outcome:
        """Run a statement, once more where an install came between."""
        async with self._turns.hold(app.id):
            try:
                return await self._run(actor, app, query)
            except SchemaChanged:
                await self._apps().refresh()
                current = await self._apps().app(app.id)
                if current.key != app.key:
                    raise NotFound(
                        f"app '{app.id}' not found: it is another one's name now"
                    ) from None
                return await self._run(actor, current, query)

    async def _run(self, actor: Actor, app: App, query: Query) -> Outcome:
        """Run a statement once. Raises SchemaChanged."""
        records = self._find_records()
        if not supports(records, RecordViews):
            raise BadRequest("sql: the records of this server cannot be read by SQL")
        # A name in another spelling is not found: what is not shown is not there.
        entities = [name for name in app.entities if name in query.words]
        views = await records.write_views(actor, app.id, entities)
        with anyio.move_on_after(self._pool.answer_timeout):
            try:
                return await self._run_as_login(app, views, query)
            except psycopg.Error as error:
                raise _explain(error) from error
        raise Unavailable("the database is not available")

    async def _run_as_login(self, app: App, views: Sequence[RecordView], query: Query) -> Outcome:
        """Run a statement, once more where its session or its login is not as it was."""
        login = await self._find_login(app)
        try:
            async with self.sessions.open(login) as session:
                return await _run_in_session(session, app, views, query)
        except SessionRefused:
            self._known_logins.pop(app.key, None)
            await self.sessions.close(login.role)
        try:
            async with self.sessions.open(await self._find_login(app)) as session:
                return await _run_in_session(session, app, views, query)
        except SessionRefused as refusal:
            raise Unavailable("the database is not available") from refusal

    async def _find_login(self, app: App) -> QueryLogin:
        login = self._known_logins.get(app.key)
        if login is not None:
            return login
        work = partial(store.make_login, app=app, config=self._config)
        login = await self._pool.run(server_actor(), work)
        if login is None:
            raise NotFound(f"app '{app.id}' not found: it is another one's name now")
        if len(self._known_logins) >= BOUNDS.logins:
            self._known_logins.clear()
        self._known_logins[app.key] = login
        return login

    def _find_records(self) -> Records:
        records = self._records()
        if records is None:
            raise BadRequest("sql: this server keeps no records")
        return records


def _read_query(statement: str, values: Sequence[Any]) -> Query:
    """Check what a worker sent. Raises BadRequest."""
    if len(statement) > BOUNDS.characters:
        raise BadRequest(f"sql: a statement has {BOUNDS.characters} characters at most")
    if not statement.strip() or "\0" in statement:
        raise BadRequest("sql: a statement is wanted, without the character U+0000")
    if len(values) > BOUNDS.values:
        raise BadRequest(f"sql: a statement takes {BOUNDS.values} values at most")
    words = frozenset(_WORD.findall(statement.lower()))
    return Query(statement, write_values(values), words)


async def _run_in_session(
    session: Session, app: App, views: Sequence[RecordView], query: Query
) -> Outcome:
    """Show records and run a statement over them. Raises SessionRefused, SchemaChanged."""
    max_changes = BOUNDS.changes if query.may_write else 0
    try:
        await session.show_records(app.id, views, max_changes)
    except psycopg.ProgrammingError as error:
        if error.sqlstate in _SCHEMA_CHANGED:
            raise SchemaChanged("the schema changed while the request ran") from error
        raise
    await session.prepare(query.statement)
    rows = await session.answer(query.values, BOUNDS.rows, BOUNDS.bytes)
    if not query.may_write:
        return Outcome(rows)
    changes = await session.take_changes(BOUNDS.bytes)
    if changes is None:
        raise BadRequest(f"sql: a statement writes at most {BOUNDS.bytes} bytes")
    return Outcome(rows, changes)


def _describe_operation(change: ProposedChange) -> Operation:
    if change.op == "insert":
        return Operation(op="create", entity=change.entity, data=change.data)
    return Operation(
        op=change.op, entity=change.entity, id=change.id, data=change.data, if_match=change.etag
    )


def _show(result: WrittenRecord) -> object:
    if result.record is msgspec.UNSET:
        return {"id": result.id}
    return result.record


def _explain(error: psycopg.Error) -> KernelError:
    """Return what a worker gets to know of an error: PostgreSQL's own sentence, if it is one of the
    statement."""
    state = error.sqlstate or ""
    message = (error.diag.message_primary or "")[:500]
    if state == _CANCELLED:
        return BadRequest("sql: the statement took longer than it may")
    if not state or state[:2] in _AWAY:
        return Unavailable("the database is busy or not available")
    if state == _READ_ONLY:
        return BadRequest("sql: a statement changes records of the app, and nothing else")
    return BadRequest(f"sql: {message} (SQLSTATE {state})")


QUERIES = ServiceKey[CallerQueries]("app_logins_queries")
