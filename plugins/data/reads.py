"""Records that are read: a statement for each question, which an install may have made obsolete."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
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
from .lru import Bounded
from .models import LastSeen
from .reach import Reach, missing, reach_of
from .rendering import count_in
from .store import MAX_PAGE_BYTES, Table
from .turns import LISTS, MAX_LISTS_WAITING, MAX_SEARCHES_WAITING, SEARCHES, Turns
from .weight import TOO_LARGE, readable

P = ParamSpec("P")
R = TypeVar("R", bound="RecordReads")
T = TypeVar("T")
MAX_TABLES: Final = 2000
MAX_OFFSET: Final = 2**31

_last_seen = msgspec.json.Decoder(LastSeen).decode


def on_new_schema(
    method: Callable[Concatenate[R, P], CoroutineType[Any, Any, T]],
) -> Callable[Concatenate[R, P], CoroutineType[Any, Any, T]]:
    """Try once more when an install changed the table under a statement: it did nothing yet.

    Not where the name is another app's by now: what the caller may do was decided for the former
    one. Only for methods whose first arguments are an actor, a grant and the id of an app.
    """

    @wraps(method)
    async def attempt(self: R, *args: P.args, **kwargs: P.kwargs) -> T:
        app_id: Any = args[2] if len(args) > 2 else kwargs["app_id"]
        born = await self.born(app_id)
        try:
            return await method(self, *args, **kwargs)
        except SchemaChanged:
            await self.forget_schema()
            if await self.born(app_id) != born:
                raise NotFound(f"app '{app_id}' not found: it is another one's name now") from None
            return await method(self, *args, **kwargs)

    return attempt


class RecordReads:
    """What RECORDS reads; see `kernel.contracts.records.Records`."""

    def __init__(self, statements: Statements, apps: Apps, bus: HookBus) -> None:
        self._statements = statements
        self._apps = apps
        self._bus = bus
        self._tables: Bounded[Table] = Bounded(MAX_TABLES)
        self._searches = Turns(
            SEARCHES, MAX_SEARCHES_WAITING, "too many searches of this app are under way"
        )
        self._lists = Turns(
            LISTS, MAX_LISTS_WAITING, "too many complete lists are being read for this user"
        )

    async def born(self, app_id: str) -> int:
        """Tell one life of an app from the next. Raises NotFound."""
        return (await self._apps.app(app_id)).born

    async def forget_schema(self) -> None:
        """Read the catalog anew: a table is not what it was."""
        await self._apps.refresh()

    @on_new_schema
    async def get(
        self, actor: Actor, grant: Grant, app_id: str, entity: str, record_id: str
    ) -> bytes:
        """See `Records.get`."""
        reach = await self._reach(actor, grant, app_id, entity, "read")
        return await self._get(reach, record_id)

    @on_new_schema
    async def page(self, actor: Actor, grant: Grant, app_id: str, entity: str, page: Page) -> bytes:
        """See `Records.page`."""
        reach = await self._reach(actor, grant, app_id, entity, "read")
        if page.limit < 1:
            raise BadRequest("limit must be a whole number of at least 1")
        table, sort = reach.table, reach.table.columns.find(page.order_by)
        limit = min(page.limit, MAX_PAGE)
        if not (page.where or page.after is not None or reach.narrowed):
            return table.rendering.array(await self._listed(reach, page, sort, limit))
        # Where the last record seen stands is looked up by the same statement, if it can be.
        in_one = page.after is not None and not sort.nullable
        place = reach.record(page.after or "") if in_one else None
        rows = await self._part(reach, page, place)
        texts = table.texts(rows, sort, page.order, limit, page.offset)
        # A plan for any values could walk the whole table where these match little.
        custom = len(rows.parts) > in_one
        fetch = partial(self._statements.fetch, custom_plan=custom)
        async with self._turn(app_id, rows):
            raw = await fetch(table.page(texts, sort, limit, place), *rows.params)
            if raw == TOO_LARGE:
                raw = await fetch(table.careful_page(texts, sort, place), *rows.params)
        return table.rendering.array(_fitting(raw, page))

    @on_new_schema
    async def count(
        self, actor: Actor, grant: Grant, app_id: str, entity: str, where: Mapping[str, Any] | None
    ) -> int:
        """See `Records.count`."""
        reach = await self._reach(actor, grant, app_id, entity, "read")
        rows = reach.rows()
        if where:
            rows.matches(where)
        query = reach.table.count(rows)
        async with self._turn(app_id, rows):
            found = await self._statements.fetch(query, *rows.params, custom_plan=True)
        return int(found or 0)

    @asynccontextmanager
    async def stream(
        self, actor: Actor, grant: Grant, app_id: str, entity: str, page: Page
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """See `Records.stream`."""
        async with self._lists.turn(actor.user_id), AsyncExitStack() as stack:
            yield await self._streamed(actor, grant, app_id, entity, page, stack)

    # What the methods above are made of.

    def _turn(self, app_id: str, rows: Conditions) -> AbstractAsyncContextManager[None]:
        return self._searches.turn(app_id if rows.searches else None)

    async def _table(self, app_id: str, name: str) -> Table:
        app = await self._apps.app(app_id)
        entity = app.entities.get(name) or await self._apps.entity(app_id, name)
        table = self._tables.get(entity.subject)
        # The catalog makes its entities anew with every install, and never else.
        if table is None or table.entity is not entity:
            table = self._tables.put(entity.subject, Table(entity))
        return table

    async def _reach(
        self, actor: Actor, grant: Grant, app_id: str, entity: str, action: Action
    ) -> Reach:
        table = await self._table(app_id, entity)
        if not self._bus.implementations(hookspecs.record_scope):
            return Reach(table, actor.user_id, grant.own_only)
        return await reach_of(self._bus, actor, grant, table, action)

    async def _get(self, reach: Reach, record_id: str) -> bytes:
        if reach.narrowed:
            rows = reach.record(record_id)
            raw = await self._statements.fetch(reach.table.one(rows), *rows.params)
        else:
            reach.check_id(record_id)
            query = reach.table.by_id(own_only=reach.own_only)
            raw = await self._statements.fetch(query, *reach.owner, record_id)
        if raw is None:
            raise missing(record_id)
        return reach.table.rendering.record(readable(raw, record_id))

    async def _listed(self, reach: Reach, page: Page, sort: Column, limit: int) -> bytes:
        """Return a page without conditions of its own, by a statement that is kept."""
        _check_offset(page.offset)
        own, skip = reach.own_only, page.offset > 0
        query = reach.table.listed(sort, page.order, limit, own_only=own, skip=skip)
        # A plan for any owner could walk the whole table for one who has few records.
        fetch = partial(self._statements.fetch, custom_plan=own)
        raw = await fetch(query, *reach.owner, *([page.offset] if skip else ()))
        if raw == TOO_LARGE:
            rows = reach.rows()
            texts = reach.table.texts(rows, sort, page.order, limit, page.offset)
            raw = await fetch(reach.table.careful_page(texts, sort, None), *rows.params)
        return _fitting(raw, page)

    async def _part(self, reach: Reach, page: Page, place: Conditions | None = None) -> Conditions:
        """Collect what the rows of a page satisfy, after the conditions of its `place`."""
        _check_offset(page.offset)
        sort = reach.table.columns.find(page.order_by)
        looked_up = page.after is not None and place is None
        last = await self._last_seen(reach, page) if looked_up else None
        rows = reach.rows(*(place.params if place else ()))
        if page.where:
            rows.matches(page.where)
        if place is not None:
            reach.table.is_beyond(rows, sort, page.order)
        elif last is not None:
            reach.table.is_after(rows, sort, page.order, last)
        return rows

    async def _last_seen(self, reach: Reach, page: Page) -> LastSeen:
        assert page.after is not None
        rows = reach.record(page.after)
        query = reach.table.place(rows, reach.table.columns.find(page.order_by))
        raw = await self._statements.fetch(query, *rows.params)
        if raw is None:
            raise _unseen(page)
        return _last_seen(readable(raw, page.after))

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
        reach = await self._reach(actor, grant, app_id, entity, "read")
        rows = await self._part(reach, page)
        sort = reach.table.columns.find(page.order_by)
        query = reach.table.every(rows, sort, page.order, page.offset)
        stream = self._statements.stream(query, *rows.params)
        return _pieces(reach.table, await stack.enter_async_context(stream))


def _check_offset(offset: int) -> None:
    if not 0 <= offset <= MAX_OFFSET:
        raise BadRequest(f"offset must be a whole number from 0 to {MAX_OFFSET}")


def _fitting(raw: bytes | None, page: Page) -> bytes:
    """Return a page that there is and that is not too large. Raises BadRequest."""
    if raw is None:
        raise _unseen(page)
    if raw == TOO_LARGE:
        if page.limit == 1:
            readable(raw, None)
        size = MAX_PAGE_BYTES // 1_000_000
        raise BadRequest(f"these records have over {size} MB together: ask for fewer by limit")
    return raw


def _unseen(page: Page) -> BadRequest:
    return BadRequest(f"after: record '{page.after}' not found")


async def _pieces(table: Table, batches: AsyncIterator[list[bytes]]) -> AsyncIterator[bytes]:
    """Write batches of records as one JSON array. Raises BadRequest at one that is too large."""
    before = b"["
    async for batch in batches:
        if TOO_LARGE in batch:
            readable(TOO_LARGE, None)
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
    """Put a page and, where it is wanted, the exact number of all records into one object."""
    data = await records.page(actor, grant, app_id, entity, page)
    if not total:
        return b'{"data": %b}' % data
    count, seen = count_in(data), page.offset
    if page.after is None and count < min(page.limit, MAX_PAGE) and (count or not seen):
        every = seen + count  # the page shows the end of the list
    else:
        every = await records.count(actor, grant, app_id, entity, page.where)
    return b'{"data": %b, "total": %d}' % (data, every)
