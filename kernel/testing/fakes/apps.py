"""Fakes of apps and their records."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from kernel.contracts.access import Grant
from kernel.contracts.apps import OWNER_COLUMN, App, Entity, Field, InstalledSection
from kernel.contracts.base import Actor
from kernel.contracts.records import Page
from kernel.contracts.statements import Transaction
from kernel.errors import NotFound

Record = dict[str, Any]
FIRST_MOMENT = datetime(2030, 1, 1, tzinfo=UTC)
TICK = timedelta(milliseconds=1)


class FakeApps:
    """APPS in memory: `add("crm", contacts=["first_name", "email"])` installs an app with
    text fields; `put` installs an `App`. `manifests` maps app ids to manifests with sections.
    """

    def __init__(self) -> None:
        self.apps: dict[str, App] = {}
        self.manifests: dict[str, Mapping[str, Any]] = {}

    def add(self, app_id: str, **entities: Sequence[str]) -> App:
        """Install an app with text fields and return it."""
        made: dict[str, Entity] = {}
        for name, columns in entities.items():
            fields = tuple(Field(name=each, type="text", sql_type="text") for each in columns)
            made[name] = Entity(
                app_id=app_id, name=name, id_type="uuid", id_declared=False, fields=fields
            )
        app = App(id=app_id, name=app_id, version="1.0.0", version_stamp=1, entities=made)
        return self.put(app)

    def put(self, app: App) -> App:
        """Install or update an app; an update increases the version stamp."""
        before = self.apps.get(app.id)
        stamp = before.version_stamp + 1 if before else app.version_stamp
        self.apps[app.id] = msgspec.structs.replace(app, version_stamp=stamp)
        return self.apps[app.id]

    async def app(self, app_id: str) -> App:
        if app_id not in self.apps:
            raise NotFound(f"app '{app_id}' not found")
        return self.apps[app_id]

    async def entity(self, app_id: str, name: str) -> Entity:
        app = await self.app(app_id)
        if name not in app.entities:
            raise NotFound(f"entity '{name}' not found")
        return app.entities[name]

    async def all(self) -> list[App]:
        return sorted(self.apps.values(), key=lambda app: app.name)

    async def sections(self, key: str) -> list[InstalledSection]:
        """See `Apps.sections`; values are not validated."""
        found: list[InstalledSection] = []
        for app in self.apps.values():
            if (value := self.manifests.get(app.id, {}).get(key)) is not None:
                section = InstalledSection(
                    app_id=app.id, version_stamp=app.version_stamp, key=app.key, value=value
                )
                found.append(section)
        return found

    async def refresh(self) -> None:
        """See `Apps.refresh`; does nothing."""


class FakeRecords:
    """RECORDS in memory: any app, any entity, any field. `rows` by app and entity, oldest first.

    `where` maps fields to equal values. Other filters (`$or`, comparisons) raise
    NotImplementedError: test them on a server. A write with `tx` is listed in `joined`. It is not
    undone with the transaction.
    """

    def __init__(self) -> None:
        self.joined: list[tuple[Transaction, str]] = []
        """Transactions that writes took part in, each with the subject of the write."""
        self.rows = defaultdict[tuple[str, str], list[Record]](list)
        self._now = FIRST_MOMENT

    async def page(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        page: Page,
        *,
        tx: Transaction | None = None,
    ) -> bytes:
        found = self._ordered(actor, grant, app_id, entity, page)
        if page.after is not None:
            ids = [row["id"] for row in found]
            found = found[ids.index(page.after) + 1 :] if page.after in ids else []
        return _json(found[page.offset : page.offset + page.limit])

    async def count(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        where: Mapping[str, Any] | None,
        *,
        tx: Transaction | None = None,
    ) -> int:
        return len(self._visible(actor, grant, app_id, entity, where))

    @asynccontextmanager
    async def stream(
        self, actor: Actor, grant: Grant, app_id: str, entity: str, page: Page
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """See `Records.stream`; one piece."""

        async def pieces() -> AsyncIterator[bytes]:
            yield _json(self._ordered(actor, grant, app_id, entity, page))

        yield pieces()

    async def get(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        record_id: str,
        *,
        tx: Transaction | None = None,
    ) -> bytes:
        return _json(self._one(actor, grant, app_id, entity, record_id))

    async def create(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        values: Mapping[str, Any],
        *,
        tx: Transaction | None = None,
    ) -> bytes:
        self._note(tx, app_id, entity)
        return _json(self._add(actor if tx is None else tx.actor, app_id, entity, values))

    async def create_many(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        rows: Sequence[Mapping[str, Any]],
        *,
        tx: Transaction | None = None,
    ) -> bytes:
        self._note(tx, app_id, entity)
        owner = actor if tx is None else tx.actor
        return _json([self._add(owner, app_id, entity, row) for row in rows])

    async def update(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        record_id: str,
        values: Mapping[str, Any],
        *,
        tx: Transaction | None = None,
    ) -> bytes:
        row = self._one(actor, grant, app_id, entity, record_id)
        self._note(tx, app_id, entity)
        row |= {**values, "updated_at": self._moment()}
        return _json(row)

    async def delete(
        self,
        actor: Actor,
        grant: Grant,
        app_id: str,
        entity: str,
        record_id: str,
        *,
        tx: Transaction | None = None,
    ) -> None:
        row = self._one(actor, grant, app_id, entity, record_id)
        self._note(tx, app_id, entity)
        self.rows[app_id, entity].remove(row)

    def _note(self, tx: Transaction | None, app_id: str, entity: str) -> None:
        if tx is not None:
            self.joined.append((tx, f"{app_id}.{entity}"))

    def _add(self, actor: Actor, app_id: str, entity: str, values: Mapping[str, Any]) -> Record:
        now = self._moment()
        made = {"id": str(uuid.uuid4()), **values, "created_at": now, "updated_at": now}
        row = {**made, OWNER_COLUMN: actor.user_id}
        self.rows[app_id, entity].append(row)
        return row

    def _one(self, actor: Actor, grant: Grant, app_id: str, entity: str, record_id: str) -> Record:
        for row in self._visible(actor, grant, app_id, entity, {"id": record_id}):
            return row
        raise NotFound(f"record '{record_id}' not found")

    def _visible(
        self, actor: Actor, grant: Grant, app_id: str, entity: str, where: Mapping[str, Any] | None
    ) -> list[Record]:
        wanted = dict(where or {})
        for field, value in wanted.items():
            if field.startswith("$") or isinstance(value, Mapping):
                raise NotImplementedError(f"FakeRecords compares for equality only, not {field!r}")
        if grant.own_only:
            wanted[OWNER_COLUMN] = actor.user_id
        rows = self.rows[app_id, entity]
        return [row for row in rows if all(row.get(f) == value for f, value in wanted.items())]

    def _ordered(
        self, actor: Actor, grant: Grant, app_id: str, entity: str, page: Page
    ) -> list[Record]:
        """Return rows in order; rows without a value come last, as in PostgreSQL."""
        found = self._visible(actor, grant, app_id, entity, page.where)
        sort, descending = page.order_by or "created_at", page.order == "desc"
        with_value = [row for row in found if row.get(sort) is not None]
        without = [row for row in found if row.get(sort) is None]
        return sorted(with_value, key=lambda row: row[sort], reverse=descending) + without

    def _moment(self) -> str:
        """Return the time of a clock that each write advances, for a definite order."""
        self._now += TICK
        return self._now.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(value: Record | Sequence[Record]) -> bytes:
    shown = _shown(value) if isinstance(value, dict) else [_shown(row) for row in value]
    return msgspec.json.encode(shown)


def _shown(row: Record) -> Record:
    return {name: value for name, value in row.items() if name != OWNER_COLUMN}
