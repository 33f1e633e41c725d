"""The documents for each caller, and their cache."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

import anyio
import anyio.to_thread

from kernel.public import (
    ACCESS,
    APPS,
    REGISTRY,
    Actor,
    App,
    Forbidden,
    Grant,
    Needs,
    ServiceKey,
    Services,
)

from .documents import APP, ENTITY, Allowed, of_app, of_server
from .models import Document, Schema, document
from .schemas import Schemas


class DocumentService:
    """Makes documents at their first use. Routes do not change while the server runs."""

    def __init__(self, services: Services) -> None:
        registry = services.get(REGISTRY)
        self._pairs = list(registry.routes)
        self._root_path = registry.config.server.root_path
        self._of_apps = [pair for pair in self._pairs if APP in pair[1].path]
        self._apps = services.get(APPS)
        self._access = services.get(ACCESS)
        self._schemas = Schemas([route for _, route in self._pairs])
        self._server: Document | None = None
        self._cache = DocumentCache()
        self._lock = anyio.Lock()

    async def server(self) -> Document:
        """The document of every route."""
        async with self._lock:
            if self._server is None:
                self._server = await anyio.to_thread.run_sync(self._describe_server)
            return self._server

    async def app(self, actor: Actor, app_id: str) -> Document:
        """The document of an app for a caller. Raises NotFound."""
        app = await self._apps.app(app_id)
        allowed = await self._allowed(actor, app)
        key = (app.id, app.version_stamp, frozenset(allowed.items()))
        cached = self._cache.get(key)
        if cached is not None:
            return cached
        async with self._lock:  # one is made at a time: they may be large
            cached = self._cache.get(key)
            if cached is not None:
                return cached
            document = await anyio.to_thread.run_sync(self._describe_app, app, allowed)
            self._cache.put(key, document)
            return document

    def _describe_server(self) -> Document:
        return self._encode(of_server(self._pairs, self._schemas))

    def _describe_app(self, app: App, allowed: Allowed) -> Document:
        return self._encode(of_app(app, self._of_apps, self._schemas, allowed))

    def _encode(self, tree: Schema) -> Document:
        """Encode a document whose paths begin where a proxy serves this server."""
        tree["servers"] = [{"url": f"{self._root_path}/"}]
        return document(tree)

    async def _allowed(self, actor: Actor, app: App) -> Allowed:
        """Return what the caller may, for every need of the routes of apps."""
        allowed: dict[tuple[Needs, str], Grant] = {}
        needs_of_routes = {(route.needs, ENTITY in route.path) for _, route in self._of_apps}
        for needs, is_on_entity in sorted(needs_of_routes, key=str):
            entities = [""]
            if is_on_entity:
                entities = list(app.entities)
            for entity in entities:
                path = {"app_id": app.id, "entity": entity}
                try:
                    allowed[needs, entity] = await self._access.authorize(actor, needs, path)
                except Forbidden:
                    continue
        return allowed


class DocumentCache:
    """The documents of apps that were used last, bounded in number and total size."""

    def __init__(self, max_count: int = 64, max_bytes: int = 32_000_000) -> None:
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._bytes = 0
        self._documents: OrderedDict[Hashable, Document] = OrderedDict()

    def get(self, key: Hashable) -> Document | None:
        """Return a document, which is now the most recently used one."""
        cached = self._documents.get(key)
        if cached is not None:
            self._documents.move_to_end(key)
        return cached

    def put(self, key: Hashable, document: Document) -> None:
        """Add a document; the least recently used ones are removed."""
        self._documents[key] = document
        self._bytes += len(document.body)
        while len(self._documents) > self._max_count or self._bytes > self._max_bytes:
            _, dropped = self._documents.popitem(last=False)
            self._bytes -= len(dropped.body)


DOCUMENTS: Final = ServiceKey[DocumentService]("openapi_documents")
