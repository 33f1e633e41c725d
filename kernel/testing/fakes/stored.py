"""Fakes of services that store data: vault, audit trail, logs, traces."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import anyio
import msgspec

from kernel.contracts.base import Actor
from kernel.contracts.logs import AuditFilter, LogBatch, LogLevel, LogLine
from kernel.contracts.server import SavedView
from kernel.contracts.trail import EndedCall
from kernel.errors import NotFound


class FakeTraces:
    """TRACES in memory: `calls` that were noted, and `children` of requests, by their ids."""

    def __init__(self) -> None:
        self.calls: list[EndedCall] = []
        self.children = defaultdict[str, list[str]](list)

    def note_call(self, call: EndedCall) -> None:
        """See `Traces.note_call`; none is left out."""
        self.calls.append(call)

    async def find_children(self, request_id: str) -> Sequence[str]:
        return self.children[request_id]


class FakeVault:
    """VAULT in memory: `FakeVault({"crm": {"API_KEY": "x"}, None: {"SHARED": "y"}})`."""

    def __init__(self, secrets: Mapping[str | None, Mapping[str, str]] | None = None) -> None:
        self.secrets = defaultdict[str | None, dict[str, str]](dict)
        for scope, values in (secrets or {}).items():
            self.secrets[scope] = dict(values)

    async def set(self, actor: Actor, app_id: str | None, key: str, value: str) -> None:
        """See `Vault.set`; keys and values are not validated."""
        self.secrets[app_id][key] = value

    async def names(self, app_id: str | None) -> list[str]:
        return sorted(self.secrets[app_id])

    async def delete(self, actor: Actor, app_id: str | None, key: str) -> None:
        if self.secrets[app_id].pop(key, None) is None:
            raise NotFound(f"secret '{key}' not found")

    async def reveal(self, app_id: str, *, skip_broken: bool = False) -> dict[str, str]:
        return {**self.secrets[None], **self.secrets[app_id]}


class FakeAudit:
    """AUDIT in memory: `rows` of the trail, oldest first, as `GET /api/v1/audit` shows them; `add`
    appends one."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def add(self, app_id: str, entity: str, operation: str, **more: Any) -> None:
        """Append a row: `add("crm", "contacts", "INSERT", record_id="…", actor_id="…")`."""
        row = {"id": len(self.rows) + 1, "table_schema": app_id, "table_name": entity}
        self.rows.append({**row, "operation": operation, **more})

    async def search(self, criteria: AuditFilter) -> bytes:
        """See `Audit.search`; `current` has no effect, since there are no removed apps."""
        values = {
            "table_schema": criteria.app_id, "table_name": criteria.entity,
            "record_id": criteria.record_id, "operation": criteria.operation,
            "actor_id": criteria.actor_id,
        }  # fmt: skip
        rows = [
            row
            for row in reversed(self.rows)
            if all(value is None or row.get(name) == value for name, value in values.items())
            and (criteria.before is None or row["id"] < criteria.before)
        ]
        return msgspec.json.encode(rows[: criteria.limit])


class FakeLogs:
    """LOGS in memory: `lines` by app."""

    def __init__(self) -> None:
        self.lines = defaultdict[str, list[LogLine]](list)
        self._more = anyio.Event()

    def write(self, app_id: str, level: LogLevel, message: str, request_id: str = "") -> None:
        """See `Logs.write`; no line is dropped."""
        lines = self.lines[app_id]
        now = datetime.now(UTC)
        ts = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        lines.append(LogLine(id=len(lines) + 1, level=level, message=message, ts=ts))
        self._more.set()
        self._more = anyio.Event()

    async def tail(self, app_id: str, count: int) -> list[LogLine]:
        return self.lines[app_id][-count:] if count > 0 else []

    async def before(self, app_id: str, since: str) -> int:
        at = datetime.fromisoformat(since)
        return sum(datetime.fromisoformat(line.ts) < at for line in self.lines[app_id])

    @asynccontextmanager
    async def follow(
        self, app_id: str, after: int
    ) -> AsyncGenerator[AsyncIterator[LogBatch | None]]:
        """See `Logs.follow`; never yields None, and encodes nothing."""
        yield self._from(app_id, after)

    async def _from(self, app_id: str, after: int) -> AsyncIterator[LogBatch | None]:
        while True:
            more = self._more
            lines = self.lines[app_id][max(after, 0) :]
            if lines:
                after = lines[-1].id
                yield LogBatch(lines)
            await more.wait()


class FakeSavedViews:
    """SAVED_VIEWS in memory: `views` by their ids, which every user may see."""

    def __init__(self) -> None:
        self.views: dict[str, SavedView] = {}

    async def find(self, actor: Actor, app_id: str, view_id: str) -> SavedView:
        view = self.views.get(view_id)
        if view is None or view.app_id != app_id:
            raise NotFound(f"view '{view_id}' not found")
        return view
