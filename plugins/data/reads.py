"""Reads of records, by statements that an install can make obsolete."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from functools import partial, wraps
from types import CoroutineType
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import msgspec

from kernel.public import (
    MAX_PAGE,
    Action,
    Actor,
    Apps,
    BadRequest,
    ConcurrencyLimiter,
    Grant,
    HookBus,
    NotFound,
    Page,
    Records,
    SchemaChanged,
    Statements,
    hookspecs,
)

from .columns import Column
from .filters import Conditions
from .models import LastSeen
from .rendering import TOO_LARGE, check_readable, count_in
from .scope import RowScope, record_not_found, resolve_scope
from .store import MAX_PAGE_BYTES, Table, keep

P = ParamSpec("P")
R = TypeVar("R", bound="RecordReads")
T = TypeVar("T")
MAX_OFFSET: Final = 2**31

_last_seen = msgspec.json.Decoder(LastSeen).decode


def on_new_schema(
    method: Callable[Concatenate[R, P], CoroutineType[Any, Any, T]],
) -> Callable[Concatenate[R, P], CoroutineType[Any, Any, T]]:
    """Retry a method once when an install changed the table and the statement did nothing.

    It is not retried where the name belongs to another app by now: the caller's rights were checked
    for the previous one. For methods whose first arguments are an actor, a grant and an app id.
    """

    @wraps(method)
    async def attempt(self: R, *args: P.args, **kwargs: P.kwargs) -> T:
        app_id: Any = args[2] if len(args) > 2 else kwargs["app_id"]
        key = await self.app_key(app_id)
        try:
            return await method(self, *args, **kwargs)
        except SchemaChanged:
            await self.refresh_catalog()
            if await self.app_key(app_id) != key:
                raise NotFound(f"app '{app_id}' not found: it is another one's name now") from None
            return await method(self, *args, **kwargs)

    return attempt


class RecordReads:
    """The reads of RECORDS; see `kernel.contracts.records.Records`."""

    def __init__(self, statements: Statements, apps: Apps, bus: HookBus) -> None:
        self._statements = statements
        self._apps = apps
        self._bus = bus
        self._tables: dict[tuple[str, str], Table] = {}
        # For each app, fewer than there are connections for searches.
        self._searches = ConcurrencyLimiter(
            per_key=3,
            queue=100,
            timeout=5,
            message="too many searches of this app are under way",
            retry_after=5,
        )
        # For each user, half of the lists that a process reads at once, each on a connection.
        self._lists = ConcurrencyLimiter(
            per_key=2,
            queue=20,
            timeout=5,
            message="too many complete lists are being read for this user",
            retry_after=5,
        )

    async def app_key(self, app_id: str) -> int:
        """Return the key of an installation of an app. Raises NotFound."""
        return (await self._apps.app(app_id)).key

    async def refresh_catalog(self) -> None:
        """Read the catalog again: a table has changed."""
        await self._apps.refresh()

    @on_new_schema
    async def get(
        self, actor: Actor, grant: Grant, app_id: str, entity: str, record_id: str
    ) -> bytes:
        """See `Records.get`."""
        scope = await self._scope(actor, grant, app_id, entity, "read")
        return await self._get(scope, record_id)

    @on_new_schema
    async def page(self, actor: Actor, grant: Grant, app_id: str, entity: str, page: Page) -> bytes:
        """See `Records.page`."""
        scope = await self._scope(actor, grant, app_id, entity, "read")
        if page.limit < 1:
            raise BadRequest("limit must be a whole number of at least 1")
        table, sort = scope.table, scope.table.columns.find(page.order_by)
        limit = min(page.limit, MAX_PAGE)
        if not (page.where or page.after is not None or scope.trees):
            return table.rendering.array(await self._listed(scope, page, sort, limit))
        # The same statement looks up the last record seen, where an index can serve that.
        in_one = page.after is not None and not sort.nullable
        cursor = scope.record(page.after or "") if in_one else None
        rows = await self._conditions(scope, page, cursor)
        texts = table.texts(rows, sort, page.order, limit, page.offset)
        # A generic plan could scan the whole table where these conditions match few rows.
        custom = len(rows.parts) > in_one
        fetch = partial(self._statements.fetch, custom_plan=custom)
        async with self._limited(app_id, rows):
            raw = await fetch(table.page(texts, sort, limit, cursor), *rows.params)
            if raw == TOO_LARGE:
                raw = await fetch(table.careful_page(texts, sort, cursor), *rows.params)
        return table.rendering.array(_fitting(raw, page))

    @on_new_schema
    async def count(
        self, actor: Actor, grant: Grant, app_id: str, entity: str, where: Mapping[str, Any] | None
    ) -> int:
        """See `Records.count`."""
        scope = await self._scope(actor, grant, app_id, entity, "read")
        rows = scope.rows()
        if where:
            rows.matches(where)
        query = scope.table.count(rows)
        async with self._limited(app_id, rows):
            found = await self._statements.fetch(query, *rows.params, custom_plan=True)
        return int(found or 0)

    @asynccontextmanager
    async def stream(
        self, actor: Actor, grant: Grant, app_id: str, entity: str, page: Page
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """See `Records.stream`."""
        async with AsyncExitStack() as stack:
            if actor.user_id is not None:
                await stack.enter_async_context(self._lists.hold(actor.user_id))
            yield await self._streamed(actor, grant, app_id, entity, page, stack)

    def _limited(self, app_id: str, rows: Conditions) -> AbstractAsyncContextManager[None]:
        return self._searches.hold(app_id) if rows.searches else nullcontext()

    async def _table(self, app_id: str, name: str) -> Table:
        app = await self._apps.app(app_id)
        entity = app.entities.get(name) or await self._apps.entity(app_id, name)
        table = self._tables.get((app_id, name))
        # The catalog creates new entities with every install, and only then.
        if table is None or table.entity is not entity:
            table = keep(self._tables, (app_id, name), Table(entity), 2000)
        return table

    async def _scope(
        self, actor: Actor, grant: Grant, app_id: str, entity: str, action: Action
    ) -> RowScope:
        table = await self._table(app_id, entity)
        if not self._bus.implementations(hookspecs.record_scope):
            return RowScope(table, actor.user_id, grant.own_only)
        return await resolve_scope(self._bus, actor, grant, table, action)

    async def _get(self, scope: RowScope, record_id: str) -> bytes:
        if scope.trees:
            rows = scope.record(record_id)
            raw = await self._statements.fetch(scope.table.one(rows), *rows.params)
        else:
            scope.table.check_id(record_id)
            query = scope.table.by_id(own_only=scope.own_only)
            owner = (scope.user_id,) if scope.own_only else ()
            raw = await self._statements.fetch(query, *owner, record_id)
        if raw is None:
            raise record_not_found(record_id)
        return scope.table.rendering.record(check_readable(raw, record_id))

    async def _listed(self, scope: RowScope, page: Page, sort: Column, limit: int) -> bytes:
        """Return a page without conditions of its own, by a cached statement."""
        _check_offset(page.offset)
        own, skip = scope.own_only, page.offset > 0
        query = scope.table.listed(sort, page.order, limit, own_only=own, skip=skip)
        # A generic plan could scan the whole table for an owner of few records.
        fetch = partial(self._statements.fetch, custom_plan=own)
        owner = (scope.user_id,) if own else ()
        raw = await fetch(query, *owner, *([page.offset] if skip else ()))
        if raw == TOO_LARGE:
            rows = scope.rows()
            texts = scope.table.texts(rows, sort, page.order, limit, page.offset)
            raw = await fetch(scope.table.careful_page(texts, sort, None), *rows.params)
        return _fitting(raw, page)

    async def _conditions(
        self, scope: RowScope, page: Page, cursor: Conditions | None = None
    ) -> Conditions:
        """Collect the conditions of a page; the parameters of `cursor` come first."""
        _check_offset(page.offset)
        sort = scope.table.columns.find(page.order_by)
        looked_up = page.after is not None and cursor is None
        last = await self._last_seen(scope, page) if looked_up else None
        rows = scope.rows(*(cursor.params if cursor else ()))
        if page.where:
            rows.matches(page.where)
        if cursor is not None:
            scope.table.is_beyond(rows, sort, page.order)
        elif last is not None:
            scope.table.is_after(rows, sort, page.order, last)
        return rows

    async def _last_seen(self, scope: RowScope, page: Page) -> LastSeen:
        assert page.after is not None
        rows = scope.record(page.after)
        query = scope.table.last_seen(rows, scope.table.columns.find(page.order_by))
        raw = await self._statements.fetch(query, *rows.params)
        if raw is None:
            raise _unseen(page)
        return _last_seen(check_readable(raw, page.after))

    @on_new_schema
    async def _streamed(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        page: Page,
        stack: AsyncExitStack,
    ) -> AsyncIterator[bytes]:
        scope = await self._scope(actor, grant, app_id, entity, "read")
        rows = await self._conditions(scope, page)
        sort = scope.table.columns.find(page.order_by)
        query = scope.table.every(rows, sort, page.order, page.offset)
        stream = self._statements.stream(query, *rows.params)
        return _pieces(scope.table, await stack.enter_async_context(stream))


def _check_offset(offset: int) -> None:
    if not 0 <= offset <= MAX_OFFSET:
        raise BadRequest(f"offset must be a whole number from 0 to {MAX_OFFSET}")


def _fitting(raw: bytes | None, page: Page) -> bytes:
    """Return a page that exists and is not too large. Raises BadRequest."""
    if raw is None:
        raise _unseen(page)
    if raw == TOO_LARGE:
        if page.limit == 1:
            check_readable(raw, None)
        size = MAX_PAGE_BYTES // 1_000_000
        raise BadRequest(f"these records have over {size} MB together: ask for fewer by limit")
    return raw


def _unseen(page: Page) -> BadRequest:
    return BadRequest(f"after: record '{page.after}' not found")


async def _pieces(table: Table, batches: AsyncIterator[list[bytes]]) -> AsyncIterator[bytes]:
    """Write batches of records as one JSON array. Raises BadRequest for one too large."""
    before = b"["
    async for batch in batches:
        if TOO_LARGE in batch:
            check_readable(TOO_LARGE, None)
        yield before + table.rendering.batch(batch)
        before = b",\n"
    yield b"[]" if before == b"[" else b"]"


async def answer(
    records: Records,
    actor: Actor,
    grant: Grant,
    app_id: str,
    entity: str,
    page: Page,
    *,
    total: bool,
) -> bytes:
    """Return a page within an object; with `total` it has the exact number of all records."""
    data = await records.page(actor, grant, app_id, entity, page)
    if not total:
        return b'{"data": %b}' % data
    count, seen = count_in(data), page.offset
    if page.after is None and count < min(page.limit, MAX_PAGE) and (count or not seen):
        every = seen + count  # the page includes the end of the list
    else:
        every = await records.count(actor, grant, app_id, entity, page.where)
    return b'{"data": %b, "total": %d}' % (data, every)
