"""Complete lists: every record of a collection in pieces, as JSON or as a file."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec

from kernel.public import BadRequest, Page, Query, Target
from plugins.data.calls import Calls
from plugins.data.columns.column import Column
from plugins.data.rendering import TOO_LARGE, Rendering, check_readable
from plugins.data.rights.scopes import RowScopes
from plugins.data.sources.read_sources import ReadSources
from plugins.data.statements.csv_lines import write_line
from plugins.data.watches.snapshots import put_first

from .export import Format, csv_pieces, ndjson_pieces
from .page_parts import expansions_of, order_of_page, page_conditions, select_shown
from .searches import Searches


class ExportOptions(msgspec.Struct, frozen=True):
    """How records become a file, and how many of them; `raw` leaves formulas as they are."""

    file_format: Format
    limit: int | None = None
    raw: bool = False


class OpenList(msgspec.Struct, frozen=True):
    """A list that is being read, in batches of unfinished records, or of lines of CSV."""

    rendering: Rendering
    columns: Sequence[Column]
    batches: AsyncIterator[list[bytes]]

    async def finished_batches(self) -> AsyncIterator[list[bytes]]:
        """Finish records one by one. Raises BadRequest for one too large."""
        async for batch in self.batches:
            yield [self.rendering.finish_record(check_readable(record, None)) for record in batch]

    async def json_pieces(self) -> AsyncIterator[bytes]:
        """Write all records as one JSON array. Raises BadRequest for one too large."""
        before = b"["
        async for batch in self.batches:
            if TOO_LARGE in batch:
                check_readable(TOO_LARGE, None)
            yield before + self.rendering.join_batch(batch)
            before = b",\n"
        yield b"[]" if before == b"[" else b"]"


class CompleteLists:
    """Reads every record of a collection while its client takes them."""

    def __init__(
        self, calls: Calls, scopes: RowScopes, sources: ReadSources, searches: Searches
    ) -> None:
        self._calls = calls
        self._scopes = scopes
        self._sources = sources
        self._searches = searches

    @asynccontextmanager
    async def stream(self, target: Target, page: Page) -> AsyncGenerator[AsyncIterator[bytes]]:
        """See `Records.stream`."""
        async with AsyncExitStack() as stack:
            records = await self._calls.run(
                target.app_id, lambda: self._open(target, page, None, stack)
            )
            yield records.json_pieces()

    @asynccontextmanager
    async def stream_with(
        self, target: Target, page: Page, expression: Query
    ) -> AsyncGenerator[tuple[bytes, AsyncIterator[bytes]]]:
        """See `SnapshotReads.stream_with`."""
        async with AsyncExitStack() as stack:
            records = await self._calls.run(
                target.app_id, lambda: self._open(target, page, None, stack, expression)
            )
            first, *rest = await anext(records.batches)
            batches = _prepend(rest, records.batches)
            yield first, OpenList(records.rendering, records.columns, batches).json_pieces()

    @asynccontextmanager
    async def export(
        self, target: Target, page: Page, options: ExportOptions
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """See `Records.export`."""
        is_csv = options.file_format == "csv"
        if is_csv and page.view is not None and page.view.expand:
            raise BadRequest("expand does not go with text/csv: a cell holds one value")
        async with AsyncExitStack() as stack:
            records = await self._calls.run(
                target.app_id, lambda: self._open(target, page, options, stack)
            )
            if is_csv:
                yield csv_pieces(records.columns, records.batches)
            else:
                yield ndjson_pieces(records.finished_batches())

    async def _open(
        self,
        target: Target,
        page: Page,
        options: ExportOptions | None,
        stack: AsyncExitStack,
        expression: Query = b"",
    ) -> OpenList:
        """Begin to read, lines where the options ask for CSV; the `stack` ends it.

        The value of an expression comes first, if there is one.
        """
        expansions = expansions_of(page)
        scope = await self._scopes.resolve(target, "read", page.where, expansions)
        conditions = await page_conditions(self._sources.prompt, scope, page)
        rank = await self._searches.require_search(
            target, scope, conditions, page.where, page.search
        )
        selection = select_shown(scope, conditions, page, expansions)
        order = order_of_page(scope, page)
        if rank is not None and page.order_by is None:
            order = scope.table.order_by_rank(rank)
        reads = scope.table.reads
        limit = None if options is None else options.limit
        if options is not None and options.file_format == "csv":
            line = write_line(selection.columns, raw=options.raw)
            query = reads.select_every_line(conditions, order, page.offset, line, limit)
        else:
            query = reads.select_every(conditions, order, page.offset, selection, limit)
        source = self._sources.large
        if expression:  # a replica may see other commits than the trail has
            query = put_first(expression, query)
            source = self._sources.statements
        stream = source.stream(query, *conditions.params)
        batches = await stack.enter_async_context(stream)
        return OpenList(selection.rendering, selection.columns, batches)


async def _prepend(
    first: list[bytes], batches: AsyncIterator[list[bytes]]
) -> AsyncIterator[list[bytes]]:
    if first:
        yield first
    async for batch in batches:
        yield batch
