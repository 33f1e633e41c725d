"""Live queries: the reply as an event, and then its changes, or the reply again."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from typing import Final, NamedTuple

import anyio

from kernel.public import APPS, WATCHES, BadRequest, Changes, LiveQuery, Request, Response, Services

from .chunks import SharedChunks
from .events import RETRY, write_end, write_page
from .places import Place
from .stream import STOPS, FeedStream, Pulse
from .streams import Streams
from .subscribed import NamedWatch, Subscribed

PAUSE: Final = 0.25
"""Seconds between two replies of a query that is read again."""


class LiveQueryService:
    """See `kernel.contracts.trail.live.LiveQueries`."""

    def __init__(self, services: Services, streams: Streams) -> None:
        self._services = services
        self._streams = streams

    async def answer(self, request: Request, query: LiveQuery) -> Response:
        """See `LiveQueries.answer`."""
        watch = await self._services.get(WATCHES).open(request.actor, query.watched)
        place = self._streams.read_place(request, None)
        subscribed = self._streams.subscribe([NamedWatch(None, watch)], stops_at_loss=True)
        changes = self._streams.changes

        async def begin(_: AsyncExitStack) -> AsyncGenerator[bytes]:
            if query.repeats:
                subjects = await self._find_subjects(query)
                repeated = RepeatedQuery(query, subscribed, changes, self._streams.chunks)
                return await repeated.begin(subjects)
            followed = FollowedQuery(query, subscribed, changes)
            return await followed.begin(place)

        return await self._streams.open(request, subscribed, begin)

    async def _find_subjects(self, query: LiveQuery) -> frozenset[str]:
        """Return the entities whose changes may change the reply."""
        watched = query.watched
        entities = [watched.entity]
        if query.reaches_links:
            app = await self._services.get(APPS).app(watched.app_id)
            entities = [*app.entities]
        return frozenset(f"{watched.app_id}.{entity}" for entity in entities)


class ReadPage(NamedTuple):
    """The event with a complete reply, and the place from which changes follow it."""

    event: bytes
    place: Place


class FollowedQuery:
    """A complete reply, and the changes of its records."""

    def __init__(self, query: LiveQuery, subscribed: Subscribed, changes: Changes) -> None:
        self._query = query
        self._subscribed = subscribed
        self._changes = changes

    async def begin(self, place: Place | None) -> AsyncGenerator[bytes]:
        """Read the reply, unless the client has it already; then return the stream."""
        if place is not None:
            return self._write(RETRY, place)
        page = await self._read_page()
        return self._write(RETRY + page.event, page.place)

    async def _write(self, first: bytes, place: Place) -> AsyncGenerator[bytes]:
        yield first
        while True:
            stream = FeedStream(self._subscribed, place, stops_at_loss=True)
            following = self._changes.follow(self._subscribed.subjects, place.position)
            async with following as pages, aclosing(stream.write(pages)) as pieces:
                async for piece in pieces:
                    yield piece
            if not stream.has_lost:
                return
            page = await self._read_page()
            place = page.place
            yield page.event

    async def _read_page(self) -> ReadPage:
        read = await self._query.read(self._changes.snapshot_expression)
        position = await self._changes.position_of(read.snapshot)
        return ReadPage(write_page(read.reply, position), Place(position))


class RepeatedQuery:
    """A reply that is read again where something changed, and sent again where it differs."""

    def __init__(
        self, query: LiveQuery, subscribed: Subscribed, changes: Changes, chunks: SharedChunks
    ) -> None:
        self._query = query
        self._subscribed = subscribed
        self._changes = changes
        self._chunks = chunks
        self._reply = b""

    async def begin(self, subjects: frozenset[str]) -> AsyncGenerator[bytes]:
        """Read the reply and return the stream."""
        position = await self._changes.now()
        self._reply = await self._read()
        return self._write(subjects, position)

    async def _write(self, subjects: frozenset[str], position: str) -> AsyncGenerator[bytes]:
        yield RETRY + write_page(self._reply, position)
        pulse = Pulse()
        read_at = anyio.current_time()
        async with self._changes.follow(subjects, position) as pages:
            async for page in pages:
                if page.lost == "entity changed":
                    yield write_end("entity changed")
                    return
                piece = b""
                if page.changes or page.lost is not None:
                    await anyio.sleep_until(read_at + PAUSE)
                    read_at = anyio.current_time()
                    try:
                        piece = await self._read_again(page.position)
                    except BadRequest:  # as where the record of `after` is gone: the next says why
                        yield write_end("entity changed")
                        return
                piece += pulse.write(page, has_events=bool(piece))
                if piece:
                    yield piece
        yield write_end(STOPS)

    async def _read_again(self, position: str) -> bytes:
        """Return the event with the reply as it was after a position, if it is another one."""
        stream = self._subscribed.key
        key = (stream, self._query.shape, position)
        reply = await self._chunks.get(stream, key, self._read)
        if reply == self._reply:
            return b""
        self._reply = reply
        return write_page(reply, position)

    async def _read(self) -> bytes:
        read = await self._query.read(self._changes.snapshot_expression)
        return read.reply
